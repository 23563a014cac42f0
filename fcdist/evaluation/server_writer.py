"""Self-chat by a model that is served elsewhere: a Writer over the plain completions of an OpenAI-compatible server.

Self-chat begins inside a turn, after an empty user header. Chat endpoints cannot say that; the endpoint for plain
completions takes token ids, so any beginning. The checkpoint's tokenizer is loaded here, its weights are not.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np
import openai
from openai import AsyncOpenAI
from openai.types import Completion
from transformers import PreTrainedTokenizerBase

from fcdist.config.seeds import derive_seed
from fcdist.config.types import ReplayConfig
from fcdist.errors import GenerationError

TOP_TOKENS = 20
"""Likeliest tokens that servers tell about."""
TOKEN_ID = "token_id:"
MAX_RETRIES = 6
MAX_SEED = 2**31
Create = Callable[..., Awaitable[Completion]]


class ServerWriter:
    """A Writer (see self_chat) over `replay.base_url`. `num_tokens` counts what the server wrote."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stops: tuple[int, ...], cfg: ReplayConfig, model: str
    ) -> None:
        """Args: stops: tokens that end a turn. model: its name at the server."""
        self._tokenizer, self._stops, self._cfg, self._model = tokenizer, stops, cfg, model
        # Beyond the common interface; dropped where a server refuses it.
        self._extras: dict[str, Any] = {
            "stop_token_ids": list(stops),
            "skip_special_tokens": False,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }
        self.num_tokens = 0

    def write(self, prompts: Sequence[Sequence[int]], max_new_tokens: Sequence[int], seed: int) -> list[list[int]]:
        """See Writer.

        Raises:
            GenerationError: the server cannot be reached or refuses.
        """
        jobs = [
            {
                "prompt": list(ids),
                "max_tokens": limit,
                "top_p": self._cfg.top_p,
                "seed": derive_seed(seed, i) % MAX_SEED,
            }
            for i, (ids, limit) in enumerate(zip(prompts, max_new_tokens, strict=True))
        ]
        answers = asyncio.run(self._ask_all(jobs))
        return [self._token_ids(answer, limit) for answer, limit in zip(answers, max_new_tokens, strict=True)]

    def next_token_probabilities(self, prompt: Sequence[int]) -> np.ndarray:
        """[V] float64, at the run's temperature; zero but for the likeliest tokens, which is all that servers tell.

        Raises:
            GenerationError: the server tells no probabilities.
        """
        (answer,) = asyncio.run(self._ask_all([{"prompt": list(prompt), "max_tokens": 1, "logprobs": TOP_TOKENS}]))
        told = answer.choices[0].logprobs
        likeliest = (told.top_logprobs or [{}])[0] if told else {}
        found = {token: p for text, p in likeliest.items() if (token := self._token(text)) is not None}
        if not found:
            raise GenerationError(
                f"replay.base_url={self._cfg.base_url}: the server tells no probabilities of tokens (logprobs), so "
                "user turns cannot be given varied openings; allow them there, or leave replay.base_url empty"
            )
        probabilities = np.zeros(max(len(self._tokenizer), *(token + 1 for token in found)))
        logits = np.array(list(found.values())) / max(self._cfg.temperature, 1e-3)
        weights = np.exp(logits - logits.max())
        probabilities[list(found)] = weights / weights.sum()
        return probabilities

    async def _ask_all(self, jobs: Sequence[Mapping[str, Any]]) -> list[Completion]:
        places = asyncio.Semaphore(self._cfg.max_concurrency)
        key = os.environ.get(self._cfg.api_key_env) or "none"  # servers at home check none
        async with AsyncOpenAI(api_key=key, base_url=self._cfg.base_url, max_retries=MAX_RETRIES) as client:

            async def ask(job: Mapping[str, Any]) -> Completion:
                async with places:
                    return await self._ask(client.completions.create, job)

            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(ask(job)) for job in jobs]
            except* openai.APIError as errors:
                raise self._refusal(errors.exceptions[0], key) from None
        return [task.result() for task in tasks]

    async def _ask(self, create: Create, job: Mapping[str, Any]) -> Completion:
        stops = [self._tokenizer.decode([stop]) for stop in self._stops]
        asked = {"model": self._model, "temperature": self._cfg.temperature, "stop": stops, **job}
        extras = self._extras
        try:
            answer = await create(**asked, extra_body=extras)
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            if not extras:
                raise
            self._extras = {}
            answer = await create(**asked)
        self.num_tokens += answer.usage.completion_tokens if answer.usage else 0
        return answer

    def _token_ids(self, answer: Completion, limit: int) -> list[int]:
        """The continuation without its stop token; `limit` long where it has not ended."""
        choice = answer.choices[0]
        told = (choice.model_extra or {}).get("token_ids")
        ids = list(told) if told else list(self._tokenizer.encode(choice.text, add_special_tokens=False))
        while ids and ids[-1] in self._stops:
            ids.pop()
        if choice.finish_reason == "stop":
            return ids
        return (ids + [self._stops[0]] * limit)[:limit]

    def _token(self, text: str) -> int | None:
        if text.startswith(TOKEN_ID):
            return int(text.removeprefix(TOKEN_ID))
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        return int(ids[0]) if len(ids) == 1 else None

    def _refusal(self, error: BaseException, key: str) -> GenerationError:
        status = f"status {error.status_code}" if isinstance(error, openai.APIStatusError) else "no answer"
        said = str(getattr(error, "message", error)).replace(key, "<key>")[:300]
        return GenerationError(
            f"replay.base_url={self._cfg.base_url}: {status} ({said}); check the address, that the server offers plain "
            f"completions of {self._model!r} (replay.llm), and the key in {self._cfg.api_key_env}"
        )

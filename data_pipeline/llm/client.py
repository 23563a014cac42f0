"""Chat completions from any OpenAI-compatible server: bounded, paced, retried, cached on disk, paid from a budget.

The package's own retries are off: they would hide requests from the counters, the limits and the budget.
"""

import asyncio
import json
import os
import random
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from data_pipeline.llm.cache import AnswerCache
from data_pipeline.llm.ledger import Ledger
from data_pipeline.llm.limits import Limits
from data_pipeline.llm.wire import (
    CONTENT_FILTER,
    FILTERED,
    RETRIED,
    Completion,
    Dialect,
    LlmSettings,
    NoCompletionError,
    Request,
    cost_bound,
    read_answer,
    request_key,
    retry_after,
)
from data_pipeline.teachers import BudgetError, Traffic, Usage
from fcdist.errors import GenerationError

Create = Callable[..., Awaitable[ChatCompletion]]
UNTRIED_RETRIES = 2
"""Further tries of a server that never answered: it is more likely misspelt than busy."""
_POLL_BUDGET_S = 0.05
_SETTLING_S = 60.0
"""Time beyond its time-out after which a request cannot be alive any more."""


class Llm(Protocol):
    """Something that answers requests."""

    def complete_all(self, requests: Sequence[Request]) -> list[Completion]:
        """Answers in the order of `requests`."""

    def traffic(self) -> Traffic:
        """Requests, retries, cache hits and billed tokens so far."""


class LlmClient:
    """Asks one model of one server, many requests side by side."""

    def __init__(self, settings: LlmSettings, cache_dir: Path, ledger: Ledger) -> None:
        """Raises GenerationError: no model named, or the key's variable is not set."""
        check_access(settings)
        self._settings = settings
        self._cache = AnswerCache(cache_dir)
        self._ledger = ledger
        self._limits = Limits(settings.requests_per_minute, settings.tokens_per_minute)
        self._dialect = Dialect()
        self._reached = False
        self._requests = self._retries = self._cached = self._lost = 0
        self._billed = Usage()
        # Jitter spreads waiting only; no byte of the data depends on it.
        self._jitter = random.Random(os.getpid())

    def traffic(self) -> Traffic:
        """Requests, retries, cache hits, billed tokens and lost answers so far."""
        return Traffic(self._requests, self._retries, self._cached, self._billed, self._lost)

    def complete_all(self, requests: Sequence[Request]) -> list[Completion]:
        """Answers in the order of `requests`.

        If one request fails for good, no new one is sent, those in flight end and stay in the cache.

        Raises:
            BudgetError: the budget allows no further request.
            GenerationError: the key or model is refused, the server cannot be reached, or it fails after all retries.
        """
        return asyncio.run(self._complete_all(requests))

    async def _complete_all(self, requests: Sequence[Request]) -> list[Completion]:
        keys = [request_key(request, self._settings) for request in requests]
        asked = dict(zip(keys, requests, strict=True))
        answers = {key: found for key in asked if (found := self._cache.read(key)) is not None}
        self._cached += len(answers)
        missing = {key: request for key, request in asked.items() if key not in answers}
        if missing:
            answers |= await self._ask_all(missing)
        return [answers[key] for key in keys]

    async def _ask_all(self, requests: dict[str, Request]) -> dict[str, Completion]:
        places = asyncio.Semaphore(self._settings.max_concurrency)
        failed = asyncio.Event()

        async def ask(request: Request) -> Completion:
            async with places:
                if failed.is_set():
                    raise asyncio.CancelledError
                try:
                    return await self._ask(request, client.chat.completions.create, failed)
                except BaseException:
                    failed.set()
                    raise

        async with AsyncOpenAI(
            api_key=os.environ[self._settings.api_key_env],
            base_url=self._settings.base_url,
            max_retries=0,
            timeout=self._settings.timeout_s,
        ) as client:
            tasks = {key: asyncio.ensure_future(ask(request)) for key, request in requests.items()}
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        errors = [e for task in tasks.values() if not task.cancelled() and (e := task.exception())]
        if errors:
            left = sum(task.cancelled() or task.exception() is not None for task in tasks.values())
            raise self._most_telling(errors, left)
        return {key: task.result() for key, task in tasks.items()}

    def _most_telling(self, errors: Sequence[BaseException], left: int) -> BaseException:
        for error in errors:
            if not isinstance(error, BudgetError):
                return error
        bound = max((e.bound for e in errors if isinstance(e, _DoesNotFit)), key=lambda b: (b.cost, b.tokens))
        return self._ledger.exhausted(bound, f"{left} requests of this shard are left")

    async def _ask(self, request: Request, create: Create, failed: asyncio.Event) -> Completion:
        """Ask until there is an answer, as often as the settings allow."""
        tries = 0
        while True:
            answer = await self._try(request, create, failed)
            if isinstance(answer, Completion):
                return answer
            if answer.final is not None:
                raise answer.final
            if answer.understood_otherwise:
                continue
            tries += 1
            limit = self._settings.max_retries
            if tries > (limit if self._reached else min(UNTRIED_RETRIES, limit)):
                raise GenerationError(
                    f"{self._settings.key}.base_url={self._settings.base_url}: {answer.trouble}, {tries} times in a "
                    "row; check that the server runs and run again: answers so far are cached"
                )
            self._retries += 1
            self._limits.close(answer.wait)
            await asyncio.sleep(max(answer.wait, self._backoff(tries)))

    async def _try(self, request: Request, create: Create, failed: asyncio.Event) -> "Completion | _Failure":
        """One HTTP request: paced, paid for in advance and settled, whatever becomes of it."""
        bound = cost_bound(request, self._settings)
        booked = _expected_tokens(bound)
        await self._limits.wait(booked)
        name = secrets.token_hex(8)
        await self._reserve(name, bound, failed)
        result: Completion | _Failure = _Failure("interrupted", billed=True)
        try:
            result = await self._send(request, create)
            if isinstance(result, Completion):
                # First kept, then paid: killed in between, it is rather charged too high than asked twice.
                # In a thread, because a disk may take longer than many an answer.
                await asyncio.to_thread(self._cache.write, request_key(request, self._settings), result)
                self._billed += result.usage
        finally:
            self._settle(name, result, booked)
        return result

    async def _send(self, request: Request, create: Create) -> "Completion | _Failure":
        dialect = self._dialect
        self._requests += 1
        try:
            # The package's own time-out starts anew with every byte.
            async with asyncio.timeout(self._settings.timeout_s):
                answer = await create(**dialect.body(request, self._settings))
            completion = read_answer(answer, self._settings)
        except openai.APIStatusError as error:
            self._reached = True
            if error.code == CONTENT_FILTER:
                return FILTERED
            if other := dialect.after(error.status_code, f"{error.message} {error.param}"):
                if self._dialect == dialect:  # else another request has learned it first
                    self._dialect = other
                return _Failure(understood_otherwise=True)
            failure = _Failure(f"status {error.status_code}", retry_after(error.response.headers))
            if error.status_code not in RETRIED or error.code == "insufficient_quota":
                failure.final = refusal(error.status_code, error.message, self._settings)
            return failure
        except (openai.APITimeoutError, TimeoutError) as error:
            trouble = f"no answer within generate.timeout_s={self._settings.timeout_s:g}"
            return _Failure(trouble, billed=_was_sent(error))
        except openai.APIConnectionError as error:
            return _Failure(f"no connection ({error.__cause__ or error})", billed=_was_sent(error))
        except (openai.APIResponseValidationError, json.JSONDecodeError, NoCompletionError):
            return _Failure("a body that is not a chat completion", billed=True)
        self._reached = True
        return completion

    def _settle(self, name: str, result: "Completion | _Failure", booked: float) -> None:
        """Put what a request cost, or may have cost, in the place of what was reserved for it."""
        if isinstance(result, Completion) and result.metered:
            self._ledger.settle(name, result.usage)
            self._limits.correct(booked, result.usage.tokens)
        elif isinstance(result, Completion) or result.billed:
            self._lost += 1
            self._ledger.lose(name)
        else:
            self._ledger.release(name)
            self._limits.correct(booked, 0)

    async def _reserve(self, name: str, bound: Usage, failed: asyncio.Event) -> None:
        """Wait until the budget allows the request, as long as one in flight may turn out cheaper than it could."""
        while not self._ledger.reserve(name, bound, self._settings.timeout_s + _SETTLING_S):
            if failed.is_set():
                raise asyncio.CancelledError
            if not self._ledger.has_pending() and not self._ledger.fits(bound):
                raise _DoesNotFit(bound)
            await asyncio.sleep(_POLL_BUDGET_S)

    def _backoff(self, tries: int) -> float:
        longest: float = min(self._settings.max_backoff_s, self._settings.backoff_s * 2 ** (tries - 1))
        return longest * self._jitter.uniform(0.5, 1.0)


def check_access(settings: LlmSettings) -> None:
    """Raise GenerationError unless a model is named and the key's variable is set."""
    if not settings.model:
        raise GenerationError(
            f"{settings.key}.llm is empty: name the model that the server at {settings.base_url} offers"
        )
    if not os.environ.get(settings.api_key_env):
        raise GenerationError(
            f"{settings.key}.api_key_env={settings.api_key_env}: this environment variable is not set; export the key "
            f"of {settings.base_url} under that name (any text for a server that checks none)"
        )


def refusal(status: int, said: str, settings: LlmSettings) -> GenerationError:
    """What to tell the user of a status that is not worth a retry; never with the key in it."""
    key = os.environ.get(settings.api_key_env, "")
    said = (said.replace(key, "<key>") if key else said)[:300]
    hint = {
        401: f"the key in {settings.api_key_env} is not accepted",
        403: f"the key in {settings.api_key_env} may not use this",
        404: f"{settings.key}.llm={settings.model} or the path of the address is unknown there",
        429: "the account's quota is used up",
    }.get(status, "the request is refused; fewer generate.conversations_per_tool_set or max_tokens make it smaller")
    return GenerationError(f"{settings.key}.base_url={settings.base_url}: status {status}: {hint}. Server: {said}")


@dataclass(slots=True)
class _Failure:
    """One try of a request that brought no answer."""

    trouble: str = ""
    wait: float = 0.0
    """Seconds the server wants to be left alone."""
    billed: bool = False
    """Whether the server may have charged for it."""
    understood_otherwise: bool = False
    """The server wants the same in another form."""
    final: GenerationError | None = None
    """Why another try would not help."""


class _DoesNotFit(BudgetError):
    """One request is above what is left of the budget."""

    def __init__(self, bound: Usage) -> None:
        super().__init__("over budget")
        self.bound = bound


def _expected_tokens(bound: Usage) -> float:
    """Tokens a request is likely to take: a third of its bytes, and a completion as long as the prompt."""
    prompt = bound.prompt_tokens / 3
    return prompt + min(prompt, bound.completion_tokens)


def _was_sent(error: Exception) -> bool:
    """Whether the request had reached the server before the connection broke."""
    return type(error.__cause__).__name__ not in (
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "UnsupportedProtocol",
    )

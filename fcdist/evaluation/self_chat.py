"""Let a chat model write both sides of a conversation, by its own chat template.

A chat model was tuned on the text between a user header and an end-of-turn token too, at least as context, so from an
empty user header it writes what users say. Its answers to that are drawn from what it already knows: training on them
keeps it where it was.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fcdist.config.seeds import derive_seed
from fcdist.config.types import ReplayConfig
from fcdist.data.chat_filters import NearDuplicates, answer_reason, language_of, user_reason
from fcdist.errors import GenerationError
from fcdist.evaluation.decoding import LocalDecoder, Prompt, Sampling
from fcdist.schema.conversation import Conversation, Message

PROBE = "Zqxprobezqx"
"""A text no template changes or contains."""
BRIEF_SYSTEM_SHARE = 0.3
"""Of the brief conversations: with a system message, so that general chat is not all without one."""
BRIEF_SYSTEM_MESSAGES = (
    "You are a helpful assistant. Answer in one or two short sentences.",
    "Answer briefly and to the point.",
    "You are a concise assistant. Keep every answer under forty words.",
    "You are a friendly assistant who gives short, direct answers.",
    "Reply in a few plain sentences, without lists.",
)


BRIEF_OPENINGS = (
    "In one sentence,",
    "In a single sentence,",
    "In one short sentence,",
    "In fewer than twenty words,",
    "In just one sentence,",
    "Using one sentence,",
    "In ten words or fewer,",
    "In a sentence,",
    "In no more than one sentence,",
    "With one short sentence,",
)
"""Begin a user turn whose answer ends soon: small models heed a user more than a system message."""


class Writer(Protocol):
    """What self-chat needs of a model."""

    def write(self, prompts: Sequence[Sequence[int]], max_new_tokens: Sequence[int], seed: int) -> list[list[int]]:
        """Sampled continuations without the stop token; one as long as its limit has not ended."""
        ...

    def next_token_probabilities(self, prompt: Sequence[int]) -> np.ndarray:
        """[V] float64, at the run's temperature."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt: a conversation, and why it is dropped (None: kept)."""

    conversation: Conversation
    reason: str | None


class ModelWriter:
    """A Writer over a model in this process. `num_tokens` counts what it wrote; `progress` labels a bar."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        stops: tuple[int, ...],
        cfg: ReplayConfig,
        progress: str = "",
    ) -> None:
        self._progress = progress
        self._model, self._tokenizer, self._stops, self._cfg = model, tokenizer, stops, cfg
        self.num_tokens = 0

    def write(self, prompts: Sequence[Sequence[int]], max_new_tokens: Sequence[int], seed: int) -> list[list[int]]:
        """See Writer."""
        decoder = LocalDecoder(
            self._model,
            self._tokenizer,
            self._stops,
            batch_size=self._cfg.batch_size,
            progress=self._progress,
            sampling=Sampling(self._cfg.temperature, self._cfg.top_p, seed),
        )
        limits = zip(prompts, max_new_tokens, strict=True)
        answers = decoder.generate_ids([Prompt(list(ids), limit) for ids, limit in limits])
        self.num_tokens += sum(map(len, answers))
        return answers

    @torch.inference_mode()
    def next_token_probabilities(self, prompt: Sequence[int]) -> np.ndarray:
        """See Writer."""
        ids = torch.tensor([list(prompt)], device=self._model.device)
        logits = self._model(input_ids=ids, logits_to_keep=1).logits[0, -1].double()
        return np.asarray((logits / max(self._cfg.temperature, 1e-3)).softmax(-1).cpu())


class ChatShape:
    """Where turns begin and end in a tokenizer's chat template.

    Raises:
        GenerationError: the template does not show a user's text as it is, or ends a turn without a special token,
            so that the model cannot be asked to write that turn.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        question = {"role": "user", "content": PROBE}
        answer = {"role": "assistant", "content": PROBE[::-1]}
        asked = self._render([question], generate=True)
        whole = self._render([question, answer])
        if asked.count(PROBE) != 1 or whole.count(PROBE[::-1]) != 1:
            raise GenerationError(
                "the chat template does not write a message's text as it is; replay needs one that does"
            )
        ends = (asked.partition(PROBE)[2], whole.partition(PROBE[::-1])[2])
        names = ("user", "assistant")
        self.stop_token_ids = tuple(dict.fromkeys(self._stop(end, name) for end, name in zip(ends, names, strict=True)))
        self.has_system = self._takes_system()

    def user_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids up to where the next user's text starts."""
        text = self._render([*_plain(messages), {"role": "user", "content": PROBE}])
        return self.encode(text.partition(PROBE)[0])

    def answer_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids up to where the assistant's text starts."""
        return self.encode(self._render(_plain(messages), generate=True))

    def text(self, token_ids: Sequence[int]) -> str:
        """Text of written tokens; special tokens are spelled out, so that filters see them."""
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False)).strip()

    def _render(self, messages: Sequence[Mapping[str, str]], generate: bool = False) -> str:
        wire: Any = list(messages)
        return str(self._tokenizer.apply_chat_template(wire, tokenize=False, add_generation_prompt=generate))

    def encode(self, text: str) -> list[int]:
        """Token ids of a piece of the rendered text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _stop(self, end: str, role: str) -> int:
        ids = self.encode(end)
        special = {i for i, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        if not ids or ids[0] not in special:
            raise GenerationError(
                f"the chat template ends the {role}'s turn with {end[:20]!r}, which starts with no special token, so "
                "the model cannot say where its text ends; take general chat from a file instead (data.sources)"
            )
        return int(ids[0])

    def _takes_system(self) -> bool:
        try:
            text = self._render([{"role": "system", "content": PROBE}, {"role": "user", "content": "a"}])
        except Exception:  # templates refuse a system message with whatever error Jinja's raise_exception gives
            return False
        return PROBE in text


class SelfChat:
    """Writes rounds of conversations; remembers user turns, so that none comes twice."""

    def __init__(self, writer: Writer, shape: ChatShape, cfg: ReplayConfig, seed: int) -> None:
        self._writer, self._shape, self._cfg, self._seed = writer, shape, cfg, seed
        self._seen = NearDuplicates()
        self._round = 0
        self._openings = _flatten(
            writer.next_token_probabilities(shape.user_prompt(())), cfg.top_p, cfg.opening_temperature
        )

    def round(self, count: int) -> Iterator[Outcome]:
        """Ask for `count` user turns, answer the good ones; yields every attempt with its verdict."""
        self._round += 1
        rng = random.Random(self._stream("system"))
        asked = []
        for start, text, ended in self._user_turns(count, rng):
            reason = "user_not_ended" if not ended else user_reason(text.removeprefix(start))
            if reason is None and not self._seen.add(text):
                reason = "user_near_duplicate"
            if reason is None:
                asked.append([*self._system(rng, bool(start)), Message("user", text)])
            else:
                yield Outcome(_conversation([Message("user", text)]), reason)
        good: list[list[Message]] = []
        for messages, reason in self._answer(asked, "answer"):
            if reason is None:
                good.append(messages)
            else:
                yield Outcome(_conversation(messages), reason)
        longer = self._second_turns([m for m in good if rng.random() < self._cfg.second_turn_share])
        for messages in good:
            yield Outcome(_conversation(longer.get(_first_question(messages), messages)), None)

    def _user_turns(self, count: int, rng: random.Random) -> list[tuple[str, str, bool]]:
        """From empty user headers: (given opening, whole text, whether it ended). Without a given opening the first
        token is drawn here, from a flatter distribution than the model's.
        """
        prefix, stops = self._shape.user_prompt(()), self._shape.stop_token_ids
        tokens = np.random.default_rng(self._stream("opening"))
        firsts = tokens.choice(len(self._openings), size=count, p=self._openings).tolist()
        given = [rng.choice(BRIEF_OPENINGS) if rng.random() < self._cfg.brief_share else "" for _ in firsts]
        starts = [self._shape.encode(g) if g else [first] for g, first in zip(given, firsts, strict=True)]
        limits = [max(1, self._cfg.max_user_tokens - len(start)) for start in starts]
        rest = self._writer.write([prefix + start for start in starts], limits, self._stream("user"))
        return [
            (g, self._shape.text(start + ids), len(ids) < limit and start[0] not in stops)
            for g, start, ids, limit in zip(given, starts, rest, limits, strict=True)
        ]

    def _answer(self, asked: Sequence[list[Message]], stream: str) -> list[tuple[list[Message], str | None]]:
        """Every conversation with its answer, and why the answer is bad (None: good)."""
        limit = self._cfg.max_answer_tokens
        prompts = [self._shape.answer_prompt(messages) for messages in asked]
        answers = self._writer.write(prompts, [limit] * len(asked), self._stream(stream)) if asked else []
        found = []
        for messages, ids in zip(asked, answers, strict=True):
            text = self._shape.text(ids)
            reason = "answer_not_ended" if len(ids) >= limit else answer_reason(text, messages[-1].content or "")
            found.append(([*messages, Message("assistant", text)], reason))
        return found

    def _second_turns(self, chosen: Sequence[list[Message]]) -> dict[str, list[Message]]:
        """First question (no two are equal) → the conversation with a second exchange, where that went well."""
        if not chosen:
            return {}
        limit = self._cfg.max_user_tokens
        prompts = [self._shape.user_prompt(messages) for messages in chosen]
        asked = []
        for messages, ids in zip(
            chosen, self._writer.write(prompts, [limit] * len(chosen), self._stream("again")), strict=True
        ):
            text = self._shape.text(ids)
            if len(ids) < limit and user_reason(text) is None and self._seen.add(text):
                asked.append([*messages, Message("user", text)])
        answered = self._answer(asked, "again answer")
        return {_first_question(messages): messages for messages, reason in answered if reason is None}

    def _system(self, rng: random.Random, brief: bool) -> list[Message]:
        if brief and self._shape.has_system and rng.random() < BRIEF_SYSTEM_SHARE:
            return [Message("system", rng.choice(BRIEF_SYSTEM_MESSAGES))]
        return []

    def _stream(self, name: str) -> int:
        return derive_seed(self._seed, "replay", self._round, name)


def _flatten(probabilities: np.ndarray, top_p: float, temperature: float) -> np.ndarray:
    """The nucleus of a distribution, evened out by a further temperature; [V], adds up to 1."""
    order = np.argsort(-probabilities, kind="stable")
    before = np.cumsum(probabilities[order]) - probabilities[order]
    kept = order[before < top_p]
    flat = np.zeros_like(probabilities)
    flat[kept] = probabilities[kept] ** (1 / temperature)
    return np.asarray(flat / flat.sum())


def _plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content or ""} for message in messages]


def _conversation(messages: Sequence[Message]) -> Conversation:
    language = language_of(_first_question(messages))
    return Conversation(tuple(messages), source="replay", category="general", language=language)


def _first_question(messages: Sequence[Message]) -> str:
    return next((m.content or "" for m in messages if m.role == "user"), "")

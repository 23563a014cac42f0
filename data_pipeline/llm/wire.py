"""What goes over the wire to an OpenAI-compatible server and what comes back, whichever way it is sent."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from openai.types.chat import ChatCompletion

from data_pipeline.teachers import Usage
from fcdist.config.types import PriceConfig

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
FORMATS = ("json_schema", "json_object", "text")
"""How the form of the answer is demanded, strictest first; a server that refuses one is asked with the next."""
CONTENT_FILTER = "content_filter"
"""Finish reason of a filtered answer, and error code of a filtered question."""
LONGEST_WAIT_S = 600.0
_TEMPLATE_TOKENS = 16
"""Tokens that a chat template adds to a message, at most."""


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """Where and how to ask."""

    base_url: str
    api_key_env: str
    """Environment variable that holds the key; the key itself is never stored, logged or cached."""
    model: str
    temperature: float
    max_tokens: int = 8192
    """Of one answer."""
    max_concurrency: int = 16
    """Requests in flight at most."""
    requests_per_minute: int = 0
    """0: no limit, like the next."""
    tokens_per_minute: int = 0
    max_retries: int = 6
    """Further tries of one request after the first."""
    timeout_s: float = 120.0
    backoff_s: float = 1.0
    """Wait before the first retry; doubled each time, up to `max_backoff_s`, with jitter."""
    max_backoff_s: float = 60.0
    prices: PriceConfig = field(default_factory=PriceConfig)
    batch_poll_s: float = 30.0
    """Pause between two looks at a batch."""
    key: str = "generate"
    """Where these settings stand in the configuration, for messages."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question; equal requests are asked once and answered from the cache ever after."""

    messages: tuple[Mapping[str, str], ...]
    schema: Mapping[str, Any]
    """JSON Schema of the answer."""
    version: str
    """Of the prompt; a change asks anew."""
    sample: int = 0
    """Distinguishes further answers to the same messages."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A server's answer."""

    text: str
    finish_reason: str
    refused: bool
    usage: Usage
    metered: bool = True
    """False where the server gave no usage, or none that can be: what it billed is not known."""


FILTERED = Completion("", CONTENT_FILTER, refused=True, usage=Usage())
"""What a question counts as that the server's filter did not let through: an answer, and a refusal."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server understands; learned from its refusals and then kept."""

    form: int = 0
    """Place in FORMATS."""
    limit: str = "max_tokens"
    """Name of the field that bounds an answer; newer models know it as `max_completion_tokens` only."""
    temperature: bool = True
    """Reasoning models sample at a temperature of their own."""

    def body(self, request: Request, settings: LlmSettings) -> dict[str, Any]:
        """The request as the server wants it."""
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": [dict(message) for message in request.messages],
            self.limit: settings.max_tokens,
        }
        if self.temperature:
            body["temperature"] = settings.temperature
        if FORMATS[self.form] == "json_schema":
            wrapped = {"name": "answer", "strict": True, "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": wrapped}
        elif FORMATS[self.form] == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def after(self, status: int, said: str) -> "Dialect | None":
        """How to ask a server that refused with `status` and these words; None if another way would not help."""
        if status not in (400, 422):
            return None
        said = said.lower()
        if self.limit == "max_tokens" and "max_completion_tokens" in said:
            return replace(self, limit="max_completion_tokens")
        if any(word in said for word in ("response_format", "json_schema", "json_object", "guided", "structured")):
            return replace(self, form=self.form + 1) if self.form + 1 < len(FORMATS) else None
        return replace(self, temperature=False) if self.temperature and "temperature" in said else None


class NoCompletionError(Exception):
    """A status of 200 around something else than a chat completion."""


def request_key(request: Request, settings: LlmSettings) -> str:
    """What the answer is cached by: model, messages, schema, parameters, version of the prompt, number of the sample.

    The schema, not how it is demanded, is part of it: a rerun finds answers whatever the server supports.
    """
    parameters = {name: getattr(settings, name) for name in ("model", "temperature", "max_tokens")}
    return hashlib.sha256(json.dumps(asdict(request) | parameters, sort_keys=True).encode()).hexdigest()


def prompt_bound(request: Request) -> int:
    """Tokens of a request's prompt, at most: no tokenizer makes more tokens than there are bytes."""
    texts = [json.dumps(request.schema), *(text for message in request.messages for text in message.values())]
    return sum(len(text.encode()) for text in texts) + _TEMPLATE_TOKENS * (len(request.messages) + 1)


def cost_bound(request: Request, settings: LlmSettings, factor: float = 1.0) -> Usage:
    """What one answer may cost at most; `factor`: of the Batch API."""
    prompt = prompt_bound(request)
    cost = factor * money(prompt, settings.max_tokens, 0, settings.prices)
    return Usage(1, prompt, settings.max_tokens, 0, cost)


def money(prompt: int, completion: int, cached: int, prices: PriceConfig) -> float:
    """Price of some tokens; `cached` of the prompt ones were still known to the server."""
    cached_price = prices.input if prices.cached_input is None else prices.cached_input
    return ((prompt - cached) * prices.input + cached * cached_price + completion * prices.output) / 1e6


def read_answer(answer: Any, settings: LlmSettings, factor: float = 1.0) -> Completion:
    """The first choice of a completion, priced.

    Args:
        answer: the decoded body as an object or as a mapping; the package checks neither.
        settings: with the prices.
        factor: share of the prices that is charged (Batch API).

    Raises:
        NoCompletionError: it has no choice with a message.
    """
    body: Any = answer.to_dict() if isinstance(answer, ChatCompletion) else answer
    try:
        choice = body["choices"][0]
        message, finish_reason = choice["message"], str(choice.get("finish_reason") or "")
        text, refusal = message.get("content") or "", message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise NoCompletionError from None
    if not isinstance(text, str):
        raise NoCompletionError
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of pairs cannot be written
    usage = _usage(body.get("usage"), settings, factor)
    refused = bool(refusal) or finish_reason == CONTENT_FILTER
    return Completion(text, finish_reason, refused, usage or Usage(answers=1), metered=usage is not None)


def _usage(counted: Any, settings: LlmSettings, factor: float) -> Usage | None:
    """What the server counted; None where it did not, or where it cannot have."""
    if not isinstance(counted, Mapping):
        return None
    details = counted.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    numbers: list[Any] = [counted.get("prompt_tokens"), counted.get("completion_tokens"), cached or 0]
    if not all(type(number) is int and number >= 0 for number in numbers):
        return None
    prompt, completion, cached = numbers
    if not prompt or cached > prompt:
        return None
    return Usage(1, prompt, completion, cached, factor * money(prompt, completion, cached, settings.prices))


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds the server asks to wait: `retry-after-ms`, or `retry-after` as seconds or date; at most ten minutes."""
    seconds = 0.0
    with suppress(ValueError, TypeError):
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        elif "retry-after" in headers:
            value = headers["retry-after"]
            try:
                seconds = float(value)
            except ValueError:
                seconds = parsedate_to_datetime(value).timestamp() - time()
    return min(seconds, LONGEST_WAIT_S) if seconds > 0 else 0.0

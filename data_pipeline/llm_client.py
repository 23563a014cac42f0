"""Chat completions from any OpenAI-compatible server: bounded, retried, cached on disk, tokens counted.

The package's own retries are off: they would hide requests from the counters and ignore the bound on concurrency.
"""

import asyncio
import hashlib
import json
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import Any

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from data_pipeline.teachers import Traffic, Usage
from fcdist.errors import GenerationError
from fcdist.schema.shards import write_json

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
FORMATS = ("json_schema", "json_object", "text")
"""How the form of the answer is demanded, strictest first; a server that refuses one is asked with the next."""


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """Where and how to ask."""

    base_url: str
    api_key_env: str
    """Environment variable that holds the key; the key itself is never stored, logged or cached."""
    model: str
    temperature: float
    max_concurrency: int = 16
    """Requests in flight at most."""
    max_retries: int = 6
    """Further tries of one request after the first."""
    timeout_s: float = 120.0
    backoff_s: float = 1.0
    """Wait before the first retry; doubled each time, up to `max_backoff_s`, with jitter."""
    max_backoff_s: float = 60.0


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


class LlmClient:
    """Asks one model of one server."""

    def __init__(self, settings: LlmSettings, cache_dir: Path) -> None:
        """Raises GenerationError: no model named, or the key's variable is not set."""
        if not settings.model:
            raise GenerationError("generate.llm is empty: name the model that the server at generate.base_url offers")
        if not os.environ.get(settings.api_key_env):
            raise GenerationError(
                f"generate.api_key_env={settings.api_key_env}: this environment variable is not set; export the key of "
                f"{settings.base_url} under that name (any text for a server that checks none)"
            )
        self._settings = settings
        self._cache_dir = cache_dir
        self._format = 0
        self._reached = False
        self._requests = self._retries = self._cached = 0
        self._billed = Usage()
        # Jitter spreads waiting only; no byte of the data depends on it.
        self._jitter = random.Random(os.getpid())

    def traffic(self) -> Traffic:
        """Requests, retries, cache hits and billed tokens so far."""
        return Traffic(self._requests, self._retries, self._cached, self._billed)

    def complete_all(self, requests: Sequence[Request]) -> list[Completion]:
        """Answers in the order of `requests`.

        If one request fails for good, no new one is sent, those in flight end and stay in the cache.

        Raises:
            GenerationError: the key or model is refused, the server cannot be reached, or it fails after all retries.
        """
        return asyncio.run(self._complete_all(requests))

    async def _complete_all(self, requests: Sequence[Request]) -> list[Completion]:
        places = asyncio.Semaphore(self._settings.max_concurrency)
        failed = asyncio.Event()
        asked: dict[str, asyncio.Future[Completion]] = {}

        async def complete(request: Request) -> Completion:
            async with places:
                if failed.is_set():
                    raise asyncio.CancelledError
                try:
                    return await self._complete(request, client.chat.completions.create)
                except BaseException:
                    failed.set()
                    raise

        async with AsyncOpenAI(
            api_key=os.environ[self._settings.api_key_env],
            base_url=self._settings.base_url,
            max_retries=0,
            timeout=self._settings.timeout_s,
        ) as client:
            for request in requests:
                key = self._key(request)
                if key not in asked:
                    asked[key] = asyncio.ensure_future(complete(request))
            await asyncio.gather(*asked.values(), return_exceptions=True)
        errors = [e for task in asked.values() if not task.cancelled() and (e := task.exception())]
        if errors:
            raise errors[0]
        return [asked[self._key(request)].result() for request in requests]

    async def _complete(self, request: Request, create: Callable[..., Awaitable[ChatCompletion]]) -> Completion:
        path = self._cache_path(request)
        if (cached := _read_cached(path)) is not None:
            self._cached += 1
            return cached
        completion = _read_answer(await self._ask(request, create))
        self._billed += completion.usage
        write_json(path, {"model": self._settings.model, "version": request.version, **asdict(completion)})
        return completion

    async def _ask(self, request: Request, create: Callable[..., Awaitable[ChatCompletion]]) -> ChatCompletion:
        tries = 0
        while True:
            form = self._format
            try:
                self._requests += 1
                answer = await create(
                    model=self._settings.model,
                    messages=[dict(message) for message in request.messages],
                    temperature=self._settings.temperature,
                    **_response_format(FORMATS[form], request.schema),
                )
                if not isinstance(answer, ChatCompletion) or not answer.choices:
                    raise _NoCompletion
                self._reached = True
                return answer
            except openai.APIStatusError as error:
                self._reached = True
                if error.status_code in (400, 422) and _format_refused(error) and form + 1 < len(FORMATS):
                    self._format = max(self._format, form + 1)
                    continue
                if error.status_code not in RETRIED or error.code == "insufficient_quota":
                    raise self._refusal(error) from None
                cause, wait = f"status {error.status_code}", _retry_after(error.response.headers)
            except openai.APITimeoutError:
                cause, wait = f"no answer within generate.timeout_s={self._settings.timeout_s:g}", 0.0
            except openai.APIConnectionError as error:
                cause, wait = f"no connection ({error.__cause__ or error})", 0.0
            except (openai.APIResponseValidationError, json.JSONDecodeError, _NoCompletion):
                cause, wait = "a body that is not a chat completion", 0.0
            tries += 1
            # A server that never answered is more likely misspelt than busy: do not keep the user waiting.
            limit = self._settings.max_retries if self._reached else min(2, self._settings.max_retries)
            if tries > limit:
                raise GenerationError(
                    f"generate.base_url={self._settings.base_url}: {cause}, {tries} times in a row; check that the "
                    "server runs and run again: answers so far are cached"
                )
            self._retries += 1
            await asyncio.sleep(max(wait, self._backoff(tries)))

    def _backoff(self, tries: int) -> float:
        longest: float = min(self._settings.max_backoff_s, self._settings.backoff_s * 2 ** (tries - 1))
        return longest * self._jitter.uniform(0.5, 1.0)

    def _refusal(self, error: openai.APIStatusError) -> GenerationError:
        key = os.environ.get(self._settings.api_key_env, "")
        said = str(error.message)[:300]
        said = said.replace(key, "<key>") if key else said
        hint = {
            401: f"the key in {self._settings.api_key_env} is not accepted",
            403: f"the key in {self._settings.api_key_env} may not use this",
            404: f"generate.llm={self._settings.model} or the path of the address is unknown there",
            429: "the account's quota is used up",
        }.get(error.status_code, "the request is refused; fewer generate.conversations_per_tool_set make it shorter")
        return GenerationError(
            f"generate.base_url={self._settings.base_url}: status {error.status_code}: {hint}. Server: {said}"
        )

    def _key(self, request: Request) -> str:
        # The schema, not how it is demanded, is part of the key: a rerun finds answers whatever the server supports.
        question = asdict(request) | {"model": self._settings.model, "temperature": self._settings.temperature}
        return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()

    def _cache_path(self, request: Request) -> Path:
        key = self._key(request)
        return self._cache_dir / key[:2] / f"{key}.json"


class _NoCompletion(Exception):
    """A status of 200 around something else than a completion."""


def _read_cached(path: Path) -> Completion | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        usage = Usage(**fields["usage"])
        return Completion(fields["text"], fields["finish_reason"], fields["refused"], usage)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or torn: asked again and rewritten


def _read_answer(answer: ChatCompletion) -> Completion:
    choice = answer.choices[0]
    refused = bool(choice.message.refusal) or choice.finish_reason == "content_filter"
    usage = Usage(1)
    if answer.usage:
        usage = Usage(1, answer.usage.prompt_tokens or 0, answer.usage.completion_tokens or 0)
    return Completion(choice.message.content or "", choice.finish_reason or "", refused, usage)


def _response_format(form: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    if form == "json_schema":
        wrapped = {"name": "answer", "strict": True, "schema": dict(schema)}
        return {"response_format": {"type": "json_schema", "json_schema": wrapped}}
    return {"response_format": {"type": "json_object"}} if form == "json_object" else {}


def _format_refused(error: openai.APIStatusError) -> bool:
    said = f"{error.message} {error.param}".lower()
    return any(word in said for word in ("response_format", "json_schema", "json_object", "guided", "structured"))


def _retry_after(headers: Mapping[str, str]) -> float:
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
    return min(seconds, 600.0) if seconds > 0 else 0.0

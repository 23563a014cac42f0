"""Completions through a server's Batch API: submit, poll, collect, at whatever point the last run was killed.

Nothing is asked twice: what is in the cache or in a batch that is under way is left out of the next one, and a batch
whose start may have been heard is looked for before it is started again. What a batch left unanswered goes into the
next one.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import openai
from filelock import FileLock, Timeout
from openai import OpenAI
from openai.types import Batch

from data_pipeline.llm.batch_state import COLLECTED, SUBMITTED, SUBMITTING, UPLOADED, WRITTEN, BatchEntry, BatchState
from data_pipeline.llm.cache import AnswerCache
from data_pipeline.llm.client import check_access, refusal
from data_pipeline.llm.ledger import Ledger
from data_pipeline.llm.wire import (
    CONTENT_FILTER,
    FILTERED,
    RETRIED,
    Completion,
    LlmSettings,
    NoCompletionError,
    Request,
    cost_bound,
    read_answer,
    request_key,
    retry_after,
)
from data_pipeline.teachers import AnswersPendingError, Traffic, Usage
from fcdist.errors import GenerationError

MAX_REQUESTS = 50_000
MAX_BYTES = 190_000_000
"""Of one batch; servers take 200 MB."""
ENDED = ("completed", "failed", "expired", "cancelled")
_ALIVE_S = 3 * 86_400.0
"""After which a batch that was never collected counts as lost."""
_FULL_QUEUE = ("token_limit_exceeded", "request_limit_exceeded")
T = TypeVar("T")


class BatchClient:
    """Answers from the cache, and fills the cache in batches."""

    def __init__(self, settings: LlmSettings, cache_dir: Path, ledger: Ledger) -> None:
        """Raises GenerationError: no model named, or the key's variable is not set."""
        check_access(settings)
        self._settings = settings
        self._cache = AnswerCache(cache_dir)
        self._ledger = ledger
        self._folder = cache_dir / "batches" / settings.key
        self._wanted: dict[str, Request] = {}
        self._from_cache: set[str] = set()
        self._bought: set[str] = set()
        self._requests = self._retries = 0
        self._billed = Usage()
        # Jitter spreads waiting only; no byte of the data depends on it.
        self._jitter = random.Random(os.getpid())

    def traffic(self) -> Traffic:
        """Requests of the batches submitted here, calls repeated, answers from the cache, billed tokens."""
        return Traffic(self._requests, self._retries, len(self._from_cache - self._bought), self._billed)

    def complete_all(self, requests: Sequence[Request]) -> list[Completion]:
        """Answers in the order of `requests`, from the cache.

        Raises:
            AnswersPendingError: some are not there; `fetch` gets them.
        """
        keys = [request_key(request, self._settings) for request in requests]
        answers = {key: found for key in dict.fromkeys(keys) if (found := self._cache.read(key)) is not None}
        self._from_cache |= answers.keys()
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in answers}
        if missing:
            self._wanted |= missing
            raise AnswersPendingError
        return [answers[key] for key in keys]

    def fetch(self) -> None:
        """Bring everything under way to its end, also of an earlier run, and ask for what is pending.

        Returns when the answers are cached; what a batch left unanswered stays pending. May take as long as the server
        does, and to kill it loses nothing.

        Raises:
            BudgetError: the budget does not allow even one request.
            GenerationError: the server refuses, or left a request unanswered too often; another process is at it.
        """
        path = self._folder / "state.json"
        if not self._wanted and not BatchState.read(path).open():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._folder / ".lock", timeout=0), self._server() as server:
                state = BatchState.read(path)
                self._write_batches(state)
                for entry in state.open():
                    self._start(server, state, entry)
                self._collect_all(server, state)
        except Timeout:
            raise GenerationError(
                f"{self._folder}: another process is working on these batches; with generate.batch_api=true run one at "
                "a time, without --shard"
            ) from None
        self._wanted.clear()

    def _server(self) -> OpenAI:
        return OpenAI(
            api_key=os.environ[self._settings.api_key_env],
            base_url=self._settings.base_url,
            max_retries=0,
            timeout=self._settings.timeout_s,
        )

    def _write_batches(self, state: BatchState) -> None:
        """Put what is pending and not under way into files of requests, as far as the budget goes."""
        under_way = {key for entry in state.open() for key in entry.keys}
        left = {k: r for k, r in self._wanted.items() if k not in under_way and self._cache.read(k) is None}
        lines = {key: self._line(state, key, request) for key, request in left.items()}
        for keys in split_batches(lines):
            bounds = [cost_bound(left[key], self._settings, self._settings.prices.batch_factor) for key in keys]
            totals = list(accumulate(bounds))
            affordable = self._affordable(totals)
            if not affordable:
                if state.open():
                    return
                raise self._ledger.exhausted(bounds[0], f"{len(left)} requests are left")
            entry = state.begin(keys[:affordable])
            self._ledger.reserve(self._reservation(entry), totals[affordable - 1], _ALIVE_S)
            write_lines(self._file(entry), [lines[key] for key in entry.keys])
            state.move(entry, WRITTEN)
            if affordable < len(keys):
                return

    def _line(self, state: BatchState, key: str, request: Request) -> str:
        body = state.dialect.body(request, self._settings)
        wire = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(wire, ensure_ascii=False) + "\n"

    def _affordable(self, totals: Sequence[Usage]) -> int:
        """How many requests, from the first, the budget allows; `totals`: of all up to each."""
        low, high = 0, len(totals)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._ledger.fits(totals[middle - 1]) else (low, middle - 1)
        return low

    def _start(self, server: OpenAI, state: BatchState, entry: BatchEntry) -> None:
        """Upload and submit, from whichever step was reached."""
        if entry.status == WRITTEN:
            content = self._file(entry).read_bytes()
            name = (f"{entry.name}.jsonl", content)
            entry.file_id = self._patiently(lambda: server.files.create(file=name, purpose="batch")).id
            state.move(entry, UPLOADED)
        if entry.status in (UPLOADED, SUBMITTING):
            heard = entry.status == SUBMITTING
            state.move(entry, SUBMITTING)

            def start() -> Batch:
                nonlocal heard
                if heard and (found := find_batch(server, entry.file_id)):
                    return found
                heard = True
                return server.batches.create(
                    completion_window="24h",
                    endpoint="/v1/chat/completions",
                    input_file_id=entry.file_id,
                    metadata={"fcdist": entry.name},
                )

            entry.batch_id = self._patiently(start).id
            state.move(entry, SUBMITTED)
            self._requests += len(entry.keys)
            self._say(f"{entry.name}: {len(entry.keys):,} requests submitted as {entry.batch_id}")

    def _collect_all(self, server: OpenAI, state: BatchState) -> None:
        errors: list[GenerationError] = []
        while entries := state.open():
            for entry in entries:
                batch = self._patiently(lambda entry=entry: server.batches.retrieve(entry.batch_id))  # type: ignore[misc]
                if batch.status in ENDED and (error := self._collect(server, state, entry, batch)):
                    errors.append(error)
            if state.open():
                time.sleep(self._settings.batch_poll_s)
        if errors:
            raise errors[0]

    def _collect(self, server: OpenAI, state: BatchState, entry: BatchEntry, batch: Batch) -> GenerationError | None:
        """Take over what a batch answered. Returns why to stop, if there is a reason."""
        found, wanted = _Collected(), set(entry.keys)
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                text = self._patiently(lambda file_id=file_id: server.files.content(file_id).text)  # type: ignore[misc]
                for line in read_lines(text):
                    self._take(line, wanted, found)
        for key, completion in found.answers.items():
            self._cache.write(key, completion)
        usage = sum((completion.usage for completion in found.answers.values()), Usage())
        self._billed += usage
        self._bought |= found.answers.keys()
        unmetered = sum(not completion.metered for completion in found.answers.values())
        self._ledger.settle(self._reservation(entry), usage, unmetered / len(entry.keys))
        left = [key for key in entry.keys if key not in found.answers]
        error = self._account_for(state, left, found, batch)
        state.move(entry, COLLECTED)
        self._file(entry).unlink(missing_ok=True)
        self._say(f"{entry.name}: {batch.status}, {len(found.answers):,} of {len(entry.keys):,} requests answered")
        return error

    def _take(self, line: Mapping[str, Any], wanted: Set[str], found: "_Collected") -> None:
        """Read one line of a result; a doubled or foreign one is left out."""
        key, response = str(line.get("custom_id")), line.get("response") or {}
        if key not in wanted or key in found.answers:
            return
        status, body = response.get("status_code"), response.get("body") or {}
        if status == 200:
            try:
                found.answers[key] = read_answer(body, self._settings, self._settings.prices.batch_factor)
            except NoCompletionError:
                found.troubles[key] = (0, "a body that is not a chat completion")
            return
        error = line.get("error") or body.get("error") or {}
        if error.get("code") == CONTENT_FILTER:
            found.answers[key] = FILTERED
            return
        found.troubles[key] = (status or 0, f"{error.get('code') or ''} {error.get('message') or ''}".strip())

    def _account_for(
        self, state: BatchState, left: Sequence[str], found: "_Collected", batch: Batch
    ) -> GenerationError | None:
        """Count requests without an answer; returns an error where asking again does not help."""
        whole = [f"{item.code or ''} {item.message or ''}" for item in (batch.errors and batch.errors.data) or ()]
        refused = batch.status == "failed" and not any(code in text for text in whole for code in _FULL_QUEUE)
        for key in left:
            status, said = found.troubles.get(key, (400 if refused else 0, "; ".join(whole) or batch.status))
            if other := state.dialect.after(status, said):
                state.dialect = other
                return None  # the same refusal stands on every line; all are asked anew the other way
            if status and status not in RETRIED:
                return refusal(status, said, self._settings)
            state.tries[key] = state.tries.get(key, 0) + 1
            if state.tries[key] > self._settings.max_retries:
                return GenerationError(
                    f"{self._settings.key}.base_url={self._settings.base_url}: {len(left)} requests of a batch were "
                    f"not answered, one of them {state.tries[key]} times in a row ({status or 'no status'}: {said}); "
                    "run again: answers so far are cached"
                )
        self._retries += len(left)
        return None

    def _patiently(self, action: Callable[[], T]) -> T:
        """Call the server, again after passing trouble."""
        for tries in range(1, self._settings.max_retries + 2):
            wait = 0.0
            try:
                return action()
            except openai.APIStatusError as error:
                if error.status_code not in RETRIED or error.code == "insufficient_quota":
                    raise refusal(error.status_code, error.message, self._settings) from None
                trouble, wait = f"status {error.status_code}", retry_after(error.response.headers)
            except openai.APIConnectionError as error:
                trouble = f"no connection ({error.__cause__ or error})"
            except (openai.APIResponseValidationError, json.JSONDecodeError):
                trouble = "a body that cannot be read"
            if tries <= self._settings.max_retries:
                self._retries += 1
                backoff = min(self._settings.max_backoff_s, self._settings.backoff_s * 2 ** (tries - 1))
                time.sleep(max(wait, backoff * self._jitter.uniform(0.5, 1.0)))
        raise GenerationError(
            f"{self._settings.key}.base_url={self._settings.base_url}: {trouble}, {tries} times in a row; run again: "
            "batches under way go on at the server, answers so far are cached"
        )

    def _reservation(self, entry: BatchEntry) -> str:
        return f"{self._settings.key}/{entry.name}"

    def _file(self, entry: BatchEntry) -> Path:
        return self._folder / f"{entry.name}.jsonl"

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class _Collected:
    """What the files of a batch hold."""

    answers: dict[str, Completion] = field(default_factory=dict)
    troubles: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Key → status (0: none) and what the server said."""


def split_batches(
    lines: Mapping[str, str], max_requests: int = MAX_REQUESTS, max_bytes: int = MAX_BYTES
) -> Iterator[list[str]]:
    """Keys of `lines`, in order, in runs that keep within a server's limits."""
    keys: list[str] = []
    size = 0
    for key, line in lines.items():
        grown = size + len(line.encode())
        if keys and (len(keys) == max_requests or grown > max_bytes):
            yield keys
            keys, grown = [], len(line.encode())
        keys.append(key)
        size = grown
    if keys:
        yield keys


def find_batch(server: OpenAI, file_id: str) -> Batch | None:
    """The batch over an uploaded file, if the server has one."""
    try:
        return next((batch for batch in server.batches.list(limit=100) if batch.input_file_id == file_id), None)
    except openai.NotFoundError:
        return None  # a server that keeps no list


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a file of requests."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def read_lines(text: str) -> Iterator[Mapping[str, Any]]:
    """Objects of a JSON-lines text; a line that is none is left out, so that its request counts as unanswered."""
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(value, Mapping):
            yield value

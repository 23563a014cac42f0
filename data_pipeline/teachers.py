"""What a teacher is: something that turns tasks into drafts. Gates decide afterwards what is kept."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from data_pipeline.replay import Executor, replays
from fcdist.config.types import Config
from fcdist.errors import GenerationError
from fcdist.schema.conversation import Conversation


@dataclass(frozen=True, slots=True)
class Task:
    """One conversation to write."""

    index: int
    """Place in the whole data set; decides category, language and tool set."""
    attempt: int = 0
    """0 first; each rejected draft is replaced by the next attempt of the same index."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Language-model answers and their tokens, as the server counted them."""

    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Those of `prompt_tokens` that the server still had from an earlier request."""
    cost: float = 0.0
    """Money, at the prices when the answer was bought."""

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        if other is _NO_USAGE:
            return self
        return Usage(
            self.answers + other.answers,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cost + other.cost,
        )


_NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Draft:
    """What a teacher made of one task."""

    task: Task
    conversation: Conversation
    reason: str | None = None
    """Set when the teacher itself refuses its draft; a counter key, so no free text."""
    usage: Usage = _NO_USAGE
    """Tokens behind this draft; a request that serves several drafts is counted with the first of them."""
    judge_usage: Usage = _NO_USAGE
    """Tokens of the judge, counted likewise."""

    def refused(self, reason: str | None) -> "Draft":
        """This draft with `reason`; itself where there is none."""
        return self if reason is None else replace(self, reason=reason)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What this process asked of a language-model server; unlike `Draft.usage` it depends on what was cached."""

    requests: int = 0
    """HTTP requests sent, retries included."""
    retries: int = 0
    cached: int = 0
    """Answers taken from the disk cache."""
    billed: Usage = field(default_factory=Usage)
    """Tokens of the answers that came over the wire."""
    lost: int = 0
    """Requests that the server may have billed although their answer, or its usage, never arrived."""

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.requests + other.requests,
            self.retries + other.retries,
            self.cached + other.cached,
            self.billed + other.billed,
            self.lost + other.lost,
        )


class BudgetError(GenerationError):
    """The budget does not allow another request. What was written and answered so far is kept."""


class AnswersPendingError(Exception):
    """Answers that were asked for are not there yet; `Teacher.fetch` gets them."""


class Planner(Protocol):
    """Makes conversations whose ground truth is known by construction."""

    def conversation(self, index: int, attempt: int = 0) -> Conversation:
        """Conversation number `index`; a pure function of (seed, index, attempt), its category of the index alone."""

    def execute(self, conversation: Conversation) -> Iterable[Any]:
        """Results of the calls of one of its conversations, in order, on a new world; raises where there are none."""


class Teacher(Protocol):
    """Writes conversations."""

    name: str
    makes_circles: bool
    """Whether its work leaves objects behind that hold one another; otherwise the garbage collector rests meanwhile."""

    def drafts(self, tasks: Sequence[Task]) -> Iterator[Draft]:
        """One draft per task, in the order of `tasks`; the same tasks give the same drafts in every process."""

    def review(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """A second look at drafts that passed the gates: the same drafts, some of them refused with a reason now."""

    def fetch(self) -> None:
        """Get the answers for which `drafts` or `review` raised AnswersPendingError; may take hours."""

    def traffic(self) -> Traffic:
        """Everything asked of a server so far; zeros for a teacher that asks none."""


TeacherFactory = Callable[[Config, Path], Teacher]
"""(config, run folder) → teacher. A module-level function, because worker processes call it too."""


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection inside: planned conversations and gates make no circles, and walking a shard's drafts again
    and again in search of some takes a twentieth of the time. When it ends, the drafts should be gone."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class PlannedTeacher:
    """The planner's own words, unchanged.

    Args:
        planner: writes the conversations.
        name: counted in reports.
        execute: executes the calls of a conversation again; what gives other results is refused. None: not checked.
    """

    makes_circles = False

    def __init__(
        self,
        planner: Planner,
        name: str = "programmatic",
        execute: Executor | None = None,
    ) -> None:
        self.name = name
        self._planner = planner
        self._execute = execute

    def drafts(self, tasks: Sequence[Task]) -> Iterator[Draft]:
        """Yield the planner's conversation of each task."""
        for task in tasks:
            yield Draft(task, self._planner.conversation(task.index, task.attempt))

    def review(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """Refuse what cannot be executed again with the same results."""
        if self._execute is None:
            return drafts
        return [draft.refused(replays(draft.conversation, self._execute)) for draft in drafts]

    def fetch(self) -> None:
        """Nothing is ever pending."""

    def traffic(self) -> Traffic:
        """Nothing is asked of any server."""
        return Traffic()


def refuse_self(config: Config) -> None:
    """Raise GenerationError for `generate.teacher=self`, which is another program's work."""
    if config.generate.teacher == "self":
        raise GenerationError(
            "generate.teacher=self is written by the model to be tuned, not by this program: "
            "`fcdist generate generate.teacher=self` runs `python -m fcdist.replay RUN` for it"
        )


def build_teacher(config: Config, run_dir: Path) -> Teacher:
    """Teacher that `generate.teacher` names.

    Raises:
        GenerationError: `self` (another program), or the language model cannot be reached as configured.
    """
    refuse_self(config)
    from data_pipeline.programmatic import ProgrammaticTeacher

    planner = ProgrammaticTeacher(config.generate, config.seed)
    if config.generate.teacher == "programmatic":
        return PlannedTeacher(planner, execute=planner.execute)
    # Imported only here: the default path must not need the openai package.
    from data_pipeline.llm.teacher import OpenAITeacher

    return OpenAITeacher(planner, config.generate, run_dir / "llm_cache")

"""The language-model teacher: plans from the planner, words from a model, an optional judge, one book of costs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from data_pipeline.llm.batches import BatchClient
from data_pipeline.llm.client import Llm, LlmClient
from data_pipeline.llm.free import Free
from data_pipeline.llm.grouping import group_by_tools
from data_pipeline.llm.judge import Judge
from data_pipeline.llm.ledger import Ledger
from data_pipeline.llm.paraphrase import Paraphrase
from data_pipeline.llm.wire import Completion, LlmSettings, Request
from data_pipeline.replay import replays
from data_pipeline.teachers import Draft, Planner, Task, Traffic, Usage
from fcdist.config.types import GenerateConfig
from fcdist.schema.conversation import Conversation

UNTRUE_FACTS = ("contrast",)
"""Metadata that no longer holds in other words: two conversations of a pair are the same only in the planner's."""


class Mode(Protocol):
    """What a model is asked for, and how its answer is read."""

    version: str

    def request(self, tasks: Sequence[Task], plans: Sequence[Conversation]) -> Request:
        """One request for plans that share a tool set and language."""

    def read(
        self, tasks: Sequence[Task], plans: Sequence[Conversation], answer: Completion
    ) -> list[tuple[Conversation, str | None]]:
        """For each plan the conversation and None, or the plan and why it has to be refused."""


class OpenAITeacher:
    """Asks for `conversations_per_tool_set` conversations of one tool set a request."""

    name = "openai"
    makes_circles = True

    def __init__(self, planner: Planner, config: GenerateConfig, cache_dir: Path, backoff_s: float = 1.0) -> None:
        """Raises GenerationError: no model named, or no key in the environment."""
        self._planner = planner
        self._llm = config.llm
        self._per_request = config.conversations_per_tool_set
        self._mode: Mode = Paraphrase() if config.llm_mode == "paraphrase" else Free(planner.execute, config.thoughts)
        ledger = Ledger(cache_dir / "costs.sqlite3", config.budget)
        self._client = _client(teacher_settings(config, backoff_s), cache_dir, ledger, config.batch_api)
        self._judge: Judge | None = None
        self._judge_client: Llm | None = None
        if config.judge.llm:
            self._judge_client = _client(judge_settings(config, backoff_s), cache_dir, ledger, config.batch_api)
            self._judge = Judge(self._judge_client, config.judge.votes, self._per_request)

    def traffic(self) -> Traffic:
        """What the servers were asked so far."""
        judged = self._judge_client.traffic() if self._judge_client else Traffic()
        return self._client.traffic() + judged

    def drafts(self, tasks: Sequence[Task]) -> Iterator[Draft]:
        """Yield one draft per task, in order; all requests of `tasks` run side by side."""
        plans = [self._planner.conversation(task.index, task.attempt) for task in tasks]
        groups = group_by_tools(plans, self._per_request)
        chosen = [([tasks[i] for i in group], [plans[i] for i in group]) for group in groups]
        answers = self._client.complete_all([self._mode.request(*pair) for pair in chosen])
        drafts: dict[int, Draft] = {}
        counted: set[int] = set()  # equal requests share one answer object
        for group, pair, answer in zip(groups, chosen, answers, strict=True):
            for position, (i, (conversation, reason)) in enumerate(
                zip(group, self._mode.read(*pair, answer), strict=True)
            ):
                usage = answer.usage if position == 0 and id(answer) not in counted else Usage()
                drafts[i] = Draft(tasks[i], self._sign(conversation), reason, usage)
            counted.add(id(answer))
        yield from (drafts[i] for i in range(len(tasks)))

    def review(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """Refuse what cannot be executed again with the same results, and what the judge drops."""
        executed = [replace(draft, reason=replays(draft.conversation, self._planner.execute)) for draft in drafts]
        if self._judge is None:
            return executed
        verdicts = iter(self._judge.review([draft for draft in executed if draft.reason is None]))
        return [draft if draft.reason else next(verdicts) for draft in executed]

    def fetch(self) -> None:
        """With the Batch API, get the answers that are pending."""
        for client in (self._client, self._judge_client):
            if isinstance(client, BatchClient):
                client.fetch()

    def _sign(self, conversation: Conversation) -> Conversation:
        facts = {key: value for key, value in (conversation.metadata or {}).items() if key not in UNTRUE_FACTS}
        return replace(
            conversation, source=self.name, metadata={**facts, "llm": self._llm, "prompt": self._mode.version}
        )


def teacher_settings(config: GenerateConfig, backoff_s: float = 1.0) -> LlmSettings:
    """How the teacher's model is asked."""
    return LlmSettings(
        base_url=config.base_url,
        api_key_env=config.api_key_env,
        model=config.llm,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        max_concurrency=config.max_concurrency,
        requests_per_minute=config.requests_per_minute,
        tokens_per_minute=config.tokens_per_minute,
        max_retries=config.max_retries,
        timeout_s=config.timeout_s,
        backoff_s=backoff_s,
        prices=config.prices,
        batch_poll_s=config.batch_poll_s,
    )


def judge_settings(config: GenerateConfig, backoff_s: float = 1.0) -> LlmSettings:
    """How the judge's model is asked; where it lives, if nothing else is said, as the teacher's."""
    judge = config.judge
    return replace(
        teacher_settings(config, backoff_s),
        base_url=judge.base_url or config.base_url,
        api_key_env=judge.api_key_env or config.api_key_env,
        model=judge.llm,
        temperature=judge.temperature,
        max_tokens=judge.max_tokens,
        prices=judge.prices,
        key="generate.judge",
    )


def _client(settings: LlmSettings, cache_dir: Path, ledger: Ledger, batch: bool) -> Llm:
    return BatchClient(settings, cache_dir, ledger) if batch else LlmClient(settings, cache_dir, ledger)

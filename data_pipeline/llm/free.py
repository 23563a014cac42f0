"""Free mode: a language model writes whole dialogues; the simulator and the gates decide what they are worth.

The planner gives the tools, what is wanted (category, language, date) and facts: calls that the simulated back end has
executed, with their results. The model invents people, situations, turns, thoughts and answers around them. Its calls
are executed again: a result that it wrote must agree with the simulator's, one that it left out is the simulator's. The
words behind the arguments are the model's own, so the planner's notes on words are dropped and the gates read the text.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from data_pipeline.llm.free_prompts import DIALOGUE_SCHEMA, MANNERS, VERSION, dialogue_messages, kind_of
from data_pipeline.llm.repair import read_list
from data_pipeline.llm.wire import Completion, Request
from data_pipeline.teachers import Planner, Task
from fcdist.config.seeds import derive_seed
from fcdist.schema.conversation import Conversation, Message, ToolCall

KEPT_FACTS = ("tool_set", "domain", "domains", "tools", "parameters", "today", "missing", "negative")
"""Metadata of a plan that is true of any dialogue around it; the rest describes the planner's words."""
MIN_CHINESE = 0.2
"""Share of Chinese characters among the letters of what was said, from which a dialogue counts as Chinese."""

Execute = Callable[[str, Mapping[str, Any]], Any]
"""(tool, arguments) → what the simulated back end returns."""


class BadDialogueError(Exception):
    """A dialogue cannot be used; the message is the reason, a counter key."""


@dataclass(slots=True)
class Backend:
    """Serves a plan's calls from the plan, and others from the planner's simulator."""

    facts: dict[tuple[str, str], tuple[ToolCall, str]]
    """(tool, canonical arguments) → the planned call and its result."""
    execute: Execute | None = None

    @classmethod
    def of(cls, plan: Conversation, execute: Execute | None = None) -> "Backend":
        """The facts of a plan."""
        facts = {(call.name, _canonical_text(call.arguments)): (call, result) for call, result in planned_calls(plan)}
        return cls(facts, execute)

    def call(self, name: str, arguments: str) -> tuple[str, str]:
        """Execute a call.

        Returns:
            Arguments and result as JSON text; of a planned call in the planner's notation.

        Raises:
            BadDialogueError: the arguments are not JSON, or nobody knows the result.
        """
        try:
            key = name, _canonical_text(arguments)
        except ValueError:
            raise BadDialogueError("llm_arguments_not_json") from None
        if key in self.facts:
            call, result = self.facts[key]
            return call.arguments, result
        decoded = json.loads(arguments)
        if self.execute is None or not isinstance(decoded, Mapping):
            raise BadDialogueError("llm_unknown_call")
        result = json.dumps(self.execute(name, decoded), ensure_ascii=False)
        return json.dumps(decoded, ensure_ascii=False), result


class Free:
    """Asks for whole dialogues around the calls and results of plans."""

    version = VERSION

    def __init__(self, planner: Planner, thoughts: bool = True) -> None:
        """Args: planner: its `simulator`, if it has one, executes calls that it did not plan."""
        self._simulator = getattr(planner, "simulator", None)
        self._thoughts = thoughts

    def request(self, tasks: Sequence[Task], plans: Sequence[Conversation]) -> Request:
        """Ask for one dialogue for each plan; the plans share a tool set and language."""
        tools = [tool.to_wire() for tool in plans[0].tools]
        wanted = [describe_wanted(number, plan) for number, plan in enumerate(plans)]
        messages = dialogue_messages(plans[0].language, tools, wanted)
        return Request(messages, DIALOGUE_SCHEMA, VERSION, sample=tasks[0].attempt)

    def read(
        self, tasks: Sequence[Task], plans: Sequence[Conversation], answer: Completion
    ) -> list[tuple[Conversation, str | None]]:
        """For each plan the model's dialogue and None, or the plan itself and why it has to be refused."""
        if answer.refused:
            return [(plan, "llm_refused") for plan in plans]
        items: dict[int, list[Mapping[str, Any]]] = {}
        for item in read_list(answer.text, DIALOGUE_SCHEMA):
            items.setdefault(item["id"], []).append(item)
        if not items:
            return [(plan, "llm_unreadable") for plan in plans]
        pairs = enumerate(zip(tasks, plans, strict=True))
        return [self._settle(task, plan, items.get(number, [])) for number, (task, plan) in pairs]

    def _settle(
        self, task: Task, plan: Conversation, items: Sequence[Mapping[str, Any]]
    ) -> tuple[Conversation, str | None]:
        if len(items) != 1:
            return plan, "llm_duplicate_item" if items else "llm_missing_item"
        execute = self._simulator(task.index, task.attempt) if self._simulator else None
        try:
            return build_dialogue(plan, items[0]["turns"], Backend.of(plan, execute), self._thoughts), None
        except BadDialogueError as error:
            return plan, str(error)


def describe_wanted(number: int, plan: Conversation) -> dict[str, Any]:
    """What the prompt says of one wanted conversation."""
    rng = random.Random(derive_seed(0, "manner", plan.id, json.dumps([m.content for m in plan.messages])))
    facts = [
        {"name": call.name, "arguments": json.loads(call.arguments), "result": _decoded(result)}
        for call, result in planned_calls(plan)
    ]
    wanted = {
        "id": number,
        "kind": kind_of(plan.category, plan.language),
        "system": next((m.content for m in plan.messages if m.role == "system"), None),
        "facts": facts,
        "idea": None if facts else next((m.content for m in plan.messages if m.role == "user"), None),
        "ask_for": [slot["noun"] for slot in (plan.metadata or {}).get("missing") or ()],
        "manner": rng.choice(MANNERS["zh" if plan.language == "zh" else "en"]),
    }
    return {key: value for key, value in wanted.items() if value not in (None, []) or key == "facts"}


def planned_calls(plan: Conversation) -> Iterator[tuple[ToolCall, str]]:
    """Calls of a plan, in order, with their results as text."""
    pending: list[ToolCall] = []
    for message in plan.messages:
        if message.role == "tool":
            yield pending.pop(0), message.content or ""
        else:
            pending = list(message.tool_calls)


def build_dialogue(
    plan: Conversation, turns: Sequence[Mapping[str, Any]], backend: Backend, thoughts: bool = True
) -> Conversation:
    """The conversation that a model wrote in the place of `plan`.

    Raises:
        BadDialogueError: turns in a wrong order, calls of another shape than planned, a result that the simulator does
            not give, or the wrong language.
    """
    builder = _Builder(backend, thoughts, [m for m in plan.messages if m.role == "system"])
    for turn in turns:
        builder.add(turn)
    builder.close_calls()
    if call_groups(builder.messages) != call_groups(plan.messages):
        raise BadDialogueError("llm_other_calls")
    if is_chinese(builder.messages) != (plan.language == "zh"):
        raise BadDialogueError("llm_language")
    facts = {key: value for key, value in (plan.metadata or {}).items() if key in KEPT_FACTS}
    return replace(plan, messages=tuple(builder.messages), metadata=facts)


def call_groups(messages: Sequence[Message]) -> list[tuple[bool, Counter[str]]]:
    """Which tools are called together, in order, and whether a user spoke since the group before."""
    groups: list[tuple[bool, Counter[str]]] = []
    asked = False
    for message in messages:
        if message.tool_calls:
            groups.append((asked, Counter(call.name for call in message.tool_calls)))
            asked = False
        asked |= message.role == "user"
    return groups


def is_chinese(messages: Sequence[Message]) -> bool:
    """Whether users and assistant speak Chinese."""
    said = "".join(m.content or "" for m in messages if m.role in ("user", "assistant"))
    letters = sum(character.isalpha() for character in said)
    return sum("\u4e00" <= character <= "\u9fff" for character in said) > MIN_CHINESE * letters


@dataclass(slots=True)
class _Builder:
    """Turns, one after the other, become messages."""

    backend: Backend
    thoughts: bool
    messages: list[Message]
    made: int = 0
    pending: list[tuple[ToolCall, str]] = field(default_factory=list)
    """Calls whose results are not written yet."""

    def add(self, turn: Mapping[str, Any]) -> None:
        text = (turn["text"] or "").strip()
        if turn["role"] == "observation":
            self._observe(text)
            return
        self.close_calls()
        thought = (turn["thought"] or "").strip() or None
        if turn["role"] == "user":
            if not text or turn["calls"]:
                raise BadDialogueError("llm_wrong_turns")
            self.messages.append(Message("user", text))
        elif turn["calls"]:
            self._call(turn["calls"], thought if self.thoughts else None)
        elif text:
            self.messages.append(Message("assistant", text, thought if self.thoughts else None))
        else:
            raise BadDialogueError("llm_wrong_turns")

    def close_calls(self) -> None:
        """Results that the model left out are the simulator's."""
        while self.pending:
            self._result(*self.pending.pop(0))

    def _call(self, calls: Sequence[Mapping[str, str]], thought: str | None) -> None:
        for call in calls:
            self.made += 1
            arguments, result = self.backend.call(call["name"], call["arguments"])
            self.pending.append((ToolCall(f"call_{self.made}", call["name"], arguments), result))
        self.messages.append(Message("assistant", None, thought, tuple(call for call, _ in self.pending)))

    def _observe(self, text: str) -> None:
        if not self.pending:
            raise BadDialogueError("llm_wrong_turns")
        call, result = self.pending.pop(0)
        if text and not agree(_decoded(text), _decoded(result)):
            raise BadDialogueError("llm_other_result")
        self._result(call, result)

    def _result(self, call: ToolCall, result: str) -> None:
        self.messages.append(Message("tool", result, tool_call_id=call.id, name=call.name))


def agree(said: Any, true: Any) -> bool:
    """Whether two results are the same up to the notation of numbers and the order of keys."""
    if isinstance(said, Mapping) and isinstance(true, Mapping):
        return said.keys() == true.keys() and all(agree(said[key], true[key]) for key in true)
    if isinstance(said, list) and isinstance(true, list):
        return len(said) == len(true) and all(map(agree, said, true))
    if type(said) in (int, float) and type(true) in (int, float):
        return abs(said - true) <= 1e-6 * max(1.0, abs(true))
    return type(said) is type(true) and bool(said == true)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _canonical_text(arguments: str) -> str:
    """Equal for arguments that mean the same. Raises ValueError: not JSON."""
    return json.dumps(_canonical(json.loads(arguments)), sort_keys=True, ensure_ascii=False)


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value

"""Free mode: a language model writes whole dialogues; the simulator and the gates decide what they are worth.

The planner gives the tools, an outline (who speaks, what is called when) and facts: calls that the simulated back end
has executed, with their results. The model invents people, situations, words, thoughts and answers around them. Its
calls are executed again: a result that it wrote must agree with the simulator's, one that it left out is the
simulator's. The planner's notes on its own words are dropped, so the gates read the text instead.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from data_pipeline.llm.free_prompts import DIALOGUE_SCHEMA, VERSION, dialogue_messages, kind_of
from data_pipeline.llm.manners import manner_of
from data_pipeline.llm.repair import read_list
from data_pipeline.llm.wire import Completion, Request
from data_pipeline.replay import Executor
from data_pipeline.teachers import Task
from fcdist.schema.conversation import Conversation, Message, ToolCall

SELF_EXPLANATORY = ("single", "nested", "date", "parallel", "chain")
"""Categories whose user turn the facts tell; in the others the planner says what it is about."""
PLANNERS_WORDS = ("calls", "contrast")
"""Metadata of a plan that describes its words, and is not true of other words."""
MIN_CHINESE = 0.2
"""Share of Chinese characters among the letters of what was said, from which a dialogue counts as Chinese."""

Step = tuple[str, ...]
"""Who speaks, and the names of what is called."""


class BadDialogueError(Exception):
    """A dialogue cannot be used; the message is the reason, a counter key."""


class Free:
    """Asks for whole dialogues around the calls and results of plans."""

    version = VERSION

    def __init__(self, execute: Executor, thoughts: bool = True) -> None:
        """Args: execute: the planner's simulator. thoughts: False leaves them out."""
        self._execute = execute
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
        return [self._settle(plan, items.get(number, [])) for number, plan in enumerate(plans)]

    def _settle(self, plan: Conversation, items: Sequence[Mapping[str, Any]]) -> tuple[Conversation, str | None]:
        if len(items) != 1:
            return plan, "llm_duplicate_item" if items else "llm_missing_item"
        try:
            return build_dialogue(plan, items[0]["turns"], self._execute, self._thoughts), None
        except BadDialogueError as error:
            return plan, str(error)


def describe_wanted(number: int, plan: Conversation) -> dict[str, Any]:
    """What the prompt says of one wanted conversation."""
    wanted = {
        "id": number,
        "kind": kind_of(plan.category, plan.language),
        "system": next((m.content for m in plan.messages if m.role == "system"), None),
        "manner": manner_of(plan),
        "facts": [
            {"name": call.name, "arguments": json.loads(call.arguments), "result": _decoded(result)}
            for call, result in planned_calls(plan)
        ],
        "outline": list(_outline(plan)),
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _outline(plan: Conversation) -> Iterator[dict[str, Any]]:
    """Turn by turn what happens; in words only where neither facts nor the kind of conversation tell it."""
    facts, made = plan.metadata or {}, 0
    nouns = [slot["noun"] for key in ("missing", "asked_again") for slot in facts.get(key) or ()]
    unclear = [facts["ambiguous"]["text"]] if facts.get("ambiguous") else []
    for position, message in enumerate(plan.messages):
        step: dict[str, Any] = {"by": message.role}
        if message.tool_calls:
            step["facts"] = list(range(made, made + len(message.tool_calls)))
            made += len(message.tool_calls)
        elif message.role == "user":
            if unclear or plan.category not in SELF_EXPLANATORY:
                step |= {"gist": message.content, "keep": _standing_in(message, unclear)}
        elif message.role == "assistant":
            if plan.messages[position - 1].role != "tool":
                step |= {"gist": message.content, "keep": _standing_in(message, nouns + unclear)}
        else:
            continue
        yield {key: value for key, value in step.items() if value != []}


def _standing_in(message: Message, words: Sequence[str]) -> list[str]:
    return [word for word in dict.fromkeys(words) if word in (message.content or "")]


def planned_calls(plan: Conversation) -> Iterator[tuple[ToolCall, str]]:
    """Calls of a plan, in order, with their results as text."""
    pending: list[ToolCall] = []
    for message in plan.messages:
        if message.role == "tool":
            yield pending.pop(0), message.content or ""
        else:
            pending = list(message.tool_calls)


def build_dialogue(
    plan: Conversation, turns: Sequence[Mapping[str, Any]], execute: Executor, thoughts: bool = True
) -> Conversation:
    """The conversation that a model wrote in the place of `plan`.

    Args:
        plan: with the facts.
        turns: the model's, as `DIALOGUE_SCHEMA` has them.
        execute: the simulator.
        thoughts: False leaves them out.

    Raises:
        BadDialogueError: another outline than planned, a call that cannot be executed, a result that the simulator
            does not give, the planner's own words, or the wrong language.
    """
    notation = {(call.name, _canonical_text(call.arguments)): call.arguments for call, _ in planned_calls(plan)}
    reader = _Reader(notation, thoughts, [m for m in plan.messages if m.role == "system"])
    for turn in turns:
        reader.add(turn)
    reader.close_calls()
    if steps(reader.messages) != steps(plan.messages):
        raise BadDialogueError("llm_other_outline")
    if is_chinese(reader.messages) != (plan.language == "zh"):
        raise BadDialogueError("llm_language")
    if _user_turns(reader.messages) == _user_turns(plan.messages):
        raise BadDialogueError("llm_unchanged")
    facts = {key: value for key, value in (plan.metadata or {}).items() if key not in PLANNERS_WORDS}
    said = replace(plan, messages=tuple(reader.messages), metadata=facts)
    return replace(said, messages=tuple(_with_results(said.messages, true_results(said, execute))))


def true_results(said: Conversation, execute: Executor) -> list[str]:
    """Results of the calls of `said`, as JSON text. Raises BadDialogueError: a call cannot be executed."""
    if not any(message.tool_calls for message in said.messages):
        return []
    try:
        return [json.dumps(result, ensure_ascii=False) for result in execute(said)]
    except Exception:  # a model can call with anything, and a simulator can stumble over anything
        raise BadDialogueError("llm_unknown_call") from None


def steps(messages: Sequence[Message]) -> list[Step]:
    """Outline of a conversation: user turns, calls that are made together, and what the assistant says."""
    found: list[Step] = []
    for message in messages:
        if message.tool_calls:
            found.append(("calls", *sorted(call.name for call in message.tool_calls)))
        elif message.role in ("user", "assistant"):
            found.append((message.role,))
    return found


def is_chinese(messages: Sequence[Message]) -> bool:
    """Whether users and assistant speak Chinese."""
    said = "".join(m.content or "" for m in messages if m.role in ("user", "assistant"))
    letters = sum(character.isalpha() for character in said)
    return sum("\u4e00" <= character <= "\u9fff" for character in said) > MIN_CHINESE * letters


def agree(said: Any, true: Any) -> bool:
    """Whether two results are the same up to the notation of numbers and the order of keys."""
    if isinstance(said, dict) and isinstance(true, dict):
        return said.keys() == true.keys() and all(agree(said[key], true[key]) for key in true)
    if isinstance(said, list) and isinstance(true, list):
        return len(said) == len(true) and all(map(agree, said, true))
    if type(said) in (int, float) and type(true) in (int, float):
        return bool(abs(said - true) <= 1e-6 * max(1.0, abs(true)))
    return type(said) is type(true) and bool(said == true)


@dataclass(slots=True)
class _Reader:
    """Turns, one after the other, become messages; results are still the model's."""

    notation: Mapping[tuple[str, str], str]
    """(tool, canonical arguments) → the planner's text for them."""
    thoughts: bool
    messages: list[Message]
    pending: list[ToolCall] = field(default_factory=list)
    """Calls without a result yet."""
    made: int = 0

    def add(self, turn: Mapping[str, Any]) -> None:
        text = (turn["text"] or "").strip()
        if turn["role"] == "observation":
            if not self.pending:
                raise BadDialogueError("llm_other_outline")
            self._observe(text)
            return
        self.close_calls()
        thought = (turn["thought"] or "").strip() if self.thoughts else ""
        if turn["role"] == "user" and text and not turn["calls"]:
            self.messages.append(Message("user", text))
        elif turn["role"] == "assistant" and turn["calls"]:
            self.pending = [self._read_call(call) for call in turn["calls"]]
            self.messages.append(Message("assistant", None, thought or None, tuple(self.pending)))
        elif turn["role"] == "assistant" and text:
            self.messages.append(Message("assistant", text, thought or None))
        else:
            raise BadDialogueError("llm_empty_turn")

    def close_calls(self) -> None:
        """Leave the results that the model left out to the simulator."""
        while self.pending:
            self._observe("")

    def _observe(self, text: str) -> None:
        call = self.pending.pop(0)
        self.messages.append(Message("tool", text, tool_call_id=call.id, name=call.name))

    def _read_call(self, call: Mapping[str, str]) -> ToolCall:
        try:
            key = call["name"], _canonical_text(call["arguments"])
        except (ValueError, RecursionError):
            raise BadDialogueError("llm_arguments_not_json") from None
        self.made += 1
        return ToolCall(f"call_{self.made}", call["name"], self.notation.get(key, call["arguments"]))


def _with_results(messages: Sequence[Message], results: Sequence[str]) -> Iterator[Message]:
    """Put the simulator's results in. Raises BadDialogueError: the model wrote another one."""
    left = iter(results)
    for message in messages:
        if message.role != "tool":
            yield message
            continue
        true = next(left)
        if message.content and not agree(_decoded(message.content), _decoded(true)):
            raise BadDialogueError("llm_other_result")
        yield replace(message, content=true)


def _user_turns(messages: Sequence[Message]) -> list[str | None]:
    return [message.content for message in messages if message.role == "user"]


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

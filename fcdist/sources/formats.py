"""Records as conversations: OpenAI, ShareGPT tool data (as LLaMA-Factory lays it out) and Alpaca."""

import json
import marshal
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from fcdist.errors import SchemaError
from fcdist.schema.checks import check_tools
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

_THOUGHT = re.compile(r"\s*<(think|thought)>(.*?)</\1>\s*(.*)", re.DOTALL)
_MARKED_CALLS = re.compile(r"(.*?)<tool_call>(.*)</tool_call>\s*", re.DOTALL)


def from_openai(record: Any, ignore: Sequence[str] = ()) -> Conversation:
    """Read `messages` and `tools`, without the fields named in `ignore`. Raises SchemaError."""
    tools = record.get("tools") if isinstance(record, Mapping) and "tools" not in ignore else None
    if not tools or not isinstance(tools, list):
        return Conversation.from_wire(record, ignore)
    without = {key: value for key, value in record.items() if key != "tools"}
    return replace(Conversation.from_wire(without, ignore), tools=_checked_tools(marshal.dumps(tools, 2)))


@lru_cache(maxsize=1024)
def _checked_tools(wire: bytes) -> tuple[Tool, ...]:
    """Tools of a decoded list, which is hashable as bytes; conversations with equal tools share one object."""
    tools = tuple(Tool.from_wire(tool, f"tools[{i}]") for i, tool in enumerate(marshal.loads(wire)))
    check_tools(tools)
    return tools


def from_alpaca(record: Mapping[str, Any]) -> Conversation:
    """Convert `instruction`, `input`, `output` (optional `system`, `history`). Raises SchemaError."""
    _known(record, required=("instruction", "output"), optional=("input", "system", "history", "id"))
    messages = [Message("system", _text(record["system"], "system"))] if record.get("system") else []
    for i, pair in enumerate(record.get("history") or ()):
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise SchemaError(f"history[{i}] must be a pair of user text and answer")
        messages.append(Message("user", _text(pair[0], f"history[{i}][0]")))
        messages.append(Message("assistant", _text(pair[1], f"history[{i}][1]")))
    question = _text(record["instruction"], "instruction")
    if extra := _text(record.get("input") or "", "input"):
        question = f"{question}\n{extra}"
    messages += [Message("user", question), _answer(_text(record["output"], "output"))]
    return Conversation(tuple(messages), id=str(record.get("id") or ""))


def from_sharegpt(record: Mapping[str, Any]) -> Conversation:
    """Convert `conversations` (`from`, `value`) and `tools` (JSON text or a list). Raises SchemaError.

    Consecutive calls, and text right before a call, are one assistant turn. Observations answer the open calls in
    order; a single observation that is a JSON list with one entry a call is taken apart.
    """
    _known(record, required=("conversations",), optional=("tools", "system", "id"))
    turns = record["conversations"]
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise SchemaError("conversations must be a non-empty list")
    messages = [Message("system", _text(record["system"], "system"))] if record.get("system") else []
    results: list[str] = []
    num_calls = 0
    for i, turn in enumerate(turns):
        speaker, value = _turn(turn, f"conversations[{i}]")
        if speaker == "observation":
            results.append(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            continue
        _answer_calls(messages, results, f"conversations[{i - 1}]")
        results = []
        if speaker == "function_call":
            turn = _calling_turn(value, num_calls, f"conversations[{i}]")
            num_calls += len(turn.tool_calls)
            _append_calls(messages, turn)
        elif speaker == "gpt":
            messages.append(_answer(_text(value, f"conversations[{i}].value")))
        else:
            messages.append(Message("user" if speaker == "human" else "system", _text(value, f"conversations[{i}]")))
    _answer_calls(messages, results, f"conversations[{len(turns) - 1}]")
    return Conversation(tuple(messages), tools=_tools(record.get("tools")), id=str(record.get("id") or ""))


def _turn(turn: Any, where: str) -> tuple[str, Any]:
    if not isinstance(turn, Mapping) or "from" not in turn or "value" not in turn:
        raise SchemaError(f"{where} must be an object with 'from' and 'value'")
    _known(turn, required=("from", "value"), optional=(), where=where)
    speakers = ("human", "gpt", "function_call", "observation", "system")
    if turn["from"] not in speakers:
        raise SchemaError(f"{where}.role is {turn['from']!r}; known: {', '.join(speakers)}")
    return turn["from"], turn["value"]


def _answer(text: str) -> Message:
    if match := _THOUGHT.fullmatch(text):
        return Message("assistant", match[3], thought=match[2].strip() or None)
    return Message("assistant", text)


def _append_calls(messages: list[Message], turn: Message) -> None:
    last = messages[-1] if messages else None
    if last is not None and last.role == "assistant":  # text or calls with no result yet: the same turn goes on
        thoughts = "\n".join(filter(None, (last.thought, turn.thought))) or None
        content = "\n".join(filter(None, (last.content, turn.content))) or None
        messages[-1] = replace(last, content=content, tool_calls=last.tool_calls + turn.tool_calls, thought=thoughts)
    else:
        messages.append(turn)


def _answer_calls(messages: list[Message], results: list[str], where: str) -> None:
    """Append the collected observations as results of the calls of the last message."""
    if not results:
        return
    calls = messages[-1].tool_calls if messages else ()
    if len(results) == 1 and len(calls) > 1:
        results = _split(results[0], len(calls))
    if len(results) != len(calls):
        raise SchemaError(f"{where}: {len(results)} observation(s) for {len(calls)} open call(s)")
    messages += [Message("tool", text, tool_call_id=call.id) for call, text in zip(calls, results, strict=True)]


def _split(text: str, count: int) -> list[str]:
    try:
        items = json.loads(text)
    except ValueError:
        return [text]
    if not isinstance(items, list) or len(items) != count:
        return [text]
    return [item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in items]


def _calling_turn(value: Any, first: int, where: str) -> Message:
    """The turn of a `function_call`: JSON, or `<tool_call>` around it; before it a thought and text, where given."""
    thought = content = None
    if isinstance(value, str):
        if match := _THOUGHT.fullmatch(value):
            thought, value = match[2].strip() or None, match[3]
        if match := _MARKED_CALLS.fullmatch(value):
            content, value = match[1].strip() or None, match[2]
        try:
            value = json.loads(value)
        except ValueError as error:
            raise SchemaError(f"{where} (function_call) cannot be decoded ({error}): {value[:80]!r}") from None
    items = value if isinstance(value, list) else [value]
    if not items:
        raise SchemaError(f"{where} (function_call) holds no call")
    wires = [{"id": f"call_{first + j}", "function": item} for j, item in enumerate(items)]
    calls = tuple(ToolCall.from_wire(w, f"{where} (function_call)") for w in wires)
    return Message("assistant", content, thought=thought, tool_calls=calls)


def _tools(value: Any) -> tuple[Tool, ...]:
    if isinstance(value, str):
        return _tools_of_text(value)
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    wrapped = [t if isinstance(t, Mapping) and "function" in t else {"function": t} for t in items]
    return _checked_tools(marshal.dumps(wrapped, 2))


@lru_cache(maxsize=1024)
def _tools_of_text(text: str) -> tuple[Tool, ...]:
    try:
        value = json.loads(text) if text.strip() else None
    except ValueError as error:
        raise SchemaError(f"tools cannot be decoded ({error}): {text[:80]!r}") from None
    return _tools(value)


def _known(
    record: Mapping[str, Any], required: Sequence[str], optional: Sequence[str], where: str = "conversation"
) -> None:
    if missing := [key for key in required if key not in record]:
        raise SchemaError(f"{where} lacks {', '.join(missing)}")
    if unknown := [str(key) for key in record if key not in required and key not in optional]:
        raise SchemaError(f"{where} has unknown field {', '.join(unknown)}; known: {', '.join((*required, *optional))}")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise SchemaError(f"{where} must be text, got {type(value).__name__}")
    return value

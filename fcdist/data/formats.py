"""Read sources of conversations: OpenAI JSON lines, ShareGPT tool data (as LLaMA-Factory lays it out) and Alpaca.

Every record becomes a checked `Conversation` or a `Dropped` with file, line and reason; nothing is lost in between.
"""

import json
import marshal
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from fcdist.config.seeds import derive_seed
from fcdist.config.types import SourceConfig
from fcdist.data.hub import count_rows, is_tabular, read_rows, rows_digest
from fcdist.errors import SchemaError, ShardError
from fcdist.schema.checks import check_conversation, check_tools
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall
from fcdist.schema.shards import file_sha256, shard_paths

REASONS: tuple[tuple[str, str], ...] = (
    ("is not JSON", "not_json"),
    ("unknown field", "unknown_field"),
    ("calls unknown tool", "unknown_tool"),
    ("observation", "results_do_not_match_calls"),
    ("tool_call_id", "results_do_not_match_calls"),
    ("not a valid JSON Schema", "invalid_tool"),
    ("arguments", "arguments_break_schema"),
    ("the last must be the assistant's", "last_turn_not_assistant"),
    (".role is", "roles_out_of_order"),
    ("has no content", "empty_turn"),
    ("neither content nor tool_calls", "empty_turn"),
    ("function_call", "unreadable_call"),
    ("tools", "invalid_tool"),
)
"""Part of a schema message → counter key; the whole message is kept beside the dropped record."""

_THOUGHT = re.compile(r"\s*<(think|thought)>(.*?)</\1>\s*(.*)", re.DOTALL)
_MARKED_CALLS = re.compile(r"(.*?)<tool_call>(.*)</tool_call>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that did not become an example."""

    source: str
    where: str
    """File and line, or file and number of the record in an array."""
    reason: str
    """Counter key, without free text."""
    detail: str
    """The rule that was broken, with the field."""
    record: Any

    def to_wire(self) -> dict[str, Any]:
        """One line of `dropped.jsonl`."""
        return {name: getattr(self, name) for name in self.__slots__}


def reason_of(error: Exception) -> str:
    """Counter key of a schema error."""
    text = str(error)
    return next((reason for part, reason in REASONS if part in text), "invalid_record")


def source_digests(source: SourceConfig) -> list[str]:
    """What identifies the bytes of a source. Raises ShardError naming the path."""
    if source.is_on_hub:
        return [rows_digest(source)]
    return [file_sha256(path) for path in shard_paths(Path(source.path))]


def count_records(source: SourceConfig) -> int | None:
    """Records of a source; None where counting them would mean reading it twice."""
    if is_tabular(source):
        return None if source.max_conversations else count_rows(source)
    files = shard_paths(Path(source.path))
    if source.max_conversations or any(path.suffix == ".json" for path in files):
        return None
    count = 0
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                count += block.count(b"\n")
    return count


def read_source(
    source: SourceConfig, name: str, seed: int = 0, on_dropped: Callable[[Dropped], None] | None = None
) -> Iterator[Conversation]:
    """Yield the checked conversations of one source, in file order.

    Args:
        source: where and in which format.
        name: key under `data.sources`; used for ids, errors and counts.
        seed: chooses the conversations when `max_conversations` limits them.
        on_dropped: receives every invalid record when `source.on_error` is `drop`.

    Raises:
        ShardError: an invalid record, with file, line and rule, when `source.on_error` is `error`; an unreadable file.
    """
    conversations = _read_all(source, name, on_dropped or (lambda dropped: None))
    if not source.max_conversations:
        yield from conversations
        return
    everything = list(conversations)
    if len(everything) > source.max_conversations:
        chosen = random.Random(derive_seed(seed, "choose", name)).sample(
            range(len(everything)), source.max_conversations
        )
        everything = [everything[i] for i in sorted(chosen)]
    yield from everything


def _read_all(source: SourceConfig, name: str, on_dropped: Callable[[Dropped], None]) -> Iterator[Conversation]:
    for index, (where, record) in enumerate(raw_records(source)):
        try:
            conversation = _convert(record, source, name, index)
        except SchemaError as error:
            if source.on_error == "error":
                raise ShardError(f"{where}: {error}{_way_out(error, name)}") from None
            raw = record.text if isinstance(record, _Unreadable) else record
            on_dropped(Dropped(name, where, reason_of(error), str(error), raw))
        else:
            yield conversation


def raw_records(source: SourceConfig, verify: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield (place, record) of a source in any format, before conversion.

    Args:
        source: where.
        verify: hold shards against the digests of their manifest.

    Raises:
        ShardError: it cannot be read. A line that is no JSON is a record of its own kind instead.
    """
    if is_tabular(source):
        yield from read_rows(source)
        return
    for path in shard_paths(Path(source.path), verify):
        yield from _records(path)


def _way_out(error: SchemaError, name: str) -> str:
    if str(error).startswith("conversation has unknown field"):
        return f". Name it in data.sources.{name}.ignore_fields to leave it out"
    return f". Mend the record, or set data.sources.{name}.on_error=drop to leave such records out, counted"


@dataclass(frozen=True, slots=True)
class _Unreadable:
    text: str
    error: str


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (file and place, decoded JSON or _Unreadable) of a JSON array or of JSON lines."""
    try:
        data = path.read_bytes() if path.suffix == ".json" else b""
        if data.lstrip()[:1] == b"[":
            for i, record in enumerate(json.loads(data)):
                yield f"{path}: record {i}", record
            return
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{path}:{number}", _decode(line)
    except (OSError, ValueError) as error:
        raise ShardError(f"{path}: cannot be read: {error}") from None


def _decode(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        return _Unreadable(line.decode("utf-8", "replace").rstrip("\n"), str(error))


def _convert(record: Any, source: SourceConfig, name: str, index: int) -> Conversation:
    if isinstance(record, _Unreadable):
        raise SchemaError(f"the line is not JSON ({record.error}): {record.text[:80]!r}")
    if source.format == "openai":
        conversation = _from_openai(record, source.ignore_fields)
    else:
        if not isinstance(record, Mapping):
            raise SchemaError(f"conversation must be an object, got {type(record).__name__}")
        record = {key: value for key, value in record.items() if key not in source.ignore_fields}
        conversation = from_sharegpt(record) if source.format == "sharegpt" else from_alpaca(record)
    check_conversation(conversation, tools_checked=True)
    return replace(
        conversation,
        id=conversation.id or f"{name}-{index}",
        category=conversation.category or _category(conversation, source.role),
    )


def _category(conversation: Conversation, role: str) -> str:
    """What a record teaches, where it does not say so itself."""
    if role == "general":
        return "general"
    if not conversation.tools:
        return "chat"
    return "call" if any(message.tool_calls for message in conversation.messages) else "no_call"


def _from_openai(record: Any, ignore: Sequence[str]) -> Conversation:
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

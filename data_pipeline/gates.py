"""Gates: each looks at a finished conversation and gives a reason to drop it, or None.

They read messages, tools and metadata only and share no code with the generator. Metadata that a writer declares
(`calls` with the words behind every argument, `missing`, `negative`, `today`) is held against the text; where it is
absent the gates fall back to weaker, text-only rules, so that they also apply to what a language model wrote.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from data_pipeline.normalisers import dates, numbers, times
from fcdist.errors import SchemaError
from fcdist.schema.checks import check_conversation
from fcdist.schema.conversation import Conversation, Message, ToolCall

Gate = Callable[[Conversation], str | None]
"""None keeps the conversation; a reason drops it. Reasons are counter keys, so no free text."""

MAX_CHARACTERS = 12_000
MAX_THOUGHT = 400
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CLOCK = re.compile(r"\d{2}:\d{2}")
_IDENTIFIER = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]+-?\d[A-Za-z0-9-]*")


def first_failure(gates: Sequence[tuple[str, Gate]], conversation: Conversation) -> str | None:
    """Reason of the first gate that fails, as `gate: reason`; None when all pass."""
    for name, gate in gates:
        if (reason := gate(conversation)) is not None:
            return f"{name}: {reason}"
    return None


def structure(conversation: Conversation) -> str | None:
    """Roles, schemas, known tools, arguments that fit, results that are JSON."""
    try:
        check_conversation(conversation)
    except SchemaError as error:
        text = str(error)
        if "unknown tool" in text:
            return "unknown_tool"
        if "arguments" in text:
            return "arguments_break_schema"
        return "malformed"
    for message in conversation.messages:
        if message.role == "tool" and _decoded(message) is None:
            return "result_is_not_json"
    return None


def length(conversation: Conversation) -> str | None:
    """Neither the conversation nor a thought runs away."""
    if sum(len(m.content or "") for m in conversation.messages) > MAX_CHARACTERS:
        return "too_long"
    if any(len(m.thought or "") > MAX_THOUGHT for m in conversation.messages):
        return "thought_too_long"
    return None


def repetition(conversation: Conversation) -> str | None:
    """No user turn and no call occurs twice."""
    said = [m.content for m in conversation.messages if m.role == "user"]
    if len(set(said)) < len(said):
        return "repeated_user_turn"
    calls = [(call.name, _canonical(call)) for _, call in _calls(conversation)]
    if len(set(calls)) < len(calls):
        return "repeated_call"
    return None


def negatives(conversation: Conversation) -> str | None:
    """A negative has no call; everything else that declares a category of calls has one."""
    has_call = any(m.tool_calls for m in conversation.messages)
    if conversation.category == "negative":
        return "call_in_negative" if has_call else None
    if conversation.category not in ("", "general") and not has_call:
        return "no_call"
    return None


def slot_question(conversation: Conversation) -> str | None:
    """A question for a missing slot comes before any call, names the slot, and the slot was really missing."""
    declared = (conversation.metadata or {}).get("missing")
    if not declared:
        return None
    first = next((m for m in conversation.messages if m.role == "assistant"), None)
    if first is None or first.tool_calls:
        return "call_before_question"
    text = (first.content or "").casefold()
    if any(slot["noun"].casefold() not in text for slot in declared):
        return "question_names_other_slot"
    for message, call in _calls(conversation):
        before = _user_text(conversation, message, first_turn_only=True)
        arguments = json.loads(call.arguments)
        if any(slot["name"] not in arguments for slot in declared):
            return "missing_slot_not_filled"
        values = [arguments[slot["name"]] for slot in declared if isinstance(arguments[slot["name"]], str)]
        if any(len(value) > 3 and value.casefold() in before.casefold() for value in values):
            return "slot_was_given"
        break
    return None


def grounding(conversation: Conversation) -> str | None:
    """Every argument value comes from the user, the system's date, an earlier result, or a declared synonym."""
    declared = (conversation.metadata or {}).get("calls")
    calls = list(_calls(conversation))
    if declared is not None and len(declared) != len(calls):
        return "undeclared_call"
    for number, (message, call) in enumerate(calls):
        user = _user_text(conversation, message)
        seen = _results_before(conversation, message)
        leaves = dict(_leaves(json.loads(call.arguments)))
        today = _today(conversation)
        if declared is None:
            schema = next(t.parameters for t in conversation.tools if t.name == call.name)
            if not all(_traceable(v, user, seen, today, schema) for v in leaves.values()):
                return "value_from_nowhere"
            continue
        spans = declared[number]["spans"]
        if declared[number]["name"] != call.name:
            return "other_tool_than_planned"
        if spans.keys() != leaves.keys():
            return "arguments_differ_from_words"
        for path, value in leaves.items():
            if reason := _carried(value, spans[path], user, seen, today):
                return reason
    return None


def thoughts(conversation: Conversation) -> str | None:
    """A thought before calls names a tool that is called."""
    for message in conversation.messages:
        if not message.thought or not message.tool_calls:
            continue
        if not any(call.name in message.thought for call in message.tool_calls):
            return "thought_names_other_tool"
    return None


def answers(conversation: Conversation) -> str | None:
    """After a result, the answer's numbers and identifiers come from results or from the user."""
    for position, message in enumerate(conversation.messages):
        if message.role != "assistant" or message.tool_calls or position == 0:
            continue
        if conversation.messages[position - 1].role != "tool":
            continue
        before = conversation.messages[:position]
        known = " ".join([m.content or "" for m in before] + [c.arguments for m in before for c in m.tool_calls])
        text = message.content or ""
        counts = {float(len(rows)) for m in before if m.role == "tool" for rows in _lists(_decoded(m))}
        if not _plain_numbers(text) <= _plain_numbers(known) | counts:
            return "answer_has_other_number"
        if any(token not in known for token in _IDENTIFIER.findall(text)):
            return "answer_has_other_identifier"
        if not _mentions_result(text, conversation.messages, position):
            return "answer_leaves_out_result"
    return None


def _mentions_result(text: str, messages: Sequence[Message], position: int) -> bool:
    """Numbers and identifiers of short results are said; long ones may be summed up."""
    while messages[position - 1].role == "tool":
        position -= 1
        content = _decoded(messages[position])
        if not isinstance(content, Mapping) or len(content) > 2:
            continue
        for key, value in content.items():
            if isinstance(value, str) and key.endswith("_id") and value not in text:
                return False
            if type(value) in (int, float) and len(content) == 1 and abs(float(value)) not in _plain_numbers(text):
                return False
    return True


def _lists(content: Any) -> list[list[Any]]:
    return [value for value in content.values() if isinstance(value, list)] if isinstance(content, Mapping) else []


def _plain_numbers(text: str) -> set[float]:
    """Numbers in digits, without sign: a hyphen may belong to an identifier."""
    return {float(m.replace(",", "")) for m in re.findall(r"\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:\.\d+)?", text)}


def _carried(value: Any, span: Any, user: str, seen: str, today: date | None) -> str | None:
    if isinstance(span, Mapping):
        if "result" in span:
            return None if value == span["result"] and str(value) in seen else "identifier_from_nowhere"
        if span["text"].casefold() not in user.casefold():
            return "words_not_said"
        return None if _text(value) == span["means"] else "value_differs_from_words"
    if span.casefold() not in user.casefold():
        return "words_not_said"
    return None if _same(value, span, today) else "value_differs_from_words"


def _same(value: Any, words: str, today: date | None) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, int | float):
        return any(abs(value - n) < 1e-6 for n in numbers(words))
    if not isinstance(value, str):
        return False
    if value.casefold() == words.casefold().strip():
        return True
    if _ISO_DATE.fullmatch(value):
        return value in dates(words, today)
    return bool(_CLOCK.fullmatch(value)) and value in times(words)


def _traceable(value: Any, user: str, seen: str, today: date | None, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, int | float):
        return any(abs(value - n) < 1e-6 for n in numbers(f"{user} {seen}")) or value in _declared(schema)
    text = str(value).casefold()
    if text in user.casefold() or text in seen.casefold() or value in _declared(schema):
        return True
    if _ISO_DATE.fullmatch(text):
        return text in dates(user, today)
    return bool(_CLOCK.fullmatch(text)) and text in times(user)


def _declared(schema: Any) -> list[Any]:
    """Enum members and defaults anywhere in a schema."""
    if isinstance(schema, Mapping):
        found = list(schema.get("enum") or []) if isinstance(schema.get("enum"), list) else []
        found += [schema["default"]] if "default" in schema else []
        return found + [item for child in schema.values() for item in _declared(child)]
    return [item for child in schema for item in _declared(child)] if isinstance(schema, list) else []


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{path}.{i}")
    else:
        yield path, value


def _calls(conversation: Conversation) -> Iterator[tuple[int, ToolCall]]:
    for position, message in enumerate(conversation.messages):
        for call in message.tool_calls:
            yield position, call


def _user_text(conversation: Conversation, until: int, first_turn_only: bool = False) -> str:
    said = [m.content or "" for m in conversation.messages[:until] if m.role == "user"]
    return "\n".join(said[:1] if first_turn_only else said)


def _results_before(conversation: Conversation, until: int) -> str:
    return "\n".join(m.content or "" for m in conversation.messages[:until] if m.role == "tool")


def _today(conversation: Conversation) -> date | None:
    first = conversation.messages[0]
    found = dates(first.content or "", None) if first.role == "system" else set()
    return date.fromisoformat(min(found)) if found else None


def _canonical(call: ToolCall) -> str:
    return json.dumps(json.loads(call.arguments), sort_keys=True, ensure_ascii=False)


def _decoded(message: Message) -> Any:
    try:
        return json.loads(message.content or "")
    except json.JSONDecodeError:
        return None


GATES: tuple[tuple[str, Gate], ...] = (
    ("structure", structure),
    ("length", length),
    ("negatives", negatives),
    ("slot_question", slot_question),
    ("grounding", grounding),
    ("thoughts", thoughts),
    ("answers", answers),
    ("repetition", repetition),
)
"""All gates, cheapest and most basic first; later ones may rely on earlier ones."""

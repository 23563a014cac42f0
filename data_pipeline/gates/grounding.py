"""Every argument comes from somewhere: the user's words, the system message, an earlier result, a declared default."""

from collections.abc import Mapping
from typing import Any

from data_pipeline import gate_units
from data_pipeline.gates.evidence import Evidence, follows, recomputed
from data_pipeline.gates.reading import Call, Reading, fold, is_empty, is_error, leaf_schema


def grounding(reading: Reading) -> str | None:
    """No argument is invented.

    Where the writer noted the words behind a value, they must have been said, and mean the value. Elsewhere the value
    must be readable out of anything said before; a search that found nothing may be repeated with looser values.
    """
    declared = reading.declared_calls
    if declared is not None and len(declared) != len(reading.calls):
        return "undeclared_call"
    for call in reading.calls:
        reason = _told(reading, call) if call.declared is not None else _traced(reading, call)
        if reason:
            return reason
    return None


def _told(reading: Reading, call: Call) -> str | None:
    assert call.declared is not None and call.tool is not None
    spans: Mapping[str, Any] = call.declared["spans"]
    if call.declared["name"] != call.name:
        return "other_tool_than_planned"
    if spans.keys() != call.leaves.keys():
        return "arguments_differ_from_words"
    for path, value in call.leaves.items():
        span, schema = spans[path], leaf_schema(call.tool.parameters, path)
        if reason := _carried(value, span, schema, reading, call.turn):
            return reason
        if reason := gate_units.unannounced(schema, path, span):
            return reason
    return None


def _carried(value: Any, span: Any, schema: Mapping[str, Any], reading: Reading, turn: int) -> str | None:
    """Reason why the words of `span` do not carry `value`."""
    if isinstance(span, dict) and "form" in span:
        return gate_units.carried(value, span, lambda part, words: _carried(part, words, {}, reading, turn))
    user = reading.said("user", turn)
    if not isinstance(span, dict):
        if not _stands_in(span, user):
            return "words_not_said"
        return None if follows(value, span, reading.today, schema) else "value_differs_from_words"
    if "result" in span:
        seen = value == span["result"] and str(value) in reading.said("tool", turn)
        return None if seen else "identifier_from_nowhere"
    if not _stands_in(span["text"], user):
        return "words_not_said"
    if _plain(value) != _plain(span["means"]):
        return "value_differs_from_words"
    exact = recomputed(value, span["text"], reading.today) if isinstance(value, str) else None
    return "value_differs_from_words" if exact is False else None


def _stands_in(words: str, text: str) -> bool:
    """Whether `words` were said; digits at their ends are not part of a longer number."""
    return _occurs(words, text) or _occurs(words.casefold(), text.casefold())


def _occurs(words: str, text: str) -> bool:
    start = text.find(words)
    while start >= 0:
        end = start + len(words)
        before = words[:1].isdigit() and start > 0 and text[start - 1].isdigit()
        after = words[-1:].isdigit() and end < len(text) and text[end].isdigit()
        if not before and not after:
            return True
        start = text.find(words, start + 1)
    return False


def _traced(reading: Reading, call: Call) -> str | None:
    schema = call.tool.parameters if call.tool is not None else {}
    evidence: Evidence | None = None
    for path, value in call.leaves.items():
        if evidence is None:
            roles = ("system", "user", "tool", "assistant")
            latest = next((m.content or "" for m in reading.messages[call.turn :: -1] if m.role == "user"), "")
            evidence = Evidence([reading.said(role, call.turn) for role in roles], reading.today, latest)
        if not evidence.carries(value, leaf_schema(schema, path)) and not _loosened(reading, call, path):
            return "value_from_nowhere"
    return None


def _loosened(reading: Reading, call: Call, path: str) -> bool:
    """Whether the call repeats one that found nothing, with another value at `path`."""
    return any(
        earlier.name == call.name and path in earlier.leaves and (is_empty(earlier.result) or is_error(earlier.result))
        for earlier in reading.calls
        if earlier.turn < call.turn
    )


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else fold(str(value))

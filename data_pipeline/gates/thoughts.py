"""Thoughts: they name the tool that is called, its values, and what is missing."""

import re
from collections.abc import Sequence

from data_pipeline.gates.facts import Told
from data_pipeline.gates.reading import Call, Reading, fold, stands_alone
from fcdist.schema.json_text import json_text

_MAX_WORDS = 80
"""Longest words, in characters, between a parameter's name and its value."""
_EQUALS = " = "
_PLACE = re.compile(r"\[\d+\]")
"""Place in a list of results: `available[0]`."""


def thoughts(reading: Reading) -> str | None:
    """A thought fits the turn it leads to."""
    for turn, message in enumerate(reading.messages):
        thought = message.thought
        if not thought:
            continue
        calls = [call for call in reading.calls if call.turn == turn]
        if not all([stands_alone(call.name, thought) for call in calls]):
            return "thought_names_other_tool"
        if reason := _other_values(thought, calls):
            return reason
        if not calls and " = " in thought:
            continue  # before a question it works out values that the user may still change
        # The arguments that the thought leads to may be named, too, and the number of calls.
        leads_to = turn if calls else next((call.turn for call in reading.calls if call.turn > turn), turn)
        uncounted = _PLACE.sub(" ", thought) if "[" in thought else thought
        if len(calls) > 1:
            uncounted = re.sub(rf"(?<![\d.]){len(calls)}(?![\d.])", " ", uncounted)
        if reading.view(Told).unknown_fact(uncounted, leads_to + 1):
            return "thought_tells_unknown_fact"
    return _missing_slot(reading)


def _other_values(thought: str, calls: Sequence[Call]) -> str | None:
    """Reason why `name: words = value` in the thought is not what is called, for declared calls."""
    values: dict[str, list[str]] = {}
    for call in calls:
        if call.declared is None:
            return None
        for name, value in call.arguments.items():
            text = value if isinstance(value, str) else json_text(value)
            values.setdefault(name, []).append(text)
    for name, texts in values.items():
        ends = stands_alone(name, thought)
        if len(ends) > 1 and _is_label(thought, ends[0] - len(name)):
            del ends[0]
        for end in ends:
            if thought[end : end + 1] not in (":", "："):
                continue
            rest = thought[end + 1 :].lstrip()
            if not any(_begins(rest, text) for text in texts):
                return "thought_tells_other_value"
    return None


def _is_label(thought: str, start: int) -> bool:
    """Whether a capitalised word begins a line or sentence: "Goal: find …" where a parameter is called Goal."""
    return thought[start].isupper() and (start == 0 or thought[:start].endswith(("\n", ". ")))


def _begins(rest: str, value: str) -> bool:
    """Whether `rest` tells `value`, or words, an equals sign and `value`."""
    if rest.startswith(value[:_MAX_WORDS]):
        return True
    # The words for code are code, too, and hold the sign as often as the value does.
    for signs in {0, value.count(_EQUALS)}:
        words, equals, after = _partition(rest[: _MAX_WORDS + 2 * len(value)], signs)
        if equals and words.count("\n") <= value.count("\n") and after.startswith(value[:_MAX_WORDS]):
            return True
    return False


def _partition(text: str, signs: int) -> tuple[str, str, str]:
    """Like `str.partition` at the equals sign after `signs` others."""
    *before, after = text.split(_EQUALS, signs + 1)
    return (_EQUALS.join(before), _EQUALS, after) if len(before) == signs + 1 else (text, "", "")


def _missing_slot(reading: Reading) -> str | None:
    """A thought before a question names each slot that is missing, by its noun or by its name."""
    missing = reading.facts.get("missing")
    if not isinstance(missing, list):
        return None
    first = next((m for m in reading.messages if m.role == "assistant"), None)
    if first is None or not first.thought or first.tool_calls:
        return None
    thought = fold(first.thought)
    named = all(fold(slot["noun"]) in thought or fold(slot["name"]) in thought for slot in missing)
    return None if named else "thought_names_other_slot"

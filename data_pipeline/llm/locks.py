"""What a rewritten text must keep: values of the plan, numbers, ids, dates, and in thoughts the names of the API."""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcdist.schema.conversation import Conversation

_TOKEN = re.compile(r"[A-Za-z0-9_@#+./:\-]*\d[A-Za-z0-9_@#+./:\-]*%?|[\w.+\-]+@[\w\-]+\.[\w.\-]+", re.ASCII)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_DATE_EN = re.compile(
    r"\b(?:(?:next|this|last|coming)\s+)?(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|week(?:end)?|month|year)s?\b"
    r"|\b(?:the day after tomorrow|day after tomorrow|today|tonight|tomorrow|yesterday|noon|midnight)\b"
    r"|\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b",
    re.IGNORECASE,
)
_DATE_ZH = re.compile(
    r"(?:这|本|上+|下+)个?(?:周|星期|礼拜)[一二三四五六日天末]?|(?:周|星期|礼拜)[一二三四五六日天末]|大?[前后][天年]|[今明昨]"
    r"[天日晚早年]|(?:这|本|上+|下+)个?月|月[底初末]|年[底初末]"
)
_COUNT_ZH = re.compile(
    r"[零〇一二两三四五六七八九十百千万半]+(?:个|位|名|张|天|晚|点|号|月|日|块|元|人|份|间|本|件|次|小时|分钟|周|年|公里|度)"
)
_COUNT_EN = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|sixty|ninety"
    r"|hundred|thousand|million|dozen|half)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Words:
    """Names of a conversation's API."""

    tools: frozenset[str]
    parameters: frozenset[str]

    @classmethod
    def of(cls, conversation: Conversation) -> "Words":
        """Names in the conversation's tools."""
        return cls(
            frozenset(tool.name for tool in conversation.tools),
            frozenset(name for tool in conversation.tools for name in _names(tool.parameters)),
        )


def _names(schema: Any) -> Iterator[str]:
    """Names of parameters, and of what stands in objects and lists as well."""
    if isinstance(schema, Mapping):
        for name, inner in schema.get("properties", {}).items():
            yield name
            yield from _names(inner)
        yield from _names(schema.get("items"))


def plan_values(conversation: Conversation) -> dict[str, list[str]]:
    """Texts and numbers a rewritten text must carry over, longest first, by kind of text.

    Users are held to arguments and to the words the planner noted for them (`spans` of `metadata.calls`: "two" for 2,
    a synonym for an enum); thoughts and answers also to the results and to the names of what is asked for.
    """
    said: set[str] = set()
    for message in conversation.messages:
        for call in message.tool_calls:
            said |= set(_leaves(json.loads(call.arguments)))
    for planned in (conversation.metadata or {}).get("calls") or ():
        said |= set(_leaves(planned.get("spans", {})))
    results: set[str] = set()
    for message in conversation.messages:
        if message.role == "tool" and message.content:
            try:
                results |= set(_leaves(json.loads(message.content)))
            except json.JSONDecodeError:
                results.add(message.content)
    # The gates know what is asked for by these nouns.
    facts = conversation.metadata or {}
    asked = {slot["noun"] for key in ("missing", "asked_again") for slot in facts.get(key) or ()}
    everything = sorted(said | results | asked, key=_longest_first)
    return {"user": sorted(said, key=_longest_first), "thought": everything, "answer": everything}


def _longest_first(value: str) -> tuple[int, str]:
    return -len(value), value


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key != "form" or "of" not in value:  # how a tool writes a value is not said by anybody
                yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str) and value.strip():
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def kept_strings(text: str, values: Mapping[str, Sequence[str]], words: Words, kind: str) -> list[str]:
    """Parts of `text` that its rewritten form must contain, in the order of the text.

    Args:
        text: the planner's words.
        values: of the plan, see `plan_values`.
        words: names of the API; locked in thoughts.
        kind: `user`, `thought` or `answer`.

    Returns:
        Distinct strings whose places do not overlap.
    """
    spans: set[tuple[int, int]] = set()
    for pattern in (_TOKEN, _DATE_EN, _DATE_ZH, _COUNT_EN, _COUNT_ZH):
        for match in pattern.finditer(text):
            spans.add((match.start(), match.start() + len(match.group().rstrip(".,:/-"))))
    names = sorted(words.tools | words.parameters) if kind == "thought" else []
    for value in [*values[kind], *names]:
        if (found := _find(text, value)) is not None:
            spans.add((found, found + len(value)))
    # Of overlapping spans the one that starts first, and of those the longest, is locked.
    kept: list[str] = []
    end = 0
    for start, stop in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= end and stop > start:
            end = stop
            if text[start:stop] not in kept:
                kept.append(text[start:stop])
    return kept


def _find(text: str, value: str, start: int = 0, exact: bool = True) -> int | None:
    """Where `value` stands in `text` as whole words, from `start`; between CJK characters any place counts."""
    pattern = re.escape(value)
    if value[0].isascii() and value[0].isalnum():
        pattern = r"(?<![A-Za-z0-9])" + pattern
    if value[-1].isascii() and value[-1].isalnum():
        pattern += r"(?![A-Za-z0-9])"
    match = re.compile(pattern, 0 if exact else re.IGNORECASE).search(text, start)
    return match.start() if match else None


def broken_lock(original: str, new: str, keep: Sequence[str]) -> str | None:
    """Reason why `new` cannot stand for `original`: a value lost, values in another order, a number made up."""
    end, reordered = 0, False
    for part in keep:
        exact = any(character.isdigit() or character.isupper() for character in part)
        place = _find(new, part, end, exact)
        if place is None and _find(new, part, 0, exact) is None:
            return "llm_value_changed"
        reordered |= place is None
        end = end if place is None else place + len(part)
    if reordered:  # "from Rome to Oslo" and "from Oslo to Rome" keep the same values
        return "llm_values_reordered"
    known = set(_NUMBER.findall(unicodedata.normalize("NFKC", original)))
    if any(number not in known for number in _NUMBER.findall(unicodedata.normalize("NFKC", new))):
        return "llm_new_number"
    return None

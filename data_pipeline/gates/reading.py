"""A conversation decoded once for all gates: its calls with their results, and what was said before each turn."""

import re
import string
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeVar

from data_pipeline.normalisers import dates
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall
from fcdist.schema.json_text import read_json

Leaves = Mapping[str, Any]
"""Path in the arguments (`rooms.0.guests`) → value that is neither object nor list."""

View = TypeVar("View")

_BRANCHES = (dict, list)
_IN_NAMES = frozenset(string.ascii_letters + string.digits + "_-")
_IDEOGRAPH = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_ERROR_KEYS = frozenset({"error", "errors", "error_code", "error_message"})
_FAILED = frozenset({"error", "failed", "failure", "not_found", "sold_out", "invalid", "conflict", "unavailable"})


class Call(NamedTuple):
    """One call with what surrounds it."""

    turn: int
    """Place of its assistant message."""
    name: str
    arguments: Mapping[str, Any]
    leaves: Leaves
    tool: Tool | None
    """None where the name is not offered."""
    result: Any
    """Decoded content of its tool message; None without one."""
    declared: Mapping[str, Any] | None
    """What the writer noted about this call in `metadata["calls"]`."""


class Reading:
    """What gates ask of a conversation; no answer is computed twice."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.messages: Sequence[Message] = conversation.messages
        self.facts: Mapping[str, Any] = conversation.metadata or {}
        self.users: Sequence[int] = [i for i, m in enumerate(self.messages) if m.role == "user"]
        """Places of the user's turns."""
        decoded = {i: _json_or_text(m.content or "") for i, m in enumerate(self.messages) if m.role == "tool"}
        self.results: Mapping[int, Any] = {i: content for i, (content, _) in decoded.items()}
        """Place of a tool message → its decoded content; text that is no JSON stays text."""
        self.plain_results = not all(is_json for _, is_json in decoded.values())
        """Whether a tool message is no JSON."""
        self._before: dict[tuple[str, int], str] = {}
        self._views: dict[Callable[[Reading], Any], Any] = {}

    def view(self, make: "Callable[[Reading], View]") -> "View":
        """What `make` makes of this conversation, once for all gates."""
        if make not in self._views:
            self._views[make] = make(self)
        view: View = self._views[make]
        return view

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """All calls, in order."""
        noted = self.declared_calls or ()
        tools = {tool.name: tool for tool in self.conversation.tools}
        calls: list[Call] = []
        for turn, message in enumerate(self.messages):
            for number, call in enumerate(message.tool_calls, turn + 1):
                answered = number < len(self.messages) and self.messages[number].role == "tool"
                arguments = decoded(call)
                declared = noted[len(calls)] if len(calls) < len(noted) else None
                calls.append(
                    Call(
                        turn,
                        call.name,
                        arguments,
                        dict(leaves(arguments)),
                        tools.get(call.name),
                        self.results[number] if answered else None,
                        declared,
                    )
                )
        return tuple(calls)

    @cached_property
    def declared_calls(self) -> Sequence[Mapping[str, Any]] | None:
        """The writer's notes on the calls; None where it wrote none (language models, imported data)."""
        noted = self.facts.get("calls")
        return noted if isinstance(noted, list) and all(isinstance(n, dict) and "spans" in n for n in noted) else None

    @cached_property
    def chinese(self) -> bool:
        """Whether the conversation is in Chinese."""
        if self.conversation.language:
            return self.conversation.language == "zh"
        said = self.said("user", len(self.messages))
        return 10 * len(_IDEOGRAPH.findall(said)) > len(said)

    @cached_property
    def today(self) -> date | None:
        """The date that the system message tells."""
        first = self.messages[0]
        return _date_told(first.content or "") if first.role == "system" else None

    def said(self, role: str, until: int) -> str:
        """Texts of one role before message `until`, a line each."""
        key = (role, until)
        if key not in self._before:
            self._before[key] = "\n".join(m.content or "" for m in self.messages[:until] if m.role == role)
        return self._before[key]

    def last_user(self, before: int) -> int:
        """Place of the user's last turn before message `before`; 0 where there is none."""
        return max([place for place in self.users if place < before], default=0)

    def results_before(self, turn: int) -> list[Any]:
        """Decoded results that stand directly before an assistant message."""
        found = []
        while turn > 0 and self.messages[turn - 1].role == "tool":
            turn -= 1
            found.append(self.results[turn])
        return found[::-1]

    def answers(self) -> Iterator[tuple[int, str]]:
        """(place, text) of every assistant message that speaks and does not call."""
        for turn, message in enumerate(self.messages):
            if message.role == "assistant" and not message.tool_calls:
                yield turn, message.content or ""


@lru_cache(maxsize=4096)
def _date_told(text: str) -> date | None:
    found = dates(text, None)
    return date.fromisoformat(min(found)) if found else None


def stands_alone(name: str, text: str) -> list[int]:
    """Where in `text` a name of a tool or parameter ends that is no part of a longer name.

    Not by word boundaries of a regular expression: names stand right beside ideographs, and a full stop may follow.
    """
    ends = []
    start = text.find(name)
    while start >= 0:
        end = start + len(name)
        before, after = text[start - 1 : start], text[end : end + 2]
        dotted = after[:1] == "." and after[1:] in _IN_NAMES
        if not (before == "." or before in _IN_NAMES or after[:1] in _IN_NAMES or dotted):
            ends.append(end)
        start = text.find(name, start + 1)
    return ends


def fold(text: str) -> str:
    """Text for comparison: one form of width, quotes, blanks and case."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'")
    return " ".join(text.casefold().split())


def decoded(call: ToolCall) -> Mapping[str, Any]:
    """Arguments of a call; empty where they are no JSON object."""
    value, _ = _json_or_text(call.arguments)
    return value if isinstance(value, dict) else {}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is neither object nor list, with its path."""
    if not isinstance(value, _BRANCHES):
        yield path, value
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        below = f"{path}.{key}" if path else str(key)
        if isinstance(item, _BRANCHES):
            yield from leaves(item, below)
        else:
            yield below, item  # most are leaves, which need no generator of their own


def leaf_schema(parameters: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Schema of the argument at `path`; empty where the tool does not describe it."""
    schema: Any = parameters
    for step in path.split("."):
        if not isinstance(schema, dict):
            return {}
        items = schema.get("items")
        schema = items if step.isdigit() and items is not None else schema.get("properties", {}).get(step, {})
    return schema if isinstance(schema, dict) else {}


def is_error(result: Any) -> bool:
    """Whether a result reports that the call failed."""
    if not isinstance(result, dict):
        return False
    if not _ERROR_KEYS.isdisjoint(result) and any(result.get(key) for key in _ERROR_KEYS):
        return True
    if result.get("success") is False:
        return True
    status = result.get("status")
    return isinstance(status, str) and _tells_failure(status)


@lru_cache(maxsize=1024)
def _tells_failure(status: str) -> bool:
    return fold(status).replace(" ", "_") in _FAILED


def is_empty(result: Any) -> bool:
    """Whether a result reports that nothing was found."""
    if isinstance(result, dict):
        lists = [value for value in result.values() if isinstance(value, list)]
        return not result or (bool(lists) and not any(lists))
    return result is None or result in ([], "")


def _json_or_text(text: str) -> tuple[Any, bool]:
    """The decoded text and True, or the text and False."""
    try:
        return read_json(text), True
    except ValueError:
        return text, False

"""What a reader hands on: a tool as its file declares it, or why there is none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class RefusedError(Exception):
    """A tool cannot be used. `reason` is a counter key; `detail` says what exactly, and the way out."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class RawTool:
    """A tool as declared."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments, as it will stand in the prompt."""
    group: str
    """Server, tag or file: the tool's domain."""
    where: str
    """File and place in it, for reports."""
    returns: Mapping[str, Any] | None = None
    """JSON Schema of the result, where declared."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """What else the source tells: `method` of an HTTP operation."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A tool that is left out."""

    where: str
    name: str
    reason: str
    detail: str


def words_of(name: str) -> list[str]:
    """Lower-case words of an identifier: `getUserById`, `get-user_by.id` → get user by id."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\x00-\x7f]+", name)]


def plain(name: str) -> str:
    """A name without case style: userId, user_id and user-id are the same."""
    return "".join(words_of(name))

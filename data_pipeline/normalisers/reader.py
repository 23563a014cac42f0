"""Reads expressions for days by rules: the longest expression at each place, and nothing inside it.

A reader knows three kinds of rules: bases mean a day by themselves ("next Friday"), prefixes and suffixes shift the day
of the expression after or before them ("two days before" Christmas; 国庆节"的第二天"), to any depth.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import NamedTuple

from data_pipeline.normalisers.calendar_days import Days

Found = date | Days | None
Meaning = Callable[[re.Match[str], date], Found]
GROUP_SIZE = 8
UNKNOWN = date(1, 1, 1)
"""Stands for today where that is not known; only rules that do not need it are tried then."""


class Base(NamedTuple):
    """An expression that means a day as said on another."""

    pattern: str
    meaning: Meaning
    absolute: bool = False
    """Means the same on every day."""


class Shift(NamedTuple):
    """Words beside an expression that lead from its day to another."""

    pattern: str
    meaning: Meaning


class _Rules:
    """Rules that are tried by groups, as most places match none: one alternation tells whether any of a group does."""

    def __init__(self, rules: Sequence[Base | Shift]) -> None:
        groups = [rules[n : n + GROUP_SIZE] for n in range(0, len(rules), GROUP_SIZE)]
        self._any = _any_of(rules)
        self._groups = [(_any_of(g), [(re.compile(rule.pattern), rule.meaning) for rule in g]) for g in groups]

    def matches(self, text: str, position: int) -> Iterator[tuple[re.Match[str], Meaning]]:
        """The rules that match at `position`, in their order."""
        if not self._any.match(text, position):
            return
        for some, rules in self._groups:
            if some.match(text, position):
                for pattern, meaning in rules:
                    if match := pattern.match(text, position):
                        yield match, meaning


class Reader:
    """Rules of one language."""

    def __init__(
        self, starts: str, bases: Sequence[Base], prefixes: Sequence[Shift], suffixes: Sequence[Shift]
    ) -> None:
        """`starts` matches wherever an expression may begin; it is what costs time in texts without dates."""
        self._starts = re.compile(starts)
        self._bases = _Rules(bases)
        self._absolute = _Rules([base for base in bases if base.absolute])
        self._prefixes = _Rules(prefixes)
        self._suffixes = _Rules(suffixes)

    def read(self, text: str, today: date | None) -> set[date]:
        """Every day meant in `text`, which is in lower case."""
        found: set[date] = set()
        position = 0
        while (start := self._starts.search(text, position)) is not None:
            expression = self._longest(text, start.start(), today)
            if expression is None:
                position = start.start() + 1
            else:
                position = expression[0]
                found.update(expression[1])
        return found

    def _longest(self, text: str, position: int, today: date | None) -> tuple[int, Days] | None:
        """End and days of the longest expression that begins at `position`."""
        end = position
        days: Days = ()
        said_on = UNKNOWN if today is None else today
        for match, meaning in (self._absolute if today is None else self._bases).matches(text, position):
            if match.end() > end:
                end, days = match.end(), _meant(meaning, match, said_on)
        for match, meaning in self._prefixes.matches(text, position):
            inner = self._longest(text, match.end(), today)
            if inner is not None and inner[0] > end:
                end, days = inner[0], _shifted(meaning, match, inner[1])
        if end == position:
            return None
        while suffixes := list(self._suffixes.matches(text, end)):
            match, meaning = max(suffixes, key=lambda found: found[0].end())
            end, days = match.end(), _shifted(meaning, match, days)
        return end, days


def _any_of(rules: Sequence[Base | Shift]) -> re.Pattern[str]:
    """A pattern that matches where one of `rules` does; groups lose their names, which each rule uses anew."""
    never = "(?!)"
    return re.compile("|".join([re.sub(r"\(\?P<\w+>", "(?:", rule.pattern) for rule in rules] or [never]))


def _meant(meaning: Meaning, match: re.Match[str], day: date) -> Days:
    try:
        found = meaning(match, day)
    except (ValueError, OverflowError):  # beyond the calendar: year 0, month 13, a lunar year after 2100
        return ()
    if found is None:
        return ()
    return found if isinstance(found, tuple) else (found,)


def _shifted(shift: Meaning, match: re.Match[str], days: Days) -> Days:
    return tuple(moved for day in days for moved in _meant(shift, match, day))

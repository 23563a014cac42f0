"""A grammar is a weighted set of families; a family draws words together with the day they mean."""

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import accumulate
from typing import NamedTuple

Expression = tuple[str, date]
Draw = Callable[[date, random.Random], Expression | None]
"""Draws words and their day as said on a day; None where nobody would say them on that day."""


class Family(NamedTuple):
    """Expressions of one kind and how common they are beside the others of the grammar."""

    name: str
    weight: float
    draw: Draw


class Grammar:
    """Families to draw from."""

    def __init__(self, families: Sequence[Family], holds: Callable[[date, date], bool]) -> None:
        """`holds(day, today)` is what every drawn day has to keep to."""
        self.families = tuple(families)
        self._cumulative = list(accumulate(family.weight for family in families))
        self._holds = holds

    def draw(self, today: date, rng: random.Random) -> Expression:
        """An expression that can be said on `today`, and its day."""
        while True:
            family = rng.choices(self.families, cum_weights=self._cumulative)[0]
            found = family.draw(today, rng)
            if found is not None and self._holds(found[1], today):
                return found


def fixed(days: int, *texts: str) -> Draw:
    """Words for the day `days` after today."""
    return lambda today, rng: (rng.choice(texts), today + timedelta(days))

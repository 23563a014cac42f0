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
    means_today: bool = False
    """All others are drawn for other days only: nobody calls today the end of the month."""
    counted: bool = False
    """Counts to its day instead of naming it (in three days, 三天后): does not go after "until" or before 前."""


class Grammar:
    """Families to draw from."""

    def __init__(self, families: Sequence[Family], past: bool = False) -> None:
        """Draws later days, or earlier ones where `past`."""
        self.families = tuple(families)
        self._cumulative = list(accumulate(family.weight for family in families))
        self._past = past

    def draw(self, today: date, rng: random.Random, named: bool = False, within: int | None = None) -> Expression:
        """An expression that can be said on `today`, and its day.

        Args:
            today: the day on which it is said.
            rng: source of choices.
            named: only words that name their day, which fit after by, until, since or from and before 前.
            within: at most so many days away.
        """
        while True:
            family = rng.choices(self.families, cum_weights=self._cumulative)[0]
            if named and family.counted:
                continue
            found = family.draw(today, rng)
            if found is None or not self.fits(family, found[1], today):
                continue
            if within is None or abs(found[1] - today).days <= within:
                return found

    def fits(self, family: Family, day: date, today: date) -> bool:
        """Whether `day` lies on the right side of `today`."""
        return family.means_today if day == today else (day < today) == self._past


def fixed(days: int, *texts: str) -> Draw:
    """Words for the day `days` after today."""
    return lambda today, rng: (rng.choice(texts), today + timedelta(days))

"""Intervals and paired tests for counts of right items. Pure Python: no table of results needs more."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fcdist.errors import EvaluationError

Z95 = 1.959963984540054
"""Standard normal quantile of .975."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95 % interval; all in [0, 1]."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedTest:
    """McNemar's exact test of two rows on the same items."""

    gained: int
    """Items only the second row has right."""
    lost: int
    """Items only the first row has right."""
    both: int
    neither: int
    p_value: float
    """Two-sided; 1 where no item differs."""

    @property
    def num_items(self) -> int:
        """Items both rows answered."""
        return self.gained + self.lost + self.both + self.neither


def wilson(right: int, of: int, z: float = Z95) -> Rate:
    """Interval of a binomial share. Unlike the normal approximation it stays inside [0, 1] and works at 0 and `of`.

    Args:
        right: successes.
        of: trials; 0 gives the whole range.
        z: normal quantile of the wanted coverage.

    Raises:
        EvaluationError: counts that no set of items can have.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if not 0 <= right <= of:
        raise EvaluationError(f"right={right} of={of}: the count must be between 0 and the number of items")
    if of == 0:
        return Rate(math.nan, 0.0, 1.0)
    share = right / of
    scale = 1 + z * z / of
    centre = (share + z * z / (2 * of)) / scale
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / scale
    # at the ends the bounds are exact; the formula misses them by a rounding error
    return Rate(share, 0.0 if right == 0 else centre - half, 1.0 if right == of else centre + half)


def balanced_accuracy(call_right: int, call_of: int, no_call_right: int, no_call_of: int, z: float = Z95) -> Rate:
    """Mean of the two class accuracies, so that always calling scores .5 whatever the mix of items.

    The interval adds the distances of the two Wilson intervals in squares, each way on its own (the "MOVER" rule for
    a sum of independent shares).

    Raises:
        EvaluationError: counts that no set of items can have.

    Source: Zou and Donner 2008, "Construction of confidence limits about effect measures".
    """
    call, no_call = wilson(call_right, call_of, z), wilson(no_call_right, no_call_of, z)
    value = (call.value + no_call.value) / 2
    if math.isnan(value):
        return Rate(math.nan, 0.0, 1.0)
    below = math.hypot(call.value - call.low, no_call.value - no_call.low) / 2
    above = math.hypot(call.high - call.value, no_call.high - no_call.value) / 2
    return Rate(value, max(0.0, value - below), min(1.0, value + above))


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value that `gained` and `lost` discordant items come from a fair coin.

    Raises:
        EvaluationError: a negative count.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions".
    """
    if gained < 0 or lost < 0:
        raise EvaluationError(f"gained={gained} lost={lost}: counts must not be negative")
    total = gained + lost
    tail = sum(math.comb(total, k) for k in range(min(gained, lost) + 1))
    # int / int rounds correctly at any size, where 0.5**total underflows beyond a thousand items
    return min(1.0, float(2 * tail / 2**total))


def paired_test(first: Mapping[str, bool], second: Mapping[str, bool]) -> PairedTest:
    """Compare two rows on the items both answered (key → right)."""
    shared = [key for key in first if key in second]
    counts = {
        (a, b): sum(bool(first[k]) is a and bool(second[k]) is b for k in shared)
        for a in (False, True)
        for b in (False, True)
    }
    gained, lost = counts[False, True], counts[True, False]
    return PairedTest(gained, lost, counts[True, True], counts[False, False], mcnemar(gained, lost))


def item_key(item: Mapping[str, object]) -> str:
    """Name of an item across rows: its set and its id."""
    return f"{item.get('set', '')}/{item.get('id', '')}"


def right_by_item(items: Iterable[Mapping[str, object]]) -> dict[str, bool]:
    """Item name → right, of a row's `items`."""
    return {item_key(item): bool(item.get("right")) for item in items}

"""General : function-call ratio, exact and deterministic.

By examples the ratio that comes out equals the one asked for. By tokens it is the closest a greedy choice with one
exchange finds, usually within a few tokens. The abundant side is thinned by a seeded choice, or with `repeat` the
scarce side is repeated: whole passes, then a seeded part.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from fcdist.config.seeds import derive_seed
from fcdist.config.types import SourceUse
from fcdist.errors import DataError

MAX_DENOMINATOR = 1000


@dataclass(frozen=True, slots=True)
class Mix:
    """Which examples are trained on, and the ratio that came out."""

    rows: np.ndarray
    """[N] int64, ascending; a repeated example stands several times."""
    general: int
    """Size of the general side, in the unit of the ratio."""
    function_call: int
    """Size of the function-call side, in the unit of the ratio."""

    @property
    def achieved(self) -> float:
        """General : function-call as it came out; infinite without function-call examples."""
        return self.general / self.function_call if self.function_call else float("inf")


def mix(
    is_general: np.ndarray,
    num_tokens: np.ndarray,
    ratio: float,
    unit: Literal["examples", "tokens"] = "examples",
    repeat: bool = False,
    seed: int = 0,
) -> Mix:
    """Choose examples so that general : function-call is `ratio`.

    Args:
        is_general: [N] bool.
        num_tokens: [N] length of each example.
        ratio: general per function-call, in `unit`; 0 keeps everything as it is.
        unit: what is counted.
        repeat: repeat the scarce side instead of taking fewer of the other.
        seed: of the run.

    Raises:
        DataError: one side is empty or too small for the ratio.
    """
    general, calls = np.flatnonzero(is_general), np.flatnonzero(~is_general)
    sizes = np.ones(len(num_tokens), dtype=np.int64) if unit == "examples" else num_tokens.astype(np.int64)
    if ratio > 0:
        require_both_sides(ratio, bool(len(general)), bool(len(calls)))
        exact = Fraction(ratio).limit_denominator(MAX_DENOMINATOR)
        if unit == "examples":
            general, calls = _by_examples(general, calls, exact, repeat, seed)
        else:
            general, calls = _by_tokens(general, calls, sizes, exact, repeat, seed)
    rows = np.sort(np.concatenate([general, calls]))
    return Mix(rows.astype(np.int64), int(sizes[general].sum()), int(sizes[calls].sum()))


def require_both_sides(ratio: float, has_general: bool, has_function_call: bool) -> None:
    """Raise DataError if a ratio is asked for and one of its sides has nothing."""
    if ratio > 0 and not (has_general and has_function_call):
        missing = "function_call" if has_general else "general"
        raise DataError(
            f"data.general_ratio={ratio:g} needs both sides, but there is no {missing} example. Add a source with "
            f"role: {missing}, or set data.general_ratio=0 to train on what is there"
        )


def _by_examples(
    general: np.ndarray, calls: np.ndarray, ratio: Fraction, repeat: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    p, q = ratio.numerator, ratio.denominator
    least, most = min(len(general) // p, len(calls) // q), max(-(-len(general) // p), -(-len(calls) // q))
    units = most if repeat else least
    if not units:
        raise DataError(
            f"data.general_ratio={float(ratio):g} ({p}:{q}) needs at least {p} general and {q} function-call examples; "
            f"there are {len(general)} and {len(calls)}. Add data, choose a rounder ratio, or set data.repeat=true"
        )
    return _times(general, units * p, seed, "general"), _times(calls, units * q, seed, "function_call")


def _times(rows: np.ndarray, count: int, seed: int, side: str) -> np.ndarray:
    """`count` of `rows`: whole passes, then a seeded choice."""
    passes, rest = divmod(count, len(rows))
    chosen = _generator(seed, side).permutation(len(rows))[:rest]
    return np.concatenate([np.tile(rows, passes), rows[np.sort(chosen)]])


def _by_tokens(
    general: np.ndarray, calls: np.ndarray, sizes: np.ndarray, ratio: Fraction, repeat: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    have_general, have_calls = int(sizes[general].sum()), int(sizes[calls].sum())
    want_general, want_calls = round(have_calls * ratio), round(have_general / ratio)
    if (have_general >= want_general) != repeat:
        return _fill(general, sizes, want_general, seed, "general"), calls
    return general, _fill(calls, sizes, want_calls, seed, "function_call")


def _fill(rows: np.ndarray, sizes: np.ndarray, tokens: int, seed: int, side: str) -> np.ndarray:
    """`rows` for about `tokens` tokens: whole passes, then the closest seeded subset."""
    passes, rest = divmod(tokens, int(sizes[rows].sum()))
    order = _generator(seed, side).permutation(len(rows))
    chosen = closest_subset([int(sizes[rows[i]]) for i in order], rest)
    if not passes and not chosen:
        raise DataError(
            f"data.general_ratio leaves room for {tokens} {side} tokens, fewer than half of any example. "
            "Add data, or set data.repeat=true"
        )
    return np.concatenate([np.tile(rows, passes), rows[np.sort(order[chosen]).astype(np.int64)]])


def closest_subset(sizes: Sequence[int], target: int) -> list[int]:
    """Indices of a subset with a sum near `target`: greedy in order, then the best single addition or exchange."""
    taken, left, total = [], [], 0
    for i, size in enumerate(sizes):
        if total + size <= target:
            taken.append(i)
            total += size
        else:
            left.append(i)
    gap = target - total
    if not gap or not left:
        return taken
    left.sort(key=lambda i: sizes[i])
    left_sizes = [sizes[i] for i in left]
    best, change = gap, (-1, -1)
    for out in [-1, *taken]:  # -1: add without taking anything out
        wanted = gap + (sizes[out] if out >= 0 else 0)
        at = bisect_left(left_sizes, wanted)
        for j in (at - 1, at):
            if 0 <= j < len(left) and abs(wanted - left_sizes[j]) < best:
                best, change = abs(wanted - left_sizes[j]), (out, left[j])
    if change[1] >= 0:
        taken = [i for i in taken if i != change[0]] + [change[1]]
    return taken


def choose_validation(
    keys: Sequence[str], sources: Sequence[int], uses: Sequence[SourceUse], fraction: float, seed: int
) -> np.ndarray:
    """Keep conversations out of training: all of some sources, none of others, a share of the rest.

    Args:
        keys: [N] digest of each conversation's content; equal conversations never fall on both sides.
        sources: [N] source of each.
        uses: [S] what each source is for. What a validation source holds validates wherever else it stands.
        fraction: share of each `auto` source; at least one conversation where it has two different ones.
        seed: of the run.

    Returns:
        [N] bool, True for validation.
    """
    by_source: dict[int, list[str]] = {}
    for key, source in zip(keys, sources, strict=True):
        by_source.setdefault(source, []).append(key)
    held_out = {key for source, own in by_source.items() if uses[source] == "validation" for key in own}
    trained = {key for source, own in by_source.items() if uses[source] == "train" for key in own}
    if fraction > 0:
        for source, own in sorted(by_source.items()):
            distinct = [key for key in dict.fromkeys(own) if key not in trained] if uses[source] == "auto" else []
            if len(distinct) > 1:
                count = min(max(1, round(fraction * len(distinct))), len(distinct) - 1)
                order = _generator(seed, f"validation/{source}").permutation(len(distinct))
                held_out.update(distinct[i] for i in order[:count])
    return np.array([key in held_out for key in keys], dtype=bool)


def _generator(seed: int, *names: object) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, "mixing", *names))

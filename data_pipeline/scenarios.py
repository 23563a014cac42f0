"""Which conversation stands where: exact quotas, and neighbours that can share a tool set."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from fcdist.config.seeds import derive_seed
from fcdist.errors import ConfigError

CATEGORIES = (
    "single",
    "negative",
    "slot_filling",
    "nested",
    "date",
    "parallel",
    "chain",
    "follow_up",
    "correction",
    "recovery",
)
LANGUAGES = ("en", "zh")
_RUN = 3
"""Conversations of one category that stand together, so that a set of tools need not serve every category."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a conversation must be."""

    category: str
    language: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """A conversation's part in a contrast pair."""

    pair: int
    of: str
    """tool or slot: what one half has and the other one lacks."""
    role: str
    """with or without it."""
    offering: int
    """Block (tool set) of the half that has it."""
    lacking: int
    """Block of the other half."""


def apportion(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers that add up to `total`, by largest remainder."""
    exact = {key: share * total for key, share in shares.items()}
    counts = {key: int(value + 1e-9) for key, value in exact.items()}
    left = total - sum(counts.values())
    for key in sorted(exact, key=lambda k: (counts[k] - exact[k], k))[:left]:
        counts[key] += 1
    return counts


def plan_cells(
    num: int,
    shares: Mapping[str, float],
    languages: Mapping[str, float],
    per_set: int,
    seed: int,
    mixed: bool = False,
) -> list[Cell]:
    """Category and language of every index; both quotas are exact.

    Args:
        num: how many.
        shares: of the categories.
        languages: their shares.
        per_set: indices that share a set of tools.
        seed: of the order.
        mixed: every set serves as many categories as the shares allow; else a few, which need fewer tools.

    Raises:
        ConfigError: an unknown category or language has a share.
    """
    if shares.get("multi_turn"):
        raise ConfigError(
            "generate.shares has multi_turn, which is now `chain` (calls that need an earlier result), `follow_up`, "
            f"`correction` and `recovery`; known: {', '.join(CATEGORIES)}"
        )
    for name, known, given in (("shares", CATEGORIES, shares), ("languages", LANGUAGES, languages)):
        if unknown := [key for key, share in given.items() if share > 0 and key not in known]:
            raise ConfigError(f"generate.{name} has unknown {unknown[0]!r}; known: {', '.join(known)}")
    categories = [key for key, count in apportion(shares, num).items() for _ in range(count)]
    left, done = apportion(languages, num), dict.fromkeys(languages, 0)
    cells: dict[str, list[str]] = {language: [] for language in languages}
    for position, category in enumerate(categories):
        language = max((k for k in left if done[k] < left[k]), key=lambda k: left[k] * (position + 1) / num - done[k])
        done[language] += 1
        cells[language].append(category)
    rng = random.Random(derive_seed(seed, "cells"))
    arrange = _spread if mixed else _in_runs
    kinds = {(category, language): Cell(category, language) for language in languages for category in shares}
    ordered = [kinds[category, language] for language in languages for category in arrange(cells[language], rng)]
    blocks = [ordered[i : i + per_set] for i in range(0, num, per_set)]
    tail = [blocks.pop()] if blocks and len(blocks[-1]) < per_set else []
    rng.shuffle(blocks)
    for block in blocks:
        rng.shuffle(block)
    return [cell for block in blocks + tail for cell in block]


def _spread(categories: list[str], rng: random.Random) -> list[str]:
    """Every category at even distances, from a random place on."""
    places: list[tuple[float, str]] = []
    for category in dict.fromkeys(categories):
        count, start = categories.count(category), rng.random()
        places += [((number + start) / count, category) for number in range(count)]
    return [category for _, category in sorted(places)]


def _in_runs(categories: list[str], rng: random.Random) -> list[str]:
    runs: list[list[str]] = []
    for category in dict.fromkeys(categories):
        count = categories.count(category)
        runs += [[category] * min(_RUN, count - i) for i in range(0, count, _RUN)]
    rng.shuffle(runs)
    return [category for run in runs for category in run]


def plan_contrasts(cells: list[Cell], per_set: int, share: float, seed: int) -> dict[int, Contrast]:
    """Partners of a share of the negatives and of the slot-filling conversations: single requests that they echo.

    A value is left out within one block, so that both halves see the same tools. A tool can only be missing in another
    block: the halves stand in two neighbouring ones, so that few blocks hang together when the data is split.

    Returns:
        Index → part in its pair; two entries a pair, and fewer pairs than asked for where no single request stands by.
    """
    rng = random.Random(derive_seed(seed, "contrasts"))
    singles: dict[tuple[int, str], list[int]] = {}
    for index, cell in enumerate(cells):
        if cell.category == "single":
            singles.setdefault((index // per_set, cell.language), []).append(index)
    parts: dict[int, Contrast] = {}
    for category, of in (("negative", "tool"), ("slot_filling", "slot")):
        wanting = [index for index, cell in enumerate(cells) if cell.category == category]
        wanted = len(parts) // 2 + round(share * len(wanting))
        rng.shuffle(wanting)
        for index in wanting:
            block = index // per_set
            other = block ^ 1 if of == "tool" else block
            free = singles.get((other, cells[index].language))
            if not free or len(parts) // 2 >= wanted:
                continue
            pair = len(parts) // 2
            parts[index] = Contrast(pair, of, "without", other, block)
            parts[free.pop()] = Contrast(pair, of, "with", other, block)
    return parts

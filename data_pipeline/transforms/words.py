"""The words that disguises are made of (catalogue/disguise.yaml), many in two halves: training and held-out data."""

import random
from functools import lru_cache
from typing import Any

from data_pipeline.catalogue import FOLDER
from data_pipeline.tables import read_table


@lru_cache(maxsize=1)
def words() -> Any:
    """All tables."""
    return read_table(FOLDER / "disguise.yaml")


def half(table: str, held_out: bool) -> Any:
    """The words of a table that this split may use; held-out words never appear in training data."""
    return words()[table]["held_out" if held_out else "train"]


def invented_name(rng: random.Random, held_out: bool, syllables: int = 3) -> str:
    """A pronounceable name without meaning."""
    return "".join(rng.choice(half("syllables", held_out)) for _ in range(syllables))

"""Planning an epoch of a million examples: seconds of one core, memory, and what the packs are worth.

    python -m benchmarks.plan [--examples N] [--store RUN/store ...]

Lengths are log-normal, or drawn with replacement from a token store; groups of 8 examples share a tool prompt.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from fcdist.config.types import BatchConfig
from fcdist.data.balance import idle_share
from fcdist.data.planning import plan_epoch
from fcdist.data.store import TokenStore, open_store

RANKS = (8, 64, 1024)


@dataclass(frozen=True)
class Index:
    lengths: np.ndarray
    num_targets: np.ndarray
    groups: np.ndarray
    prefix_lens: np.ndarray
    places: np.ndarray
    common: np.ndarray


def index_of(bodies: np.ndarray, prefixes: np.ndarray, random: np.random.Generator) -> Index:
    """An index in which example i begins with prompt i // (bodies / prefixes), shuffled."""
    count, members = len(bodies), len(bodies) // len(prefixes)
    groups = np.arange(count) // members
    prefix = prefixes[groups]
    common = np.where(np.arange(count) % members == 0, 0, prefix)
    shuffled = random.permutation(count)
    columns = (prefix + bodies, np.maximum(1, bodies // 3), groups, prefix, np.arange(count), common)
    return Index(*(column[shuffled].astype(np.int64) for column in columns))


def synthetic(count: int, random: np.random.Generator) -> Iterator[tuple[str, Index, int]]:
    def lengths(median: int, sigma: float, number: int, most: int) -> np.ndarray:
        return np.clip(random.lognormal(np.log(median), sigma, number).astype(np.int64), 16, most)

    none = np.zeros(count, dtype=np.int64)
    yield "log-normal, median 250, σ 0.8, nothing shared", index_of(lengths(250, 0.8, count, 8000), none, random), 8192
    yield "log-normal, median 900, σ 1, nothing shared", index_of(lengths(900, 1, count, 8000), none, random), 8192
    prompts = lengths(900, 0.8, count // 8, 5000)
    yield "8 on a prompt of median 900, own part 150", index_of(lengths(150, 0.6, count, 3000), prompts, random), 8192
    few = lengths(2500, 0.5, 20, 6000)
    yield "20 prompts of median 2500, own part 300", index_of(lengths(300, 0.8, count, 2000), few, random), 16384


def bootstrapped(store: TokenStore, count: int, random: np.random.Generator) -> Index:
    """`count` examples in whole prefix groups of the store, each repetition a group of its own."""
    by_group = np.argsort(store.groups, kind="stable")
    _, first, sizes = np.unique(store.groups[by_group], return_index=True, return_counts=True)
    drawn = random.integers(0, len(sizes), 2 * count // max(1, int(sizes.mean())) + 1)
    sizes = sizes[drawn]
    drawn, sizes = drawn[np.cumsum(sizes) <= count], sizes[np.cumsum(sizes) <= count]
    rank = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = by_group[np.repeat(first[drawn], sizes) + rank]
    rows = rows[np.lexsort((store.places[rows], np.repeat(np.arange(len(sizes)), sizes)))]
    prefix = store.prefix_lens[rows]
    common = np.where(rank == 0, 0, prefix)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    columns = (store.lengths[rows], store.num_targets[rows], groups, prefix, np.arange(len(rows)), common)
    return Index(*(column.astype(np.int64) for column in columns))


def measure(name: str, index: Index, batch: BatchConfig, table: Table) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    plan = plan_epoch(index, batch, seed=0, epoch=0)
    seconds = time.process_time() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    packs = sum(1 for step in plan for pack in step.packs if pack)
    unique, total = sum(s.num_unique_tokens for s in plan), sum(s.num_tokens for s in plan)
    idle = [idle_share(plan, 1, ranks) if batch.global_batch_size % ranks == 0 else None for ranks in RANKS]
    table.add_row(
        name,
        f"{batch.global_batch_size}",
        f"{len(index.lengths):,}",
        f"{seconds:.1f}",
        f"{grown / 1024:.0f}",
        f"{len(plan):,}",
        f"{unique / (packs * batch.seq_len):.1%}",
        f"{total / unique:.2f}",
        *("" if share is None else f"{share:.2%}" for share in idle),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1_000_000)
    parser.add_argument("--store", type=Path, action="append", default=[], help="folder of a token store")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    table = Table()
    for heading in ("examples", "packs/step", "number", "CPU s", "MiB", "steps", "fill", "reuse"):
        table.add_column(heading)
    for ranks in RANKS:
        table.add_column(f"idle {ranks}")
    cases = list(synthetic(arguments.examples, random)) if not arguments.store else []
    for folder in arguments.store:
        store = open_store(folder)
        cases.append((str(folder), bootstrapped(store, arguments.examples, random), 8192))
    for name, index, seq_len in cases:
        for size in (64, 1024):
            measure(name, index, BatchConfig(seq_len=seq_len, global_batch_size=size), table)
    Console(width=200).print(table)


if __name__ == "__main__":
    main()

"""Past this machine: an epoch planned for 8 to 2,048 ranks, and what each rank and the disk must bear.

    OMP_NUM_THREADS=1 python -m benchmarks.scale [--examples 10000000] [--starts-only]

The plan is the real one over a synthetic index (8 conversations on a prompt, log-normal lengths); waiting follows from
the cost model. Every part is measured in a process of its own, so that its peak memory is its own. Rates of disks and
links are assumed and printed.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.plan import Index, index_of
from fcdist.config.types import BatchConfig
from fcdist.data.balance import GlobalBatch, divide, idle_share
from fcdist.data.kept_plans import Plan, read_plan, write_plan
from fcdist.data.planning import plan_epoch
from fcdist.data.store import INDEX

RANKS = (8, 64, 256, 1024, 2048)
LOCAL_RANKS = 8
MEASURED = 1_000_000
"""Examples of the plans that are judged; start-up and memory are measured at --examples."""
DISK_GB_S = 2.0
"""Assumed: what one rank writes to the shared disk."""
SHARED_GB_S = 40.0
"""Assumed: what the shared disk takes from all ranks together."""
SIGN_S, SIGN_BYTES = 10.0, 130
"""A rank's sign of life: once in so long at least, about so many bytes with its key."""
MODELS = {
    "135M": {"full": 134_515_008, "lora": 4_884_480},
    "8B": {"full": 8_190_735_360, "lora": 43_646_976},
    "70B": {"full": 70_553_706_496, "lora": 207_093_760},
}
"""Weights that train: SmolLM2-135M, Qwen3-8B and Llama-3.1-70B, whole and LoRA of rank 16 on every projection."""


def lengths(median: int, sigma: float, number: int, most: int, random: np.random.Generator) -> np.ndarray:
    return np.clip(random.lognormal(np.log(median), sigma, number).astype(np.int64), 16, most)


def made_index(count: int, seed: int = 0) -> Index:
    """8 conversations on a prompt of median 900 tokens, each with 150 of its own."""
    random = np.random.default_rng(seed)
    prompts = lengths(900, 0.8, -(-count // 8), 5000, random)
    bodies = lengths(150, 0.6, len(prompts) * 8, 3000, random)
    return index_of(bodies, prompts, random)


def write_index(count: int, folder: Path) -> Path:
    """The same as a store's file of records."""
    index = made_index(count)
    records = np.zeros(len(index.lengths), dtype=INDEX)
    names = {"length": "lengths", "num_targets": "num_targets", "prefix_len": "prefix_lens", "group": "groups",
             "place": "places", "common": "common"}  # fmt: skip
    for column, name in names.items():
        records[column] = getattr(index, name)
    np.save(folder / "train.npy", records)
    return folder / "train.npy"


def open_index(path: Path) -> Index:
    """As a token store shows it: columns of one mapped file, which the processes of a node share."""
    records = np.load(path, mmap_mode="r")
    return Index(*(records[name] for name in ("length", "num_targets", "group", "prefix_len", "place", "common")))


def apart(function: Callable[..., Any], *args: Any) -> tuple[Any, float, float]:
    """Result of `function` in a fresh process, its CPU seconds and the MiB its peak grew by."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: tuple[Any, float, float] = pool.apply(_watched, (function, args))
    return found


def _watched(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, float, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    result = function(*args)
    spent = time.process_time() - begun
    return result, spent, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def start_loader(path: Path, ranks: int) -> int:
    """What a rank does before its first step: open, plan, divide. Returns the steps."""
    batch = BatchConfig(global_batch_size=ranks)
    plan = plan_epoch(open_index(path), batch, seed=0, epoch=0)
    divide(plan[0], 1, ranks)
    return len(plan)


def keep_plan(path: Path, kept: Path, ranks: int) -> None:
    """What one rank does for all at the first start."""
    plan = plan_epoch(open_index(path), BatchConfig(global_batch_size=ranks), seed=0, epoch=0)
    write_plan(kept, Plan.of(plan))


def start_from_kept(path: Path, kept: Path, ranks: int) -> int:
    """What every rank does then, and at each further start."""
    open_index(path)
    plan = read_plan(kept)
    divide(plan[0], 1, ranks)
    return len(plan)


def scaled(ranks: int, micro_steps: int) -> dict[str, float]:
    """Waiting and variety of a plan whose steps give each rank `micro_steps` packs."""
    index = made_index(MEASURED)
    batch = BatchConfig(global_batch_size=ranks * micro_steps)
    plan = plan_epoch(index, batch, seed=0, epoch=0)
    return facts_of(plan, index.groups, batch, ranks)


def facts_of(plan: list[GlobalBatch], groups: np.ndarray, batch: BatchConfig, ranks: int) -> dict[str, float]:
    whole = [step for step in plan if all(step.packs)] or plan
    distinct = [len(np.unique(groups[[row for pack in step.packs for row in pack]])) for step in whole]
    return {
        "steps": len(plan),
        "tokens": sum(step.num_unique_tokens for step in whole) / len(whole),
        "targets": sum(step.num_targets for step in whole) / len(whole),
        "groups": min(distinct),
        "idle": idle_share(whole, 1, ranks),
        "idle_last": idle_share(plan[-1:], 1, ranks),
        "idle_epoch": idle_share(plan, 1, ranks),
    }


def checkpoint_rows() -> list[tuple[str, str, float, dict[int, float]]]:
    """Model, mode, GB of a checkpoint and seconds to write it on so many ranks."""
    rows = []
    for model, modes in MODELS.items():
        for mode, trained in modes.items():
            size = trained * 14 / 1e9  # fp32 masters, two moments, and the weights once more in bf16
            rows.append((model, mode, size, {n: write_seconds(trained, n) for n in RANKS}))
    return rows


def write_seconds(trained: int, ranks: int) -> float:
    """Each rank writes its part of the optimizer; rank 0 then puts the weights together alone."""
    parts = trained * 12 / 1e9 / min(ranks * DISK_GB_S, SHARED_GB_S)
    return parts + trained * 2 / 1e9 / DISK_GB_S


def print_starts(examples: int, folder: Path, console: Console) -> None:
    """Seconds and memory of a rank that plans, of the one that keeps its plan, and of those that read it."""
    path, _, _ = apart(write_index, examples, folder)
    kept = folder / "plan.npy"
    steps, seconds, grown = apart(start_loader, path, 64)
    _, keep_s, keep_mib = apart(keep_plan, path, kept, 64)
    again, read_s, read_mib = apart(start_from_kept, path, kept, 64)
    assert again == steps
    console.print(
        f"loader start, {examples:,} examples ({path.stat().st_size / 2**20:,.0f} MiB mapped, shared by a node's "
        f"ranks), {steps:,} steps:\n"
        f"  every rank plans: {seconds:.1f} CPU s and {grown:,.0f} MiB a rank, {LOCAL_RANKS} ranks of a node "
        f"{LOCAL_RANKS * grown / 1024:.1f} GiB\n"
        f"  one rank plans and keeps {kept.stat().st_size / 2**20:,.0f} MiB: {keep_s:.1f} CPU s, {keep_mib:,.0f} MiB\n"
        f"  the others read it: {read_s:.2f} CPU s and {read_mib:,.0f} MiB, mapped and shared"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=10_000_000)
    parser.add_argument("--starts-only", action="store_true", help="only what a loader's start takes")
    arguments = parser.parse_args()
    console = Console(width=160)
    if arguments.starts_only:
        with tempfile.TemporaryDirectory() as folder:
            print_starts(arguments.examples, Path(folder), console)
        return
    table = Table(title=f"{MEASURED:,} examples, packs of {BatchConfig().seq_len:,} tokens", title_justify="left")
    for heading in (
        "ranks",
        "packs",
        "steps",
        "tokens",
        "targets",
        "prompts",
        "waiting",
        "last step",
        "epoch",
        "signs/s",
    ):
        table.add_column(heading, justify="right")
    for ranks in RANKS:
        for micro_steps in (1, 4):
            found = scaled(ranks, micro_steps)
            shares = [f"{found[key]:.2%}" for key in ("idle", "idle_last", "idle_epoch")]
            sizes = [f"{found[key]:,.0f}" for key in ("steps", "tokens", "targets", "groups")]
            table.add_row(f"{ranks:,}", f"{ranks * micro_steps:,}", *sizes, *shares, f"{ranks / SIGN_S:,.0f}")
    console.print(table)
    with tempfile.TemporaryDirectory() as folder:
        print_starts(arguments.examples, Path(folder), console)
    saves = Table(title=f"checkpoints at {DISK_GB_S:g} GB/s a rank, {SHARED_GB_S:g} in all", title_justify="left")
    for heading in ("model", "mode", "GB", *(f"s on {n:,}" for n in RANKS)):
        saves.add_column(heading, justify="right")
    for model, mode, size, seconds_at in checkpoint_rows():
        saves.add_row(model, mode, f"{size:.2f}", *(f"{seconds_at[n]:.1f}" for n in RANKS))
    console.print(saves)
    console.print(
        f"signs of life: at most {RANKS[-1] / SIGN_S:.0f}/s, {RANKS[-1] * SIGN_BYTES / SIGN_S / 1024:.0f} KiB/s"
    )


if __name__ == "__main__":
    main()

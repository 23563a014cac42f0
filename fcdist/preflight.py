"""`fcdist preflight`: everything that can be known to be wrong before a GPU is asked for. No weights, no training."""

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from fcdist.config.entry import USER_ERROR, entry
from fcdist.config.run_folder import checkpoints_dir, store_dir
from fcdist.config.types import Config
from fcdist.data.balance import GlobalBatch
from fcdist.data.batch import Kind
from fcdist.data.building import check_sources
from fcdist.data.painting import paint_legend, paint_pack
from fcdist.data.planning import plan_epoch
from fcdist.data.statistics import describe_packing
from fcdist.data.store import TokenStore, build_store, open_store, store_fingerprint
from fcdist.data.tables import print_packing
from fcdist.errors import ModelError
from fcdist.model.precision import resolve_precision
from fcdist.model.sequence_parallel import check_heads
from fcdist.model.weights import load_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.sources.records import count_records
from fcdist.training.estimates.activations import outline
from fcdist.training.estimates.fitting import fitting_settings
from fcdist.training.estimates.hardware import GIB, GPUS
from fcdist.training.estimates.memory import estimate_memory
from fcdist.training.estimates.report import describe_shortage, print_host_memory, print_memory, print_work
from fcdist.training.estimates.work import checkpoint_bytes, checkpoints_kept, estimate_work

SAMPLE = 64
"""Conversations of each source that are tokenised when there is no store yet."""
LOOKED_AT = 256
"""Shortest examples of a source among which one with a call is looked for."""


def preflight(cfg: Config, run_dir: Path, arguments: argparse.Namespace) -> int:
    """Check world size, tokenizer, template, files and plan; estimate memory, hours and disk; print what was found.

    Returns:
        0, or 2 if the run would fail by what is estimated; the reasons are printed.

    Raises:
        FcdistError: the first thing that stops the run for certain.
    """
    console, cfg = Console(), resolve_precision(cfg, has_bf16=True)  # as every GPU in the table
    world_size = cfg.launch.nodes * cfg.launch.nproc_per_node
    steps = cfg.batch.accumulation_steps(world_size)
    _say(console, f"{world_size} rank(s), {steps} micro-step(s) of {cfg.batch.micro_batch_size} pack(s) per step")
    renderer = Renderer(load_tokenizer(cfg.model), load_protocol(cfg.protocol.name))
    _say(console, f"protocol {cfg.protocol.name} on {cfg.model.path}: end-of-turn token {renderer.end_of_turn!r}")
    if (store_dir(cfg) / "store.json").is_file() or not cfg.data.sources:
        fingerprint = store_fingerprint(cfg, renderer) if cfg.data.sources else None
        store = open_store(store_dir(cfg), fingerprint=fingerprint, verify=True)
        _say(console, f"store {store.folder}: {len(store):,} training examples, whole and up to date")
        return _examine(console, store, renderer, cfg, world_size)
    check_sources(cfg.data)
    with tempfile.TemporaryDirectory(prefix="fcdist-preflight-") as folder:
        store = build_store(_sample(cfg, folder), renderer)
        _say(console, f"no store yet; a sample of the sources gives {len(store):,} examples")
        return _examine(console, store, renderer, cfg, world_size, _sampled_share(cfg))


def _sample(cfg: Config, folder: str) -> Config:
    """The same run on a few conversations of each source."""
    sources = {name: replace(source, max_conversations=SAMPLE) for name, source in cfg.data.sources.items()}
    data = replace(
        cfg.data, sources=sources, store_dir=str(Path(folder, "store")), validation_fraction=0.0, general_ratio=0.0
    )
    return replace(cfg, data=replace(data, num_workers=1))


def _sampled_share(cfg: Config) -> float:
    """How many times more conversations the sources hold than the sample takes."""
    counts = []
    for source in cfg.data.sources.values():
        found = count_records(source) or SAMPLE
        counts.append(min(found, source.max_conversations or found))
    return sum(counts) / sum(min(SAMPLE, count) for count in counts)


def _examine(
    console: Console, store: TokenStore, renderer: Renderer, cfg: Config, world_size: int, scale: float = 1.0
) -> int:
    """Show examples and plan, and judge the estimates."""
    plan = plan_epoch(store, cfg.batch, cfg.seed, epoch=0)
    facts = describe_packing(store, cfg.batch, cfg.seed, cfg.batch.dp_world_size(world_size), plan)
    colour = console.is_terminal and not console.no_color
    console.print(paint_legend(colour), soft_wrap=True)
    for split in (store, TokenStore(store.folder, "validation", store.facts)):
        for name, row in _telling_rows(split):
            console.print(f"{name}:", highlight=False)
            for text in paint_pack(split, [row], 0, renderer.tokenizer, colour):
                console.print(text, soft_wrap=True)
    print_packing(console, facts, cfg.batch)
    if scale > 1:
        _say(console, f"what follows is reckoned from the sample, {scale:.3g} times less than the sources hold")
    try:
        problems = _estimate(console, cfg, store, plan, world_size, scale)
    except ModelError as error:
        console.print(f"not estimated: {error}", highlight=False, soft_wrap=True)
        return 0
    for problem in problems:
        console.print(f"NO  {problem}", highlight=False, soft_wrap=True)
    return USER_ERROR if problems else 0


def _estimate(
    console: Console, cfg: Config, store: TokenStore, plan: Sequence[GlobalBatch], world_size: int, scale: float
) -> list[str]:
    """Print memory, hours and disk; return why the run would fail.

    Raises:
        FcdistError: the model cannot be outlined or not be shared as batch.sequence_parallel says.
    """
    check_heads(outline(cfg), cfg.batch.sequence_parallel)
    problems = []
    share = _target_share(store, plan, cfg.batch.seq_len)
    gpu = GPUS[cfg.preflight.gpu]
    memory = estimate_memory(cfg, world_size, int(share * cfg.batch.micro_batch_size * cfg.batch.seq_len))
    print_memory(console, cfg, memory, world_size)
    if memory.peak > gpu.memory:
        problems.append(describe_shortage(cfg, memory, fitting_settings(cfg, world_size, share, gpu.memory)))
    print_host_memory(console, cfg, memory)
    work = estimate_work(cfg, plan, world_size, scale)
    print_work(console, cfg, work, world_size)
    size, kept, free = checkpoint_bytes(cfg), checkpoints_kept(cfg, work.steps), _free_disk(checkpoints_dir(cfg))
    console.print(
        f"checkpoints: {kept} of {size / GIB:.2f} GiB at a time, {free / GIB:.1f} GiB free in {checkpoints_dir(cfg)}",
        highlight=False,
        soft_wrap=True,
    )
    if kept * size > free:
        problems.append(
            f"{kept} checkpoints of {size / GIB:.2f} GiB take {kept * size / GIB:.1f} GiB, and {checkpoints_dir(cfg)} "
            f"has {free / GIB:.1f} GiB free: lower train.keep_last={cfg.train.keep_last} or train.keep_every="
            f"{cfg.train.keep_every}, or set run_dir to a larger disk"
        )
    return problems


def _target_share(store: TokenStore, plan: Sequence[GlobalBatch], seq_len: int) -> float:
    """Targets a token of the richest full pack."""
    targets = np.asarray(store.num_targets, dtype=np.int64)
    most = max(int(targets[list(pack)].sum()) for step in plan for pack in step.packs if pack)
    mean = sum(step.num_targets for step in plan) / sum(step.num_unique_tokens for step in plan)
    return min(1.0, max(most / seq_len, mean))


def _free_disk(folder: Path) -> int:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def _telling_rows(store: TokenStore) -> Iterator[tuple[str, int]]:
    """Of each source the shortest example with a call, or the shortest of all."""
    order = np.argsort(store.lengths, kind="stable")
    for number, name in enumerate(store.source_names):
        shortest = order[store.sources[order] == number][:LOOKED_AT].tolist()
        if shortest:
            has_call = (row for row in shortest if (store.example(row).kinds == Kind.CALL).any())
            yield name, next(has_call, shortest[0])


def _say(console: Console, text: str) -> None:
    console.print(f"ok  {text}", highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit code."""
    return entry("fcdist preflight", preflight, argv)


if __name__ == "__main__":
    raise SystemExit(main())

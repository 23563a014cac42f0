"""`fcdist preflight`: everything that can be known to be wrong before a GPU is asked for. No weights, no training."""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from fcdist.config.entry import entry
from fcdist.config.run_folder import store_dir
from fcdist.config.types import Config
from fcdist.data.batch import Kind
from fcdist.data.building import check_sources
from fcdist.data.painting import paint_legend, paint_pack
from fcdist.data.statistics import describe_packing
from fcdist.data.store import TokenStore, build_store, open_store, store_fingerprint
from fcdist.data.tables import print_packing
from fcdist.model.weights import load_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer

SAMPLE = 64
"""Conversations of each source that are tokenised when there is no store yet."""


def preflight(cfg: Config, run_dir: Path, arguments: argparse.Namespace) -> None:
    """Check world size, tokenizer, template, store or sources, and the plan; print what was found.

    Raises:
        FcdistError: the first thing that would stop the run.
    """
    console = Console()
    world_size = cfg.launch.nodes * cfg.launch.nproc_per_node
    steps = cfg.batch.accumulation_steps(world_size)
    _say(console, f"{world_size} rank(s), {steps} micro-step(s) of {cfg.batch.micro_batch_size} pack(s) per step")
    renderer = Renderer(load_tokenizer(cfg.model), load_protocol(cfg.protocol.name))
    _say(console, f"protocol {cfg.protocol.name} on {cfg.model.path}: end-of-turn token {renderer.end_of_turn!r}")
    if (store_dir(cfg) / "store.json").is_file() or not cfg.data.sources:
        fingerprint = store_fingerprint(cfg, renderer) if cfg.data.sources else None
        store = open_store(store_dir(cfg), fingerprint=fingerprint, verify=True)
        _say(console, f"store {store.folder}: {len(store):,} training examples, whole and up to date")
        _show(console, store, renderer, cfg, world_size)
        return
    check_sources(cfg.data)
    with tempfile.TemporaryDirectory(prefix="fcdist-preflight-") as folder:
        store = build_store(_sample(cfg, folder), renderer)
        _say(console, f"no store yet; a sample of the sources gives {len(store):,} examples")
        _show(console, store, renderer, cfg, world_size)


def _sample(cfg: Config, folder: str) -> Config:
    """The same run on a few conversations of each source."""
    sources = {name: replace(source, max_conversations=SAMPLE) for name, source in cfg.data.sources.items()}
    data = replace(
        cfg.data, sources=sources, store_dir=str(Path(folder, "store")), validation_fraction=0.0, general_ratio=0.0
    )
    return replace(cfg, data=replace(data, num_workers=1))


def _show(console: Console, store: TokenStore, renderer: Renderer, cfg: Config, world_size: int) -> None:
    print_packing(console, describe_packing(store, cfg.batch, cfg.seed, cfg.batch.dp_world_size(world_size)), cfg.batch)
    colour = console.is_terminal and not console.no_color
    row = _telling_row(store)
    console.print(paint_legend(colour), soft_wrap=True)
    for text in paint_pack(store, [row], 0, renderer.tokenizer, colour):
        console.print(text, soft_wrap=True)


def _telling_row(store: TokenStore) -> int:
    """The shortest example with a call, or the shortest of all."""
    shortest = [int(row) for row in store.lengths.argsort(kind="stable")]
    return next((row for row in shortest if (store.example(row).kinds == Kind.CALL).any()), shortest[0])


def _say(console: Console, text: str) -> None:
    console.print(f"ok  {text}", highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit code."""
    return entry("fcdist preflight", preflight, argv)


if __name__ == "__main__":
    raise SystemExit(main())

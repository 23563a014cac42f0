"""`fcdist show`: a pack in the terminal as a tree, with roles, positions and the loss mask in colour."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fcdist.config.entry import entry
from fcdist.config.run_folder import failures_dir, store_dir
from fcdist.config.types import Config
from fcdist.data.collating import collate
from fcdist.data.painting import paint_legend, paint_pack
from fcdist.data.planning import plan_epoch
from fcdist.data.store import TokenStore, open_store
from fcdist.errors import DataError
from fcdist.model.weights import load_tokenizer
from fcdist.training.watching.failures import read_failure


def show(cfg: Config, run_dir: Path, arguments: argparse.Namespace) -> None:
    """Print a pack of an epoch, one example, or the packs of a step that failed."""
    store = open_store(store_dir(cfg), "validation" if arguments.validation else "train")
    console = Console()
    if arguments.failure is not None:
        reason, packs = read_failure(failures_dir(cfg), arguments.failure if arguments.failure >= 0 else None)
        console.print(reason, highlight=False, soft_wrap=True, markup=False)
        for pack in packs:
            loss = "" if pack.loss is None else f", loss {pack.loss:g} (sum over its targets)"
            console.rule(f"rank {pack.rank}, micro-step {pack.micro_step}{loss}", align="left")
            _print_pack(console, store, cfg, list(pack.examples))
    elif arguments.example is not None:
        if not 0 <= arguments.example < len(store):
            raise DataError(f"--example {arguments.example}: {_range(store)}")
        _print_pack(console, store, cfg, [arguments.example])
    else:
        _print_pack(console, store, cfg, _pack(store, cfg, arguments), is_whole=True)


def _print_pack(console: Console, store: TokenStore, cfg: Config, rows: list[int], is_whole: bool = False) -> None:
    if wrong := [row for row in rows if not 0 <= row < len(store)]:
        raise DataError(f"example {wrong[0]} of the failed step: {_range(store)}; was the store made anew since?")
    colour = console.is_terminal and not console.no_color
    tokenizer = load_tokenizer(cfg.model)
    console.print(paint_legend(colour), soft_wrap=True)
    for text in paint_pack(store, rows, cfg.batch.shared_stretch, tokenizer, colour):
        console.print(text, soft_wrap=True)
    batch = collate(store, [rows], cfg.batch.shared_stretch)
    tokens, total = batch.input_ids.shape[1], int(store.lengths[rows].sum())
    free = f"; {cfg.batch.seq_len - tokens} of {cfg.batch.seq_len} free" if is_whole else ""
    shared = f", {total} if nothing were shared" if total > tokens else ""
    console.print(f"{len(rows)} example(s), {tokens} tokens{shared}{free}", highlight=False, soft_wrap=True)


def _range(store: TokenStore) -> str:
    return f"the {store.split} split has examples 0 to {len(store) - 1}"


def _pack(store: TokenStore, cfg: Config, arguments: argparse.Namespace) -> list[int]:
    plan = plan_epoch(store, cfg.batch, cfg.seed, arguments.epoch)
    packs = [pack for step in plan for pack in step.packs if pack]
    if not 0 <= arguments.pack < len(packs):
        raise DataError(f"--pack {arguments.pack}: epoch {arguments.epoch} has packs 0 to {len(packs) - 1}")
    return list(packs[arguments.pack])


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pack", type=int, default=0, help="number of the pack in training order (0)")
    parser.add_argument("--epoch", type=int, default=0, help="epoch of the pack, from 0")
    parser.add_argument("--example", type=int, help="show this row of the store instead of a pack")
    parser.add_argument(
        "--failure", type=int, nargs="?", const=-1, metavar="STEP", help="show the packs of a failed step (the newest)"
    )
    parser.add_argument("--validation", action="store_true", help="look into the validation split")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit code."""
    return entry("fcdist show", show, argv, _add_arguments)


if __name__ == "__main__":
    raise SystemExit(main())

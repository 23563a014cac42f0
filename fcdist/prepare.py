"""`fcdist prepare`: sources → checked, tokenised, mixed token store, with a table of what came out."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from fcdist.config.entry import entry
from fcdist.config.run_folder import AUDIT_REPORT, audit_dir, store_dir
from fcdist.config.types import Config
from fcdist.data.statistics import describe_packing, describe_store
from fcdist.data.store import build_store, open_store
from fcdist.data.tables import print_audit, print_packing, print_report
from fcdist.model.weights import load_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.schema.shards import write_json

REPORT = "report.json"


def prepare(cfg: Config, run_dir: Path, arguments: argparse.Namespace) -> None:
    """Build (or reuse) the store, print its facts and write them to report.json beside it."""
    console = Console()
    started = time.monotonic()
    renderer = Renderer(load_tokenizer(cfg.model), load_protocol(cfg.protocol.name))
    folder = store_dir(cfg)
    before = (folder / "store.json").stat().st_mtime_ns if (folder / "store.json").is_file() else None
    store = build_store(cfg, renderer)
    reused = before == (folder / "store.json").stat().st_mtime_ns
    report = describe_store(store, open_store(folder, "validation"))
    batch = cfg.batch
    dp_world_size = cfg.launch.nodes * cfg.launch.nproc_per_node // batch.sequence_parallel
    if not dp_world_size or batch.global_batch_size % (batch.micro_batch_size * dp_world_size):
        dp_world_size = 1  # preflight and train refuse it; the store is good for any world size
    packing = describe_packing(store, batch, cfg.seed, dp_world_size)
    write_json(folder / REPORT, report | {"packing": asdict(packing)})
    print_report(console, report, list(cfg.data.sources), batch.seq_len)
    print_packing(console, packing, batch)
    took = "reused, nothing changed" if reused else f"{time.monotonic() - started:.1f} s"
    console.print(f"store: {folder} ({took}); facts: {folder / REPORT}", soft_wrap=True, highlight=False)
    print_audit(console, audit_dir(cfg) / AUDIT_REPORT)
    if any(report["dropped"].values()):
        console.print(f"dropped records, with reasons: {folder / 'dropped.jsonl'}", soft_wrap=True, highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit code."""
    return entry("fcdist prepare", prepare, argv)


if __name__ == "__main__":
    raise SystemExit(main())

"""Rebuild the HTML report of a run: `python -m fcdist.report RUN`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fcdist.config.entry import entry
from fcdist.config.run_folder import evaluation_dir, log_dir, store_dir
from fcdist.config.types import Config
from fcdist.evaluation.report import build_report, read_results
from fcdist.evaluation.summary import summary_table


def body(config: Config, run_dir: Path, arguments: argparse.Namespace) -> int:
    """Print the table of one run and write its page."""
    console = Console()
    folder = evaluation_dir(config)
    console.print(summary_table(read_results(folder / "results.json")))
    path = build_report(folder, log_dir(config), store_dir(config))
    console.print(f"report: {path}", soft_wrap=True)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return entry("fcdist report", body, argv)


if __name__ == "__main__":
    raise SystemExit(main())

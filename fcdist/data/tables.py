"""The facts of a token store as tables and lines in the terminal."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fcdist.config.types import BatchConfig
from fcdist.data.statistics import ENOUGH_GROUPS, PackingFacts


def print_report(console: Console, report: dict[str, Any], sources: Sequence[str], seq_len: int) -> None:
    """Print the report of a store.

    Args:
        console: where to.
        report: from `describe_store`.
        sources: names in config order; one without an example is shown too.
        seq_len: tokens of a pack.
    """
    table = Table(title="token store", title_justify="left")
    for heading in ("", "train examples", "tokens", "targets", "targets %", "validation", "dropped"):
        table.add_column(heading, justify="left" if not heading else "right")
    dropped = {name: sum(reasons.values()) for name, reasons in report["dropped"].items()}
    for kind in ("sources", "categories"):
        train, validation = report["train"][kind], report["validation"][kind]
        names = list(sources) if kind == "sources" else sorted({*train, *validation})
        for name in names:
            _add_row(table, name, train.get(name, {}), validation.get(name, {}), dropped.get(name, 0), kind)
        table.add_section()
    _add_row(table, "all", report["train"], report["validation"], sum(dropped.values()), "sources")
    console.print(table)
    for name, reasons in report["dropped"].items():
        console.print(
            f"dropped of {name}: " + ", ".join(f"{r} {n}" for r, n in sorted(reasons.items())), soft_wrap=True
        )
    mixed = report["mix"]
    achieved = "no function-call data" if mixed["achieved"] is None else f"{mixed['achieved']:.4f}"
    asked = f"{mixed['asked']:g}" if mixed["asked"] else "as it is"
    console.print(
        f"general : function-call by {mixed['unit']}: asked {asked}, came out {achieved} "
        f"({mixed['general']:,} : {mixed['function_call']:,}; {mixed['left_out']:,} examples left out)",
        highlight=False,
        soft_wrap=True,
    )
    lengths = ", ".join(f"p{p} {n:,}" for p, n in report["train"]["length_percentiles"].items())
    console.print(f"tokens of an example: {lengths} (batch.seq_len {seq_len:,})", highlight=False, soft_wrap=True)
    prefixes = report["prefixes"]
    console.print(
        f"prefix groups: {prefixes['groups']:,}, the largest of {prefixes['largest']:,}; if all that examples share "
        f"stood once, {prefixes['reuse_factor_limit']:.2f} times fewer tokens",
        highlight=False,
        soft_wrap=True,
    )


def print_audit(console: Console, path: Path) -> None:
    """Print what `fcdist audit` found in the same sources, or that it can be asked."""
    if not path.is_file():
        console.print("contents not checked; `fcdist audit --run RUN` says what the gates find in these sources")
        return
    for name, found in json.loads(path.read_text(encoding="utf-8"))["sources"].items():
        most = ", ".join(f"{reason} {count:,}" for reason, count in list(found["reasons"].items())[:3])
        line = f"audit of {name}: {found['refused']:,} of {found['read']:,} rows refused"
        console.print(f"{line}{f' ({most})' if most else ''}; see {path}", highlight=False, soft_wrap=True)


def print_packing(console: Console, facts: PackingFacts, batch: BatchConfig) -> None:
    """Print what the plan of an epoch is worth, and what to change if its steps lack variety."""
    lines = [
        f"one epoch: {facts.num_packs:,} packs in {facts.num_steps:,} steps, {facts.empty_packs} empty packs in the "
        f"last; fill {facts.fill:.1%}, {facts.targets_per_pack:,.0f} targets in a pack",
        f"each token is computed for {facts.reuse_factor:.2f} examples on average (at most "
        f"{batch.examples_per_prefix} on one tool prompt)",
        f"distinct tool prompts in a step: {facts.groups_per_step_mean:,.0f} on average, at least "
        f"{facts.groups_per_step_min:,}; {facts.groups:,} in the data",
        f"waiting for the slowest rank {facts.idle_share:.1%}"
        + "".join(f", on {ranks} ranks {share:.1%}" for ranks, share in facts.idle_share_at.items()),
    ]
    if facts.lacks_groups:
        lines.append(
            f"note: a step holds only {facts.groups_per_step_min} distinct tool prompts; {ENOUGH_GROUPS} or more are "
            "better, because gradients of one tool set resemble each other. Raise batch.global_batch_size or "
            "batch.seq_len, or lower batch.examples_per_prefix"
        )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _add_row(
    table: Table, name: str, train: dict[str, Any], validation: dict[str, Any], dropped: int, kind: str
) -> None:
    tokens, targets = train.get("tokens", 0), train.get("targets", 0)
    share = f"{targets / tokens:.1%}" if tokens else ""
    counts = [f"{n:,}" for n in (train.get("examples", 0), tokens, targets)]
    table.add_row(
        name, *counts, share, f"{validation.get('examples', 0):,}", f"{dropped:,}" if kind == "sources" else ""
    )

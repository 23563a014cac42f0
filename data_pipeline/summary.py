"""The table `generate` ends with."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from data_pipeline.shard_worker import flatten_yields
from data_pipeline.teachers import Traffic


def print_summary(console: Console, folder: Path, facts: Mapping[str, Any], traffic: Traffic) -> None:
    """Print what was kept and refused, by category, language and reason, and what a language model cost.

    Args:
        console: where to.
        folder: of the shards.
        facts: of the whole, as `merge` returns them.
        traffic: of this process run.
    """
    yields = flatten_yields(facts["yields"])
    console.print(f"[bold]{facts['kept']:,} conversations[/] in {folder}", soft_wrap=True, highlight=False)
    table = Table()
    for name in ("category", "kept", "rejected", "reasons"):
        table.add_column(name, justify="right" if name in ("kept", "rejected") else "left")
    for category in sorted({category for _, category, _ in yields}):
        outcomes: Counter[str] = Counter()
        for (_, of, outcome), count in yields.items():
            if of == category:
                outcomes[outcome] += count
        kept = outcomes.pop("kept", 0)
        reasons = ", ".join(f"{reason} {count}" for reason, count in outcomes.most_common())
        table.add_row(category or "unlabelled", f"{kept:,}", f"{outcomes.total():,}", reasons)
    table.add_row("all", f"{facts['kept']:,}", f"{facts['rejected']:,}", "", style="bold")
    console.print(table)
    languages = ", ".join(f"{language or '?'} {count:,}" for language, count in sorted(facts["languages"].items()))
    console.print(f"languages: {languages}")
    if facts["missing"]:
        console.print(
            f"[bold]{facts['missing']:,} conversations are missing[/]: every attempt was refused; see *.rejected.jsonl"
        )
    for kind, model in (("usage", "language model"), ("judge_usage", "judge")):
        if (usage := facts[kind])["answers"]:
            console.print(
                f"{model}: {usage['answers']:,} answers, {usage['prompt_tokens']:,} prompt "
                f"({usage['cached_tokens']:,} cached) and {usage['completion_tokens']:,} completion tokens"
                + (f", cost {usage['cost']:,.4f}" if usage["cost"] else "")
            )
    if traffic.requests or traffic.cached:
        billed = traffic.billed
        console.print(
            f"this run: {traffic.requests:,} requests ({traffic.retries:,} retries, {traffic.lost:,} lost), "
            f"{traffic.cached:,} answers from the cache, billed {billed.prompt_tokens:,} + "
            f"{billed.completion_tokens:,} tokens" + (f", cost {billed.cost:,.4f}" if billed.cost else "")
        )

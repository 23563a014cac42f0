"""Diversity of user turns against the bars of the project: `python -m benchmarks.diversity [--shards PATH ...]`.

Without --shards, conversations are generated offline first. Figures and sample sizes: data_pipeline/diversity.py.
"""

import argparse
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from data_pipeline.dedup import DuplicateIndex
from data_pipeline.diversity import Diversity, DiversityMeter
from data_pipeline.generate import generate
from data_pipeline.inputs import open_inputs, read_inputs
from data_pipeline.words import language_of
from fcdist.config.types import Config, GenerateConfig, MergeConfig
from fcdist.schema.conversation import Conversation

BARS = {
    "distinct_2": ("distinct-2", ">=", {"en": 0.50, "zh": 0.45}),
    "self_bleu_4": ("self-BLEU-4", "<=", {"en": 0.50, "zh": 0.55}),
    "opening": ("most common opening", "<=", {"en": 0.05, "zh": 0.05}),
}
MIN_TOOL_SIGNATURES = 5_000
MAX_NEAR_DUPLICATES = 0.05
"""Of conversations; the bars hold for 10,000 of them."""


def measure(
    conversations: Iterator[Conversation], similarity: float
) -> tuple[dict[str, Diversity], int, dict[str, float]]:
    """Figures by language, distinct tool signatures in all, and the share of (near-)duplicates by language."""
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(Path(folder, "diversity.sqlite"), isolation_level=None)
        database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        meter, index = DiversityMeter(database), DuplicateIndex(database, similarity)
        seen: Counter[str] = Counter()
        repeated: Counter[str] = Counter()
        for row, conversation in enumerate(conversations):
            language = language_of(conversation)
            seen[language] += 1
            repeated[language] += isinstance(index.add(row, conversation), tuple)
            meter.add(conversation)
        figures = meter.figures(), meter.num_tool_signatures(), {k: repeated[k] / n for k, n in seen.items()}
        database.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, nargs="+", help="measure these folders or files instead of generating")
    parser.add_argument("--conversations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--similarity", type=float, default=MergeConfig().similarity)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.shards:
            settings = GenerateConfig(num_conversations=arguments.conversations, out_dir=folder)
            started = time.process_time()
            generate(Config(generate=settings, seed=arguments.seed), Path(folder))
            spent = time.process_time() - started
            print(f"generated {arguments.conversations / spent:,.0f} conversations a CPU second, gates included")
        started = time.process_time()
        conversations = (c for c, _ in read_inputs(open_inputs(arguments.shards or [Path(folder)])))
        figures, signatures, repeated = measure(conversations, arguments.similarity)
        spent = time.process_time() - started
    print_table(figures, signatures, repeated)
    print(f"measured in {spent:.1f} CPU seconds")


def print_table(figures: dict[str, Diversity], signatures: int, repeated: dict[str, float]) -> None:
    table = Table("figure", *[f"{language} ({row.turns:,} turns)" for language, row in figures.items()], "bar")
    for key, (name, sign, bars) in BARS.items():
        cells = [_cell(getattr(row, key), sign, bars.get(language)) for language, row in figures.items()]
        table.add_row(name, *cells, " / ".join(f"{sign} {bar:.2f} {language}" for language, bar in bars.items()))
    table.add_row("opening", *[row.opening_text for row in figures.values()], "")
    cells = [_cell(repeated[language], "<=", MAX_NEAR_DUPLICATES) for language in figures]
    table.add_row("near-duplicates", *cells, f"<= {MAX_NEAR_DUPLICATES:.2f}")
    table.add_row("tool signatures", *[f"{row.tool_signatures:,}" for row in figures.values()], "")
    enough = "met" if signatures >= MIN_TOOL_SIGNATURES else "missed"
    table.add_row(
        "tool signatures in all", *["" for _ in figures], f"{signatures:,}; >= {MIN_TOOL_SIGNATURES:,}: {enough}"
    )
    Console(width=110).print(table)


def _cell(value: float | None, sign: str, bar: float | None) -> str:
    if value is None or bar is None:
        return "-" if value is None else f"{value:.3f}"
    return f"{value:.3f} {'met' if (value >= bar if sign == '>=' else value <= bar) else 'missed'}"


if __name__ == "__main__":
    main()

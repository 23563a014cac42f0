"""Gates over data of any origin: `python -m data_pipeline.audit RUN [--config NAME]`.

Reads every source of `data.sources` as `fcdist prepare` would and says what is wrong with it:

    RUN/audit/NAME/shard-*.jsonl, manifest.json   rows that pass all gates, ready to be a source themselves
    RUN/audit/NAME/rejected.jsonl                 the others, with `reasons`
    RUN/audit/NAME/unreadable.jsonl               records that are no conversation, with file, line and rule
    RUN/audit/report.json                         counts by reason; `prepare` points to it

Imported rows declare nothing, so the text-only rules of the gates apply. Then each row is held against the benchmarks
and files of `merge.decontaminate`, and what is left against earlier rows of all sources (`merge.similarity`).
"""

import argparse
import json
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_pipeline.decontaminate import Contamination, References, read_references
from data_pipeline.dedup import DuplicateIndex
from data_pipeline.gates import GATES, all_failures
from data_pipeline.outputs import ShardSeries
from data_pipeline.splitting import contrast_pair
from fcdist.config.entry import entry
from fcdist.config.run_folder import AUDIT_REPORT, audit_dir
from fcdist.config.types import Config, SourceConfig
from fcdist.errors import ConfigError
from fcdist.schema.conversation import Conversation
from fcdist.schema.shards import MANIFEST, ShardWriter, write_json
from fcdist.sources.reading import Dropped, read_source

REJECTED, UNREADABLE = "rejected.jsonl", "unreadable.jsonl"
_EXAMPLES = 3
"""Ids kept for each reason."""
_ITEMS = 10
"""Benchmark items named on the screen; report.json has all."""
_QUOTE = 90
"""Longest quotation in the table, in characters."""


@dataclass(slots=True)
class Findings:
    """What the gates said about one source."""

    kept: int = 0
    refused: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    """Records that are no conversation, by reason."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Every reason of every refused row, so that their sum may exceed `refused`."""
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Reason → ids of a few rows."""
    quotes: dict[str, str] = field(default_factory=dict)
    """Reason → what a row ends with, or what it shares with a benchmark, for the table."""
    contaminated: Counter[str] = field(default_factory=Counter)
    """Item of a benchmark → rows that share a user turn or a tool with it."""

    def refuse(self, conversation: Conversation, reasons: Sequence[str], shared: Contamination | None) -> None:
        """Count a refused row."""
        self.refused += 1
        for reason in reasons:
            self.reasons[reason] += 1
            if len(self.examples[reason]) < _EXAMPLES:
                self.examples[reason].append(conversation.id)
                told = f"{shared.reference}: {shared.text}" if shared and reason == _reason(shared) else ""
                self.quotes.setdefault(reason, _shortened(told or _last_words(conversation)))
        if shared:
            self.contaminated[shared.reference] += 1

    def to_wire(self) -> dict[str, Any]:
        """The source's part of the report."""
        return {
            "read": self.kept + self.refused + self.unreadable.total(),
            "kept": self.kept,
            "refused": self.refused,
            "unreadable": dict(self.unreadable.most_common()),
            "reasons": dict(self.reasons.most_common()),
            "examples": dict(self.examples),
            "contaminated": dict(self.contaminated.most_common()),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found."""

    sources: dict[str, Findings]
    """In the order of the config."""
    references: list[str]
    """A line about each benchmark or file that the rows were held against, or why they were not."""

    def to_wire(self) -> dict[str, Any]:
        """Contents of `report.json`."""
        return {
            "references": self.references,
            "sources": {name: found.to_wire() for name, found in self.sources.items()},
        }


def audit(config: Config, run_dir: Path) -> Report:
    """Check the sources of `config.data` and write what was found.

    Raises:
        ConfigError: no source.
        GenerationError: a file of merge.decontaminate cannot be read.
        ShardError: a source cannot be read at all.
    """
    if not config.data.sources:
        raise ConfigError("data.sources is empty; name what to check: data.sources.NAME.path=FILE")
    config = replace(config, run_dir=str(run_dir))
    out = audit_dir(config)
    references, held_against = read_references(config.merge)
    findings: dict[str, Findings] = {}
    with closing(sqlite3.connect("")) as database:  # an unnamed database lies in a temporary file
        index = DuplicateIndex(database, config.merge.similarity or 2.0)
        rows = _Rows(references, index)
        for name, source in config.data.sources.items():
            findings[name] = _check_source(source, name, config, out / name, rows)
    report = Report(findings, held_against)
    write_json(out / AUDIT_REPORT, report.to_wire())
    return report


@dataclass(slots=True)
class _Rows:
    """What a row is held against: benchmarks, and the rows kept so far over all sources."""

    references: References
    index: DuplicateIndex
    count: int = 0

    def duplicate(self, conversation: Conversation) -> str | None:
        """Why the row repeats an earlier one; None, and remembered, if it does not."""
        found = self.index.add(self.count, conversation, contrast_pair(conversation))
        self.count += 1
        return f"duplicates: {found[0]}" if isinstance(found, tuple) else None


def _check_source(source: SourceConfig, name: str, config: Config, folder: Path, rows: _Rows) -> Findings:
    _clear(folder)
    found = Findings()
    unreadable: list[Dropped] = []
    conversations = read_source(replace(source, on_error="drop"), name, config.seed, unreadable.append)
    with (
        ShardWriter(folder / REJECTED) as rejected,
        ShardSeries(folder, config.merge.shard_size, source=name, audited=str(source.path)) as kept,
    ):
        for conversation in conversations:
            shared = rows.references.check(conversation)
            if reasons := list(_reasons(conversation, rows, shared)):
                found.refuse(conversation, reasons, shared)
                met = {"collides_with": shared.collision()} if shared else {}
                rejected.write(conversation, reasons=reasons, **met)
            else:
                found.kept += 1
                kept.write(conversation)
    found.unreadable.update(dropped.reason for dropped in unreadable)
    if unreadable:
        lines = (json.dumps(dropped.to_wire(), ensure_ascii=False) + "\n" for dropped in unreadable)
        (folder / UNREADABLE).write_text("".join(lines), encoding="utf-8")
    return found


def _reason(shared: Contamination) -> str:
    return f"contaminated: {shared.reason}"


def _reasons(conversation: Conversation, rows: _Rows, shared: Contamination | None) -> Iterator[str]:
    failed = shared is not None
    for reason in all_failures(GATES, conversation):
        failed = True
        yield reason
    if shared:
        yield _reason(shared)
    # What is refused anyway must not stand in the way of a good copy.
    if not failed and (repeated := rows.duplicate(conversation)):
        yield repeated


def _clear(folder: Path) -> None:
    """Remove what an earlier audit wrote here."""
    for path in (*folder.glob("shard-*.jsonl"), folder / MANIFEST, folder / REJECTED, folder / UNREADABLE):
        path.unlink(missing_ok=True)


def _last_words(conversation: Conversation) -> str:
    return conversation.messages[-1].content or conversation.messages[-2].content or ""


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _QUOTE else f"{text[: _QUOTE - 1]}…"


def print_report(console: Console, report: Report, out: Path) -> None:
    """Print a table of reasons with examples for each source, what it was held against, and where everything lies."""
    for name, found in report.sources.items():
        read = found.kept + found.refused + found.unreadable.total()
        share = f" ({found.refused / read:.1%})" if read else ""
        console.print(f"[bold]{name}[/]: {found.refused:,} of {read:,} rows refused{share}", highlight=False)
        if not found.reasons and not found.unreadable:
            continue
        table = Table("reason", "rows", "examples", "the first one ends with")
        for reason, count in found.unreadable.most_common():
            table.add_row(f"unreadable: {reason}", f"{count:,}", "", f"see {UNREADABLE}")
        for reason, count in found.reasons.most_common():
            table.add_row(reason, f"{count:,}", ", ".join(found.examples[reason]), escape(found.quotes[reason]))
        console.print(table)
        if found.contaminated:
            items = ", ".join(f"{item} ({count:,})" for item, count in found.contaminated.most_common(_ITEMS))
            more = f" and {len(found.contaminated) - _ITEMS:,} more" if len(found.contaminated) > _ITEMS else ""
            console.print(f"benchmark items met: {items}{more}", highlight=False, soft_wrap=True, markup=False)
    for line in report.references:
        console.print(f"held against {line}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"kept rows and rejects: {out}", soft_wrap=True, highlight=False)


def _body(config: Config, run_dir: Path, arguments: argparse.Namespace) -> None:
    report = audit(config, run_dir)
    print_report(Console(), report, audit_dir(replace(config, run_dir=str(run_dir))))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return entry("fcdist audit", _body, argv)


if __name__ == "__main__":
    sys.exit(main())

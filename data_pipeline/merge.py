"""Finished shards → one data set: `python -m data_pipeline.merge RUN [--config NAME]`.

OUT/
  claim.json              settings and input digests; written first, marks the folder as this program's
  train/, validation/     shards with a manifest each, for `fcdist prepare`
  removed.jsonl           what was taken out: the conversation, `reason`, `collides_with`
  exports/LAYOUT/         other layouts, a file a split
  data_card.md, .html     what is in it
  merge.json              written last: outcome and sha256 of every file; with it the merge is finished

Two passes over the inputs, one decision a conversation, all state in a scratch database on disk: memory does not grow
with the data. The files depend on the conversations, their order and the settings, not on how they are cut into shards.
"""

import argparse
import hashlib
import json
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import repeat, tee
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from data_pipeline.data_card import card_values, write_card
from data_pipeline.data_card_facts import CardFacts
from data_pipeline.decontaminate import References, read_references
from data_pipeline.dedup import DuplicateIndex
from data_pipeline.diversity import Diversity, DiversityMeter
from data_pipeline.embeddings import ParaphraseIndex, TextEncoder
from data_pipeline.exports import EXPORTS
from data_pipeline.inputs import Input, open_inputs, read_inputs, reread_inputs
from data_pipeline.outputs import SIDES, ExportWriter, ShardSeries
from data_pipeline.preferences import PreferencePairs
from data_pipeline.splitting import SplitGroups, contrast_pair, tool_set_digest
from fcdist import __version__
from fcdist.config.entry import entry
from fcdist.config.mapping import to_mapping
from fcdist.config.run_folder import function_call_dir, merged_dir
from fcdist.config.types import Config, MergeConfig
from fcdist.errors import GenerationError
from fcdist.schema.conversation import Conversation
from fcdist.schema.shards import ShardWriter, file_sha256, write_json

CLAIM, OUTCOME, REMOVED, SCRATCH = "claim.json", "merge.json", "removed.jsonl", ".scratch"
_PAGE_CACHE_KIB = 65536
Check = Callable[[Conversation], str | None]
Advance = Callable[[], None]


def check_gates(conversation: Conversation) -> str | None:
    """Reason of the first gate that refuses `conversation`, None if all pass."""
    from data_pipeline.gates import GATES, first_failure  # needed for preference pairs alone

    reason: str | None = first_failure(GATES, conversation)
    return reason


def merge(config: Config, run_dir: Path, check: Check = check_gates, console: Console | None = None) -> dict[str, Any]:
    """Merge the inputs of `config.merge`; what is finished and unchanged is recognised and kept.

    Args:
        config: frozen settings.
        run_dir: run folder; default input and output lie in it.
        check: gates that the rejected half of a preference pair must fail.
        console: shows progress; None: silent.

    Returns:
        The outcome, as written to `merge.json`.

    Raises:
        GenerationError: foreign output folder, unreadable reference, counts that differ from a manifest, nothing left.
        ShardError: a shard is missing, changed or holds a bad line.
    """
    config = replace(config, run_dir=str(run_dir))
    out = merged_dir(config)
    inputs = open_inputs([Path(path) for path in config.merge.inputs] or [function_call_dir(config)])
    references, held_against = read_references(config.merge)
    claim = _claim(config, inputs, references)
    if (outcome := read_outcome(out, claim)) is not None:
        return outcome
    prepare_folder(out, claim)
    with scratch_database(out) as database, _progress(inputs, console) as advance:
        work = _Work(config, out, inputs, database, check, advance)
        facts = CardFacts(config.merge.card_samples, config.seed)
        removed = _decide(work, references, facts)
        exported = _write_sides(work, facts)
        for source in inputs:
            for conversation, reason in source.rejected():
                facts.add_refused(conversation, "rejected", reason)
        diversity = work.meter.figures()
        unused = () if config.merge.embedding_model else ("merge.embedding_",)
        settings = {
            key: value
            for key, value in claim["settings"].items()
            if value not in ("", []) and not key.startswith(unused)
        }
        merge_facts = {
            "read": facts.sides.total() + removed.total(),
            "tool_signatures": work.meter.num_tool_signatures(),
            "references": held_against,
            "licence": config.merge.licence,
            "exports": exported,
            "settings": settings,
        }
        write_card(out, card_values(config.name, facts, diversity, removed, inputs, merge_facts))
    outcome = _outcome(claim, facts, removed, diversity, merge_facts)
    write_json(out / OUTCOME, {**outcome, "files": _digests(out)})
    return read_outcome(out, claim) or outcome


def read_outcome(out: Path, claim: Mapping[str, Any]) -> dict[str, Any] | None:
    """Outcome of a finished merge of the same inputs and settings whose files are all intact, else None."""
    try:
        outcome = json.loads((out / OUTCOME).read_text(encoding="utf-8"))
        if outcome["fingerprint"] != claim["fingerprint"]:
            return None
        intact = all(file_sha256(out / name) == digest for name, digest in outcome["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return outcome if intact else None


def prepare_folder(out: Path, claim: Mapping[str, Any]) -> None:
    """Claim a new folder, or clear one that an earlier merge claimed (killed, or of other inputs or settings).

    Raises:
        GenerationError: the folder holds something else.
    """
    torn_claims = set(out.glob(f".{CLAIM}.*.partial"))  # of a run that was killed before it had claimed the folder
    if out.is_dir() and set(out.iterdir()) - torn_claims and not (out / CLAIM).is_file():
        raise GenerationError(
            f"{out} holds files but no {CLAIM}: not made by `fcdist merge`. Set merge.out_dir to another folder"
        )
    # The outcome goes first and the claim stays: whatever a kill leaves, the folder is ours and not finished.
    (out / OUTCOME).unlink(missing_ok=True)
    for name in (*SIDES, "exports", SCRATCH):
        shutil.rmtree(out / name, ignore_errors=True)
    for path in [out / REMOVED, *out.glob(".*.partial"), *out.glob("data_card.*")]:
        path.unlink(missing_ok=True)
    write_json(out / CLAIM, dict(claim))


@contextmanager
def scratch_database(out: Path) -> Iterator[sqlite3.Connection]:
    """A database for one merge: bounded page cache, no journal, removed at the end."""
    folder = out / SCRATCH
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "merge.sqlite", isolation_level=None)) as database:
        database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;"
            f"PRAGMA temp_store = FILE; PRAGMA cache_size = -{_PAGE_CACHE_KIB};"
        )
        yield database
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class _Work:
    """What both passes need."""

    config: Config
    out: Path
    inputs: Sequence[Input]
    database: sqlite3.Connection
    check: Check
    advance: Advance

    groups: SplitGroups = field(init=False)
    meter: DiversityMeter = field(init=False)

    def __post_init__(self) -> None:
        self.groups = SplitGroups(self.database)
        self.meter = DiversityMeter(self.database, self.config.seed)


def _decide(work: _Work, references: References, facts: CardFacts) -> Counter[str]:
    """First pass: keep or remove each conversation, in input order, then choose what validates.

    Returns:
        Removed conversations by reason.
    """
    settings = work.config.merge
    index = DuplicateIndex(work.database, settings.similarity or 2.0)
    paraphrases = ParaphraseIndex(work.out / SCRATCH, settings.embedding_similarity)
    reasons: Counter[str] = Counter()
    with ShardWriter(work.out / REMOVED) as removed:
        for row, (conversation, vector) in enumerate(_with_vectors(work.inputs, settings)):
            verdict = _verdict(row, conversation, vector, references, index, paraphrases)
            if isinstance(verdict, tuple):
                reason, collision = verdict
                reasons[reason] += 1
                removed.write(conversation, reason=reason, collides_with=collision)
                detail = ", ".join(f"{key} {value}" for key, value in collision.items())
                facts.add_refused(conversation, "removed", reason, detail)
            else:
                work.groups.add(row, _group_keys(row, conversation), verdict)
            work.advance()
    if next(work.groups.sides(), None) is None:
        why = (
            f"all {reasons.total()} conversations were removed, see {work.out / REMOVED}"
            if reasons
            else "they are empty"
        )
        raise GenerationError(f"merge.inputs leave nothing to write: {why}")
    work.groups.choose(settings.validation_fraction, work.config.seed)
    return reasons


def _with_vectors(inputs: Sequence[Input], settings: MergeConfig) -> Iterator[tuple[Conversation, np.ndarray | None]]:
    """Every conversation, with the vector of what the user says if there is a model for that."""
    conversations = (conversation for conversation, _ in read_inputs(inputs))
    if not settings.embedding_model:
        return zip(conversations, repeat(None))
    first, second = tee(conversations)
    return zip(first, TextEncoder(settings)(second), strict=True)


def _verdict(
    row: int,
    conversation: Conversation,
    vector: np.ndarray | None,
    references: References,
    index: DuplicateIndex,
    paraphrases: ParaphraseIndex,
) -> tuple[str, dict[str, Any]] | list[int]:
    """Why a conversation goes and what it collides with, or the rows a kept one must stay with."""
    if found := references.check(conversation):
        return f"contaminated_{found.reason}", found.collision()
    paraphrased = None if vector is None else paraphrases.nearest(conversation, vector)
    result = (
        ("similar_embedding", paraphrased) if paraphrased else index.add(row, conversation, contrast_pair(conversation))
    )
    if isinstance(result, tuple):
        return result[0], {"id": result[1].id, "row": result[1].row, "similarity": result[1].similarity}
    if vector is not None:
        paraphrases.keep(row, conversation, vector)
    return [collision.row for collision in result]


def _group_keys(row: int, conversation: Conversation) -> list[str]:
    keys = [f"tools {digest}"] if (digest := tool_set_digest(conversation)) else []
    keys += [f"contrast {pair}"] if (pair := contrast_pair(conversation)) else []
    return keys or [f"row {row}"]


def _write_sides(work: _Work, facts: CardFacts) -> list[dict[str, Any]]:
    """Second pass: write kept conversations to their side and into the exports. Returns what each export holds."""
    settings, stack = work.config.merge, ExitStack()
    with stack:
        series = {side: stack.enter_context(ShardSeries(work.out / side, settings.shard_size)) for side in SIDES}
        exports: list[ExportWriter] = []
        for name in dict.fromkeys(settings.exports):
            export = EXPORTS.get(name) or PreferencePairs(work.check, work.config.seed, work.database)
            exports.append(stack.enter_context(ExportWriter(name, export, work.out / "exports")))
        sides = work.groups.sides()
        next_kept = next(sides, None)
        for row, conversation in enumerate(reread_inputs(work.inputs)):
            work.advance()
            if next_kept is None or next_kept[0] != row:
                continue
            side = SIDES[next_kept[1]]
            next_kept = next(sides, None)
            series[side].write(conversation)
            for writer in exports:
                writer.write(conversation, side)
            work.meter.add(conversation)
            facts.add(conversation, side)
    return [writer.facts() for writer in exports]


def _claim(config: Config, inputs: Sequence[Input], references: References) -> dict[str, Any]:
    """Everything the files depend on, and its digest."""
    settings = {f"merge.{key}": value for key, value in to_mapping(config.merge).items() if key != "out_dir"}
    claim = {
        "settings": {"name": config.name, "seed": config.seed, "fcdist": __version__, **settings},
        "inputs": {str(source.path): list(source.digests) for source in inputs},
        "references": [file_sha256(path) for path in references.files],
    }
    fingerprint = hashlib.sha256(json.dumps(claim, sort_keys=True).encode()).hexdigest()
    return {**claim, "fingerprint": fingerprint}


def _outcome(
    claim: Mapping[str, Any],
    facts: CardFacts,
    removed: Mapping[str, int],
    diversity: Mapping[str, Diversity],
    merge_facts: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "fingerprint": claim["fingerprint"],
        "kept": facts.sides.total(),
        "sides": dict(facts.sides),
        "removed": dict(removed),
        "diversity": {language: asdict(figures) for language, figures in diversity.items()},
        **{key: merge_facts[key] for key in ("read", "tool_signatures", "references", "exports")},
    }


def _digests(out: Path) -> dict[str, str]:
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and path.name not in (CLAIM, OUTCOME))
    return {path.relative_to(out).as_posix(): file_sha256(path) for path in files}


@contextmanager
def _progress(inputs: Sequence[Input], console: Console | None) -> Iterator[Advance]:
    if console is None:
        yield lambda: None
        return
    counts = [
        sum(sum(shard.get("counts", {}).values()) for shard in source.manifest.get("shards", {}).values())
        for source in inputs
    ]
    total = 2 * sum(counts) if all(counts) else None  # a single file has no manifest that says how much it holds
    columns = (TextColumn("merge"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("merge", total=total)
        yield lambda: bar.advance(task)


def print_outcome(console: Console, out: Path, outcome: Mapping[str, Any]) -> None:
    """Print what was kept and removed, and where it lies."""
    sides = outcome["sides"]
    console.print(
        f"[bold]{outcome['kept']:,} of {outcome['read']:,} conversations[/]: {sides.get('train', 0):,} train, "
        f"{sides.get('validation', 0):,} validation, in {out}",
        soft_wrap=True,
        highlight=False,
    )
    for reason, count in sorted(outcome["removed"].items(), key=lambda item: -item[1]):
        console.print(f"  removed, {reason}: {count:,}", highlight=False)
    for line in outcome["references"]:
        console.print(f"  held against {line}", highlight=False)
    for language, row in outcome["diversity"].items():
        figures = ", ".join(
            f"{name} {row[key]:.2f}"
            for name, key in (("distinct-2", "distinct_2"), ("self-BLEU-4", "self_bleu_4"), ("opening", "opening"))
            if row[key] is not None
        )
        console.print(f"  {language}: {row['turns']:,} user turns, {figures}", highlight=False)
    for export in outcome["exports"]:
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in export["unfit"].items())
        tail = f" (left out: {left_out})" if left_out else ""
        console.print(f"  exports/{export['name']}: {export['records']:,} records{tail}", highlight=False)
    console.print(f"data card: {out / 'data_card.html'}", soft_wrap=True, highlight=False)


def _body(config: Config, run_dir: Path, arguments: argparse.Namespace) -> None:
    outcome = merge(config, run_dir, console=Console(stderr=True))
    print_outcome(Console(), merged_dir(replace(config, run_dir=str(run_dir))), outcome)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return entry("fcdist merge", _body, argv)


if __name__ == "__main__":
    sys.exit(main())

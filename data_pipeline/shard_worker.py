"""Write shards: a shard's bytes depend on (settings, seed, shard) only, whoever writes it and however often it starts.

shard-00000.jsonl            kept conversations, in index order
shard-00000.rejected.jsonl   refused drafts with `reason`, in (index, attempt) order
shard-00000.facts.json       written last: a shard counts as finished when this file describes the other two
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_pipeline.teachers import Draft, Task, Teacher, Usage, collector_paused
from fcdist.errors import GenerationError
from fcdist.schema.conversation import Conversation
from fcdist.schema.shards import ShardWriter, file_sha256, write_json

Check = Callable[[Sequence[Conversation]], Sequence[str | None]]
"""All gates in order: for each conversation None, which keeps it, or a reason (a counter key), which refuses it."""

MAX_ATTEMPTS = 8
"""Drafts of one index before it is given up; reported as missing."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a data set: a run of indices and three files."""

    folder: Path
    number: int
    first: int
    """First index."""
    size: int
    """Number of indices."""

    @property
    def path(self) -> Path:
        """File of the kept conversations."""
        return self.folder / f"shard-{self.number:05d}.jsonl"

    @property
    def rejected_path(self) -> Path:
        """File of the refused drafts."""
        return self.path.with_suffix(".rejected.jsonl")

    @property
    def facts_path(self) -> Path:
        """File that marks the shard finished."""
        return self.path.with_suffix(".facts.json")


def plan_shards(folder: Path, num_conversations: int, shard_size: int) -> list[Shard]:
    """Divide indices 0 … num_conversations-1 into shards of `shard_size`; the last may be smaller."""
    return [
        Shard(folder, number, first, min(shard_size, num_conversations - first))
        for number, first in enumerate(range(0, num_conversations, shard_size))
    ]


def read_facts(shard: Shard, config_hash: str) -> dict[str, Any] | None:
    """Facts of a finished shard; None if it has to be written (again): absent, torn, changed or of other settings."""
    try:
        facts = json.loads(shard.facts_path.read_text(encoding="utf-8"))
        intact = (
            facts["config_hash"] == config_hash
            and facts["sha256"] == file_sha256(shard.path)
            and facts["rejected_sha256"] == file_sha256(shard.rejected_path)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if intact else None


def write_shard(
    shard: Shard, teacher: Teacher, check: Check, config_hash: str, advance: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Write the three files of a shard.

    A refused draft is replaced by the next attempt of its index, whose category is the same, so that quotas hold.

    Args:
        shard: where and which indices.
        teacher: writes the drafts.
        check: the gates.
        config_hash: of the settings; kept in the facts.
        advance: called once for each index that is settled.

    Returns:
        The facts, as written to `shard.facts_path`.

    Raises:
        GenerationError: not one conversation of the shard was kept.
    """
    shard.facts_path.unlink(missing_ok=True)  # a shard that is being rewritten is not finished
    yields: Counter[tuple[str, str, str]] = Counter()
    languages: Counter[str] = Counter()
    usage, judge_usage = Usage(), Usage()
    rejected: list[Draft] = []
    pause: AbstractContextManager[None] = nullcontext() if teacher.makes_circles else collector_paused()
    with pause, ShardWriter(shard.rejected_path) as refused, ShardWriter(shard.path) as kept:
        for draft in _settle(shard, teacher, check, rejected, advance):
            usage, judge_usage = usage + draft.usage, judge_usage + draft.judge_usage
            yields[teacher.name, draft.conversation.category, "kept"] += 1
            languages[draft.conversation.language] += 1
            kept.write(draft.conversation)
        for draft in sorted(rejected, key=lambda d: (d.task.index, d.task.attempt)):
            usage, judge_usage = usage + draft.usage, judge_usage + draft.judge_usage
            yields[teacher.name, draft.conversation.category, str(draft.reason)] += 1
            refused.write(draft.conversation, reason=draft.reason, attempt=draft.task.attempt)
        num_kept = sum(kept.counts.values())
        if not num_kept:
            reasons = Counter(draft.reason for draft in rejected).most_common(3)
            raise GenerationError(
                f"{shard.path}: none of {shard.size} conversations passed in {MAX_ATTEMPTS} attempts each; "
                f"most frequent reasons: {', '.join(f'{reason} ({n})' for reason, n in reasons)}"
            )
    facts = {
        "config_hash": config_hash,
        "shard": shard.number,
        "kept": num_kept,
        "missing": shard.size - num_kept,
        "rejected": len(rejected),
        "counts": dict(kept.counts),
        "languages": dict(languages),
        "yields": nest_yields(yields),
        "usage": asdict(usage),
        "judge_usage": asdict(judge_usage),
        "sha256": file_sha256(shard.path),
        "rejected_sha256": file_sha256(shard.rejected_path),
    }
    write_json(shard.facts_path, facts)
    return facts


def _settle(
    shard: Shard, teacher: Teacher, check: Check, rejected: list[Draft], advance: Callable[[], None]
) -> Iterator[Draft]:
    """Yield the kept draft of each index, in index order; append refused ones to `rejected`."""
    kept: dict[int, Draft] = {}
    tasks: Sequence[Task] = [Task(index) for index in range(shard.first, shard.first + shard.size)]
    for attempt in range(MAX_ATTEMPTS):
        # All are written before the first is checked: code that alternates drives itself out of the processor's caches.
        drafts = list(teacher.drafts(tasks))
        reasons = iter(check([draft.conversation for draft in drafts if draft.reason is None]))
        drafts = [draft.refused(next(reasons)) if draft.reason is None else draft for draft in drafts]
        reviewed = teacher.review([draft for draft in drafts if draft.reason is None])
        kept |= {draft.task.index: draft for draft in reviewed if draft.reason is None}
        refused = [draft for draft in (*drafts, *reviewed) if draft.reason is not None]
        rejected += refused
        again = sorted(draft.task.index for draft in refused) if attempt + 1 < MAX_ATTEMPTS else []
        for _ in range(len(tasks) - len(again)):
            advance()
        tasks = [Task(index, attempt + 1) for index in again]
        if not tasks:
            break
    for index in sorted(kept):
        yield kept.pop(index)


def nest_yields(yields: Mapping[tuple[str, str, str], int]) -> dict[str, dict[str, dict[str, int]]]:
    """(teacher, category, outcome) → count, as teacher → category → outcome → count."""
    nested: dict[str, dict[str, dict[str, int]]] = {}
    for (teacher, category, outcome), count in sorted(yields.items()):
        nested.setdefault(teacher, {}).setdefault(category, {})[outcome] = count
    return nested


def flatten_yields(nested: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Counter[tuple[str, str, str]]:
    """Inverse of `nest_yields`."""
    return Counter(
        {
            (teacher, category, outcome): count
            for teacher, categories in nested.items()
            for category, outcomes in categories.items()
            for outcome, count in outcomes.items()
        }
    )

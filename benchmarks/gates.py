"""What the gates catch and what they wrongly refuse: `python -m benchmarks.gates [--human FILE.jsonl ...]`.

Generated conversations must pass every gate and replay; each is then spoilt in one place, in every known way, and must
not pass. With --human (dialogues of people in OpenAI form) all gates look at those as they are, gate by gate, and at
copies that are spoilt as far as the way applies to rows whose writer declares nothing.
"""

import argparse
import gc
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.corruptions import CORRUPTIONS
from data_pipeline.gates import GATES, all_failures, first_failure
from data_pipeline.gates.reading import Reading
from data_pipeline.programmatic import ProgrammaticTeacher
from data_pipeline.replay import replays
from fcdist.config.types import GenerateConfig, SourceConfig
from fcdist.errors import ShardError
from fcdist.schema.conversation import Conversation
from fcdist.sources.reading import read_source

MIN_CAUGHT = 0.99
"""Of all spoilt conversations together."""
PER_WAY = 60
"""Conversations spoilt in one way, at most."""

Check = Callable[[Conversation], str | None]


@dataclass
class Caught:
    """Spoilt conversations of one way."""

    total: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    missed: list[Conversation] = field(default_factory=list)


def spoil_and_check(conversations: Sequence[Conversation], check: Check) -> dict[str, Caught]:
    """Spoil up to `PER_WAY` of the conversations in every way; count the reasons for which they are refused."""
    found: dict[str, Caught] = {}
    for name, corrupt in CORRUPTIONS.items():
        rng, row = random.Random(name), found.setdefault(name, Caught())
        for conversation in conversations:
            spoilt = corrupt(conversation, rng)
            if spoilt is None or spoilt == conversation:
                continue
            reason = check(spoilt)
            row.total += 1
            row.reasons[reason or ""] += 1
            row.missed += [spoilt] if reason is None else []
            if row.total == PER_WAY:
                break
    return {name: row for name, row in found.items() if row.total}


def print_caught(console: Console, title: str, found: dict[str, Caught]) -> None:
    table = Table("way", "spoilt", "caught", "reasons", title=title)
    for name, row in found.items():
        reasons = ", ".join(f"{reason} {n}" for reason, n in row.reasons.most_common(3) if reason)
        table.add_row(name, str(row.total), str(row.total - len(row.missed)), reasons)
    total = sum(row.total for row in found.values())
    caught = total - sum(len(row.missed) for row in found.values())
    table.add_row("all", str(total), f"{caught} ({caught / total:.2%})", "", style="bold")
    console.print(table)


def time_gates(console: Console, conversations: Sequence[Conversation]) -> None:
    """CPU microseconds a conversation, gate by gate, and of all together."""
    table = Table("gate", "µs a conversation")
    gc.collect()
    gc.freeze()  # the generator holds one conversation at a time; all of them here must not keep the collector busy
    readings = [Reading(conversation) for conversation in conversations]
    for reading in readings:
        _ = reading.calls, reading.results
    for name, gate in GATES:
        started = time.process_time()
        for reading in readings:
            gate(reading)
        table.add_row(name, f"{(time.process_time() - started) / len(readings) * 1e6:.0f}")
    started = time.process_time()
    for conversation in conversations:
        first_failure(GATES, conversation)
    spent = time.process_time() - started
    table.add_row("all", f"{spent / len(conversations) * 1e6:.0f}", style="bold")
    console.print(table)
    console.print(f"{len(conversations) / spent:,.0f} conversations a CPU second")


def _first_error(source: SourceConfig) -> str:
    try:
        next(iter(read_source(replace(source, on_error="error"), "human")), None)
    except ShardError as error:
        return f"{error}; here that is --ignore-fields"
    return f"{source.path} is empty"


def look_at_people(console: Console, path: Path, ignore: tuple[str, ...], show: int) -> None:
    source = SourceConfig(path=str(path), ignore_fields=ignore, on_error="drop")
    conversations = list(read_source(source, path.stem))
    if not conversations:
        raise SystemExit(f"no record can be read: {_first_error(source)}")
    failures = [(conversation, list(all_failures(GATES, conversation))) for conversation in conversations]
    reasons = Counter(reason for _, found in failures for reason in found)
    refused = sum(bool(found) for _, found in failures)
    table = Table("reason", "conversations", title=f"{path.stem}: {refused} of {len(conversations)} refused")
    for reason, count in reasons.most_common():
        table.add_row(reason, f"{count} ({count / len(conversations):.2%})")
    console.print(table)
    for reason in reasons:
        chosen = [c for c, found in failures if reason in found]
        for conversation in random.Random(reason).sample(chosen, min(show, len(chosen))):
            console.print(f"{reason}: {conversation.id}", highlight=False)
    good = [conversation for conversation, found in failures if not found]
    print_caught(console, f"{path.stem}, spoilt", spoil_and_check(good, lambda c: first_failure(GATES, c)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--human", type=Path, nargs="*", default=[], help="dialogues of people, OpenAI form")
    parser.add_argument("--ignore-fields", nargs="*", default=[], help="names of fields to leave out: services")
    parser.add_argument("--show", type=int, default=0, help="name this many refused dialogues of each reason")
    arguments = parser.parse_args()
    console = Console(width=120)
    teacher = ProgrammaticTeacher(GenerateConfig(num_conversations=arguments.conversations), arguments.seed)
    conversations = [teacher.conversation(index) for index in range(arguments.conversations)]

    def check(conversation: Conversation) -> str | None:
        return first_failure(GATES, conversation) or replays(conversation, teacher.execute)

    refused = Counter(reason for conversation in conversations if (reason := check(conversation)) is not None)
    console.print(f"generated: {refused.total()} of {len(conversations)} refused {dict(refused) or ''}")
    good = [conversation for conversation in conversations if check(conversation) is None]
    print_caught(console, f"generated, spoilt (bar: {MIN_CAUGHT:.0%})", spoil_and_check(good, check))
    time_gates(console, conversations)
    for path in arguments.human:
        look_at_people(console, path, tuple(arguments.ignore_fields), arguments.show)


if __name__ == "__main__":
    main()

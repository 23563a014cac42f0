"""Finished shards as one stream: verified against their manifests, read one conversation at a time."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fcdist.errors import GenerationError, ShardError
from fcdist.schema.conversation import Conversation
from fcdist.schema.shards import MANIFEST, file_sha256, read_records, read_shard, shard_paths

_FIELDS = {field.name for field in fields(Conversation)}


@dataclass(frozen=True, slots=True)
class Input:
    """A folder of shards, or a single file."""

    path: Path
    shards: tuple[Path, ...]
    digests: tuple[str, ...]
    """sha256 of each shard."""
    manifest: Mapping[str, Any]
    """Facts of the whole (settings, yields, usage); empty for a single file."""

    def rejected(self) -> Iterator[tuple[Conversation, str]]:
        """Refused drafts beside the shards, with their reasons."""
        for shard in self.shards:
            path = shard.with_suffix(".rejected.jsonl")
            if not path.is_file():
                continue
            for _, record in read_records(path):
                conversation = {key: value for key, value in record.items() if key in _FIELDS}
                yield Conversation.from_wire(conversation), str(record.get("reason", ""))


def open_inputs(paths: Sequence[Path]) -> list[Input]:
    """Find and verify the shards of every input.

    Raises:
        ShardError: nothing there, no manifest, a shard is missing or its bytes changed.
    """
    inputs = []
    for path in paths:
        shards = shard_paths(path)
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8")) if path.is_dir() else {}
        listed = manifest.get("shards", {})
        digests = tuple(listed[s.name]["sha256"] if s.name in listed else file_sha256(s) for s in shards)
        inputs.append(Input(path, tuple(shards), digests, manifest))
    return inputs


def read_inputs(inputs: Sequence[Input]) -> Iterator[tuple[Conversation, Path]]:
    """Yield every conversation, checked, with the shard it stands in, in input order.

    Raises:
        ShardError: a bad line, with file and line.
        GenerationError: a shard holds other numbers of conversations than its manifest says.
    """
    for source in inputs:
        listed = source.manifest.get("shards", {})
        for shard in source.shards:
            counts: Counter[str] = Counter()
            for conversation in read_shard(shard):
                counts[conversation.category or "unlabelled"] += 1
                yield conversation, shard
            promised = listed.get(shard.name, {}).get("counts")
            if promised is not None and Counter(promised) != counts:
                raise GenerationError(
                    f"{shard}: holds {dict(sorted(counts.items()))}, {MANIFEST} says {dict(sorted(promised.items()))}; "
                    "generate the folder again"
                )


def reread_inputs(inputs: Sequence[Input]) -> Iterator[Conversation]:
    """Yield every conversation again, in the same order, without checking it a second time."""
    for source in inputs:
        for shard in source.shards:
            for number, record in read_records(shard):
                try:
                    yield Conversation.from_wire(record)
                except ValueError as error:
                    raise ShardError(f"{shard}:{number}: changed while it was being merged: {error}") from None

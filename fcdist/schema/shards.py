"""Shards: JSON lines of conversations, complete or absent, described by a manifest.

folder/
  shard-00000.jsonl            one conversation a line
  shard-00000.rejected.jsonl   what a gate refused, with the reason (optional)
  manifest.json                counts and sha256 of every shard
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fcdist.errors import SchemaError, ShardError
from fcdist.files import partial_path, write_text
from fcdist.schema.checks import check_conversation
from fcdist.schema.conversation import Conversation

MANIFEST = "manifest.json"


def read_records(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, decoded JSON) of a JSON-lines file. Raises ShardError with file and line."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    raise ShardError(f"{path}:{number}: not JSON ({error}): {line[:80]!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ShardError(f"{path}: cannot be read: {error}") from None


def read_shard(path: Path, ignore: Sequence[str] = ()) -> Iterator[Conversation]:
    """Yield the checked conversations of one shard. Raises ShardError with file, line and the broken rule."""
    for number, record in read_records(path):
        try:
            conversation = Conversation.from_wire(record, ignore)
            check_conversation(conversation)
        except SchemaError as error:
            raise ShardError(f"{path}:{number}: {error}") from None
        yield conversation


class ShardWriter:
    """Write one shard; the file takes its final name only when the block ends without an exception."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        """Conversations written, by category."""
        self._partial = partial_path(path)

    def __enter__(self) -> "ShardWriter":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._partial.open("w", encoding="utf-8", newline="\n")
        return self

    def write(self, conversation: Conversation, **extra: Any) -> None:
        """Append one conversation; `extra` (a reject's reason) is added beside its fields."""
        self._file.write(conversation.to_line({k: v for k, v in extra.items() if v is not None}) + "\n")
        self.counts[conversation.category or "unlabelled"] += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            os.replace(self._partial, self.path)
        else:
            self._partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n")


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, shards: Mapping[str, Mapping[str, Any]], **facts: Any) -> None:
    """Publish a folder of shards.

    Args:
        folder: holds the shards.
        shards: file name → facts of one shard (`counts` by category at least); its sha256 is added here.
        facts: of the whole (config hash, seed, teacher, yields).
    """
    entries = {name: {**facts_, "sha256": file_sha256(folder / name)} for name, facts_ in sorted(shards.items())}
    write_json(folder / MANIFEST, {**facts, "shards": entries})


def shard_paths(path: Path, verify: bool = True) -> list[Path]:
    """Files to read for `path`: itself if it is a file, else the shards its manifest names.

    Raises:
        ShardError: nothing there, no manifest, a shard is missing or its bytes changed since it was published.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ShardError(f"{path}: no such file or folder")
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise ShardError(f"{path}: no {MANIFEST}; the generator that wrote it did not finish: run it again")
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))["shards"]
        digests = {str(name): str(facts["sha256"]) for name, facts in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShardError(f"{manifest}: not a manifest of shards ({type(error).__name__}: {error})") from None
    if not digests:
        raise ShardError(f"{manifest}: names no shard, so there is nothing to read")
    for name, digest in digests.items():
        if not (path / name).is_file():
            raise ShardError(f"{path / name}: named in {MANIFEST} but missing")
        if verify and file_sha256(path / name) != digest:
            raise ShardError(
                f"{path / name}: sha256 differs from {MANIFEST}; the shard was changed after it was written"
            )
    return [path / name for name in sorted(digests)]

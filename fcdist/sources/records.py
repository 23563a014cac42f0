"""Raw records of a source: JSON lines, a JSON array, Parquet or a data set of the hub; nothing is interpreted yet."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcdist.config.types import SourceConfig
from fcdist.errors import ShardError
from fcdist.schema.shards import file_sha256, shard_paths
from fcdist.sources.hub import count_rows, is_tabular, read_rows, rows_digest


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that is no JSON."""

    text: str
    error: str
    """What the decoder says."""


def source_digests(source: SourceConfig) -> list[str]:
    """What identifies the bytes of a source. Raises ShardError naming the path."""
    if source.is_on_hub:
        return [rows_digest(source)]
    return [file_sha256(path) for path in shard_paths(Path(source.path))]


def count_records(source: SourceConfig) -> int | None:
    """Records of a source; None where counting them would mean reading it twice."""
    if is_tabular(source):
        return None if source.max_conversations else count_rows(source)
    files = shard_paths(Path(source.path))
    if source.max_conversations or any(path.suffix == ".json" for path in files):
        return None
    count = 0
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                count += block.count(b"\n")
    return count


def raw_records(source: SourceConfig, verify: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield (place, record) of a source in any format, before conversion.

    Args:
        source: where.
        verify: hold shards against the digests of their manifest.

    Raises:
        ShardError: it cannot be read. A line that is no JSON is a record of its own kind instead.
    """
    if is_tabular(source):
        yield from read_rows(source)
        return
    for path in shard_paths(Path(source.path), verify):
        yield from _records(path)


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (file and place, decoded JSON or Unreadable) of a JSON array or of JSON lines."""
    try:
        data = path.read_bytes() if path.suffix == ".json" else b""
        if data.lstrip()[:1] == b"[":
            for i, record in enumerate(json.loads(data)):
                yield f"{path}: record {i}", record
            return
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{path}:{number}", _decode(line)
    except (OSError, ValueError) as error:
        raise ShardError(f"{path}: cannot be read: {error}") from None


def _decode(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        return Unreadable(line.decode("utf-8", "replace").rstrip("\n"), str(error))

"""Files of a merged data set: shards of one split, and one export layout."""

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from data_pipeline.exports import Export, Unfit, write_dataset_info
from data_pipeline.words import language_of
from fcdist.schema.conversation import Conversation
from fcdist.schema.shards import ShardWriter, write_manifest

SIDES = ("train", "validation")


class ShardSeries:
    """Writes conversations into shards of one folder, `shard_size` each, and publishes the manifest at the end."""

    def __init__(self, folder: Path, shard_size: int, **facts: Any) -> None:
        self._folder = folder
        self._shard_size = shard_size
        self._facts = facts
        self._open: ShardWriter | None = None
        self._shards: dict[str, dict[str, Any]] = {}
        self._languages: Counter[str] = Counter()

    def __enter__(self) -> "ShardSeries":
        return self

    def write(self, conversation: Conversation) -> None:
        """Append one conversation."""
        if self._open is not None and self._open.counts.total() == self._shard_size:
            self._close(None, None, None)
        if self._open is None:
            self._open = ShardWriter(self._folder / f"shard-{len(self._shards):05d}.jsonl").__enter__()
        self._open.write(conversation)
        self._languages[language_of(conversation)] += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(kind, error, trace)
        if kind is None and self._shards:
            counts: Counter[str] = Counter()
            for shard in self._shards.values():
                counts.update(shard["counts"])
            kept = {"kept": counts.total(), "counts": dict(counts), "languages": dict(self._languages)}
            write_manifest(self._folder, self._shards, **kept, **self._facts)

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is None:
            return
        self._open.__exit__(kind, error, trace)
        self._shards[self._open.path.name] = {"counts": dict(self._open.counts)}
        self._open = None


class ExportWriter:
    """Writes one layout, a file a split."""

    def __init__(self, name: str, export: Export, folder: Path) -> None:
        self.name = name
        self._export = export
        self._folder = folder / name
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}
        self._records: Counter[str] = Counter()
        self._unfit: Counter[str] = Counter()

    def __enter__(self) -> "ExportWriter":
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def write(self, conversation: Conversation, side: str) -> None:
        """Append the records of one conversation, or count why there are none."""
        try:
            records = list(self._export(conversation))
        except Unfit as reason:
            self._unfit[str(reason)] += 1
            return
        if records and side not in self._files:
            path = self._folder / f"{side}.jsonl"
            self._files[side] = self._stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
        for record in records:
            self._files[side].write(json.dumps(record, ensure_ascii=False) + "\n")
        self._records[side] += len(records)

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if self.name == "sharegpt":
            write_dataset_info(self._folder, [side for side in SIDES if side in self._files])

    def facts(self) -> dict[str, Any]:
        """Records by split, and conversations left out by reason."""
        return {
            "name": self.name,
            "records": self._records.total(),
            "sides": {side: self._records[side] for side in SIDES},
            "unfit": dict(sorted(self._unfit.items())),
        }

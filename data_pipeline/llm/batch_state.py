"""Where the batches of a run folder stand; written before and after each step, so that a killed program goes on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from data_pipeline.llm.wire import Dialect
from fcdist.errors import GenerationError
from fcdist.schema.shards import write_json

WRITTEN = "written"
"""The file of requests lies here; the server knows nothing yet."""
UPLOADED = "uploaded"
SUBMITTING = "submitting"
"""The server was asked to start, and may or may not have heard it."""
SUBMITTED = "submitted"
COLLECTED = "collected"


@dataclass(slots=True)
class BatchEntry:
    """One batch."""

    name: str
    """Of its file of requests, unique in the folder; the server gets it as metadata."""
    keys: list[str]
    """Cache keys of the requests in it; they are the `custom_id`s."""
    status: str = WRITTEN
    file_id: str = ""
    """The uploaded file."""
    batch_id: str = ""


@dataclass(slots=True)
class BatchState:
    """All batches of one model in a folder."""

    path: Path
    batches: list[BatchEntry] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=dict)
    """Cache key → times the server failed to answer it."""
    dialect: Dialect = field(default_factory=Dialect)
    """What the server was found to understand."""

    @classmethod
    def read(cls, path: Path) -> "BatchState":
        """The state in a file, empty where there is none. Raises GenerationError: it cannot be read."""
        if not path.exists():
            return cls(path)
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            entries = [BatchEntry(**entry) for entry in fields["batches"]]
            return cls(path, entries, dict(fields["tries"]), Dialect(**fields["dialect"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise GenerationError(
                f"{path}: the state of batches cannot be read ({error}); what is under way at the server is listed "
                "there: fetch or cancel it before you delete this file"
            ) from None

    def write(self) -> None:
        """Publish the state."""
        entries = [asdict(entry) for entry in self.batches]
        write_json(self.path, {"batches": entries, "tries": self.tries, "dialect": asdict(self.dialect)})

    def move(self, entry: BatchEntry, status: str) -> None:
        """Note that a batch has come a step further."""
        entry.status = status
        self.write()

    def begin(self, keys: Sequence[str]) -> BatchEntry:
        """A new batch; not written yet."""
        entry = BatchEntry(f"batch-{len(self.batches):05d}", list(keys))
        self.batches.append(entry)
        return entry

    def open(self) -> list[BatchEntry]:
        """Batches whose answers are not in the cache yet."""
        return [entry for entry in self.batches if entry.status != COLLECTED]

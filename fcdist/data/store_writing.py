"""The files of a token store while they grow, block by block; what is left out goes to a file of its own, counted."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fcdist.config.types import Config
from fcdist.data.store import INDEX, ROLES
from fcdist.errors import DataError
from fcdist.schema.conversation import Conversation, Tool, tools_text
from fcdist.schema.json_text import json_text
from fcdist.sources.reading import Dropped

TOOL_SETS = 1024
"""Tool sets whose JSON text is remembered; then all are forgotten."""
CONVERSATIONS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.int32()),
        ("category", pa.string()),
        ("conversation", pa.string()),  # JSON text: Arrow would merge the keys of tools and calls across rows
    ]
)


@dataclass(frozen=True, slots=True)
class Block:
    """Conversations that are handled together."""

    first: int
    """Number of the first one, over all sources."""
    sources: list[int]
    conversations: list[Conversation]


class Tokens(NamedTuple):
    """What the conversations of a block became."""

    input_ids: np.ndarray
    """[sum of lengths] int32."""
    kinds: np.ndarray
    """[sum of lengths] int8."""
    lengths: np.ndarray
    """[E] int32 tokens of each example; at least 1."""
    prefix_lens: np.ndarray
    """[E] int32."""
    conversation: np.ndarray
    """[E] int64 place in the block, ascending."""
    errors: list[tuple[int, str]]
    """(place in the block, message) of what could not be rendered."""


class StoreFiles:
    """The files of a store that grow block by block, and the index that waits for the last one."""

    def __init__(self, cfg: Config, work: Path) -> None:
        self._cfg = cfg
        self._names = list(cfg.data.sources)
        self._roles = np.array([ROLES.index(source.role) for source in cfg.data.sources.values()], dtype=np.int8)
        self.drop = DropFile(work / "dropped.jsonl")
        self.conversations = _ConversationFile(work / "conversations.arrow")
        self._tokens = _ArrayFile(work / "tokens.npy", np.dtype(np.int32))
        self._kinds = _ArrayFile(work / "kinds.npy", np.dtype(np.int8))
        self._index = [np.zeros(0, dtype=INDEX)]
        self._longest: tuple[int, int, str] = (0, 0, "")
        self._num_long = 0
        self.categories: list[str] = []
        """Names, sorted; known when the block ends."""

    def __enter__(self) -> "StoreFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self.drop, self.conversations, self._tokens, self._kinds):
            file.close()
        self.categories = sorted(set(self.conversations.categories))

    def write(self, block: Block, tokens: Tokens) -> None:
        """Append a block."""
        self.conversations.write(block)
        self._leave_out_failed(block, tokens)
        too_long = tokens.lengths > self._cfg.batch.seq_len
        if too_long.any():
            self._leave_out_long(block, tokens, too_long)
            inside = np.repeat(~too_long, tokens.lengths)
            keep = ~too_long
            tokens = Tokens(
                tokens.input_ids[inside],
                tokens.kinds[inside],
                tokens.lengths[keep],
                tokens.prefix_lens[keep],
                tokens.conversation[keep],
                [],
            )
        if not len(tokens.lengths):
            return
        index = np.zeros(len(tokens.lengths), dtype=INDEX)
        first = np.cumsum(tokens.lengths, dtype=np.int64) - tokens.lengths
        index["start"] = self._tokens.length + first
        index["length"], index["prefix_len"] = tokens.lengths, tokens.prefix_lens
        index["num_targets"] = np.add.reduceat(tokens.kinds != 0, first, dtype=np.int32)
        index["source"] = np.array(block.sources, dtype=np.int32)[tokens.conversation]
        index["role"] = self._roles[index["source"]]
        index["conversation"] = block.first + tokens.conversation
        self._index.append(index)
        self._tokens.write(tokens.input_ids)
        self._kinds.write(tokens.kinds)

    def index(self) -> np.ndarray:
        """[N] INDEX records of everything that was kept; `group`, `place` and `common` are still empty."""
        index = np.concatenate(self._index)
        numbers = {name: i for i, name in enumerate(self.categories)}
        of_conversation = np.array([numbers[name] for name in self.conversations.categories], dtype=np.int32)
        index["category"] = of_conversation[index["conversation"]]
        return index

    def check(self) -> None:
        """Raise DataError if nothing was read, examples were too long, or none is left."""
        found = f"dropped: {self.drop.summary() or 'none'}"
        if not len(self.conversations):
            raise DataError(f"the data set is empty: no conversation in {', '.join(self._names)}; {found}")
        if self._num_long and self._cfg.data.over_length == "error":
            length, source, name = self._longest
            total = self._num_long + sum(map(len, self._index))
            raise DataError(
                f"data.sources.{self._names[source]}: example {name} has {length} tokens, "
                f"batch.seq_len is {self._cfg.batch.seq_len}; {self._num_long} of {total} examples are longer. None is "
                f"ever cut (the tail holds the calls): set batch.seq_len={length} or more, or data.over_length=drop "
                "to leave them out, counted"
            )
        if not any(map(len, self._index)):
            raise DataError(
                f"no example is left of {len(self.conversations)} conversations; {found}. "
                "Check data.sources, and data.over_length with batch.seq_len"
            )

    def _leave_out_failed(self, block: Block, tokens: Tokens) -> None:
        for place, error in tokens.errors:
            name, where = self._where(block, place)
            if self._cfg.data.sources[name].on_error == "error":
                raise DataError(
                    f"{where}: {error}. To leave such records out, counted: data.sources.{name}.on_error=drop"
                )
            reason = "no_target" if "has weight" in error else "cannot_be_rendered"
            self.drop(Dropped(name, where, reason, error, block.conversations[place].to_wire()))

    def _leave_out_long(self, block: Block, tokens: Tokens, too_long: np.ndarray) -> None:
        for i in np.flatnonzero(too_long).tolist():
            place, length = int(tokens.conversation[i]), int(tokens.lengths[i])
            name, where = self._where(block, place)
            conversation = block.conversations[place]
            if self._cfg.data.over_length == "drop":
                detail = f"{length} tokens, batch.seq_len is {self._cfg.batch.seq_len}"
                self.drop(Dropped(name, where, "too_long", detail, conversation.to_wire()))
            self._num_long += 1
            if length > self._longest[0]:
                self._longest = (length, block.sources[place], conversation.id)

    def _where(self, block: Block, place: int) -> tuple[str, str]:
        """(name of the source, file and id)."""
        name = self._names[block.sources[place]]
        return name, f"{self._cfg.data.sources[name].path}: {block.conversations[place].id}"


class _ConversationFile:
    """conversations.arrow, and what is needed of every conversation to the end."""

    def __init__(self, path: Path) -> None:
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_stream(self._file, CONVERSATIONS)
        self._tools: dict[int, tuple[tuple[Tool, ...], str]] = {}
        self.digests: list[str] = []
        """Of the content: equal conversations share it."""
        self.sources: list[int] = []
        self.categories: list[str] = []

    def __len__(self) -> int:
        return len(self.sources)

    def write(self, block: Block) -> None:
        texts = [self._text(conversation) for conversation in block.conversations]
        categories = [conversation.category for conversation in block.conversations]
        ids = [conversation.id for conversation in block.conversations]
        arrays = [_strings(ids), _integers(block.sources), _strings(categories), _strings(texts)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=CONVERSATIONS))
        self.sources += block.sources
        self.categories += categories

    def close(self) -> None:
        self._writer.close()
        self._file.close()

    def _text(self, conversation: Conversation) -> str:
        """JSON text of the conversation, in which that of its tools is made once a tool set."""
        tools = conversation.tools
        known = self._tools.get(id(tools))
        if known is None or known[0] is not tools:
            known = (tools, tools_text(tools))
            remember(self._tools, known)
        messages = conversation.messages_text()
        self.digests.append(hashlib.sha256(f"{messages}\n{known[1]}".encode()).hexdigest())
        parts = [f'"messages": {messages}']
        parts += [f'"tools": {known[1]}'] if tools else []
        label = conversation.label()
        parts += [json_text(label)[1:-1]] if label else []
        return "{" + ", ".join(parts) + "}"


def _strings(texts: Sequence[str]) -> pa.Array:
    """Made of buffers, because `pyarrow.array` imports pandas, which takes longer than many a data set."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def _integers(values: Sequence[int]) -> pa.Array:
    return pa.Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(np.array(values, dtype=np.int32))])


class _ArrayFile:
    """A one-dimensional .npy file of unknown length: numpy leaves room in the header for a longer shape."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._file = path.open("wb")
        self.length = 0
        """Numbers written."""
        self._write_header()

    def write(self, values: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(values, dtype=self._dtype).data)
        self.length += len(values)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._file, header)


class DropFile:
    """dropped.jsonl and its counters."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self.counts: dict[str, Counter[str]] = {}

    def __call__(self, dropped: Dropped) -> None:
        """Write and count it."""
        self._file.write(json.dumps(dropped.to_wire(), ensure_ascii=False) + "\n")
        self.counts.setdefault(dropped.source, Counter())[dropped.reason] += 1

    def close(self) -> None:
        """No more will come."""
        self._file.close()

    def summary(self) -> str:
        """Counts by reason over all sources, most frequent first."""
        total: Counter[str] = sum(self.counts.values(), Counter())
        return ", ".join(f"{reason} {count}" for reason, count in total.most_common())


def remember(table: dict[int, Any], value: tuple[tuple[Tool, ...], Any]) -> None:
    """Keep what belongs to the tools `value[0]`; while it is kept, no other object has their id."""
    if len(table) >= TOOL_SETS:
        table.clear()
    table[id(value[0])] = value

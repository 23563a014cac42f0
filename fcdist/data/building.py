"""How `prepare` makes a token store: read → render and tokenise, in processes → split → mix → publish in one rename.

Conversations pass through in blocks and are written as they come, so memory holds a few blocks and the index.
"""

import hashlib
import itertools
import json
import logging
import os
import shutil
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fcdist.config.run_folder import store_dir
from fcdist.config.types import Config
from fcdist.data.formats import Dropped, count_records, read_source
from fcdist.data.mixing import choose_validation, mix, require_both_sides
from fcdist.data.prefixes import sort_prefixes
from fcdist.data.store import FILES, INDEX, ROLES, STORE, VERSION, TokenStore, open_store, store_fingerprint
from fcdist.data.tokenizing import encoder, runs, tokenize
from fcdist.errors import DataError, FcdistError
from fcdist.protocols.rendering import Renderer, drop_thoughts
from fcdist.protocols.single_pass import Passes, Rendered, UnsteadyTemplateError
from fcdist.schema.conversation import Conversation, Tool
from fcdist.schema.shards import file_sha256, write_json

log = logging.getLogger(__name__)

BLOCK = 256
"""Conversations that are tokenised and written at once."""
BLOCKS_AHEAD = 4
"""Blocks under way for each worker process."""
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


def build(cfg: Config, renderer: Renderer) -> TokenStore:
    """See `fcdist.data.store.build_store`."""
    if not cfg.data.sources:
        raise DataError("data.sources is empty; name at least one file or folder of conversations")
    roles = {source.role for source in cfg.data.sources.values()}
    require_both_sides(cfg.data.general_ratio, "general" in roles, "function_call" in roles)
    folder = store_dir(cfg)
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).exists() for name in (STORE, *FILES)):
        raise DataError(f"{folder} holds other files, which a new store would replace; set data.store_dir to another")
    fingerprint = store_fingerprint(cfg, renderer)
    try:
        return open_store(folder, fingerprint=fingerprint, verify=True)
    except DataError:  # absent, torn or stale: build it anew
        pass
    work = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        try:
            facts = _write_store(cfg, renderer, _emptied(work))
        except UnsteadyTemplateError as error:
            log.warning("the chat template writes %s differently in one pass; rendering all turn by turn", error)
            facts = _write_store(cfg, renderer, _emptied(work), single_pass=False)
        files = {name: {"size": (work / name).stat().st_size, "sha256": file_sha256(work / name)} for name in FILES}
        write_json(work / STORE, {"version": VERSION, "fingerprint": fingerprint, "files": files, **facts})
        _publish(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return open_store(folder)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _publish(work: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if folder.exists():
        os.replace(folder, old)
    os.replace(work, folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_store(cfg: Config, renderer: Renderer, work: Path, single_pass: bool = True) -> dict[str, Any]:
    """Fill `work` with every file but store.json; return its facts."""
    tokenizer = TokenizeBlock(renderer, cfg.protocol.thoughts, single_pass)
    with _StoreFiles(cfg, work) as files:
        for block, tokens in _tokenize(_read_blocks(cfg, files.drop), tokenizer, cfg.data.num_workers):
            files.write(block, tokens)
    files.check()
    index, conversations = files.index(), files.conversations
    tokens = np.load(work / "tokens.npy", mmap_mode="r")
    place, common = sort_prefixes(tokens, index["start"], index["length"])
    index["group"] = prefix_groups(place, common, index["prefix_len"])
    held_out = choose_validation(conversations.digests, conversations.sources, cfg.data.validation_fraction, cfg.seed)[
        index["conversation"]
    ]
    rows = np.flatnonzero(~held_out)
    chosen = mix(
        index["role"][rows] == ROLES.index("general"),
        index["length"][rows],
        cfg.data.general_ratio,
        cfg.data.ratio_unit,
        cfg.data.repeat,
        cfg.seed,
    )
    for name, some in (("train", rows[chosen.rows]), ("validation", np.flatnonzero(held_out))):
        split = index[some]
        split["place"], split["common"] = choose_places(place, common, some, index["length"])
        np.save(work / f"{name}.npy", split)
    return {
        "sources": list(cfg.data.sources),
        "categories": files.categories,
        "seq_len": cfg.batch.seq_len,
        "num_conversations": len(conversations),
        "dropped": {name: dict(counts) for name, counts in files.drop.counts.items()},
        "mix": {
            "unit": cfg.data.ratio_unit,
            "asked": cfg.data.general_ratio,
            "achieved": chosen.achieved if chosen.function_call else None,
            "general": chosen.general,
            "function_call": chosen.function_call,
            "left_out": int(len(rows) - len(np.unique(chosen.rows))),
        },
    }


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


class TokenizeBlock:
    """Conversations → Tokens; what is remembered of tool sets and words makes the later ones quicker."""

    def __init__(self, renderer: Renderer, thoughts: bool, single_pass: bool = True) -> None:
        self._passes = Passes(renderer, single_pass)
        self._encode = encoder(renderer.tokenizer)
        self._thoughts = thoughts

    def __call__(self, conversations: Sequence[Conversation]) -> Tokens:
        """Render, tokenise and mask. Raises UnsteadyTemplateError."""
        rendered, errors = self._render(conversations)
        self._encode.expect(text for _, one in rendered for _, text, _ in runs(one.segments))
        examples, places = [], []
        for place, one in rendered:
            try:
                examples.append(tokenize(one.segments, self._encode, one.prefix_chars))
            except FcdistError as error:
                errors.append((place, str(error)))
            else:
                places.append(place)
        return Tokens(
            np.concatenate([np.zeros(0, np.int32), *(example.input_ids for example in examples)]),
            np.concatenate([np.zeros(0, np.int8), *(example.kinds for example in examples)]),
            np.array([len(example.input_ids) for example in examples], dtype=np.int32),
            np.array([example.prefix_len for example in examples], dtype=np.int32),
            np.array(places, dtype=np.int64),
            errors,
        )

    def _render(
        self, conversations: Sequence[Conversation]
    ) -> tuple[list[tuple[int, Rendered]], list[tuple[int, str]]]:
        """(place, example) of all examples, (place, message) of conversations that cannot be rendered."""
        rendered: list[tuple[int, Rendered]] = []
        errors: list[tuple[int, str]] = []
        for place, conversation in enumerate(conversations):
            try:
                wanted = conversation if self._thoughts else drop_thoughts(conversation)
                rendered += [(place, one) for one in self._passes.render(wanted)]
            except FcdistError as error:
                errors.append((place, str(error)))
        return rendered, errors


_worker: TokenizeBlock | None = None
"""Of a worker process, which keeps what it remembers from block to block."""


def _start_worker(tokenizer: TokenizeBlock) -> None:
    global _worker
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker = tokenizer


def _work(conversations: Sequence[Conversation]) -> Tokens:
    assert _worker is not None
    return _worker(conversations)


def _tokenize(blocks: Iterator[Block], tokenizer: TokenizeBlock, num_workers: int) -> Iterator[tuple[Block, Tokens]]:
    """Blocks in their order with their tokens; in this process if there is one block only."""
    first = list(itertools.islice(blocks, 2))
    blocks = itertools.chain(first, blocks)
    if num_workers <= 1 or len(first) < 2:
        for block in blocks:
            yield block, tokenizer(block.conversations)
        return
    under_way: deque[tuple[Block, Future[Tokens]]] = deque()
    with ProcessPoolExecutor(num_workers, initializer=_start_worker, initargs=(tokenizer,)) as pool:
        try:
            for block in blocks:
                under_way.append((block, pool.submit(_work, block.conversations)))
                if len(under_way) > num_workers * BLOCKS_AHEAD:
                    done, future = under_way.popleft()
                    yield done, future.result()
            for done, future in under_way:
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _read_blocks(cfg: Config, dropped: "_DropFile") -> Iterator[Block]:
    """Read every source, and show how far it is."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    sort = _ToolOrder() if cfg.data.tool_order == "sorted" else None
    number = 0
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2) as bar:
        for i, (name, source) in enumerate(cfg.data.sources.items()):
            task = bar.add_task(f"prepare {name}", total=count_records(source))
            conversations = read_source(source, name, cfg.seed, dropped)
            while some := list(itertools.islice(conversations, BLOCK)):
                yield Block(number, [i] * len(some), [sort(c) for c in some] if sort else some)
                number += len(some)
                bar.advance(task, len(some))
            bar.update(task, total=bar.tasks[task].completed)


class _ToolOrder:
    """Sorts tools by name; equal sets that were one object stay one."""

    def __init__(self) -> None:
        self._sorted: dict[int, tuple[tuple[Tool, ...], tuple[Tool, ...]]] = {}

    def __call__(self, conversation: Conversation) -> Conversation:
        known = self._sorted.get(id(conversation.tools))
        if known is None or known[0] is not conversation.tools:
            known = (conversation.tools, tuple(sorted(conversation.tools, key=lambda tool: tool.name)))
            _remember(self._sorted, known)
        return replace(conversation, tools=known[1])


def _remember(table: dict[int, Any], value: tuple[tuple[Tool, ...], Any]) -> None:
    """Keep what belongs to the tools `value[0]`; while it is kept, no other object has their id."""
    if len(table) >= TOOL_SETS:
        table.clear()
    table[id(value[0])] = value


class _StoreFiles:
    """The files of a store that grow block by block, and the index that waits for the last one."""

    def __init__(self, cfg: Config, work: Path) -> None:
        self._cfg = cfg
        self._names = list(cfg.data.sources)
        self._roles = np.array([ROLES.index(source.role) for source in cfg.data.sources.values()], dtype=np.int8)
        self.drop = _DropFile(work / "dropped.jsonl")
        self.conversations = _ConversationFile(work / "conversations.arrow")
        self._tokens = _ArrayFile(work / "tokens.npy", np.dtype(np.int32))
        self._kinds = _ArrayFile(work / "kinds.npy", np.dtype(np.int8))
        self._index = [np.zeros(0, dtype=INDEX)]
        self._longest: tuple[int, int, str] = (0, 0, "")
        self._num_long = 0
        self.categories: list[str] = []
        """Names, sorted; known when the block ends."""

    def __enter__(self) -> "_StoreFiles":
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
        columns = [[c.id for c in block.conversations], block.sources, categories, texts]
        arrays = [pa.array(column, kind) for column, kind in zip(columns, CONVERSATIONS.types, strict=True)]
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
            known = (tools, json.dumps([tool.to_wire() for tool in tools], ensure_ascii=False))
            _remember(self._tools, known)
        facts = replace(conversation, tools=()).to_wire()
        messages = json.dumps(facts.pop("messages"), ensure_ascii=False)
        self.digests.append(hashlib.sha256(f"{messages}\n{known[1]}".encode()).hexdigest())
        parts = [f'"messages": {messages}']
        parts += [f'"tools": {known[1]}'] if tools else []
        parts += [json.dumps(facts, ensure_ascii=False)[1:-1]] if facts else []
        return "{" + ", ".join(parts) + "}"


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


class _DropFile:
    """dropped.jsonl and its counters."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self.counts: dict[str, Counter[str]] = {}

    def __call__(self, dropped: Dropped) -> None:
        self._file.write(json.dumps(dropped.to_wire(), ensure_ascii=False) + "\n")
        self.counts.setdefault(dropped.source, Counter())[dropped.reason] += 1

    def close(self) -> None:
        self._file.close()

    def summary(self) -> str:
        total: Counter[str] = sum(self.counts.values(), Counter())
        return ", ".join(f"{reason} {count}" for reason, count in total.most_common())


def choose_places(
    place: np.ndarray, common: np.ndarray, rows: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`place` and `common` of a choice of rows, as `sort_prefixes` would find them in their tokens.

    Args:
        place: [N] of all rows.
        common: [N] of all rows.
        rows: [n] chosen; a row may stand several times.
        lengths: [N] tokens of all rows.

    Returns:
        place: [n] int64; common: [n] int32.
    """
    order = np.argsort(place[rows], kind="stable")
    by_place = np.zeros(len(place) + 1, dtype=np.int32)
    by_place[place] = common
    at = place[rows][order]
    shared = np.zeros(len(rows), dtype=np.int32)
    if len(rows) > 1:
        minima = np.minimum.reduceat(by_place, at + 1)[:-1]  # over the places from one, exclusive, to the next
        shared[1:] = np.where(at[1:] == at[:-1], lengths[rows][order][1:], minima)
    chosen = np.empty(len(rows), dtype=np.int64)
    chosen[order] = np.arange(len(rows))
    return chosen, shared[chosen]


def prefix_groups(place: np.ndarray, common: np.ndarray, prefix_lens: np.ndarray) -> np.ndarray:
    """Number the prefix groups: rows of one begin with the same `prefix_len` tokens.

    Rows are visited in the order of their tokens, along with the prefixes that the last row begins with, shortest
    first; a row ends those that are longer than what it shares with the row before.

    Returns:
        [N] int32, numbered in the order in which rows first come to them.
    """
    rows = np.argsort(place)
    groups = np.zeros(len(rows), dtype=np.int64)
    open_: list[tuple[int, int]] = []  # (length of the prefix, group)
    count = 0
    for row, length, shared in zip(rows.tolist(), prefix_lens[rows].tolist(), common[rows].tolist(), strict=True):
        while open_ and open_[-1][0] > shared:
            open_.pop()
        at = bisect_left(open_, (length, -1))
        if at == len(open_) or open_[at][0] != length:
            open_.insert(at, (length, count))
            count += 1
        groups[row] = open_[at][1]
    _, first, numbers = np.unique(groups, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int32)
    order[np.argsort(first)] = np.arange(len(first))
    return order[numbers]

"""How `prepare` makes a token store: read → Arrow → tokenise in parallel → split → mix → publish in one rename."""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, List, Value
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fcdist.config.run_folder import store_dir
from fcdist.config.types import Config
from fcdist.data.formats import Dropped, read_source
from fcdist.data.mixing import choose_validation, mix, require_both_sides
from fcdist.data.store import FILES, INDEX, ROLES, STORE, VERSION, TokenStore, open_store, store_fingerprint
from fcdist.data.tokenizing import encoder, tokenize
from fcdist.errors import DataError, FcdistError
from fcdist.protocols.rendering import Renderer, drop_thoughts
from fcdist.schema.conversation import Conversation, Message
from fcdist.schema.shards import file_sha256, write_json

WRITE_ROWS = 1000
"""Conversations in one Arrow record batch."""

CONVERSATIONS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.int32()),
        ("category", pa.string()),
        ("digest", pa.string()),  # of the content: equal conversations share it
        ("conversation", pa.string()),  # JSON text: Arrow would merge the keys of tools and calls across rows
    ]
)
TOKENS = Features(
    {
        "input_ids": List(Value("int32")),
        "kinds": List(Value("int8")),
        "prefix_len": Value("int32"),
        "conversation": Value("int64"),
        "error": Value("string"),
    }
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
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        facts = _write_store(cfg, renderer, work)
        files = {name: {"size": (work / name).stat().st_size, "sha256": file_sha256(work / name)} for name in FILES}
        write_json(work / STORE, {"version": VERSION, "fingerprint": fingerprint, "files": files, **facts})
        _publish(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return open_store(folder)


def _publish(work: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if folder.exists():
        os.replace(folder, old)
    os.replace(work, folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_store(cfg: Config, renderer: Renderer, work: Path) -> dict[str, Any]:
    """Fill `work` with every file but store.json; return its facts."""
    dropped = _DropFile(work / "dropped.jsonl")
    try:
        conversations = _write_conversations(cfg, work / "conversations.arrow", dropped)
        table = _tokenize(conversations, renderer, cfg, work)
        index = _write_tokens(cfg, conversations, table, work, dropped)
    finally:
        dropped.close()
    del table
    shutil.rmtree(work / "arrow")
    names = list(cfg.data.sources)
    if not len(index):
        raise DataError(
            f"no example is left of {len(conversations)} conversations; dropped: {dropped.summary() or 'none'}. "
            "Check data.sources, and data.over_length with batch.seq_len"
        )
    held_out = choose_validation(
        conversations["digest"][:], conversations["source"][:], cfg.data.validation_fraction, cfg.seed
    )[index["conversation"]]
    train, validation = index[~held_out], index[held_out]
    chosen = mix(
        train["role"] == ROLES.index("general"),
        train["length"],
        cfg.data.general_ratio,
        cfg.data.ratio_unit,
        cfg.data.repeat,
        cfg.seed,
    )
    np.save(work / "train.npy", train[chosen.rows])
    np.save(work / "validation.npy", validation)
    return {
        "sources": names,
        "categories": _categories(conversations),
        "seq_len": cfg.batch.seq_len,
        "num_conversations": len(conversations),
        "dropped": {name: dict(counts) for name, counts in dropped.counts.items()},
        "mix": {
            "unit": cfg.data.ratio_unit,
            "asked": cfg.data.general_ratio,
            "achieved": chosen.achieved if chosen.function_call else None,
            "general": chosen.general,
            "function_call": chosen.function_call,
            "left_out": int(len(train) - len(np.unique(chosen.rows))),
        },
    }


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


def _write_conversations(cfg: Config, path: Path, dropped: _DropFile) -> Dataset:
    """Read every source into one Arrow file."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_stream(file, CONVERSATIONS) as writer,
        Progress(*columns) as bar,
    ):
        for number, (name, source) in enumerate(cfg.data.sources.items()):
            task = bar.add_task(f"reading {name}", total=None)
            rows: list[dict[str, Any]] = []
            for conversation in read_source(source, name, cfg.seed, dropped):
                rows.append(_row(conversation, number))
                if len(rows) == WRITE_ROWS:
                    writer.write_batch(pa.RecordBatch.from_pylist(rows, CONVERSATIONS))
                    rows = []
                bar.advance(task)
            if rows:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, CONVERSATIONS))
            bar.update(task, total=bar.tasks[task].completed)
    conversations = Dataset.from_file(str(path))
    if not len(conversations):
        raise DataError(
            f"the data set is empty: no conversation in {', '.join(cfg.data.sources)}; dropped: "
            f"{dropped.summary() or 'none'}"
        )
    return conversations


def _row(conversation: Conversation, source: int) -> dict[str, Any]:
    wire = conversation.to_wire()
    content = json.dumps([wire["messages"], wire.get("tools", [])], ensure_ascii=False, sort_keys=True)
    return {
        "id": conversation.id,
        "source": source,
        "category": conversation.category,
        "digest": hashlib.sha256(content.encode()).hexdigest(),
        "conversation": json.dumps(wire, ensure_ascii=False),
    }


class TokenizeRows:
    """Batched `datasets.map` function: JSON text of conversations → one row an example, or one with an error."""

    def __init__(self, renderer: Renderer, thoughts: bool) -> None:
        self._renderer = renderer
        self._encode = encoder(renderer.tokenizer)
        self._thoughts = thoughts
        self._prefixes: dict[str, str] = {}

    def __call__(self, batch: Mapping[str, Sequence[str]], rows: Sequence[int]) -> dict[str, list[Any]]:
        """Columns of TOKENS for the conversations numbered `rows`."""
        out: dict[str, list[Any]] = {name: [] for name in TOKENS}
        for text, row in zip(batch["conversation"], rows, strict=True):
            try:
                conversation = Conversation.from_wire(json.loads(text))
                if not self._thoughts:
                    conversation = drop_thoughts(conversation)
                prefix = self._prefix(conversation)
                for segments in self._renderer.render(conversation):
                    shared = len(prefix) if "".join(s.text for s in segments).startswith(prefix) else 0
                    example = tokenize(segments, self._encode, shared)
                    for name in ("input_ids", "kinds", "prefix_len"):
                        out[name].append(getattr(example, name))
                    out["conversation"].append(row)
                    out["error"].append(None)
            except FcdistError as error:
                out["input_ids"].append(np.zeros(0, dtype=np.int32))
                out["kinds"].append(np.zeros(0, dtype=np.int8))
                out["prefix_len"].append(0)
                out["conversation"].append(row)
                out["error"].append(str(error))
        return out

    def _prefix(self, conversation: Conversation) -> str:
        """Rendered text before the first user's words: what two prompts that differ in them have in common."""
        head = tuple(m for m in conversation.messages[:1] if m.role == "system")
        key = json.dumps([[m.to_wire() for m in head], [t.to_wire() for t in conversation.tools]], ensure_ascii=False)
        if key not in self._prefixes:
            prompts = [
                self._renderer.prompt(Conversation((*head, Message("user", words)), conversation.tools))
                for words in ("0", "x")
            ]
            self._prefixes[key] = _common_beginning(*prompts)
        return self._prefixes[key]


def _common_beginning(a: str, b: str) -> str:
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:length]


def _tokenize(conversations: Dataset, renderer: Renderer, cfg: Config, work: Path) -> pa.Table:
    """[examples] Arrow table with the columns of TOKENS, memory-mapped below `work`."""
    (work / "arrow").mkdir()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers are forked; one thread each
    num_proc = min(cfg.data.num_workers, len(conversations))
    tokens = conversations.select_columns(["conversation"]).map(
        TokenizeRows(renderer, cfg.protocol.thoughts),
        with_indices=True,
        batched=True,
        batch_size=100,
        num_proc=num_proc if num_proc > 1 else None,
        remove_columns=["conversation"],
        features=TOKENS,
        cache_file_name=str(work / "arrow" / "tokens.arrow"),
        load_from_cache_file=False,
        new_fingerprint="fcdist",
        desc="tokenising",
    )
    return tokens.data.table


def _write_tokens(cfg: Config, conversations: Dataset, table: pa.Table, work: Path, dropped: _DropFile) -> np.ndarray:
    """Write tokens.npy and kinds.npy of the kept examples; return [N] INDEX records."""
    lengths = pc.list_value_length(table["input_ids"]).to_numpy().astype(np.int64)
    rows = table["conversation"].to_numpy()
    errors = table["error"].to_pylist() if table["error"].null_count < len(table) else [None] * len(table)
    failed = np.array([error is not None for error in errors], dtype=bool)
    _leave_out_failed(cfg, conversations, rows, errors, dropped)
    too_long = lengths > cfg.batch.seq_len
    _leave_out_long(cfg, conversations, rows, lengths, too_long, dropped)
    keep = ~(failed | too_long)
    index = np.zeros(int(keep.sum()), dtype=INDEX)
    index["length"], index["conversation"] = lengths[keep], rows[keep]
    index["start"] = np.cumsum(lengths[keep]) - lengths[keep]
    index["prefix_len"] = table["prefix_len"].to_numpy()[keep]
    source_of = np.array(conversations["source"][:], dtype=np.int32)
    roles = [ROLES.index(source.role) for source in cfg.data.sources.values()]
    categories = {name: i for i, name in enumerate(_categories(conversations))}
    category_of = np.array([categories[name] for name in conversations["category"][:]], dtype=np.int32)
    index["source"] = source_of[index["conversation"]]
    index["category"] = category_of[index["conversation"]]
    index["role"] = np.array(roles, dtype=np.int8)[index["source"]]

    shape = (int(lengths[keep].sum()),)
    tokens = np.lib.format.open_memmap(work / "tokens.npy", mode="w+", dtype=np.int32, shape=shape)
    kinds = np.lib.format.open_memmap(work / "kinds.npy", mode="w+", dtype=np.int8, shape=shape)
    for array, column in ((tokens, "input_ids"), (kinds, "kinds")):
        done = 0
        for values in _kept_values(table[column], keep):
            array[done : done + len(values)] = values
            done += len(values)
        array.flush()
    groups: dict[bytes, int] = {}
    for i, entry in enumerate(index):
        start, length, prefix = int(entry["start"]), int(entry["length"]), int(entry["prefix_len"])
        index["num_targets"][i] = np.count_nonzero(kinds[start : start + length])
        digest = hashlib.sha256(tokens[start : start + prefix].tobytes()).digest()
        index["group"][i] = groups.setdefault(digest, len(groups))
    return index


def _kept_values(column: pa.ChunkedArray, keep: np.ndarray) -> Iterator[np.ndarray]:
    """Flat values of the kept rows, chunk by chunk."""
    done = 0
    for chunk in column.chunks:
        mask = pa.array(keep[done : done + len(chunk)])
        done += len(chunk)
        yield chunk.filter(mask).flatten().to_numpy(zero_copy_only=False)


def _leave_out_failed(
    cfg: Config, conversations: Dataset, rows: np.ndarray, errors: list[str | None], dropped: _DropFile
) -> None:
    for row, error in zip(rows, errors, strict=True):
        if error is None:
            continue
        entry = conversations[int(row)]
        name = list(cfg.data.sources)[entry["source"]]
        where = f"{cfg.data.sources[name].path}: {entry['id']}"
        if cfg.data.sources[name].on_error == "error":
            raise DataError(f"{where}: {error}. To leave such records out, counted: data.sources.{name}.on_error=drop")
        reason = "no_target" if "has weight" in error else "cannot_be_rendered"
        dropped(Dropped(name, where, reason, error, json.loads(entry["conversation"])))


def _leave_out_long(
    cfg: Config,
    conversations: Dataset,
    rows: np.ndarray,
    lengths: np.ndarray,
    too_long: np.ndarray,
    dropped: _DropFile,
) -> None:
    if not too_long.any():
        return
    limit = cfg.batch.seq_len
    names = list(cfg.data.sources)
    if cfg.data.over_length == "error":
        longest = int(np.argmax(lengths))
        entry = conversations[int(rows[longest])]
        raise DataError(
            f"data.sources.{names[entry['source']]}: example {entry['id']} has {lengths[longest]} tokens, "
            f"batch.seq_len is {limit}; {int(too_long.sum())} of {len(lengths)} examples are longer. None is ever cut "
            f"(the tail holds the calls): set batch.seq_len={lengths[longest]} or more, or data.over_length=drop "
            "to leave them out, counted"
        )
    for i in np.flatnonzero(too_long):
        entry = conversations[int(rows[i])]
        name = names[entry["source"]]
        detail = f"{lengths[i]} tokens, batch.seq_len is {limit}"
        where = f"{cfg.data.sources[name].path}: {entry['id']}"
        dropped(Dropped(name, where, "too_long", detail, json.loads(entry["conversation"])))


def _categories(conversations: Dataset) -> list[str]:
    return sorted(set(conversations["category"][:]))

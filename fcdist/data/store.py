"""The token store: tokenised examples, memory-mapped, with what planning and reports need to know of each.

store/
  store.json            fingerprint, names, counts, size and sha256 of every file; written last
  tokens.npy            [all tokens] int32
  kinds.npy             [all tokens] int8
  train.npy             one record an example (see INDEX); a repeated example has several records, one set of tokens
  validation.npy        the same, never overlapping with training
  conversations.arrow   the conversations as JSON text, for `show`
  dropped.jsonl         every record that was left out, with the reason
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from fcdist.config.mapping import to_mapping
from fcdist.config.types import Config
from fcdist.data.tokenizing import Example
from fcdist.errors import DataError
from fcdist.protocols.rendering import Renderer
from fcdist.schema.conversation import Conversation
from fcdist.schema.shards import file_sha256
from fcdist.sources.records import source_digests

VERSION = 2
STORE = "store.json"
FILES = ("tokens.npy", "kinds.npy", "train.npy", "validation.npy", "conversations.arrow", "dropped.jsonl")
INDEX = np.dtype(
    [
        ("start", "i8"),  # first token in tokens.npy
        ("length", "i4"),
        ("num_targets", "i4"),
        ("prefix_len", "i4"),  # tokens before the first user turn
        ("group", "i4"),  # prefix group
        ("place", "i8"),  # position among the rows of the split, sorted by their tokens (ties by row)
        ("common", "i4"),  # tokens shared with the row one place before
        ("source", "i4"),
        ("category", "i4"),
        ("role", "i1"),  # see ROLES
        ("conversation", "i8"),  # row of conversations.arrow
    ]
)
ROLES = ("general", "function_call")
Split = Literal["train", "validation"]


class TokenStore:
    """One split of a store on disk. Rows are examples; arrays are memory-mapped and read-only."""

    def __init__(self, folder: Path, split: Split, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.split: Split = split
        self.facts = facts
        """Contents of store.json."""
        self.fingerprint: str = facts["fingerprint"]
        self.source_names: list[str] = facts["sources"]
        self.category_names: list[str] = facts["categories"]
        self._index: np.ndarray = np.load(folder / f"{split}.npy", mmap_mode="r")
        self._tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        self._kinds = np.load(folder / "kinds.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self._index)

    @property
    def lengths(self) -> np.ndarray:
        """[N] int32 tokens of each example."""
        return self._column("length")

    @property
    def num_targets(self) -> np.ndarray:
        """[N] int32 targets of each example."""
        return self._column("num_targets")

    @property
    def prefix_lens(self) -> np.ndarray:
        """[N] int32 tokens before the first user turn."""
        return self._column("prefix_len")

    @property
    def groups(self) -> np.ndarray:
        """[N] int32 prefix group: examples of one group begin with the same `prefix_len` tokens."""
        return self._column("group")

    @property
    def places(self) -> np.ndarray:
        """[N] int64 position of each row when all rows of the split are sorted by their tokens (ties by row)."""
        return self._column("place")

    @property
    def common(self) -> np.ndarray:
        """[N] int32 tokens each row shares with the row one place before it; 0 for the first.

        What any two rows share is the minimum of `common` over the places between them.
        """
        return self._column("common")

    @property
    def sources(self) -> np.ndarray:
        """[N] int32 index into `source_names`."""
        return self._column("source")

    @property
    def categories(self) -> np.ndarray:
        """[N] int32 index into `category_names`."""
        return self._column("category")

    @property
    def is_general(self) -> np.ndarray:
        """[N] bool: on the general side of data.general_ratio."""
        general: np.ndarray = self._column("role") == ROLES.index("general")
        return general

    def example(self, row: int) -> Example:
        """Tokens of one row."""
        entry = self._index[row]
        tokens = slice(int(entry["start"]), int(entry["start"]) + int(entry["length"]))
        return Example(self._tokens[tokens], self._kinds[tokens], int(entry["prefix_len"]))

    def source(self, row: int) -> str:
        """Name of the source of one row."""
        return self.source_names[int(self.sources[row])]

    def category(self, row: int) -> str:
        """Category of one row."""
        return self.category_names[int(self.categories[row])]

    def conversation(self, row: int) -> Conversation:
        """What one row was rendered from."""
        text = self._conversations["conversation"][int(self._index[row]["conversation"])].as_py()
        return Conversation.from_wire(json.loads(text))

    def _column(self, name: str) -> np.ndarray:
        column: np.ndarray = self._index[name]
        return column

    @cached_property
    def _conversations(self) -> pa.Table:
        with pa.memory_map(str(self.folder / "conversations.arrow")) as file:
            return pa.ipc.open_stream(file).read_all()


def open_store(
    folder: Path, split: Split = "train", fingerprint: str | None = None, verify: bool = False
) -> TokenStore:
    """Open one split of a finished store.

    Args:
        folder: written by `build_store`.
        split: `train` or `validation` (which may be empty).
        fingerprint: what `store_fingerprint` gives for the data and settings of now; None: not compared.
        verify: read every byte and compare its sha256, instead of only the sizes.

    Raises:
        DataError: no store, a torn one (a file is missing or was changed), or a stale one.
    """
    again = "Run `fcdist prepare` (again)"
    path = folder / STORE
    if not path.is_file():
        raise DataError(f"{folder}: no token store ({STORE} is missing). {again}")
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files: dict[str, dict[str, Any]] = facts["files"]
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}: torn token store ({error!r}). {again}") from None
    if facts.get("version") != VERSION:
        raise DataError(f"{path}: store version {facts.get('version')}, this program reads {VERSION}. {again}")
    for name, entry in files.items():
        file = folder / name
        size = file.stat().st_size if file.is_file() else None
        if size != entry["size"]:
            found = "is missing" if size is None else f"has {size} bytes instead of {entry['size']}"
            raise DataError(f"{file}: torn token store, the file {found}. {again}")
        if verify and file_sha256(file) != entry["sha256"]:
            raise DataError(f"{file}: torn token store, its bytes changed since it was written. {again}")
    if fingerprint is not None and facts["fingerprint"] != fingerprint:
        raise DataError(
            f"{folder}: stale token store: it was made from other files, settings or another chat template "
            f"(fingerprint {facts['fingerprint'][:12]}, now {fingerprint[:12]}). {again}"
        )
    return TokenStore(folder, split, facts)


def store_fingerprint(cfg: Config, renderer: Renderer) -> str:
    """Digest of all that decides the bytes of a store: source files, renderer, tokenizer, limits, mix and seed."""
    sources = {}
    for name, source in cfg.data.sources.items():
        settings = to_mapping(source)
        del settings["path"]
        if source.use == "auto":  # stores from before this setting stay valid
            del settings["use"]
        sources[name] = settings | {"files": source_digests(source)}
    data = to_mapping(cfg.data)
    keys = ("general_ratio", "ratio_unit", "repeat", "over_length", "tool_order", "validation_fraction")
    settled = {key: data[key] for key in keys}
    if cfg.data.general_tool_share:  # stores from before this setting stay valid
        settled["general_tool_share"] = cfg.data.general_tool_share
    basis = {
        "version": VERSION,
        "sources": sources,
        "data": settled,
        "seq_len": cfg.batch.seq_len,
        "seed": cfg.seed,
        "thoughts": cfg.protocol.thoughts,
        "renderer": renderer.fingerprint(),
    }
    return hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()


def build_store(cfg: Config, renderer: Renderer) -> TokenStore:
    """Read, check, tokenise and mix the sources of `cfg.data` into RUN/store; reuse it if nothing changed.

    Returns:
        The training split.

    Raises:
        ShardError: an unreadable or invalid record, with file and line.
        DataError: no source, nothing left, an over-long example, a ratio that cannot be met.
    """
    from fcdist.data.building import build  # which reads stores itself

    return build(cfg, renderer)

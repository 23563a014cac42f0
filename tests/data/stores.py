"""Small sources, runs and stores for the tests of the data room."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from conversations import chat, tool_conversation, weather, write_jsonl
from hypothesis import strategies as st

from fcdist.config.types import BatchConfig, Config, DataConfig, ModelConfig, SourceConfig
from fcdist.data.prefixes import sort_prefixes
from fcdist.data.tokenizing import Example
from fcdist.model.debug import debug_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer


def small_config(folder: Path, num_calls: int = 12, num_chats: int = 30, **data: Any) -> Config:
    """A run on two sources, with the debug tokenizer."""
    calls = write_jsonl(
        folder / "calls.jsonl", [tool_conversation(i, weather("c" * (1 + i % 3))) for i in range(num_calls)]
    )
    chats = write_jsonl(folder / "chats.jsonl", [chat(i) for i in range(num_chats)])
    sources = {"calls": SourceConfig(path=str(calls)), "chats": SourceConfig(path=str(chats), role="general")}
    return Config(
        run_dir=str(folder / "run"),
        seed=7,
        model=ModelConfig(path="debug"),
        data=DataConfig(**({"sources": sources} | data)),
        batch=BatchConfig(seq_len=2048, global_batch_size=4),
    )


def with_data(cfg: Config, **data: Any) -> Config:
    return replace(cfg, data=replace(cfg.data, **data))


def small_renderer(protocol: str = "text") -> Renderer:
    return Renderer(debug_tokenizer(), load_protocol(protocol))


@dataclass(frozen=True)
class Index:
    """What planning needs of a store, in memory; examples are made up from their row and length, and share nothing."""

    lengths: np.ndarray
    num_targets: np.ndarray
    fingerprint: str = "f"

    @property
    def groups(self) -> np.ndarray:
        return np.arange(len(self))

    places = groups

    @property
    def prefix_lens(self) -> np.ndarray:
        return np.zeros(len(self), dtype=np.int64)

    common = prefix_lens

    def __len__(self) -> int:
        return len(self.lengths)

    def example(self, row: int) -> Example:
        length = int(self.lengths[row])
        kinds = np.zeros(length, dtype=np.int8)
        kinds[length - int(self.num_targets[row]) :] = 2
        return Example(np.arange(length, dtype=np.int32) + 1000 * row, kinds)

    def source(self, row: int) -> str:
        return ("even", "odd")[row % 2]


def index_of(lengths: Sequence[int]) -> Index:
    sizes = np.array(lengths, dtype=np.int32)
    return Index(sizes, np.maximum(1, sizes // 3))


@st.composite
def shared_rows(draw: st.DrawFn) -> list[list[int]]:
    """Token lists that begin alike: each continues a beginning of an earlier one; some are equal or begin another."""
    rows = [draw(st.lists(st.integers(0, 3), min_size=1, max_size=12))]
    for _ in range(draw(st.integers(0, 9))):
        source = rows[draw(st.integers(0, len(rows) - 1))]
        kept = source[: draw(st.integers(0, len(source)))]
        tail = draw(st.lists(st.integers(0, 3), min_size=0 if kept else 1, max_size=8))
        rows.append(kept + tail)
    return rows


def lay_rows(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, starts and lengths of rows that lie one after the other."""
    lengths = np.array([len(row) for row in rows])
    return np.array([t for row in rows for t in row], dtype=np.int32), np.cumsum(lengths) - lengths, lengths


class TokenRows:
    """A store of given tokens and kinds, with everything that planning wants to know."""

    fingerprint = "rows"

    def __init__(
        self,
        rows: Sequence[Sequence[int]],
        kinds: Sequence[Sequence[int]] | None = None,
        groups: Sequence[int] | None = None,
        prefix_lens: Sequence[int] | None = None,
    ) -> None:
        self._rows = [np.array(row, dtype=np.int32) for row in rows]
        given = kinds or [[0] + [1] * (len(row) - 1) for row in rows]
        self._kinds = [np.array(kind, dtype=np.int8) for kind in given]
        self.lengths = np.array([len(row) for row in rows], dtype=np.int32)
        self.num_targets = np.array([np.count_nonzero(kind) for kind in given], dtype=np.int32)
        self.places, self.common = sort_prefixes(*lay_rows(rows))
        self.groups = np.array(range(len(rows)) if groups is None else groups, dtype=np.int32)
        self.prefix_lens = np.array([0] * len(rows) if prefix_lens is None else prefix_lens, dtype=np.int32)

    def __len__(self) -> int:
        return len(self._rows)

    def example(self, row: int) -> Example:
        return Example(self._rows[row], self._kinds[row])


def tool_store(
    random: np.random.Generator, sizes: Sequence[int], prompt: tuple[int, int], own: tuple[int, int]
) -> TokenRows:
    """`sizes[g]` examples on prompt g, in random order. Some share their first user turn too, and some are alone.

    Args:
        random: source of tokens and lengths.
        sizes: examples of each group.
        prompt: bounds of the length of a prompt.
        own: bounds of what an example adds to it.
    """
    rows, groups, prefix_lens = [], [], []
    for group, size in enumerate(sizes):
        tools = random.integers(0, 9, int(random.integers(*prompt))).tolist()
        turn = random.integers(0, 9, int(random.integers(*own)) // 2).tolist()
        for i in range(size):
            tail = random.integers(0, 9, int(random.integers(*own))).tolist()
            rows.append([10 + group, *tools, *(turn if i % 3 == 0 else []), *tail])
            groups.append(group)
            prefix_lens.append(len(tools) + 1)
    order = random.permutation(len(rows)).tolist()
    return TokenRows([rows[i] for i in order], None, [groups[i] for i in order], [prefix_lens[i] for i in order])

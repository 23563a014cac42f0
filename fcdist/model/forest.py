"""A forest of segments as attention needs it: checked once per forward, index tensors built once for all layers."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from fcdist.data.batch import Segments
from fcdist.errors import ModelError
from fcdist.model.sequence_parallel import SequenceGroup

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Launch:
    """One variable-length attention call of the cascade: N pairs of query and key ranges."""

    causal: bool
    query_index: Tensor | None
    """[Q] rows of the queries; None: all rows in order."""
    key_index: Tensor | None
    """[K] rows of the keys; None: all rows in order."""
    cu_q: Tensor
    """[N + 1] int32 cumulative query lengths."""
    cu_k: Tensor
    """[N + 1] int32 cumulative key lengths."""
    max_q: int
    max_k: int


class Layout:
    """What the attention layers of one forward pass share. `calls` counts them, so that a model which attends
    some other way is noticed."""

    def __init__(self, segments: Segments, num_tokens: int, group: SequenceGroup | None = None) -> None:
        """Check `segments` against a row of `num_tokens` tokens.

        Args:
            segments: of the whole row.
            num_tokens: of the whole row.
            group: the ranks that share the row; None: this one has all of it.

        Raises:
            ModelError: the segments do not cover the row in depth-first order.
        """
        self.segments = segments
        self.num_tokens = num_tokens
        self.group = group
        self.calls = 0
        self.is_flat = all(parent < 0 for parent in segments.parent)
        self._subtree_end = _subtree_ends(segments, num_tokens)
        self.longest_chain = max(
            first + end - start
            for first, start, end in zip(segments.first_position, segments.start, segments.end, strict=True)
        )
        self._depth = [len(segments.ancestors(i)) for i in range(len(segments.start))] if not self.is_flat else []
        self._kept: dict[Hashable, Any] = {}

    def kept(self, name: Hashable, build: Callable[[], T]) -> T:
        """What `build` gives, made by the first layer that asks for `name` and kept for the others."""
        if name not in self._kept:
            self._kept[name] = build()
        found: T = self._kept[name]
        return found

    def cutting(self, window: int | None) -> int | None:
        """The window if some token has more keys than it, else None: it changes nothing."""
        return window if window and window < self.longest_chain else None

    def chain_index(self, segment: int, device: torch.device) -> Tensor:
        """[K] rows a segment may attend to: its ancestors', root first, then its own."""

        def build() -> Tensor:
            chain = [*self.segments.ancestors(segment), segment]
            rows = [torch.arange(self.segments.start[i], self.segments.end[i]) for i in chain]
            return torch.cat(rows).to(device)

        return self.kept(("chain", segment, device), build)

    def mask(self, num_queries: int, num_keys: int, window: int | None, device: torch.device) -> Tensor:
        """[Q, K] bool: the last query sees the last key; at most `window` keys each, itself included."""

        def build() -> Tensor:
            query = torch.arange(num_keys - num_queries, num_keys, device=device)[:, None]
            keys = torch.arange(num_keys, device=device)[None]
            mask = keys <= query
            return mask & (keys > query - window) if window else mask

        return self.kept(("mask", num_queries, num_keys, window, device), build)

    def subtree_end_of_tokens(self, device: torch.device) -> Tensor:
        """[T] int64: one past the last row of the subtree of each token's segment."""
        return self.kept(("subtree end", device), lambda: self._spread(self._subtree_end, device))

    def positions(self, device: torch.device) -> Tensor:
        """[T] int64: position ids, the number of tokens before each on its chain of ancestors."""

        def build() -> Tensor:
            shift = [
                first - start for first, start in zip(self.segments.first_position, self.segments.start, strict=True)
            ]
            return torch.arange(self.num_tokens, device=device) + self._spread(shift, device)

        return self.kept(("positions", device), build)

    def subtrees(self) -> Iterator[tuple[int, int, int, bool]]:
        """(start, end, end of its subtree, whether a root) of each segment, ancestors first."""
        s = self.segments
        for start, end, below, parent in zip(s.start, s.end, self._subtree_end, s.parent, strict=True):
            yield start, end, below, parent < 0

    def launches(self, device: torch.device) -> tuple[Launch, ...]:
        """Calls of the cascade: every segment on itself, then everything below each level's nodes on those nodes."""

        def build() -> tuple[Launch, ...]:
            s = self.segments
            own = list(zip(s.start, s.end, strict=True))
            levels = [_launch(True, own, own, device, is_whole_row=True)]
            for depth in range(max(self._depth, default=0)):
                nodes = [
                    i for i, d in enumerate(self._depth) if d == depth and self._subtree_end[i] > self.segments.end[i]
                ]
                below = [(s.end[i], self._subtree_end[i]) for i in nodes]
                levels.append(_launch(False, below, [own[i] for i in nodes], device))
            return tuple(levels)

        return self.kept(("launches", device), build)

    def _spread(self, values: list[int], device: torch.device) -> Tensor:
        """[T]: one value a segment, repeated for each of its tokens."""
        lengths = [end - start for start, end in zip(self.segments.start, self.segments.end, strict=True)]
        return torch.tensor(values).repeat_interleave(torch.tensor(lengths)).to(device)


def _launch(
    causal: bool,
    queries: list[tuple[int, int]],
    keys: list[tuple[int, int]],
    device: torch.device,
    is_whole_row: bool = False,
) -> Launch:
    def cumulative(ranges: list[tuple[int, int]]) -> Tensor:
        lengths = torch.tensor([0, *(end - start for start, end in ranges)])
        return lengths.cumsum(0).to(device=device, dtype=torch.int32)

    def rows(ranges: list[tuple[int, int]]) -> Tensor | None:
        return None if is_whole_row else torch.cat([torch.arange(a, b) for a, b in ranges]).to(device)

    return Launch(
        causal=causal,
        query_index=rows(queries),
        key_index=rows(keys),
        cu_q=cumulative(queries),
        cu_k=cumulative(keys),
        max_q=max(end - start for start, end in queries),
        max_k=max(end - start for start, end in keys),
    )


def _subtree_ends(segments: Segments, num_tokens: int) -> list[int]:
    """Row after the last descendant of each segment; checks order and cover on the way."""
    open_chain: list[int] = []
    expected, ends = 0, list(segments.end)
    for i, (start, end, parent, first) in enumerate(
        zip(segments.start, segments.end, segments.parent, segments.first_position, strict=True)
    ):
        while open_chain and open_chain[-1] != parent:
            open_chain.pop()
        if parent >= 0 and not open_chain:
            raise ModelError(f"segments are not in depth-first order: {i} follows after its parent {parent} was left")
        before = sum(segments.end[j] - segments.start[j] for j in open_chain)
        if start != expected or end <= start or first != before:
            raise ModelError(
                f"segment {i} is [{start}, {end}) at position {first}; with parent {parent} it must start at "
                f"{expected}, end later and continue at position {before}"
            )
        open_chain.append(i)
        for j in open_chain:
            ends[j] = end
        expected = end
    if expected != num_tokens:
        raise ModelError(f"the segments cover {expected} tokens, but the row has {num_tokens}")
    return ends

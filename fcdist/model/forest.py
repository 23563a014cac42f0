"""A forest of segments as attention needs it: checked once per forward, index tensors built once for all layers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fcdist.data.batch import Segments
from fcdist.errors import ModelError


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

    def __init__(self, segments: Segments, num_tokens: int) -> None:
        """Check `segments` against a row of `num_tokens` tokens.

        Raises:
            ModelError: the segments do not cover the row in depth-first order.
        """
        self.segments = segments
        self.num_tokens = num_tokens
        self.calls = 0
        self.is_flat = all(parent < 0 for parent in segments.parent)
        self._subtree_end = _subtree_ends(segments, num_tokens)
        self._depth = [len(segments.ancestors(i)) for i in range(len(segments.start))] if not self.is_flat else []
        self._indices: dict[tuple[int, torch.device], Tensor] = {}
        self._masks: dict[tuple[int, int, int, torch.device], Tensor] = {}
        self._launches: dict[torch.device, tuple[Launch, ...]] = {}

    def chain_index(self, segment: int, device: torch.device) -> Tensor:
        """[K] rows a segment may attend to: its ancestors', root first, then its own."""
        key = (segment, device)
        if key not in self._indices:
            chain = [*self.segments.ancestors(segment), segment]
            rows = [torch.arange(self.segments.start[i], self.segments.end[i]) for i in chain]
            self._indices[key] = torch.cat(rows).to(device)
        return self._indices[key]

    def mask(self, num_queries: int, num_keys: int, window: int | None, device: torch.device) -> Tensor:
        """[Q, K] bool: the last query sees the last key; at most `window` keys each, itself included."""
        key = (num_queries, num_keys, window or 0, device)
        if key not in self._masks:
            query = torch.arange(num_keys - num_queries, num_keys, device=device)[:, None]
            keys = torch.arange(num_keys, device=device)[None]
            mask = keys <= query
            self._masks[key] = mask & (keys > query - window) if window else mask
        return self._masks[key]

    def launches(self, device: torch.device) -> tuple[Launch, ...]:
        """Calls of the cascade: every segment on itself, then everything below each level's nodes on those nodes."""
        if device not in self._launches:
            s = self.segments
            own = list(zip(s.start, s.end, strict=True))
            levels = [_launch(True, own, own, device, is_whole_row=True)]
            for depth in range(max(self._depth, default=0)):
                nodes = [
                    i for i, d in enumerate(self._depth) if d == depth and self._subtree_end[i] > self.segments.end[i]
                ]
                below = [(s.end[i], self._subtree_end[i]) for i in nodes]
                levels.append(_launch(False, below, [own[i] for i in nodes], device))
            self._launches[device] = tuple(levels)
        return self._launches[device]


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

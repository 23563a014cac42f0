"""From packs of the store to one flat row: the batch contract, without padding."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from fcdist.data.batch import Batch, Kind, Segments
from fcdist.data.tokenizing import Example


class Examples(Protocol):
    """Anything that gives examples by row."""

    def example(self, row: int) -> Example:
        """Token ids and kinds of one row."""


def collate(store: Examples, packs: Sequence[Sequence[int]]) -> Batch:
    """Lay the examples of `packs` one after the other in one row; each is a root of the forest and sees only itself.

    Args:
        store: where the rows are.
        packs: rows of the store; packs are flattened in order. Without any row the batch is `filler()`.

    Returns:
        A Batch of T = sum of lengths tokens; the target at token t of an example is predicted at t - 1, weight 1.
    """
    rows = tuple(int(row) for pack in packs for row in pack)
    if not rows:
        return filler()
    examples = [store.example(row) for row in rows]
    lengths = [len(example.input_ids) for example in examples]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    input_ids = np.concatenate([example.input_ids for example in examples]).astype(np.int64)
    kinds = np.concatenate([example.kinds for example in examples]).astype(np.int8)
    targets = np.flatnonzero(kinds)
    return Batch(
        input_ids=torch.from_numpy(input_ids)[None],
        position_ids=torch.from_numpy(np.arange(len(input_ids)) - np.repeat(starts, lengths))[None],
        segments=Segments(
            start=tuple(starts.tolist()),
            end=tuple(ends.tolist()),
            parent=(-1,) * len(rows),
            first_position=(0,) * len(rows),
        ),
        target_index=torch.from_numpy(targets - 1),
        target_ids=torch.from_numpy(input_ids[targets]),
        target_weights=torch.ones(len(targets), dtype=torch.float32),
        target_kinds=torch.from_numpy(kinds[targets]),
        examples=rows,
    )


def filler() -> Batch:
    """A batch of weight 0, for a rank that has nothing left in a step: collectives need its forward all the same."""
    return Batch(
        input_ids=torch.zeros(1, 2, dtype=torch.int64),
        position_ids=torch.arange(2)[None],
        segments=Segments(start=(0,), end=(2,), parent=(-1,), first_position=(0,)),
        target_index=torch.zeros(1, dtype=torch.int64),
        target_ids=torch.zeros(1, dtype=torch.int64),
        target_weights=torch.zeros(1, dtype=torch.float32),
        target_kinds=torch.full((1,), int(Kind.ANSWER), dtype=torch.int8),
    )

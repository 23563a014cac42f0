"""From packs of the store to one flat row: the batch contract, without padding, what examples share only once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from fcdist.data.batch import Batch, Kind, Segments
from fcdist.data.prefixes import lay_out, shared_depths, sort_prefixes
from fcdist.data.tokenizing import Example


class Examples(Protocol):
    """Anything that gives examples by row."""

    def example(self, row: int) -> Example:
        """Token ids and kinds of one row."""


def collate(store: Examples, packs: Sequence[Sequence[int]], min_shared_tokens: int = 0) -> Batch:
    """Lay the examples of `packs` in one row, as a forest: what examples of a pack share at their beginning, once.

    Args:
        store: where the rows are.
        packs: rows of the store. Without any row the batch is `filler()`.
        min_shared_tokens: see `BatchConfig`; 0: nothing is shared, each example is a root and they follow in order.

    Returns:
        A Batch whose chains of segments are the examples. The target at token t of an example is predicted at t - 1,
        which may lie in a shared stretch; a target that several examples share weighs as often, so that the weights
        of a batch add up to the targets of its examples.
    """
    trees = [find_trees(store, pack, min_shared_tokens) for pack in packs if len(pack)]
    if not trees:
        return filler()
    rows = tuple(row for tree in trees for row in tree.rows)
    examples = [example for tree in trees for example in tree.examples]
    shared = np.concatenate([tree.shared for tree in trees])
    lengths = np.array([len(example.input_ids) for example in examples])
    forest = lay_out(lengths, shared)
    own = [example.input_ids[first:] for example, first in zip(examples, shared.tolist(), strict=True)]
    input_ids = np.concatenate(own).astype(np.int64)
    position_ids = np.arange(len(input_ids)) - np.repeat(forest.own_start - shared, lengths - shared)
    targets = [np.flatnonzero(example.kinds) for example in examples]
    depth = np.concatenate(targets)
    of_row = np.repeat(np.arange(len(rows)), [len(places) for places in targets])
    ids = np.concatenate([example.input_ids[places] for example, places in zip(examples, targets, strict=True)])
    kinds = np.concatenate([example.kinds[places] for example, places in zip(examples, targets, strict=True)])
    triples = np.stack([forest.find(of_row, depth - 1), ids.astype(np.int64), kinds.astype(np.int64)])
    triples, weights = np.unique(triples, axis=1, return_counts=True)
    return Batch(
        input_ids=torch.from_numpy(input_ids)[None],
        position_ids=torch.from_numpy(position_ids)[None],
        segments=Segments(
            start=tuple(forest.start.tolist()),
            end=tuple(forest.end.tolist()),
            parent=tuple(forest.parent.tolist()),
            first_position=tuple(forest.first_position.tolist()),
        ),
        target_index=torch.from_numpy(triples[0].copy()),
        target_ids=torch.from_numpy(triples[1].copy()),
        target_weights=torch.from_numpy(weights.astype(np.float32)),
        target_kinds=torch.from_numpy(triples[2].astype(np.int8)),
        examples=rows,
    )


@dataclass(frozen=True, slots=True)
class Trees:
    """Examples of a pack in depth-first order of their forest."""

    rows: list[int]
    """[n] rows of the store."""
    examples: list[Example]
    shared: np.ndarray
    """[n] tokens each takes from those before it."""


def find_trees(store: Examples, pack: Sequence[int], min_shared_tokens: int) -> Trees:
    """What the examples of a pack share.

    Trees follow in the order of their first rows in the pack, so that a pack without any is laid out as it stands.

    Args:
        store: where the rows are.
        pack: [n] rows, at least one.
        min_shared_tokens: as for `collate`.
    """
    rows = [int(row) for row in pack]
    examples = [store.example(row) for row in rows]
    if not min_shared_tokens or len(rows) == 1:
        return Trees(rows, examples, np.zeros(len(rows), dtype=np.int64))
    lengths = np.array([len(example.input_ids) for example in examples])
    tokens = np.concatenate([example.input_ids for example in examples])
    place, common = sort_prefixes(tokens, np.cumsum(lengths) - lengths, lengths)
    by_place = np.argsort(place)
    is_first = np.arange(len(rows)) == 0
    shared = shared_depths(common[by_place], is_first, min_shared_tokens)
    roots = np.flatnonzero(shared == 0)
    earliest = np.repeat(np.minimum.reduceat(by_place, roots), np.diff(roots, append=len(rows)))
    by_tree = np.argsort(earliest, kind="stable")
    order = by_place[by_tree].tolist()
    return Trees([rows[i] for i in order], [examples[i] for i in order], shared[by_tree])


def part_of_row(batch: Batch, part: int, num_parts: int) -> Batch:
    """What one rank holds of a row that `num_parts` ranks share.

    Args:
        batch: the whole row, T tokens.
        part: of the rank, from 0.
        num_parts: `batch.sequence_parallel`.

    Returns:
        Stretch `part` of `num_parts` equal ones, with the targets that its tokens predict; none or all may be on one
        rank. Where T does not divide, tokens without targets, a root of their own, end the row.
    """
    row = _pad(batch, -batch.input_ids.shape[1] % num_parts)
    length = row.input_ids.shape[1] // num_parts
    stretch = slice(part * length, (part + 1) * length)
    mine = row.target_index // length == part
    return replace(
        row,
        input_ids=row.input_ids[:, stretch],
        position_ids=row.position_ids[:, stretch],
        target_index=row.target_index[mine] - stretch.start,
        target_ids=row.target_ids[mine],
        target_weights=row.target_weights[mine],
        target_kinds=row.target_kinds[mine],
    )


def _pad(batch: Batch, num_tokens: int) -> Batch:
    """The row with `num_tokens` more tokens, a root of their own."""
    if not num_tokens:
        return batch
    length, s = batch.input_ids.shape[1], batch.segments
    return replace(
        batch,
        input_ids=torch.cat([batch.input_ids, batch.input_ids.new_zeros(1, num_tokens)], dim=1),
        position_ids=torch.cat([batch.position_ids, torch.arange(num_tokens)[None]], dim=1),
        segments=Segments(
            start=(*s.start, length),
            end=(*s.end, length + num_tokens),
            parent=(*s.parent, -1),
            first_position=(*s.first_position, 0),
        ),
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

"""Packs for the laws of attention and loss, and what the same examples give alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fcdist.data.batch import Batch, Kind, Segments
from fcdist.model.attention import PLAIN, REFERENCE, set_attention
from fcdist.model.debug import VOCAB_SIZE
from fcdist.training.loss import LossModule


@dataclass(frozen=True)
class Tree:
    """A node of a prefix forest: its own number of tokens and what continues it."""

    length: int
    children: tuple["Tree", ...] = ()


FLAT = (Tree(17), Tree(5), Tree(31), Tree(17))
BRANCHES = (Tree(20, (Tree(9), Tree(13), Tree(7, (Tree(4), Tree(11))))), Tree(15), Tree(6, (Tree(8),)))


def build_batch(forest: Sequence[Tree], seed: int = 0) -> Batch:
    """A pack with random tokens; about half of the transitions are targets, with unequal weights."""
    generator = torch.Generator().manual_seed(seed)
    start: list[int] = []
    end: list[int] = []
    parent: list[int] = []
    first: list[int] = []

    def add(node: Tree, above: int, position: int) -> None:
        start.append(end[-1] if end else 0)
        end.append(start[-1] + node.length)
        parent.append(above)
        first.append(position)
        me = len(start) - 1
        for child in node.children:
            add(child, me, position + node.length)

    for root in forest:
        add(root, -1, 0)
    segments = Segments(tuple(start), tuple(end), tuple(parent), tuple(first))
    ids = torch.randint(4, VOCAB_SIZE, (1, end[-1]), generator=generator)
    positions = [f + i for s, e, f in zip(start, end, first, strict=True) for i in range(e - s)]
    pairs = []
    for i in range(len(start)):
        if parent[i] >= 0:  # a branch point predicts the first token of every child
            pairs.append((end[parent[i]] - 1, start[i]))
        pairs += [(t - 1, t) for t in range(start[i] + 1, end[i]) if (t // 4) % 2]
    index = torch.tensor([a for a, _ in pairs], dtype=torch.int64)
    count = len(pairs)
    return Batch(
        input_ids=ids,
        position_ids=torch.tensor([positions]),
        segments=segments,
        target_index=index,
        target_ids=ids[0, torch.tensor([b for _, b in pairs], dtype=torch.int64)],
        target_weights=torch.rand(count, generator=generator) + 0.5,
        target_kinds=torch.randint(1, len(Kind), (count,), generator=generator).to(torch.int8),
    )


def leaf_rows(segments: Segments) -> list[Tensor]:
    """Rows of each example on its own: a leaf behind its ancestors."""
    parents = set(segments.parent)
    return [
        torch.cat([torch.arange(segments.start[j], segments.end[j]) for j in [*segments.ancestors(i), i]])
        for i in range(len(segments.start))
        if i not in parents
    ]


def separate_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Weighted loss of the same targets, each example alone through transformers' sdpa, cross-entropy in fp64.

    A target on a shared prefix is counted with the first example that contains it.
    """
    set_attention(model, PLAIN)
    next_row = _target_rows(batch)
    seen: set[tuple[int, int]] = set()
    total = torch.zeros((), dtype=torch.float64)
    for rows in leaf_rows(batch.segments):
        logits = model(input_ids=batch.input_ids[:, rows], use_cache=False).logits[0].double()
        local = {int(row): i for i, row in enumerate(rows)}
        for m, (at, following) in enumerate(next_row):
            here = at in local and following in local and local[following] == local[at] + 1
            if here and (at, following) not in seen:
                seen.add((at, following))
                loss = cross_entropy(logits[local[at]][None], batch.target_ids[m][None])
                total = total + loss * batch.target_weights[m].double()
    assert len(seen) == len(next_row)
    set_attention(model, REFERENCE)
    return total


def packed_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The same through LossModule."""
    set_attention(model, REFERENCE)
    loss, _ = LossModule(model)(batch)
    return loss


def _target_rows(batch: Batch) -> list[tuple[int, int]]:
    """(row, next row) of each target, rebuilt as `build_batch` laid them out."""
    s = batch.segments
    pairs = []
    for i in range(len(s.start)):
        if s.parent[i] >= 0:
            pairs.append((s.end[s.parent[i]] - 1, s.start[i]))
        pairs += [(t - 1, t) for t in range(s.start[i] + 1, s.end[i]) if (t // 4) % 2]
    return pairs


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    """Gradients of the trainable parameters in fp64."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {n: p.grad.double() for n, p in model.named_parameters() if p.requires_grad and p.grad is not None}


def relative_error(found: dict[str, Tensor], expected: dict[str, Tensor], floor: float = 1e-4) -> float:
    """Largest norm of a difference over the norm of what is expected, over the parameters."""
    assert found.keys() == expected.keys() and found
    # a parameter without influence (a key bias: the softmax removes it) has rounding noise only
    floor *= max(float(g.norm()) for g in expected.values())
    return max(float((found[n] - g).norm()) / max(float(g.norm()), floor) for n, g in expected.items())

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
DEEP = (Tree(3, (Tree(2, (Tree(4, (Tree(1), Tree(2))), Tree(3))), Tree(5))), Tree(2), Tree(6, (Tree(1), Tree(1))))
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


def packed_loss(model: nn.Module, batch: Batch, attention: str = REFERENCE) -> Tensor:
    """The same through LossModule."""
    set_attention(model, attention)
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


@dataclass(frozen=True)
class Single:
    """An example on its own: its tokens, and the weight of each as a target (0: context; the first must be 0)."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def grow(examples: Sequence[Single]) -> Batch:
    """The pack of these examples, every common beginning once; what several have as target stands several times."""
    start: list[int] = []
    end: list[int] = []
    parent: list[int] = []
    first: list[int] = []
    ids: list[int] = []
    rows: list[list[int]] = [[] for _ in examples]

    def add(group: list[int], position: int, above: int) -> None:
        shortest = min(len(examples[i].ids) for i in group)
        stop = position
        while stop < shortest and len({examples[i].ids[stop] for i in group}) == 1:
            stop += 1
        me = above
        if stop > position:
            me = len(start)
            start.append(len(ids))
            ids.extend(examples[group[0]].ids[position:stop])
            end.append(len(ids))
            parent.append(above)
            first.append(position)
            for i in group:
                rows[i].extend(range(start[me], end[me]))
        going_on = [i for i in group if len(examples[i].ids) > stop]
        for token in sorted({examples[i].ids[stop] for i in going_on}):
            add([i for i in going_on if examples[i].ids[stop] == token], stop, me)

    add(list(range(len(examples))), 0, -1)
    found = [
        (rows[i][t - 1], example.ids[t], weight)
        for i, example in enumerate(examples)
        for t, weight in enumerate(example.weights)
        if weight
    ]
    return Batch(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([[f + i for s, e, f in zip(start, end, first, strict=True) for i in range(e - s)]]),
        segments=Segments(tuple(start), tuple(end), tuple(parent), tuple(first)),
        target_index=torch.tensor([row for row, _, _ in found]),
        target_ids=torch.tensor([token for _, token, _ in found]),
        target_weights=torch.tensor([weight for _, _, weight in found]),
        target_kinds=torch.full((len(found),), Kind.CALL, dtype=torch.int8),
    )


def alone_loss(model: nn.Module, examples: Sequence[Single]) -> Tensor:
    """Weighted loss of each example by itself, through transformers' sdpa, cross-entropy in fp64."""
    set_attention(model, PLAIN)
    total = torch.zeros((), dtype=torch.float64)
    for example in examples:
        ids = torch.tensor(example.ids)
        logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1].double()
        losses = cross_entropy(logits, ids[1:], reduction="none")
        total = total + (losses * torch.tensor(example.weights[1:], dtype=torch.float64)).sum()
    return total


def conversations(seed: int = 0) -> list[Single]:
    """Seven examples over a trie of five levels: one is the beginning of another, one shares nothing, one stands twice;
    up to three target spans each, with fractional weights."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(4, VOCAB_SIZE, (count,), generator=generator).tolist())

    def single(ids: tuple[int, ...], *spans: tuple[int, int, float]) -> Single:
        weights = [0.0] * len(ids)
        for begin, stop, weight in spans:
            weights[begin:stop] = [weight] * (stop - begin)
        return Single(ids, tuple(weights))

    system, tools, other_tools = tokens(14), tokens(11), tokens(6)
    ask = system + tools + tokens(9)
    short = ask + tokens(5)
    long = short + tokens(13)
    return [
        single(short, (34, 39, 1.0)),
        single(long, (34, 39, 1.0), (42, 45, 0.25), (48, 52, 0.5)),
        single(ask + tokens(7), (34, 40, 0.7)),
        single(system + tools + tokens(12), (27, 30, 1.0), (34, 37, 1.5)),
        single(system + other_tools + tokens(8), (22, 28, 1.0)),
        single(tokens(10), (1, 10, 1.0)),
        single(long, (48, 52, 2.0)),
    ]


def dense_mask(segments: Segments, window: int | None = None) -> Tensor:
    """[T, T] bool: which key each query sees, from the examples' own rows."""
    mask = torch.zeros(segments.end[-1], segments.end[-1], dtype=torch.bool)
    for i in range(len(segments.start)):
        chain = [*segments.ancestors(i), i]
        rows = torch.cat([torch.arange(segments.start[j], segments.end[j]) for j in chain])
        causal = torch.ones(len(rows), len(rows), dtype=torch.bool).tril()
        mask[rows[:, None], rows] = causal & ~causal.tril(-window) if window else causal
    return mask


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

"""Which examples share a pack and which packs share a step. Pure integers, no torch.

Everything here is a function of (index, batch settings, seed, epoch), so every rank computes the same plan and
nothing is broadcast. Global batches do not depend on the world size; only `fcdist.data.balance` knows about ranks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fcdist.config.seeds import derive_seed
from fcdist.config.types import BatchConfig
from fcdist.data.balance import GlobalBatch
from fcdist.data.bin_packing import level_packs, plan_packs
from fcdist.data.prefixes import CommonPrefixes, shared_depths
from fcdist.errors import DataError

WINDOW_PACKS = 256
"""Packs filled side by side: enough to level their costs, few enough to vary."""
HORIZON_STEPS = 32
"""Steps whose packs are put side by side by cost: the few packs that cannot be levelled meet in few of these steps."""
MAX_FILL = 970
"""Tokens planned for a pack on average, in thousandths of batch.seq_len. The rest is what levelling costs needs."""
ORDER_JITTER = 200
"""Largest-first order is blurred by up to this many thousandths, so that packs differ from epoch to epoch."""
MAX_UNFINISHED = 8
"""Steps that wait for packs of other groups at a time."""


class StoreIndex(Protocol):
    """What planning needs to know of a token store."""

    @property
    def lengths(self) -> np.ndarray:
        """[N] tokens of each example."""

    @property
    def num_targets(self) -> np.ndarray:
        """[N] targets of each example."""

    @property
    def groups(self) -> np.ndarray:
        """[N] prefix group: examples of one group begin with the same `prefix_len` tokens."""

    @property
    def prefix_lens(self) -> np.ndarray:
        """[N] tokens before the first user turn."""

    @property
    def places(self) -> np.ndarray:
        """[N] position of each example when all are sorted by their tokens."""

    @property
    def common(self) -> np.ndarray:
        """[N] tokens shared with the example one place before."""


@dataclass(frozen=True, slots=True)
class _Index:
    """The rows that are planned: columns of the store, or of a choice of its rows."""

    rows: np.ndarray
    lengths: np.ndarray
    num_targets: np.ndarray
    groups: np.ndarray
    prefix_lens: np.ndarray
    places: np.ndarray
    common_prefixes: CommonPrefixes | None
    """None: nothing is shared."""
    min_shared_tokens: int

    def shared(self, rows: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows in depth-first order within each part, and what each takes from the rows of its part before it.

        Args:
            rows: [n] rows of this index.
            parts: [n] chunk or pack of each, ascending.
        """
        if self.common_prefixes is None:
            return rows, np.zeros(len(rows), dtype=np.int64)
        rows = rows[np.lexsort((self.places[rows], parts))]
        is_first = np.diff(parts, prepend=-1) != 0
        follows = np.flatnonzero(~is_first)
        places = self.places[rows]
        common = np.zeros(len(rows), dtype=np.int64)
        common[follows] = self.common_prefixes.between(places[follows - 1], places[follows])
        return rows, shared_depths(common, is_first, self.min_shared_tokens)


@dataclass(frozen=True, slots=True)
class _Pack:
    rows: list[int]
    """Rows of the index."""
    groups: frozenset[int]
    """Groups that have other chunks, which should not meet in a step."""
    tokens: int
    """Unique tokens."""
    cost: int


@dataclass(frozen=True, slots=True)
class _Items:
    """What is packed: chunks of examples that share a prompt, and single examples."""

    rows: np.ndarray
    """[N] rows of the index, item by item."""
    first: np.ndarray
    """[I + 1] where each item begins in `rows`."""
    groups: np.ndarray
    """[I] group of a chunk that is not alone in it; -1: may stand anywhere."""
    order: np.ndarray
    """[I] items in the order in which they are packed."""
    tokens: np.ndarray
    """[I] unique tokens."""
    costs: np.ndarray
    """[I] work."""


def plan_epoch(
    store: StoreIndex, batch: BatchConfig, seed: int, epoch: int, rows: np.ndarray | None = None
) -> list[GlobalBatch]:
    """Plan one epoch: every example exactly once.

    Examples of one prefix group are cut into chunks that share their prompt. Chunks and single examples are packed in
    windows of some steps, so that all packs of a window cost alike: packs are never padded, and one that is not full
    costs nothing, but one that costs more than the others keeps their ranks waiting.

    Args:
        store: index of the token store.
        batch: everything but `micro_batch_size` counts; nor does the world size.
        seed: of the run.
        epoch: from 0; chunks, packs and their order change with it.
        rows: [n] rows to plan; default: all.

    Returns:
        Global batches in training order; only the last may hold empty packs.

    Raises:
        DataError: the store is empty or an example does not fit.
    """
    index = _choose(store, batch, rows)
    random = np.random.default_rng(derive_seed(seed, "packing", epoch))
    items = _cut_items(index, batch, random)
    size = batch.global_batch_size
    plan: list[GlobalBatch] = []
    waiting: list[_Pack] = []
    for packs in _fill_windows(index, items, batch, random):
        waiting += packs
        if len(waiting) >= HORIZON_STEPS * size:
            steps, waiting = _form_steps(waiting, size)
            plan += [_global_batch(index, steps[i], size) for i in random.permutation(len(steps))]
    steps, waiting = _form_steps(waiting, size)
    plan += [_global_batch(index, steps[i], size) for i in random.permutation(len(steps))]
    return plan + ([_global_batch(index, waiting, size)] if waiting else [])


def _form_steps(packs: list[_Pack], size: int) -> tuple[list[list[_Pack]], list[_Pack]]:
    """Packs of like cost in one step, chunks of one group in different ones where there are enough.

    Returns:
        Steps of `size` packs, and the packs that are too few for another.
    """
    steps: list[list[_Pack]] = []
    unfinished: list[tuple[list[_Pack], set[int]]] = []
    for pack in sorted(packs, key=lambda pack: -pack.cost):
        free = (i for i, (_, groups) in enumerate(unfinished) if groups.isdisjoint(pack.groups))
        i = next(free, len(unfinished) if len(unfinished) < MAX_UNFINISHED else 0)
        if i == len(unfinished):
            unfinished.append(([], set()))
        unfinished[i][0].append(pack)
        unfinished[i][1].update(pack.groups)
        if len(unfinished[i][0]) == size:
            steps.append(unfinished.pop(i)[0])
    rest = [pack for step, _ in unfinished for pack in step]
    whole = len(rest) // size * size
    return steps + [rest[i : i + size] for i in range(0, whole, size)], rest[whole:]


def _global_batch(index: _Index, packs: Sequence[_Pack], size: int) -> GlobalBatch:
    rows = np.array([row for pack in packs for row in pack.rows], dtype=np.int64)
    of_store = iter(index.rows[rows].tolist())
    return GlobalBatch(
        packs=tuple(tuple(next(of_store) for _ in pack.rows) for pack in packs) + ((),) * (size - len(packs)),
        costs=tuple(pack.cost for pack in packs) + (0,) * (size - len(packs)),
        num_targets=int(index.num_targets[rows].sum()),
        num_tokens=int(index.lengths[rows].sum()),
        num_unique_tokens=sum(pack.tokens for pack in packs),
    )


def _choose(store: StoreIndex, batch: BatchConfig, rows: np.ndarray | None) -> _Index:
    lengths = np.asarray(store.lengths, dtype=np.int64)
    chosen = np.arange(len(lengths)) if rows is None else np.asarray(rows, dtype=np.int64)
    if not len(chosen):
        raise DataError("the token store holds no example; check data.sources and the drop counts of `prepare`")
    longest = int(chosen[np.argmax(lengths[chosen])])
    if lengths[longest] > batch.seq_len:
        raise DataError(
            f"example {longest} has {lengths[longest]} tokens; batch.seq_len is {batch.seq_len}. Raise batch.seq_len, "
            "or run `prepare` again with data.over_length=drop"
        )
    places = np.asarray(store.places, dtype=np.int64)
    shares = batch.examples_per_prefix > 1
    return _Index(
        rows=chosen,
        lengths=lengths[chosen],
        num_targets=np.asarray(store.num_targets, dtype=np.int64)[chosen],
        groups=np.asarray(store.groups, dtype=np.int64)[chosen],
        prefix_lens=np.asarray(store.prefix_lens, dtype=np.int64)[chosen],
        places=places[chosen],
        common_prefixes=CommonPrefixes(places, np.asarray(store.common)) if shares else None,
        min_shared_tokens=batch.min_shared_tokens,
    )


def _cut_items(index: _Index, batch: BatchConfig, random: np.random.Generator) -> _Items:
    """Cut prefix groups into chunks, weigh all items and put them in random order.

    The chunks of a group are spread evenly over the epoch: gradients of one tool set correlate.
    """
    shareable = (index.prefix_lens >= batch.min_shared_tokens) & (index.common_prefixes is not None)
    # Group numbers of single examples: their own, none of the store's.
    group = np.where(shareable, index.groups, -1 - np.arange(len(index.rows)))
    rows, sizes = _shuffle_groups(index, group, random)
    first_of_group = np.cumsum(sizes) - sizes
    rank = np.arange(len(rows)) - np.repeat(first_of_group, sizes)
    counts = -(-sizes // batch.examples_per_prefix)  # chunks of each group
    chunk = rank * np.repeat(counts, sizes) // np.repeat(sizes, sizes)  # of near-equal size
    begins = (np.diff(chunk, prepend=-1) != 0) | (rank == 0)
    begins, tokens, pairs = _split_large(index, rows, begins, batch.seq_len)
    first = np.flatnonzero(begins)
    targets = np.add.reduceat(index.num_targets[rows], first)
    group_of_chunk = np.cumsum(rank == 0)[first] - 1
    counts = np.bincount(group_of_chunk)
    number = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    offset = random.integers(0, 1 << 30, len(counts))
    when = (((number << 30) + offset[group_of_chunk]) << 8) // counts[group_of_chunk]
    return _Items(
        rows=rows,
        first=np.append(first, len(rows)),
        groups=np.where(counts[group_of_chunk] > 1, group_of_chunk, -1),
        order=np.argsort(when, kind="stable"),
        tokens=tokens,
        costs=_cost(batch, tokens, pairs, targets),
    )


def _shuffle_groups(index: _Index, group: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows group by group, in random order within each, and the size of each group.

    Rows that share more than their prompt, such as the same first user turn, stay side by side.
    """
    by_group = np.lexsort((index.places, group))
    group = group[by_group]
    starts_group = np.diff(group, prepend=group[0] - 1) != 0
    starts_cluster = starts_group.copy()
    if index.common_prefixes is not None:
        follows = np.flatnonzero(~starts_group)
        rows = by_group[follows]
        common = index.common_prefixes.between(index.places[by_group[follows - 1]], index.places[rows])
        starts_cluster[follows] = common < index.prefix_lens[rows] + index.min_shared_tokens
    cluster = np.cumsum(starts_cluster) - 1
    key = random.permutation(cluster[-1] + 1)[cluster]
    sizes = np.diff(np.flatnonzero(starts_group), append=len(group))
    return by_group[np.lexsort((key, np.repeat(np.arange(len(sizes)), sizes)))], sizes


def _split_large(
    index: _Index, rows: np.ndarray, begins: np.ndarray, seq_len: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Halve chunks that do not fit a pack, each half with the prefix.

    Returns:
        [N] bool where chunks begin, and of each chunk its unique tokens and twice its attended pairs.
    """
    begins = begins.copy()
    while True:
        first = np.flatnonzero(begins)
        chunk = np.cumsum(begins) - 1
        tokens, pairs = _weigh(index, rows, chunk)
        large = np.flatnonzero(tokens > seq_len)
        if not len(large):
            return begins, tokens, pairs
        sizes = np.diff(first, append=len(rows))
        begins[first[large] + sizes[large] // 2] = True


def _weigh(index: _Index, rows: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unique tokens and twice the attended pairs of each part (chunk or pack; `parts` numbers them, ascending)."""
    first = np.flatnonzero(np.diff(parts, prepend=-1))
    rows, shared = index.shared(rows, parts)
    lengths = index.lengths[rows]
    tokens = np.add.reduceat(lengths - shared, first)
    return tokens, np.add.reduceat(lengths * (lengths + 1) - shared * (shared + 1), first)


def _cost(batch: BatchConfig, tokens: np.ndarray, double_pairs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Work in half pairs: linear layers per unique token, attention per pair, head per target."""
    cost: np.ndarray = 2 * (tokens * batch.token_cost + targets * batch.target_cost) + double_pairs
    return cost


def _fill_windows(
    index: _Index, items: _Items, batch: BatchConfig, random: np.random.Generator
) -> Iterator[list[_Pack]]:
    """Packs of one window after the other; what fits nowhere waits for the next window.

    All windows are filled alike, so that the packs of the epoch make whole steps.
    """
    size = batch.global_batch_size
    num_items, total = len(items.order), int(items.tokens.sum())
    needed = -(-total * 1000 // (batch.seq_len * _reachable_fill(items, batch.seq_len)))
    planned = min(num_items, -(-needed // size) * size)
    grouped = items.groups >= 0
    chunks = np.bincount(items.groups[grouped])
    spread = np.full(num_items, -1)
    spread[grouped] = np.where(chunks[items.groups[grouped]] <= planned // size, items.groups[grouped], -1)
    ends = np.cumsum(items.tokens[items.order])
    left = np.zeros(0, dtype=np.int64)
    done = made = 0
    while done < num_items or len(left):
        until = num_items
        num_packs = planned - made
        if num_packs > WINDOW_PACKS:
            num_packs = WINDOW_PACKS
            budget = total * (made + num_packs) // planned  # of the whole epoch up to here
            until = max(done + (not len(left)), int(np.searchsorted(ends, budget, side="right")))
        chosen = np.concatenate([left, items.order[done:until]])
        done = until
        chosen = _largest_first(items, chosen, random)
        tokens, costs, groups = (column[chosen].tolist() for column in (items.tokens, items.costs, items.groups))
        packs, unplaced = level_packs(tokens, costs, groups, max(1, num_packs), batch.seq_len)
        weighed, removed = _weigh_packs(index, items, [chosen[pack].tolist() for pack in packs], spread, batch)
        left = np.concatenate([chosen[unplaced], np.array(removed, dtype=np.int64)])
        made += len(weighed)
        if done == num_items and made >= planned and len(left):
            planned = made + min(len(left), size)
        yield weighed


def _reachable_fill(items: _Items, seq_len: int) -> int:
    """Thousandths of `seq_len` that a best fit of a sample of the items reaches, at most MAX_FILL."""
    ends = np.cumsum(items.tokens[items.order])
    sample = items.tokens[items.order[: np.searchsorted(ends, WINDOW_PACKS * seq_len) + 1]]
    packs = plan_packs(sample.tolist(), seq_len)
    return min(MAX_FILL, -(-int(sample.sum()) * 1000 // (len(packs) * seq_len)))


def _largest_first(items: _Items, chosen: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Items by cost, blurred a little."""
    blur = 1000 + random.integers(0, ORDER_JITTER + 1, len(chosen))
    order: np.ndarray = chosen[np.argsort(-items.costs[chosen] * blur, kind="stable")]
    return order


def _weigh_packs(
    index: _Index, items: _Items, packs: list[list[int]], spread: np.ndarray, batch: BatchConfig
) -> tuple[list[_Pack], list[int]]:
    """Packs as rows with what they hold once items of different groups share their beginnings too.

    Short stretches that are then not worth a branch may bring a full pack a few tokens above `seq_len`; it gives back
    its last item.

    Returns:
        The packs and the items given back.
    """
    removed: list[int] = []
    while True:
        numbers = np.array([item for pack in packs for item in pack], dtype=np.int64)
        of_pack = np.repeat(np.arange(len(packs)), [len(pack) for pack in packs])
        sizes = items.first[numbers + 1] - items.first[numbers]
        offsets = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = items.rows[np.repeat(items.first[numbers], sizes) + offsets]
        parts = np.repeat(of_pack, sizes)
        tokens, pairs = _weigh(index, rows, parts)
        large = np.flatnonzero(tokens > batch.seq_len).tolist()
        if not large:
            break
        removed += [packs[pack].pop() for pack in large]
    first = np.flatnonzero(np.diff(parts, prepend=-1))
    costs = _cost(batch, tokens, pairs, np.add.reduceat(index.num_targets[rows], first))
    groups = [frozenset(spread[pack].tolist()) - {-1} for pack in packs]
    rows_of = [part.tolist() for part in np.split(rows, first[1:])]
    return [_Pack(*pack) for pack in zip(rows_of, groups, tokens.tolist(), costs.tolist(), strict=True)], removed

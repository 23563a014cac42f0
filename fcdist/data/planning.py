"""Which examples share a pack, which packs share a step, and who computes what. Pure integers, no torch.

Everything here is a function of (lengths, batch settings, seed, epoch), so every rank computes the same plan and
nothing is broadcast. Global batches do not depend on the world size; only `divide` knows about ranks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fcdist.config.seeds import derive_seed
from fcdist.config.types import BatchConfig
from fcdist.errors import DataError

WINDOW_PACKS = 256
"""Examples are packed in shuffled windows of about this many packs: enough for a good fill, few enough to vary."""
LENGTH_JITTER = 0.15
"""Longest-first order is blurred by up to this share, so that packs differ from epoch to epoch in small sets too."""
LINEAR_COST = 12 * 1024
"""Cost of a token outside attention, in attended pairs: 12 x width (24 d² linear FLOPs against 2 d a pair)."""


class StoreIndex(Protocol):
    """What planning needs to know of a token store."""

    @property
    def lengths(self) -> np.ndarray:
        """[N] tokens of each example."""

    @property
    def num_targets(self) -> np.ndarray:
        """[N] targets of each example."""


@dataclass(frozen=True, slots=True)
class GlobalBatch:
    """The packs of one optimizer step, for any world size."""

    packs: tuple[tuple[int, ...], ...]
    """[batch.global_batch_size] rows of the store; the last global batch of an epoch is filled up with empty packs."""
    num_targets: int
    num_tokens: int


def plan_packs(lengths: Sequence[int], capacity: int, order: Sequence[int] | None = None) -> list[list[int]]:
    """Group examples into packs of at most `capacity` tokens, best fit, longest first.

    Integers only and deterministic: every rank computes the same plan, nothing is broadcast.

    Args:
        lengths: [N] tokens of each example, each at least 1.
        capacity: tokens of a pack.
        order: sequence in which examples are placed; default: longest first.

    Raises:
        DataError: an example exceeds `capacity`. It is never cut: the tail holds the calls.

    Source: Ding et al. 2024, arXiv:2404.10830 (best-fit packing, without its document splitting).
    """
    packs: list[list[int]] = []
    by_free: list[list[int]] = [[] for _ in range(capacity + 1)]  # open packs by free tokens
    occupied = 0  # bit f: some open pack has f tokens free
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]) if order is None else order:
        length = lengths[i]
        if length > capacity:
            raise DataError(
                f"example {i} has {length} tokens; batch.seq_len is {capacity}. Raise batch.seq_len, or run `prepare` "
                "again with data.over_length=drop"
            )
        if fitting := occupied >> length:
            free = length + (fitting & -fitting).bit_length() - 1
            pack = by_free[free].pop()
            if not by_free[free]:
                occupied ^= 1 << free
        else:
            free, pack = capacity, len(packs)
            packs.append([])
        packs[pack].append(i)
        if free > length:
            by_free[free - length].append(pack)
            occupied |= 1 << (free - length)
    return packs


def plan_epoch(store: StoreIndex, batch: BatchConfig, seed: int, epoch: int) -> list[GlobalBatch]:
    """Plan one epoch: every example exactly once.

    Packs are sorted by cost into `batch.num_buckets` buckets and dealt so that every global batch draws the same
    share of each: steps cost alike, keep the mix of short and long, and hold neighbours of like cost for `divide`
    to run side by side.

    Args:
        store: lengths and target counts.
        batch: `seq_len`, `global_batch_size` and `num_buckets` count; the world size does not.
        seed: of the run.
        epoch: from 0; packs and their order change with it.

    Returns:
        Global batches in training order; only the last may hold empty packs.

    Raises:
        DataError: the store is empty or an example does not fit.
    """
    lengths: list[int] = np.asarray(store.lengths).tolist()
    if not lengths:
        raise DataError("the token store holds no example; check data.sources and the drop counts of `prepare`")
    random = np.random.default_rng(derive_seed(seed, "packing", epoch))
    packs = [pack for window in _windows(lengths, batch.seq_len, random) for pack in window]
    targets: list[int] = np.asarray(store.num_targets).tolist()
    ordered = [packs[i] for i in _deal([pack_cost(p, lengths) for p in packs], batch.num_buckets, random)]
    size = batch.global_batch_size
    plan = []
    for first in range(0, len(ordered), size):
        chosen = tuple(tuple(pack) for pack in ordered[first : first + size])
        rows = [i for pack in chosen for i in pack]
        plan.append(
            GlobalBatch(
                packs=chosen + ((),) * (size - len(chosen)),
                num_targets=sum(targets[i] for i in rows),
                num_tokens=sum(lengths[i] for i in rows),
            )
        )
    return plan


def _windows(lengths: list[int], capacity: int, random: np.random.Generator) -> Iterator[list[list[int]]]:
    """Packs of one shuffled window after the other."""
    shuffled = random.permutation(len(lengths))
    blurred = (np.asarray(lengths) * (1000 + random.integers(0, int(1000 * LENGTH_JITTER) + 1, len(lengths)))).tolist()
    num_windows = max(1, round(sum(lengths) / (capacity * WINDOW_PACKS)))
    for window in np.array_split(shuffled, num_windows):
        yield plan_packs(lengths, capacity, order=sorted(window.tolist(), key=lambda i: -blurred[i]))


def _deal(costs: list[int], num_buckets: int, random: np.random.Generator) -> list[int]:
    """Order packs so that any run of neighbours draws evenly from every bucket of like cost."""
    by_cost = sorted(range(len(costs)), key=lambda i: (costs[i], i))
    keyed: list[tuple[int, int, int]] = []
    for number, bucket in enumerate(np.array_split(np.array(by_cost, dtype=np.int64), num_buckets)):
        for j, pack in enumerate(random.permutation(bucket).tolist()):
            keyed.append(((2 * j + 1) * len(costs) // len(bucket), number, pack))
    return [pack for _, _, pack in sorted(keyed)]


def pack_cost(pack: Sequence[int], lengths: Sequence[int]) -> int:
    """Work of a pack in attended pairs: linear layers and causal attention inside each example."""
    return sum(lengths[i] * (LINEAR_COST + lengths[i]) for i in pack)


def divide(
    global_batch: GlobalBatch, lengths: Sequence[int], micro_batch_size: int, dp_world_size: int
) -> list[list[tuple[tuple[int, ...], ...]]]:
    """Share a global batch among ranks and micro-steps, balanced by cost.

    Packs of like cost run in the same micro-step on different ranks, the costliest first, so that ranks wait little
    for each other and a shortage of memory shows at once; over the step the loads even out (longest processing time
    first, Graham 1969).

    Args:
        global_batch: packs of the step.
        lengths: [N] tokens of each example of the store.
        micro_batch_size: packs of one forward.
        dp_world_size: data-parallel ranks.

    Returns:
        `[rank][micro_step]` → packs of this forward; empty where a rank only fills up the step. Every rank has the
        same number of micro-steps.

    Raises:
        DataError: the packs do not divide evenly.
    """
    per_micro_step = micro_batch_size * dp_world_size
    if len(global_batch.packs) % per_micro_step:
        raise DataError(
            f"{len(global_batch.packs)} packs do not divide into micro-steps of batch.micro_batch_size x "
            f"dp_world_size = {micro_batch_size} x {dp_world_size} packs"
        )
    costs = [pack_cost(pack, lengths) for pack in global_batch.packs]
    order = sorted(range(len(costs)), key=lambda i: (-costs[i], i))
    shares: list[list[tuple[tuple[int, ...], ...]]] = [[] for _ in range(dp_world_size)]
    loads = [0] * dp_world_size
    for first in range(0, len(order), per_micro_step):
        forward: list[list[tuple[int, ...]]] = [[] for _ in range(dp_world_size)]
        slots = [micro_batch_size] * dp_world_size
        for i in order[first : first + per_micro_step]:
            rank = min((r for r in range(dp_world_size) if slots[r]), key=lambda r: (loads[r], r))
            slots[rank] -= 1
            loads[rank] += costs[i]
            if global_batch.packs[i]:
                forward[rank].append(global_batch.packs[i])
        for rank, packs in enumerate(forward):
            shares[rank].append(tuple(packs))
    return shares


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What a plan is worth, for people."""

    num_packs: int
    num_steps: int
    fill: float
    """Tokens / (packs x seq_len)."""
    imbalance: float
    """Time lost to waiting: sum over micro-steps of the slowest rank's cost / mean cost, minus 1."""
    empty_packs: int
    """Packs without examples in the last global batch."""


def describe_plan(
    plan: Sequence[GlobalBatch], lengths: Sequence[int], batch: BatchConfig, dp_world_size: int = 1
) -> PlanFacts:
    """Fill and balance of an epoch on `dp_world_size` ranks."""
    sizes: list[int] = np.asarray(lengths).tolist()
    num_packs = sum(1 for step in plan for pack in step.packs if pack)
    slowest = mean = 0.0
    for step in plan:
        shares = divide(step, sizes, batch.micro_batch_size, dp_world_size)
        for forwards in zip(*shares, strict=True):
            costs = [sum(pack_cost(pack, sizes) for pack in packs) for packs in forwards]
            slowest += max(costs)
            mean += sum(costs) / dp_world_size
    return PlanFacts(
        num_packs=num_packs,
        num_steps=len(plan),
        fill=sum(step.num_tokens for step in plan) / max(1, num_packs * batch.seq_len),
        imbalance=slowest / mean - 1 if mean else 0.0,
        empty_packs=sum(len(step.packs) for step in plan) - num_packs,
    )

"""Which rank computes which packs of a global batch, and how long ranks wait for each other. Pure integers."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from fcdist.errors import DataError


@dataclass(frozen=True, slots=True)
class GlobalBatch:
    """The packs of one optimizer step, for any world size."""

    packs: tuple[tuple[int, ...], ...]
    """[batch.global_batch_size] rows of the store; the last global batch of an epoch is filled up with empty packs."""
    costs: tuple[int, ...]
    """[batch.global_batch_size] work of each pack, in half attended pairs; see `batch.token_cost`."""
    num_targets: int
    num_tokens: int
    """Tokens of the examples."""
    num_unique_tokens: int
    """Tokens of the packs, in which shared stretches count once."""


def divide(
    global_batch: GlobalBatch, micro_batch_size: int, dp_world_size: int
) -> list[list[tuple[tuple[int, ...], ...]]]:
    """Share a global batch among ranks and micro-steps, balanced by cost.

    Packs of like cost run in the same micro-step on different ranks, the costliest first, so that ranks wait little
    for each other and a shortage of memory shows at once; over the step the loads even out (longest processing time
    first, Graham 1969).

    Args:
        global_batch: packs of the step.
        micro_batch_size: packs of one forward.
        dp_world_size: data-parallel ranks.

    Returns:
        `[rank][micro_step]` → packs of this forward; empty where a rank only fills up the step. Every rank has the
        same number of micro-steps.

    Raises:
        DataError: the packs do not divide evenly.
    """
    forwards = _share(global_batch.costs, micro_batch_size, dp_world_size)
    packs = global_batch.packs
    return [
        [tuple(packs[i] for i in forward[rank] if packs[i]) for forward in forwards] for rank in range(dp_world_size)
    ]


def _share(costs: Sequence[int], micro_batch_size: int, dp_world_size: int) -> list[list[list[int]]]:
    """`[micro_step][rank]` → packs by number."""
    per_micro_step = micro_batch_size * dp_world_size
    if len(costs) % per_micro_step:
        raise DataError(
            f"{len(costs)} packs do not divide into micro-steps of batch.micro_batch_size x "
            f"dp_world_size = {micro_batch_size} x {dp_world_size} packs"
        )
    order = sorted(range(len(costs)), key=lambda i: (-costs[i], i))
    loads = [0] * dp_world_size
    forwards = []
    for first in range(0, len(order), per_micro_step):
        forward: list[list[int]] = [[] for _ in range(dp_world_size)]
        by_load = [(load, rank) for rank, load in enumerate(loads)]
        heapq.heapify(by_load)
        for i in order[first : first + per_micro_step]:
            load, rank = heapq.heappop(by_load)
            forward[rank].append(i)
            loads[rank] = load + costs[i]
            if len(forward[rank]) < micro_batch_size:
                heapq.heappush(by_load, (loads[rank], rank))
        forwards.append(forward)
    return forwards


def idle_share(plan: Sequence[GlobalBatch], micro_batch_size: int, dp_world_size: int) -> float:
    """Share of the time that ranks wait for the slowest one of their micro-step, if time were cost.

    Raises:
        DataError: the packs of a step do not divide evenly.
    """
    slowest = work = 0
    for step in plan:
        for forward in _share(step.costs, micro_batch_size, dp_world_size):
            costs = [sum(step.costs[i] for i in packs) for packs in forward]
            slowest += max(costs)
            work += sum(costs)
    return 1 - work / (slowest * dp_world_size) if slowest else 0.0

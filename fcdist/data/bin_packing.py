"""Bin packing with integers: as few packs as can be had, or packs that cost alike."""

import heapq
from collections import Counter
from collections.abc import Sequence


def plan_packs(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Group examples into packs of at most `capacity` tokens, best fit, longest first: as few packs as can be had.

    Args:
        lengths: [N] tokens of each example, from 1 to `capacity`.
        capacity: tokens of a pack.

    Source: Ding et al. 2024, arXiv:2404.10830 (best-fit packing, without its document splitting).
    """
    packs: list[list[int]] = []
    by_free: list[list[int]] = [[] for _ in range(capacity + 1)]  # open packs by free tokens
    occupied = 0  # bit f: some open pack has f tokens free
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[i]
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


def level_packs(
    tokens: Sequence[int], costs: Sequence[int], groups: Sequence[int], num_packs: int, capacity: int
) -> tuple[list[list[int]], list[int]]:
    """Give items to packs so that all cost alike and none is too full: one after the other, to the cheapest pack.

    Items of one group go to different packs, if there are enough.

    Args:
        tokens: [N] of each item, in the order in which they are placed; the costliest first levels best.
        costs: [N] work on each item.
        groups: [N] group of each item; -1: may stand anywhere.
        num_packs: packs to fill.
        capacity: tokens of a pack.

    Returns:
        Packs of items, none empty, and the items that fit nowhere.

    Source: Graham 1969, Bounds on multiprocessing timing anomalies (longest processing time first); here with a limit
    of tokens too. The cheapest pack, if it has no room, is set aside and comes first when smaller items follow.
    """
    apart = {group for group, count in Counter(groups).items() if group >= 0 and 1 < count <= num_packs}
    occupied: set[tuple[int, int]] = set()
    packs: list[list[int]] = [[] for _ in range(num_packs)]
    free = [capacity] * num_packs
    by_cost = [(0, pack) for pack in range(num_packs)]
    aside: list[tuple[int, int, int]] = []  # (-free, cost, pack)
    unplaced: list[int] = []
    for item, (size, cost, group) in enumerate(zip(tokens, costs, groups, strict=True)):
        refused: list[tuple[int, int]] = []
        if aside and -aside[0][0] >= size and (group not in apart or (group, aside[0][2]) not in occupied):
            _, load, pack = heapq.heappop(aside)
        else:
            while by_cost:
                load, pack = heapq.heappop(by_cost)
                if free[pack] < size:
                    heapq.heappush(aside, (-free[pack], load, pack))
                elif group in apart and (group, pack) in occupied:
                    refused.append((load, pack))
                else:
                    break
            else:
                if not refused:
                    unplaced.append(item)
                    continue
                load, pack = refused.pop(0)
            for entry in refused:
                heapq.heappush(by_cost, entry)
        packs[pack].append(item)
        free[pack] -= size
        if group in apart:
            occupied.add((group, pack))
        heapq.heappush(by_cost, (load + cost, pack))
    return [pack for pack in packs if pack], unplaced

"""Which rank is slow. Collectives make all ranks equally late, so each one's own forward time is compared."""

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from fcdist.training.distributed import all_reduce_sum, gather_objects, get_rank, get_world_size

logger = logging.getLogger(__name__)

SLOW_FACTOR = 1.5
"""A rank that needs this many times the median for a token is slow."""
SLOW_PERIODS = 3
"""Periods of the log in a row after which a slow rank is named, once."""


class Pace:
    """Forward time of this rank a token, to tell which rank is slow: collectives make all of them equally late.

    On CUDA it is the time between two events on the stream, read when the step has ended, so that nothing waits for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._seconds, self._tokens = 0.0, 0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def measure(self, tokens: int) -> Iterator[None]:
        """Time one forward of `tokens` tokens."""
        self._tokens += tokens
        if self._on_cuda:
            events = (_event(), _event())
            events[0].record()
            yield
            events[1].record()
            self._events.append(events)
        else:
            began = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - began

    def take(self) -> float:
        """Seconds a token since the last call; 0 if nothing ran. On CUDA the forwards must have ended."""
        seconds = self._seconds + sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
        tokens = self._tokens
        self._seconds, self._tokens, self._events = 0.0, 0, []
        return seconds / tokens if tokens else 0.0


class Stragglers:
    """Compares the ranks at every period of the log.

    Args:
        take_pace: seconds a token of this rank since the last call, 0 if unknown.
    """

    def __init__(self, take_pace: Callable[[], float]) -> None:
        self._take_pace = take_pace
        self._periods: Counter[int] = Counter()

    def report(self, step: int) -> dict[str, float]:
        """Compare, and warn of a rank that stays slow. Every rank calls it.

        Returns:
            `slowest_rank` and `slowest_rank_ratio`, its time a token over the median; empty on one rank.
        """
        if get_world_size() == 1:
            self._take_pace()
            return {}
        mine = torch.zeros(get_world_size(), dtype=torch.float64)
        mine[get_rank()] = self._take_pace()
        multiples = multiples_of_median(dict(enumerate(all_reduce_sum(mine).tolist())))
        if not multiples:
            return {}
        slow = {rank for rank, multiple in multiples.items() if multiple > SLOW_FACTOR}
        self._periods = Counter({rank: self._periods[rank] + 1 for rank in slow})
        if any(count == SLOW_PERIODS for count in self._periods.values()):
            hosts = gather_objects(socket.gethostname())
            for rank in sorted(rank for rank, count in self._periods.items() if count == SLOW_PERIODS):
                if get_rank() == 0:
                    logger.warning(
                        "step %d: the others wait for rank %d on %s: it needs %.1f times the median for a token, in %d "
                        "periods of the log in a row",
                        *(step, rank, hosts[rank], multiples[rank], SLOW_PERIODS),
                    )
        slowest = max(multiples, key=lambda rank: multiples[rank])
        return {"slowest_rank": slowest, "slowest_rank_ratio": multiples[slowest]}


def multiples_of_median(paces: Mapping[int, float]) -> dict[int, float]:
    """Each rank's pace over the median (of two the faster); ranks without one, and a lone one, are left out."""
    known = sorted(pace for pace in paces.values() if pace > 0)
    if len(known) < 2:
        return {}
    median = known[(len(known) - 1) // 2]
    return {rank: pace / median for rank, pace in paces.items() if pace > 0}


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

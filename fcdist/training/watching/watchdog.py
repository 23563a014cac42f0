"""The watchdog: a rank that hangs ends the run, and the last sign of life of every rank is shown.

A collective that never completes looks the same on every rank that waits in it. So each rank tells what it does to the
ranks' common store, from a thread of its own, and whoever gives up first prints what all of them said last.
"""

import faulthandler
import json
import logging
import os
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed import distributed_c10d

from fcdist.training.distributed import get_rank, get_world_size

logger = logging.getLogger(__name__)

HUNG = 124
"""Exit code of a rank that gave up waiting, as of timeout(1)."""
GRACE_S = 60.0
"""Added to the time-out where the watchdog itself cannot run, and to that of collectives, so that it speaks first."""
_PERIOD_S = 10.0
"""Longest time between two signs of life."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a rank does."""

    step: int
    phase: str
    idle_s: float
    """Since it began this."""
    host: str
    time: float
    """When it said so, in seconds since 1970 by its own clock."""


class Watchdog:
    """Ends this process when nothing is marked for `timeout_s`; a context manager around the training.

    Args:
        timeout_s: longest time between two marks.
        folder: where the stacks of a hanging rank are written, as rank-00000.txt.
    """

    def __init__(self, timeout_s: float, folder: Path) -> None:
        self._timeout_s, self._folder = timeout_s, folder
        self._period_s = min(_PERIOD_S, timeout_s / 4)
        self._rank, self._world_size = get_rank(), get_world_size()
        self._host = socket.gethostname()
        self._now = (0, "start", time.monotonic())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fcdist-watchdog", daemon=True)
        self._store: Store | None = None

    def __enter__(self) -> "Watchdog":
        if self._world_size > 1:
            # A connection of its own: on the common one a waiting collective would hold up the signs of life.
            self._store = PrefixStore("fcdist-watchdog", distributed_c10d._get_default_store().clone())  # type: ignore[attr-defined]
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    @property
    def step(self) -> int:
        """The step last marked."""
        return self._now[0]

    @property
    def phase(self) -> str:
        """The phase last marked."""
        return self._now[1]

    def mark(self, phase: str, step: int | None = None) -> None:
        """Say what begins now. Cheap: it is told to others by the watchdog's thread."""
        self._now = (self._now[0] if step is None else step, phase, time.monotonic())

    def activities(self) -> dict[int, Activity]:
        """Last sign of life by rank; ranks that never gave one are absent."""
        if self._store is None:
            return {self._rank: self._activity()}
        keys = {rank: str(rank) for rank in range(self._world_size)}
        return {
            rank: Activity(**json.loads(self._store.get(key))) for rank, key in keys.items() if self._store.check([key])
        }

    def _watch(self) -> None:
        while True:
            # Should the interpreter itself be stuck, in a C function that keeps its lock, this one still works.
            faulthandler.dump_traceback_later(self._timeout_s + GRACE_S, exit=True, file=_real_stderr())
            self._publish()
            if self._ended.wait(self._period_s):
                return
            if time.monotonic() - self._now[2] > self._timeout_s:
                self._give_up()

    def _activity(self) -> Activity:
        step, phase, since = self._now
        return Activity(step, phase, time.monotonic() - since, self._host, time.time())

    def _publish(self) -> None:
        if self._store is not None:
            try:
                self._store.set(str(self._rank), json.dumps(asdict(self._activity())))
            except (RuntimeError, OSError) as error:  # the host of the store is gone: torchrun ends this rank, too
                logger.debug("no sign of life could be given: %s", error)

    def _give_up(self) -> None:
        """Write the stacks of this rank, and, if it is the first to give up, what all ranks did last."""
        path = self._folder / f"rank-{self._rank:05d}.txt"
        here = self._activity()
        print(
            f"rank {self._rank} ({here.host}) ends: nothing moved for {here.idle_s:.0f} s "
            f"(train.timeout_s={self._timeout_s:g}) in step {here.step}, {here.phase}. Stacks: {path}",
            file=sys.stderr,
            flush=True,
        )
        self._dump(path)
        try:
            self._publish()
            if self._store is None or self._store.add("reports", 1) == 1:
                time.sleep(min(2.0, self._period_s))  # others give up in the same moment and have news
                print(describe_activities(self.activities(), self._world_size), file=sys.stderr, flush=True)
        except (RuntimeError, OSError) as error:
            print(f"what the other ranks did is not known: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(HUNG)

    def _dump(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8") as file:
                faulthandler.dump_traceback(file, all_threads=True)
        except OSError:  # a full or hung disk may be why it hangs
            faulthandler.dump_traceback(_real_stderr(), all_threads=True)


def describe_activities(activities: dict[int, Activity], world_size: int) -> str:
    """Table of what the ranks did last; those that fell behind come first, and of many alike only the number."""
    lines = ["what the ranks did last:"]
    newest = max((activity.time for activity in activities.values()), default=0.0)
    alike: dict[tuple[int, str, bool], list[int]] = {}
    for rank, activity in activities.items():
        silent = newest - activity.time > 3 * _PERIOD_S
        alike.setdefault((activity.step, activity.phase, silent), []).append(rank)
    for (step, phase, silent), ranks in sorted(alike.items(), key=lambda item: (not item[0][2], len(item[1]), item[0])):
        first = activities[ranks[0]]
        state = f"no sign of life for {newest - first.time:.0f} s" if silent else f"for {first.idle_s:.0f} s"
        lines.append(f"  {_named(ranks)} ({first.host}): step {step}, {phase}, {state}")
    missing = [rank for rank in range(world_size) if rank not in activities]
    if missing:
        lines.append(f"  {_named(missing)}: never gave a sign of life")
    return "\n".join(lines)


def _named(ranks: list[int]) -> str:
    shown = ", ".join(map(str, ranks[:8]))
    return f"rank {shown}" if len(ranks) == 1 else f"{len(ranks)} ranks ({shown}{', …' if len(ranks) > 8 else ''})"


def _real_stderr() -> int:
    try:
        return sys.stderr.fileno()
    except (AttributeError, ValueError, OSError):  # no real file, in a notebook for example
        return 2

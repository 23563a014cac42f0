"""Plans of large stores, made once and kept in the run folder, so that ranks and later starts read them.

A plan stays a function of the index, the settings, the seed and the epoch, and nothing is sent from rank to rank: a
file is named by the digest of all that decides it, ends in the digest of its content, and is used only if both are
right. Whatever is wrong with it, a rank computes the same plan itself, as it does for every small store.

    RUN/plans/<digest of what decides it>.npy    int64: HEADER, the arrays of `Plan` one after the other, DIGEST
"""

import hashlib
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from fcdist.config import seeds
from fcdist.config.types import BatchConfig
from fcdist.data import balance, bin_packing, planning, prefixes
from fcdist.data.balance import GlobalBatch
from fcdist.data.planning import plan_epoch
from fcdist.data.store import TokenStore
from fcdist.files import written_whole

logger = logging.getLogger(__name__)

MIN_EXAMPLES = 500_000
"""Fewer are planned in less time than a start takes; nothing is kept of them."""
HEADER, DIGEST = 3, 4
"""int64 numbers: steps, packs of a step, rows; and of a sha256."""
CODE = (planning, bin_packing, prefixes, balance, seeds)
"""A plan of other code may be another plan."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan(Sequence[GlobalBatch]):
    """Steps of an epoch in four flat arrays, in memory or mapped, where a list would take tens of bytes an example."""

    rows: np.ndarray
    """[N] rows of the store, pack by pack."""
    ends: np.ndarray
    """[S, B] where each pack ends in `rows`."""
    costs: np.ndarray
    """[S, B]"""
    sums: np.ndarray
    """[S, 3] targets, tokens and unique tokens of each step."""

    @classmethod
    def of(cls, steps: Sequence[GlobalBatch]) -> "Plan":
        """The same steps."""
        count = sum(len(pack) for step in steps for pack in step.packs)
        packs = itertools.chain.from_iterable(step.packs for step in steps)
        rows = np.fromiter(itertools.chain.from_iterable(packs), dtype=np.int64, count=count)
        sizes = np.array([[len(pack) for pack in step.packs] for step in steps], dtype=np.int64)
        sums = [(step.num_targets, step.num_tokens, step.num_unique_tokens) for step in steps]
        costs = np.array([step.costs for step in steps], dtype=np.int64)
        return cls(rows, np.cumsum(sizes).reshape(sizes.shape), costs, np.array(sums, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, step: int) -> GlobalBatch: ...
    @overload
    def __getitem__(self, step: slice) -> list[GlobalBatch]: ...
    def __getitem__(self, step: int | slice) -> GlobalBatch | list[GlobalBatch]:
        if isinstance(step, slice):
            return [self[i] for i in range(*step.indices(len(self)))]
        step = range(len(self))[step]
        ends = self.ends[step].tolist()
        first = int(self.ends[step - 1, -1]) if step else 0
        rows = self.rows[first : ends[-1]].tolist()
        bounds = [0, *(end - first for end in ends)]
        packs = tuple(tuple(rows[a:b]) for a, b in itertools.pairwise(bounds))
        return GlobalBatch(packs, tuple(self.costs[step].tolist()), *self.sums[step].tolist())


class KeptPlans:
    """Plans of one run.

    Args:
        store: training split.
        batch: of the run.
        seed: of the run.
        folder: RUN/plans; None: nothing is kept.
    """

    def __init__(self, store: TokenStore, batch: BatchConfig, seed: int, folder: Path | None = None) -> None:
        self._store, self._batch, self._seed = store, batch, seed
        self._folder = folder if folder and len(store) >= MIN_EXAMPLES else None

    def keep(self, epochs: int) -> None:
        """Make and keep the first `epochs` plans that are not kept yet. One rank calls it while the others wait."""
        for epoch in range(epochs if self._folder else 0):
            if self._read(epoch) is None:
                self._write(epoch, Plan.of(plan_epoch(self._store, self._batch, self._seed, epoch)))

    def plan(self, epoch: int) -> Sequence[GlobalBatch]:
        """Global batches of an epoch, read if they are kept, else made.

        Raises:
            DataError: see `plan_epoch`.
        """
        kept = self._read(epoch) if self._folder else None
        return plan_epoch(self._store, self._batch, self._seed, epoch) if kept is None else kept

    def path(self, epoch: int) -> Path:
        """File of an epoch's plan."""
        assert self._folder is not None
        index = self._store.facts["files"][f"{self._store.split}.npy"]["sha256"]
        settings = sorted(self._batch.plan_settings().items())
        basis = repr((index, settings, self._seed, epoch, np.__version__, code_digest()))
        return self._folder / f"{hashlib.sha256(basis.encode()).hexdigest()}.npy"

    def _read(self, epoch: int) -> Plan | None:
        path = self.path(epoch)
        try:
            return read_plan(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError) as error:
            logger.warning("%s is not used, the plan of epoch %d is made again: %s", path, epoch, error)
            return None

    def _write(self, epoch: int, plan: Plan) -> None:
        path = self.path(epoch)
        try:
            write_plan(path, plan)
        except OSError as error:  # no reason to stop: each rank plans on its own
            logger.warning("the plan of epoch %d cannot be kept, every rank makes its own: %s: %s", epoch, path, error)


def write_plan(path: Path, plan: Plan) -> None:
    """Write the whole of it. Raises OSError."""
    arrays = [plan.rows, plan.ends, plan.costs, plan.sums]
    header = np.array([*plan.ends.shape, len(plan.rows)], dtype=np.int64)
    content = np.concatenate([header, *(array.ravel() for array in arrays)])
    digest = np.frombuffer(hashlib.sha256(content.data).digest(), dtype=np.int64)
    with written_whole(path) as file:
        np.save(file, np.concatenate([content, digest]))


def read_plan(path: Path) -> Plan:
    """Map a plan, after comparing its bytes with their digest.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
        ValueError, EOFError: it is torn or was changed.
    """
    whole: np.ndarray = np.load(path, mmap_mode="r")
    if whole.dtype != np.int64 or whole.ndim != 1 or len(whole) < HEADER + DIGEST:
        raise ValueError("it is no plan")
    content = whole[:-DIGEST]
    if hashlib.sha256(content.data).digest() != whole[-DIGEST:].tobytes():
        raise ValueError("its bytes are not those that were written")
    steps, size, count = content[:HEADER].tolist()
    rows, ends, costs, sums = np.split(content[HEADER:], [count, count + steps * size, count + 2 * steps * size])
    return Plan(rows, ends.reshape(steps, size), costs.reshape(steps, size), sums.reshape(steps, 3))


def code_digest() -> str:
    """Digest of the source files that a plan follows from."""
    return hashlib.sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in CODE)).hexdigest()

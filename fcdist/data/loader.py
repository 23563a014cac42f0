"""The resumable loader: a plan, a cursor of four plain values, and the next step built ahead in a thread."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fcdist.config.types import BatchConfig, Config
from fcdist.data.balance import GlobalBatch, divide
from fcdist.data.batch import StepBatches
from fcdist.data.collating import collate, part_of_row
from fcdist.data.kept_plans import KeptPlans
from fcdist.data.planning import plan_epoch
from fcdist.data.store import TokenStore
from fcdist.errors import CheckpointError, DataError


@dataclass(slots=True)
class Cursor:
    """Position in the data, identical on every rank; the whole of what a checkpoint stores."""

    fingerprint: str
    """Of the store and of the settings that decide the plan."""
    seed: int
    epoch: int = 0
    packs_done: int = 0
    """Packs consumed this epoch by all ranks together, so any world size can resume."""


def plan_fingerprint(store: TokenStore, batch: BatchConfig) -> str:
    """Digest of all that decides which packs make which step; the world size and micro-batch size do not."""
    text = "/".join([store.fingerprint, *(f"{key}={value}" for key, value in batch.plan_settings().items())])
    return hashlib.sha256(text.encode()).hexdigest()


class PackLoader:
    """Batches of one rank, step by step, over the epochs of the run.

    Args:
        store: training split.
        cfg: `batch`, `train.epochs`, `train.max_steps` and `seed` count.
        rank: this rank.
        world_size: all ranks; any number may continue a run.
        plans: of this store and run, where they may be kept; None: they are made here.

    Raises:
        ConfigError: the world size does not fit the batch.
        DataError: the store is empty or an example exceeds batch.seq_len.
    """

    def __init__(
        self, store: TokenStore, cfg: Config, rank: int = 0, world_size: int = 1, plans: KeptPlans | None = None
    ) -> None:
        cfg.batch.accumulation_steps(world_size)
        self._store = store
        self._batch = cfg.batch
        self._epochs, self._max_steps = cfg.train.epochs, cfg.train.max_steps
        self._rank, self._world_size = rank, world_size
        self.cursor = Cursor(plan_fingerprint(store, cfg.batch), cfg.seed)
        self._plan = lru_cache(maxsize=2)((plans or KeptPlans(store, cfg.batch, cfg.seed)).plan)
        self._ahead = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fcdist-loader")
        self._pending: tuple[tuple[int, int], Future[StepBatches]] | None = None
        self.num_steps: int = self._max_steps or sum(len(self._plan(epoch)) for epoch in range(self._epochs))
        """Optimizer steps of the whole run."""

    @property
    def epoch_progress(self) -> float:
        """Epochs done, with the fraction of the current one."""
        plan = self._plan(self.cursor.epoch)
        return self.cursor.epoch + self.cursor.packs_done / (len(plan) * self._batch.global_batch_size)

    def next_step(self) -> StepBatches:
        """This rank's batches of the next step; the cursor moves past it.

        Raises:
            DataError: all epochs are done and train.max_steps does not ask for more.
        """
        position = (self.cursor.epoch, self.cursor.packs_done // self._batch.global_batch_size)
        if not self._max_steps and position[0] >= self._epochs:
            raise DataError(f"all {self._epochs} epochs are done ({self.num_steps} steps); no step is left")
        if self._pending is not None and self._pending[0] == position:
            step = self._pending[1].result()
        else:
            step = self._build(*position)
        following = self._after(*position)
        self.cursor.epoch, self.cursor.packs_done = following[0], following[1] * self._batch.global_batch_size
        self._pending = None
        if self._max_steps or following[0] < self._epochs:
            self._pending = (following, self._ahead.submit(self._build, *following))
        return step

    def state_dict(self) -> dict[str, Any]:
        """The cursor as plain values."""
        return asdict(self.cursor)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` stood.

        Raises:
            CheckpointError: it belongs to other data, other batch settings or another seed.
        """
        try:
            cursor = Cursor(**state)
        except TypeError as error:
            raise CheckpointError(f"the data cursor of the checkpoint cannot be read ({error}): {state}") from None
        if cursor.fingerprint != self.cursor.fingerprint:
            raise CheckpointError(
                f"the checkpoint was trained on other data or batch settings: fingerprint {cursor.fingerprint}, this "
                f"run has {self.cursor.fingerprint}. Resume with the same token store and the same `batch` settings "
                "(batch.micro_batch_size and batch.sequence_parallel may differ), or start a new run folder"
            )
        if cursor.seed != self.cursor.seed:
            raise CheckpointError(
                f"the checkpoint was trained with seed={cursor.seed}, this run has {self.cursor.seed}"
            )
        self.cursor = cursor

    def global_batch(self) -> GlobalBatch:
        """The packs that `next_step` will give to all ranks together."""
        return self._plan(self.cursor.epoch)[self.cursor.packs_done // self._batch.global_batch_size]

    def _after(self, epoch: int, step: int) -> tuple[int, int]:
        return (epoch, step + 1) if step + 1 < len(self._plan(epoch)) else (epoch + 1, 0)

    def _build(self, epoch: int, step: int) -> StepBatches:
        return _step_batches(self._store, self._plan(epoch)[step], self._batch, self._rank, self._world_size)


def _step_batches(store: TokenStore, step: GlobalBatch, batch: BatchConfig, rank: int, world_size: int) -> StepBatches:
    dp_rank, part = divmod(rank, batch.sequence_parallel)
    share = divide(step, batch.micro_batch_size, batch.dp_world_size(world_size))[dp_rank]
    rows = (collate(store, packs, batch.shared_stretch) for packs in share)
    return StepBatches(
        batches=tuple(part_of_row(row, part, batch.sequence_parallel) for row in rows),
        num_targets=float(step.num_targets),
        num_tokens=step.num_tokens,
        num_unique_tokens=step.num_unique_tokens,
        source_counts=dict(Counter(map(store.source, itertools.chain.from_iterable(step.packs)))),
    )


def evaluation_steps(
    store: TokenStore, batch: BatchConfig, rank: int = 0, world_size: int = 1, rows: np.ndarray | None = None
) -> Iterator[StepBatches]:
    """Every example once, in a fixed order, for a loss without training.

    Args:
        store: usually the validation split; an empty choice yields nothing.
        batch: as for training.
        rank: this rank; every rank gets the same number of batches.
        world_size: all ranks.
        rows: [n] rows to take (for example `np.flatnonzero(store.is_general)`); default: all.
    """
    chosen = np.arange(len(store)) if rows is None else np.asarray(rows)
    if not len(chosen):
        return
    for step in plan_epoch(store, batch, seed=0, epoch=0, rows=chosen):
        yield _step_batches(store, step, batch, rank, world_size)

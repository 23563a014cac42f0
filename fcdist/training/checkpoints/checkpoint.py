"""Checkpoints: complete or absent, checked before use, and only for the run they belong to.

    RUN/checkpoints/step-000123/
      engine/part-…            fp32 masters and moments, each rank's part; fits any world size, ZeRO stage and engine
      trainable.safetensors    trainable weights, whole; what export and evaluation read
      state.json               step, cursor, recent losses, settings, fingerprints, versions
      MANIFEST.json            size and sha256 of every file; written last

Nothing in it is pickled, and nothing is unpickled. Random generators are not stored: each step seeds them by (seed,
step, rank). A run that is resumed as it was gives the same bits as one that was never interrupted. On another number of
ranks, ZeRO stage or engine the packs of every step are the same, and sums are added in another order: losses then agree
to RESUME_TOLERANCE.
"""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist

from fcdist.config.types import TrainConfig
from fcdist.errors import CheckpointError
from fcdist.training.checkpoints.finding import FORMAT, checkpoints_by_step, find_damage, read_state
from fcdist.training.checkpoints.fragments import FragmentReader, HostCopy, share
from fcdist.training.checkpoints.identity import Identity, versions
from fcdist.training.checkpoints.publishing import ENGINE, Publisher, Snapshot, told
from fcdist.training.checkpoints.tensor_file import TensorSpec
from fcdist.training.distributed import gather_objects, get_rank, get_world_size, on_every_rank, on_rank_zero, shared
from fcdist.training.engines.engine import Engine, StepSource
from fcdist.training.watching.failures import LossGuard

logger = logging.getLogger(__name__)

LOSSES = "recent_losses"
"""In state.json: of the last steps, which `LossGuard` holds the next one against."""
RESUME_TOLERANCE = 1e-6
"""Relative difference of fp32 losses in the steps after a resume on another world size, stage or engine. The tests hold
it; measured on the debug model were 5e-8 for losses and 3e-7 for gradient norms."""


class Checkpoints:
    """Saves and resumes one run.

    Args:
        folder: RUN/checkpoints.
        identity: what a checkpoint must share with this run.
        cfg: `keep_last`, `keep_every` and `async_save` are read.
    """

    def __init__(self, folder: Path, identity: Identity, cfg: TrainConfig) -> None:
        self._folder, self._identity = folder, identity
        self._publisher = Publisher(folder, cfg.keep_last, cfg.keep_every)
        self._background = Background() if cfg.async_save else None
        self._found: tuple[Path, dict[str, Any]] | None = None

    def save(
        self, step: int, engine: Engine, loader: StepSource, guard: LossGuard | None = None, wait: bool = True
    ) -> None:
        """Save the state after `step`. Every rank calls it.

        Args:
            step: steps done.
            engine: its part of the state is written.
            loader: its cursor is written.
            guard: the losses that it remembers are written.
            wait: whether the checkpoint must be there on return. Otherwise train.async_save may write it while the next
                steps run; at most one save is under way.

        Raises:
            CheckpointError: a rank could not write, now or in the save before; raised on every rank, earlier
                checkpoints are untouched.
        """
        if self._background:
            self._background.finish()
        fragments = engine.fragments()
        if engine.is_replicated:
            fragments = share(fragments, get_rank(), get_world_size())
        snapshot = Snapshot(step, fragments, engine.weight_specs(), self._state(step, engine, loader, guard))
        if self._background and not wait:
            self._background.start(self._publisher, snapshot)
        else:
            self._publisher.publish(snapshot)

    def close(self) -> None:
        """Let a save under way end; its failure is only logged, because whoever closes has no more steps to save."""
        if self._background:
            self._background.close()

    def check(self) -> None:
        """Refuse a foreign checkpoint before the model is loaded. Every rank calls it. Raises CheckpointError."""
        self._found = self._find()

    def resume(self, engine: Engine, loader: StepSource, guard: LossGuard | None = None) -> int:
        """Restore the newest complete checkpoint of this run. Every rank calls it.

        Returns:
            The step it was saved after; 0 if there is none.

        Raises:
            CheckpointError: it belongs to other data, weights or settings; what differs is listed.
        """
        found = self._found or self._find()
        if found is None:
            return 0
        path, state = found
        on_every_rank(told(lambda: _read_fragments(path, state, engine)))
        engine.restored(int(state["optimizer_steps"]))
        loader.load_state_dict(state["cursor"])
        if guard is not None:
            guard.restore(state.get(LOSSES, ()))  # checkpoints from before it was kept have none
        if get_rank() == 0:
            logger.info("resumed from %s", path)
        return int(state["step"])

    def _find(self) -> tuple[Path, dict[str, Any]] | None:
        for path in on_rank_zero(told(lambda: list(checkpoints_by_step(self._folder).values()))):
            if (damage := self._find_damage(path)) is None:
                return path, on_rank_zero(partial(self._read_own_state, path))
            if get_rank() == 0:
                logger.warning("%s is skipped: %s", path, damage)
        return None

    def _find_damage(self, path: Path) -> str | None:
        """As `find_damage`, with the checksums divided among the ranks."""
        seen = gather_objects(path.is_dir())
        if not all(seen):
            raise shared(
                CheckpointError(
                    f"{path} is not visible on rank {seen.index(False)}; run_dir must be on a disk that all nodes share"
                )
            )
        problems = gather_objects(find_damage(path, get_rank(), get_world_size()))
        return next((problem for problem in problems if problem), None)

    def _read_own_state(self, path: Path) -> dict[str, Any]:
        state = read_state(path)
        if differences := self._identity.differences(state):
            raise CheckpointError(
                f"{path} belongs to another run; checkpoint → now: {'; '.join(differences)}. "
                f"Restore these settings, or train in another run_dir"
            )
        return state

    def _state(self, step: int, engine: Engine, loader: StepSource, guard: LossGuard | None) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "step": step,
            "optimizer_steps": engine.steps_done,
            "cursor": dict(loader.state_dict()),
            LOSSES: guard.losses if guard else [],
            "world_size": get_world_size(),
            "protocol": self._identity.config["protocol"]["name"],
            "fingerprints": dict(self._identity.fingerprints),
            "config": dict(self._identity.config),
            "versions": versions(),
            "weights": {name: _describe(spec) for name, spec in engine.weight_specs().items()},
        }


class Background:
    """One thread that publishes a copy of the state while the next steps run.

    The ranks' threads agree over a process group of their own. All of them succeed or fail together, so that every rank
    learns of a failure at the same place: in the next `finish`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fcdist-save")
        self._copy = HostCopy()
        self._group = dist.new_group(backend="gloo") if get_world_size() > 1 else None
        self._pending: Future[None] | None = None

    def start(self, publisher: Publisher, snapshot: Snapshot) -> None:
        """Copy the state, which is all that a step waits for, and publish the copy. The one before must be finished."""
        copy = Snapshot(snapshot.step, self._copy.take(snapshot.fragments), snapshot.weights, snapshot.state)
        self._pending = self._thread.submit(publisher.publish, copy, self._group)

    def finish(self) -> None:
        """Wait for the save under way. Raises CheckpointError if it failed, on every rank alike."""
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    def close(self) -> None:
        """Wait, and log a failure."""
        try:
            self.finish()
        except Exception as error:
            logger.error("%s", error)
        self._thread.shutdown()


def _read_fragments(path: Path, state: dict[str, Any], engine: Engine) -> None:
    here, there = {name: _describe(spec) for name, spec in engine.weight_specs().items()}, state["weights"]
    if odd := sorted(name for name in {*here, *there} if here.get(name) != there.get(name)):
        raise CheckpointError(
            f"{path} holds other trainable weights than this model's; checkpoint → now: {odd[0]}: "
            f"{there.get(odd[0])} → {here.get(odd[0])}{f' and {len(odd) - 1} more' if len(odd) > 1 else ''}"
        )
    num_parts = state["world_size"]
    with FragmentReader(path / ENGINE, num_parts) as reader:
        reader.fill(engine.fragments(), first_part=get_rank() * num_parts // get_world_size())


def _describe(spec: TensorSpec) -> str:
    return f"{str(spec.dtype).removeprefix('torch.')} {list(spec.shape)}"

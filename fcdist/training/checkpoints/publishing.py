"""Writing a checkpoint so that it is complete or absent, whatever fails and wherever it stops.

A folder is filled under a hidden name, every file is flushed, the manifest comes last, and one rename publishes it;
only then older checkpoints go. Each rank writes its own part of the training state. Rank 0 then puts the weights for
export and evaluation together from the parts on the disk, one parameter at a time: no rank ever holds the whole model.

By this arithmetic a full fine-tune of 70e9 parameters on 64 ranks writes 13 GB a rank at once, then 140 GB of bf16
weights by rank 0, which reads 280 GB for it; at 2 GB/s 7 s and 3.5 minutes, the latter a case for train.async_save.
"""

import errno
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from fcdist.errors import CheckpointError, FcdistError
from fcdist.training.checkpoints.durable import Written, make_folder, remove_folder, rename, write_file
from fcdist.training.checkpoints.finding import STATE, checkpoints_by_step, find_damage, folder_name, write_manifest
from fcdist.training.checkpoints.fragments import MASTER, Fragment, FragmentReader, num_bytes, part_path, write_part
from fcdist.training.checkpoints.tensor_file import TensorSpec, write_tensors
from fcdist.training.distributed import Group, gather_objects, get_rank, on_every_rank, on_rank_zero, shared

T = TypeVar("T")
logger = logging.getLogger(__name__)

TRAINABLE, ENGINE = "trainable.safetensors", "engine"
SPARE = 1 << 24
"""Bytes beyond the tensors that a checkpoint may take: headers, state, manifest."""
FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota of the disk is used up"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one rank brings to a checkpoint."""

    step: int
    fragments: Sequence[Fragment]
    """This rank's part; nobody writes into it until it is published."""
    weights: Mapping[str, TensorSpec]
    """Trainable weights as the model computes with them."""
    state: Mapping[str, Any]
    """state.json."""


class Publisher:
    """Turns snapshots into checkpoints.

    Args:
        folder: RUN/checkpoints.
        keep_last: newest checkpoints to keep, at least one.
        keep_every: checkpoints after a multiple of so many steps stay for good; 0: none.
    """

    def __init__(self, folder: Path, keep_last: int, keep_every: int) -> None:
        self._folder, self._keep_last, self._keep_every = folder, max(keep_last, 1), keep_every

    def publish(self, snapshot: Snapshot, group: Group = None) -> None:
        """Write and publish. Every rank calls it.

        Args:
            snapshot: this rank's part.
            group: of gloo; a thread beside the main one needs its own, so that their collectives do not mix.

        Raises:
            CheckpointError: on every rank, if one could not write; earlier checkpoints are untouched.
        """
        final = self._folder / folder_name(snapshot.step)
        temporary = self._folder / f".{final.name}.tmp"
        part = part_path(temporary / ENGINE, get_rank())
        try:
            size = sum(gather_objects(num_bytes(snapshot.fragments), group))
            on_rank_zero(told(lambda: self._prepare(temporary, size, snapshot.weights)), group)
            written = on_every_rank(told(lambda: write_part(part, snapshot.fragments)), group)
            parts = gather_objects(written, group)
            on_rank_zero(told(lambda: self._finish(temporary, final, snapshot, parts)), group)
        except FcdistError as error:
            if get_rank() == 0:
                shutil.rmtree(temporary, ignore_errors=True)  # it may be what fills the disk
            raise shared(
                CheckpointError(f"{final} cannot be written: {error}; earlier checkpoints are untouched")
            ) from error

    def _prepare(self, temporary: Path, part_bytes: int, weights: Mapping[str, TensorSpec]) -> None:
        make_folder(self._folder)
        for left_over in self._folder.glob(".step-*"):
            remove_folder(left_over)
        needed = part_bytes + sum(spec.num_bytes for spec in weights.values()) + SPARE
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise CheckpointError(
                f"it takes {needed / 2**30:.2f} GiB and the disk has {free / 2**30:.2f} GiB free. Free some, lower "
                f"train.keep_last={self._keep_last}, or train in a run_dir on a larger disk"
            )
        make_folder(temporary / ENGINE)

    def _finish(self, temporary: Path, final: Path, snapshot: Snapshot, written: Sequence[Written]) -> None:
        files = {f"{ENGINE}/{part_path(temporary, rank).name}": part for rank, part in enumerate(written)}
        files[TRAINABLE] = write_trainable(temporary, len(written), snapshot.weights, snapshot.step)
        text = json.dumps(snapshot.state, indent=1, ensure_ascii=False)
        files[STATE] = write_file(temporary / STATE, [text.encode()])
        write_manifest(temporary, files)
        if find_damage(final) is None:  # the same state already, and perhaps the only complete one
            remove_folder(temporary)
            return
        remove_folder(final)
        rename(temporary, final)
        self._prune(snapshot.step)

    def _prune(self, newest: int) -> None:
        """Remove what need not be kept. A checkpoint that cannot be removed is no reason to stop training."""
        older = {step: path for step, path in checkpoints_by_step(self._folder).items() if step <= newest}
        for step in list(older)[self._keep_last :]:
            if self._keep_every and step % self._keep_every == 0:
                continue
            try:
                remove_folder(older[step])
            except OSError as error:
                logger.warning("%s is no longer needed but cannot be removed: %s", older[step], error)


def write_trainable(folder: Path, num_parts: int, weights: Mapping[str, TensorSpec], step: int) -> Written:
    """Write the weights as the model computes with them, from the fp32 masters in the parts. Raises OSError."""
    with FragmentReader(folder / ENGINE, num_parts) as reader:

        def read(name: str) -> Tensor:
            spec = weights[name]
            whole = torch.empty(spec.numel, dtype=torch.float32)
            reader.fill([Fragment(name, 0, {MASTER: whole})])
            return whole.view(spec.shape).to(spec.dtype)

        return write_tensors(folder / TRAINABLE, weights, read, {"step": str(step)})


def told(action: Callable[[], T]) -> Callable[[], T]:
    """`action`, with what the disk says as a CheckpointError."""

    def run() -> T:
        try:
            return action()
        except OSError as error:
            if error.errno not in FULL:
                raise CheckpointError(str(error)) from error
            raise CheckpointError(
                f"{FULL[error.errno]}: {error}. Make room there, in space or in number of files, and the same command "
                "goes on from the newest checkpoint"
            ) from error

    return run

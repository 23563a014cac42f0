"""Ranks and collectives. With one process everything here is the identity, under torchrun or without."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore

from fcdist.config.seeds import derive_seed
from fcdist.errors import ConfigError, FcdistError, TrainingError

T = TypeVar("T")
Group = dist.ProcessGroup | None
"""Who agrees: all ranks over the default group (None), or over one of its own for a thread beside the main one."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class World:
    """Where this process stands among the data-parallel ranks."""

    rank: int
    local_rank: int
    world_size: int
    device: torch.device


def read_world() -> World:
    """Rank and device of this process, from torchrun's variables; one rank when there are none.

    Raises:
        ConfigError: the variables are incomplete, or the machine has fewer GPUs than local ranks.
    """
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    given = [name for name in names if name in os.environ]
    if "RANK" not in given or "WORLD_SIZE" not in given:
        if given and os.environ.get("WORLD_SIZE", "1") != "1":
            raise ConfigError(f"only {', '.join(given)} set; torchrun sets {', '.join(names)}: start with torchrun")
        rank, local_rank, world_size = 0, 0, 1
    else:
        rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
    if not torch.cuda.is_available():
        return World(rank, local_rank, world_size, torch.device("cpu"))
    if local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"launch.nproc_per_node asks for local rank {local_rank}, but this machine shows "
            f"{torch.cuda.device_count()} GPUs; start at most one rank per GPU"
        )
    return World(rank, local_rank, world_size, torch.device("cuda", local_rank))


@contextmanager
def process_group(world: World, timeout_s: float) -> Iterator[World]:
    """Join the ranks for the time of the block: gloo on CPU, NCCL (and gloo for host tensors) on CUDA.

    Args:
        world: from `read_world`.
        timeout_s: a collective that waits longer fails.
    """
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
    backend = "gloo" if world.device.type == "cpu" else "cpu:gloo,cuda:nccl"
    timeout = timedelta(seconds=timeout_s)
    if world.world_size == 1:
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1, timeout=timeout)
    else:
        dist.init_process_group(backend, timeout=timeout)
    try:
        yield world
        barrier()  # rank 0 may hold the store: nobody leaves while another still needs it
    finally:
        dist.destroy_process_group()


def get_rank() -> int:
    """Global rank; 0 outside a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def get_world_size() -> int:
    """Number of ranks; 1 outside a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Add `tensor` over all ranks, in place, and return it."""
    if get_world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def all_reduce_max(tensor: Tensor) -> Tensor:
    """Element-wise maximum over all ranks, in place, and return it."""
    if get_world_size() > 1:
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return tensor


def gather_objects(value: T, group: Group = None) -> list[T]:
    """Every rank's `value`, by rank, on every rank. For rare, small things: values are pickled among our own ranks."""
    if get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * get_world_size()
    dist.all_gather_object(values, value, group=group)
    return values


def broadcast_object(value: T, group: Group = None) -> T:
    """Rank 0's `value` on every rank."""
    if get_world_size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0, group=group, device=torch.device("cpu"))
    return box[0]  # type: ignore[no-any-return]


def barrier() -> None:
    """Wait for all ranks, on host memory, so that no accelerator stream is involved."""
    all_reduce_sum(torch.zeros(1))


def on_rank_zero(function: Callable[[], T], group: Group = None) -> T:
    """Run `function` on rank 0 and give its result to all ranks.

    Raises:
        FcdistError: raised by `function`; every rank raises the same, so none waits for one that has left.
        TrainingError: anything else went wrong on rank 0.
    """
    result, error = broadcast_object(_attempt(function) if get_rank() == 0 else (None, None), group)
    if error is not None:
        raise shared(error)
    return result  # type: ignore[return-value]


def on_every_rank(function: Callable[[], T], group: Group = None) -> T:
    """Run `function` on every rank and return its result here; if it fails on one, all raise, so that none waits.

    Raises:
        FcdistError: of the type raised by `function` on the lowest rank that failed, naming each such rank.
        TrainingError: anything else went wrong on that rank.
    """
    result, error = _attempt(function)
    errors = {rank: each for rank, each in enumerate(gather_objects(error, group)) if each is not None}
    if not errors:
        return result  # type: ignore[return-value]
    if get_world_size() == 1:
        raise errors[0]
    words: dict[str, list[int]] = {}
    for rank, each in errors.items():
        words.setdefault(str(each), []).append(rank)
    told = "; ".join(f"rank {', '.join(map(str, ranks))}: {text}" for text, ranks in words.items())
    raise shared(type(next(iter(errors.values())))(told))


def shared(error: FcdistError) -> FcdistError:
    """Mark an error that every rank raises alike."""
    error.is_shared = True
    return error


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch's global generators for one step of one rank.

    Dropout draws from the global generators. Seeding them by (seed, step, rank) makes a resumed run equal the
    uninterrupted one without any generator state in the checkpoint, whatever ran in between (validation, a save).
    """
    torch.manual_seed(derive_seed(seed, "dropout", step, rank))


def _attempt(function: Callable[[], T]) -> tuple[T | None, FcdistError | None]:
    try:
        return function(), None
    except FcdistError as caught:
        return None, caught
    except Exception as caught:
        logger.exception("rank %d failed", get_rank())
        return None, TrainingError(f"{type(caught).__name__}: {caught}")

"""Memory of one rank, part by part, as the engines of fcdist lay it out.

Model states follow ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054): AdamW keeps an fp32 master and two fp32 moments a
trained weight, 12 bytes, divided over the ranks. What DeepSpeed keeps beside them was measured on gloo ranks
(`tests/training/test_estimates.py`): stage 1 in bf16 adds gradients up in fp32 on every rank whole, stages 2 and 3
divide them; frozen weights are divided at stage 3 alone.
"""

from dataclasses import dataclass

import torch

from fcdist.config.types import Config
from fcdist.model.precision import dtype_of
from fcdist.model.weights import is_debug
from fcdist.training.estimates.activations import (
    Activations,
    Weights,
    count_weights,
    estimate_activations,
    outline,
)
from fcdist.training.estimates.hardware import GIB

CONTEXT = int(1.5 * GIB)
"""Assumed: CUDA's context and kernels, cuBLAS workspace, NCCL's channels."""
FRAGMENTATION = 0.05
"""Assumed: share of what comes and goes that the caching allocator holds but cannot use."""
MASTER, MOMENTS, GRADIENT = 4, 8, 4
"""Bytes a trained weight: fp32 copy, both moments of Adam, gradient added up in fp32."""


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the table."""

    name: str
    bytes: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Peak memory of one rank."""

    parts: tuple[Part, ...]
    """Alive at the same time, at the peak."""
    host_bytes: int
    """Of the optimizer in host memory, a rank; 0 unless it is offloaded."""
    tokens: int
    """Of the largest row on one rank."""
    targets: int

    @property
    def peak(self) -> int:
        """Bytes."""
        return sum(part.bytes for part in self.parts)


def estimate_memory(cfg: Config, world_size: int, targets: int | None = None, tokens: int | None = None) -> MemoryPlan:
    """Peak memory of the largest micro-batch.

    Args:
        cfg: of the run.
        world_size: ranks; all of them share ZeRO's state.
        targets: of the largest micro-batch; None: every second token.
        tokens: of the largest micro-batch; None: all that it may hold, batch.micro_batch_size x batch.seq_len.

    Raises:
        ModelError: the model's config cannot be had, or it cannot be run on shapes alone.
    """
    row = tokens or cfg.batch.micro_batch_size * cfg.batch.seq_len
    tokens = -(-row // cfg.batch.sequence_parallel)
    targets = min(tokens, -(-(targets or row // 2) // cfg.batch.sequence_parallel))
    weights = count_weights(outline(cfg))
    activations = estimate_activations(cfg, tokens, targets)
    states, host = state_parts(cfg, weights, world_size)
    moving = [*buffer_parts(cfg, weights, world_size), *_activation_parts(cfg, activations)]
    flattened = _flattened_gradients(cfg, weights, world_size)
    if flattened > sum(part.bytes for part in moving):  # the update, without activations, is the peak
        moving = [Part("optimizer step", flattened, "gradients flattened; more than a backward pass takes")]
    slack = Part("allocator", int(FRAGMENTATION * sum(p.bytes for p in moving)), f"assumed {FRAGMENTATION:.0%}")
    context = Part("CUDA context, NCCL", CONTEXT, "assumed")
    return MemoryPlan((*states, *moving, slack, context), host, tokens, targets)


def loading_bytes(cfg: Config, weights: Weights) -> tuple[int, int]:
    """Host memory of a node while its ranks read the model: if the files have the run's precision, and if not.

    Files are mapped. ZeRO-3 divides what it reads over the devices, a tensor at a time; else each rank has the whole
    model: the mapping itself, which is one for a node, or a copy in another precision. The debug model is always built.
    """
    ranks, whole = cfg.launch.nproc_per_node, weights.total * dtype_of(cfg).itemsize
    if is_debug(cfg.model):
        return ranks * whole, ranks * whole
    if cfg.zero.engine == "deepspeed" and cfg.zero.stage == 3:
        tensor = weights.largest * dtype_of(cfg).itemsize
        return tensor, tensor
    return whole, ranks * whole


def state_parts(cfg: Config, weights: Weights, world_size: int) -> tuple[list[Part], int]:
    """What stays from step to step: weights, masters, moments and gradients; and the bytes moved to the host."""
    is_local, stage = cfg.zero.engine == "local", cfg.zero.stage
    size, is_bf16 = dtype_of(cfg).itemsize, dtype_of(cfg) == torch.bfloat16
    divided = 1 if is_local else world_size
    share = -(-weights.trained // divided)
    if not is_local and stage == 3:
        whole = size * (weights.trained_small + weights.frozen_small)
        trained, frozen = size * share, size * -(-weights.frozen // world_size) + whole
    else:
        trained, frozen = size * weights.trained, size * weights.frozen
    has_master = is_bf16 or not is_local
    host = 0
    if not is_local and cfg.zero.offload_optimizer:
        host = (MASTER + MOMENTS + GRADIENT) * share
        optimizer = [Part("optimizer", 0, f"{host / GIB:.1f} GiB of host memory a rank")]
    else:
        over = f"over {divided} ranks" if divided > 1 else ""
        optimizer = [
            Part("fp32 masters", MASTER * share if has_master else 0, over),
            Part("optimizer moments", MOMENTS * share, over),
            Part("gradients", *_gradients(cfg, weights, share)),
        ]
    parts = [Part("trained weights", trained, f"{weights.trained:,}"), Part("frozen weights", frozen)]
    if not is_local and stage == 3:
        parts[1] = Part("frozen weights", frozen, "and small ones kept whole")
    return [*parts, *optimizer], host


def _gradients(cfg: Config, weights: Weights, share: int) -> tuple[int, str]:
    """Bytes of gradients while the last micro-batch of a step runs backward."""
    size, is_bf16 = dtype_of(cfg).itemsize, dtype_of(cfg) == torch.bfloat16
    if cfg.zero.engine == "local" or cfg.zero.stage == 1:
        in_flight = size if is_bf16 else 0
        note = "fp32, and in the weights' precision until they are added" if is_bf16 else "fp32"
        return (GRADIENT + in_flight) * weights.trained, f"{note}; whole on each rank"
    return GRADIENT * share, "fp32"


def _flattened_gradients(cfg: Config, weights: Weights, world_size: int) -> int:
    """Bytes of the copy that ZeRO-2, and 1 in fp32, make of a rank's gradients for the update."""
    flattens = cfg.zero.stage == 2 or (cfg.zero.stage == 1 and dtype_of(cfg) == torch.float32)
    if cfg.zero.engine == "local" or not flattens or cfg.zero.offload_optimizer:
        return 0
    return GRADIENT * -(-weights.trained // world_size)


def buffer_parts(cfg: Config, weights: Weights, world_size: int) -> list[Part]:
    """Buffers of communication, and what ZeRO-3 gathers."""
    size, bucket = dtype_of(cfg).itemsize, cfg.zero.bucket_size
    if world_size == 1 and cfg.zero.engine == "local":
        return []
    if cfg.zero.engine == "local":
        return [Part("communication buckets", 4 * min(weights.trained, max(bucket, weights.largest)))]
    if cfg.zero.stage == 3:
        large = weights.total - weights.trained_small - weights.frozen_small
        gathered = size * min(large, 20 * bucket)
        return [
            Part("communication buckets", 4 * bucket, "zero.bucket_size"),
            Part("gathered weights", gathered, f"at most 20 buckets of {bucket:,}"),
        ]
    filled = min(bucket, weights.trained)
    in_fp32 = 4 * filled if dtype_of(cfg) == torch.bfloat16 else 0
    buffers = 2 if cfg.zero.stage == 2 else 0  # one is filled while the other is reduced
    return [Part("communication buckets", buffers * size * bucket + in_fp32, "zero.bucket_size")]


def _activation_parts(cfg: Config, activations: Activations) -> list[Part]:
    kind = "inputs of each layer" if cfg.train.activation_checkpointing else "all layers"
    at_head = activations.head >= activations.layer
    other = min(activations.head, activations.layer)
    temporary = "logits and loss" if at_head else "one layer's backward"
    note = f"{'one layer backward' if at_head else 'logits and loss'} {other / GIB:.2f} GiB, at another time"
    return [
        Part("activations", activations.kept, kind),
        Part(temporary, max(activations.head, activations.layer), note),
    ]

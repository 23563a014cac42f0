"""DeepSpeed ZeRO 1-3. What surprises about it is stated here once; nothing else in fcdist knows DeepSpeed."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("DS_SKIP_CUDA_CHECK", "1")  # the check is for ops built at run time, of which we use none

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # otherwise it warns that it found none

import deepspeed
import deepspeed.ops
from deepspeed.utils import logger as deepspeed_logger
from torch import Tensor, nn
from transformers.integrations import deepspeed as transformers_deepspeed

from fcdist.config.types import Config
from fcdist.data.batch import Batch
from fcdist.data.collating import filler
from fcdist.model.adapters import whole_shape
from fcdist.model.precision import dtype_of
from fcdist.training.checkpoints.fragments import MASTER, Fragment
from fcdist.training.checkpoints.tensor_file import TensorSpec
from fcdist.training.distributed import get_rank, get_world_size
from fcdist.training.engines.optimizer import MOMENTS, adam_state, build_optimizer

NO_CLIPPING = 1e30
"""A norm never reached. With 0 DeepSpeed may skip computing the gradient norm, which is reported and checked."""


def deepspeed_config(cfg: Config, device: torch.device, zero: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The dict DeepSpeed wants, from our settings; never read from a file, no `auto`.

    Args:
        cfg: `zero`, `optim.max_grad_norm` and `train.precision` are read.
        device: where it computes.
        zero: extra entries of `zero_optimization`, for tests that must not let small parameters stay resident.
    """
    size = cfg.zero.bucket_size
    on_cuda = device.type == "cuda"
    zero_optimization: dict[str, Any] = {
        "stage": cfg.zero.stage,
        # Unmanaged accumulation allows overlap only where gradients are partitioned (stages 2 and 3).
        "overlap_comm": on_cuda and cfg.zero.stage >= 2,
        "reduce_bucket_size": size,  # the default of 5e8 elements takes 2 GB a rank at stage 3
        "allgather_bucket_size": size,
        "stage3_prefetch_bucket_size": size,
        "stage3_max_live_parameters": 20 * size,
        "stage3_max_reuse_distance": 20 * size,
        **(zero or {}),
    }
    if cfg.zero.offload_optimizer:
        zero_optimization["offload_optimizer"] = {"device": "cpu", "pin_memory": on_cuda}
    config: dict[str, Any] = {
        # Only names for its own counters: batches are planned by fcdist and a step may hold any number of them.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": cfg.optim.max_grad_norm or NO_CLIPPING,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # its own AdamW compiles C++ at the first use
        "steps_per_print": None,
        "zero_optimization": zero_optimization,
    }
    if dtype_of(cfg) == torch.bfloat16:
        config["bf16"] = {"enabled": True}
        config["data_types"] = {"grad_accum_dtype": "fp32"}
        config["communication_data_type"] = "fp32"
    return config


@contextmanager
def dividing(cfg: Config, device: torch.device) -> Iterator[None]:
    """While it is open, `from_pretrained` divides the model over the ranks (ZeRO-3). Every rank must load the same.

    Each module's weights are divided as soon as it is built; rank 0 maps the files and broadcasts them one module at a
    time. Nothing but `from_pretrained` belongs in here: a model from a config would get other random weights.
    """
    _prepare_environment(get_rank(), get_world_size(), device)
    hf: Any = transformers_deepspeed
    settings = hf.HfDeepSpeedConfig(deepspeed_config(cfg, device))  # transformers keeps a weak reference to it
    try:
        yield
    finally:
        del settings
        hf.unset_hf_deepspeed_config()


class DeepSpeedEngine:
    """ZeRO behind the engine seam: DeepSpeed shards, keeps fp32 masters and clips; all else is ours.

    Its own checkpoints are not used: they unpickle whatever lies in the folder (torch.load with weights_only=False),
    fit only the stage and world size that wrote them, and cannot be written in the background.
    """

    def __init__(
        self, module: nn.Module, cfg: Config, device: torch.device, zero: Mapping[str, Any] | None = None
    ) -> None:
        self.device = device
        self.dp_rank, self.dp_world_size = get_rank(), get_world_size()
        self._stage = cfg.zero.stage
        _prepare_environment(self.dp_rank, self.dp_world_size, device)
        trainable = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        on_device = device.type == "cuda" and not cfg.zero.offload_optimizer
        self._engine, *_ = deepspeed.initialize(
            model=module.to(device),
            optimizer=build_optimizer(trainable, cfg.optim, fused=on_device),
            config=deepspeed_config(cfg, device, zero),
            dist_init_required=False,
        )

    @property
    def steps_done(self) -> int:
        """Optimizer steps so far, as Adam counts them; DeepSpeed's own count has those it left out too."""
        return int(adam_state(self._engine.optimizer.optimizer, self._flat_buffers()[0])["step"])

    @property
    def model(self) -> nn.Module:
        """The unwrapped model."""
        return self._engine.module.model  # type: ignore[no-any-return]

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of a batch. It is computed inside the wrapped forward, where ZeRO-3 has the weights gathered."""
        return self._engine(batch.to(self.device))  # type: ignore[no-any-return]

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`."""
        # The loop already divided by the targets of the step; by default DeepSpeed would divide again
        # by gradient_accumulation_steps (deepspeedai/DeepSpeed#7439).
        self._engine.backward(loss, scale_wrt_gas=False)

    def step(self, lr: float) -> float:
        """Update the weights. Stages 1-3 skip a step with a non-finite norm silently; the returned norm shows it."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr
        self._engine.step()
        norm = self._engine.get_global_grad_norm()
        if not self._engine.was_step_applied():
            return float("nan")
        return float(norm) if norm is not None else float("nan")

    def discard(self) -> None:
        """Forget the gradients. At stages 1-3 no call does so; but an update whose norm is not finite is left out."""
        loss, _ = self(filler())
        self.backward(loss * float("nan"))
        level = deepspeed_logger.level
        deepspeed_logger.setLevel(logging.ERROR)  # it would warn of the update that is left out on purpose
        self._engine.step()
        deepspeed_logger.setLevel(level)

    def train_mode(self, enabled: bool) -> None:
        """Dropout on or off."""
        self._engine.train(enabled)

    @property
    def is_replicated(self) -> bool:
        """Every element's training state lives on one rank."""
        return False

    def weight_specs(self) -> dict[str, TensorSpec]:
        """Type and whole shape of each trainable weight."""
        return {name: TensorSpec(p.dtype, tuple(whole_shape(p))) for name, p in self._trainable()}

    def fragments(self) -> list[Fragment]:
        """This rank's stretches of the flat fp32 buffers, by parameter."""
        found = []
        for name, weight in self._trainable():
            if (place := self._place(weight)) is not None:
                state = adam_state(self._engine.optimizer.optimizer, place.flat)
                tensors = {MASTER: place.flat.detach(), **{key: state[key] for key in MOMENTS}}
                stretch = {part: tensor.narrow(0, place.offset, place.length) for part, tensor in tensors.items()}
                found.append(Fragment(name, place.start, stretch))
        return found

    def restored(self, steps_done: int) -> None:
        """Take over the fp32 buffers: the counts of Adam, the weights that the model computes with."""
        zero = self._engine.optimizer
        for flat in self._flat_buffers():
            adam_state(zero.optimizer, flat, steps_done)
        self._engine.global_steps = steps_done
        if self._stage < 3:
            zero.update_lp_params()
            return
        zero.checkpoint_event_prologue()  # small weights that stay gathered are given back ...
        for flat, weights in zip(zero.fp32_partitioned_groups_flat, zero.fp16_partitioned_groups_flat, strict=True):
            weights.data.copy_(flat.data)
        zero.checkpoint_event_epilogue()  # ... and gathered anew

    def trainable_state_dict(self) -> dict[str, Tensor]:
        """Trainable weights as the model computes with them, on rank 0; gathered one by one under ZeRO-3."""
        weights: dict[str, Tensor] = {}
        for name, weight in self._trainable():
            with deepspeed.zero.GatheredParameters([weight], enabled=hasattr(weight, "ds_id")):
                if self.dp_rank == 0:
                    weights[name] = weight.detach().cpu().clone()
        return weights

    def _trainable(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    def _flat_buffers(self) -> list[Tensor]:
        """The fp32 buffers that the optimizer updates: one for each group of parameters, or sub-group at stage 3."""
        zero = self._engine.optimizer
        if self._stage == 3:
            return list(zero.fp32_partitioned_groups_flat)
        return [buffer for group in zero.optimizer.param_groups for buffer in group["params"]]

    def _place(self, weight: nn.Parameter) -> "_Place | None":
        """Where this rank keeps its stretch of a parameter; None if it keeps nothing of it."""
        zero = self._engine.optimizer
        if self._stage < 3:
            mapping = weight._hp_mapping  # type: ignore[attr-defined]
            if mapping is None:
                return None
            flat = self._flat_buffers()[mapping.param_group_index]
            address = mapping.lp_fragment_address
            return _Place(flat, mapping.hp_fragment_address.start, address.start, address.numel)
        group, offset, capacity = zero.grad_position[zero.get_param_id(weight)]
        start = self.dp_rank * capacity  # equal stretches; the last ones may be padding
        length = min(capacity, weight.ds_numel - start)  # type: ignore[attr-defined]
        return _Place(self._flat_buffers()[group], offset, start, length) if length > 0 else None


@dataclass(frozen=True, slots=True)
class _Place:
    """A stretch of a parameter in a flat fp32 buffer."""

    flat: Tensor
    offset: int
    """In the buffer."""
    start: int
    """In the flattened parameter."""
    length: int


def _prepare_environment(rank: int, world_size: int, device: torch.device) -> None:
    """Name the ranks and keep DeepSpeed quiet and from compiling anything."""
    deepspeed_logger.setLevel(logging.WARNING)
    os.environ.setdefault("RANK", str(rank))  # without them it looks for MPI
    os.environ.setdefault("LOCAL_RANK", str(device.index or 0))
    os.environ.setdefault("WORLD_SIZE", str(world_size))
    if device.type == "cpu":
        # A shared-memory back end for inference only, compiled on the spot (28 s, and it crashes without ninja). Asking
        # deepspeed.ops for its table of ops would probe each with a compiler; only that back end reads the table.
        vars(deepspeed.ops).setdefault("__compatible_ops__", {})["deepspeed_shm_comm"] = False
    if not deepspeed.comm.is_initialized():
        deepspeed.init_distributed(
            dist_backend="gloo" if device.type == "cpu" else "nccl",
            auto_mpi_discovery=False,
            dist_init_required=False,
            verbose=False,
        )

"""The seam between the loop and what runs a step: plain torch or DeepSpeed."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fcdist.config.types import Config
from fcdist.data.batch import Batch, StepBatches
from fcdist.errors import ConfigError
from fcdist.training.checkpoints.fragments import Fragment
from fcdist.training.checkpoints.tensor_file import TensorSpec


class Engine(Protocol):
    """Runs forward, backward and update of one rank.

    Gradients of `backward` add up until `step`, which averages them over the ranks, clips and updates. All ranks are
    data-parallel to it: those that share rows (batch.sequence_parallel) bring the gradients of different targets.
    """

    device: torch.device
    dp_rank: int
    dp_world_size: int

    @property
    def steps_done(self) -> int:
        """Optimizer steps so far, over all sessions of the run."""

    @property
    def model(self) -> nn.Module:
        """The unwrapped model, for validation and export. Under ZeRO-3 its parameters are sharded."""

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of a batch: (fp32 scalar, weighted sum over targets; [5] sums by Kind, detached)."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`."""

    def step(self, lr: float) -> float:
        """Update the weights at rate `lr`. Returns the global gradient norm before clipping.

        A norm that is not finite changes no weight; the loop stops the run.
        """

    def discard(self) -> None:
        """Forget the gradients of `backward`, as if the step had not begun. Every rank calls it."""

    def train_mode(self, enabled: bool) -> None:
        """Dropout on or off."""

    @property
    def is_replicated(self) -> bool:
        """Whether every rank holds all fragments, so that a save divides them."""

    def weight_specs(self) -> dict[str, TensorSpec]:
        """Type and whole shape of each trainable weight as the model computes with it, equal on every rank."""

    def fragments(self) -> list[Fragment]:
        """This rank's part of the training state. Writing into the tensors changes it, once `restored` is called."""

    def restored(self, steps_done: int) -> None:
        """Take over what was written into the fragments, as after `steps_done` steps. Every rank calls it."""

    def trainable_state_dict(self) -> dict[str, Tensor]:
        """Trainable weights by parameter name, whole and in host memory, on rank 0; empty on the others.

        Every rank must call it: under ZeRO-3 the weights are gathered one by one.
        """


class StepSource(Protocol):
    """What the loop and the checkpoints need of a loader; `fcdist.data.loader.PackLoader` is one."""

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""

    @property
    def epoch_progress(self) -> float:
        """Epochs done, with the fraction of the current one."""

    def next_step(self) -> StepBatches:
        """This rank's part of the next global batch."""

    def state_dict(self) -> Mapping[str, Any]:
        """The cursor, as plain JSON values, equal on every rank."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a cursor. Raises CheckpointError if it belongs to other data."""


def build_engine(module: nn.Module, cfg: Config, device: torch.device) -> Engine:
    """Wrap a loss module in the configured engine.

    Args:
        module: returns the loss from `forward(batch)` and holds the model as `.model`; its trainable parameters are
            those that require gradients.
        cfg: `zero`, `optim` and `train.precision` are read.
        device: where it computes.

    Raises:
        ConfigError: nothing to train, or DeepSpeed is chosen but not installed.
    """
    if not any(p.requires_grad for p in module.parameters()):
        raise ConfigError("no parameter requires gradients; tuning.mode=lora needs tuning.targets that the model has")
    if cfg.zero.engine == "local":
        from fcdist.training.engines.local_engine import LocalEngine

        return LocalEngine(module, cfg, device)
    engine: Engine = _deepspeed().DeepSpeedEngine(module, cfg, device)
    return engine


def dividing(cfg: Config, device: torch.device) -> AbstractContextManager[None]:
    """What to open around the reading of a checkpoint: under ZeRO-3 no rank then holds the whole model.

    Args:
        cfg: as for `build_engine`.
        device: where the engine will compute.

    Raises:
        ConfigError: DeepSpeed is chosen but not installed.
    """
    if cfg.zero.engine == "local" or cfg.zero.stage < 3:
        return nullcontext()
    return _deepspeed().dividing(cfg, device)  # type: ignore[no-any-return]


def _deepspeed() -> Any:
    """The module of the DeepSpeed engine, imported only where it is chosen."""
    try:
        from fcdist.training.engines import deepspeed_engine
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"zero.engine=deepspeed needs the package deepspeed ({error}); or set zero.engine=local"
        ) from None
    return deepspeed_engine

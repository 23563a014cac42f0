"""A watched engine: each call is marked for the watchdog and timed; one that runs out of memory is explained."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fcdist.config.types import Config
from fcdist.data.batch import Batch
from fcdist.errors import FcdistError, TrainingError
from fcdist.training.checkpoints.fragments import Fragment
from fcdist.training.checkpoints.tensor_file import TensorSpec
from fcdist.training.distributed import get_rank, get_world_size
from fcdist.training.engines.engine import Engine
from fcdist.training.estimates.fitting import advice
from fcdist.training.estimates.hardware import GIB
from fcdist.training.estimates.memory import estimate_memory
from fcdist.training.watching.failures import BadPack, name_examples, write_failure
from fcdist.training.watching.stragglers import Pace
from fcdist.training.watching.watchdog import Watchdog

_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL error")
"""Words of gloo and NCCL when a partner is gone; gloo has no error of its own."""


class ObservedEngine:
    """The engine of a rank, as the loop sees it; see `Engine` for what is handed on unchanged.

    Args:
        engine: does the work.
        cfg: `batch`, `train`, `zero` and `tuning` are read for advice.
        watchdog: told what begins.
        failures: RUN/failures.
    """

    def __init__(self, engine: Engine, cfg: Config, watchdog: Watchdog, failures: Path) -> None:
        self._engine, self._cfg, self._watchdog, self._failures = engine, cfg, watchdog, failures
        self.device, self.dp_rank, self.dp_world_size = engine.device, engine.dp_rank, engine.dp_world_size
        self.pace = Pace(engine.device)
        self._micro_step = 0
        self._batch: Batch | None = None

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of a batch."""
        self._micro_step, self._batch = self._micro_step + 1, batch
        with self._doing("forward"), self.pace.measure(batch.input_ids.shape[1]):
            return self._engine(batch)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`."""
        with self._doing("backward"):
            self._engine.backward(loss)

    def step(self, lr: float) -> float:
        """Update the weights."""
        self._micro_step, self._batch = 0, None
        with self._doing("update"):
            return self._engine.step(lr)

    def discard(self) -> None:
        """Forget the gradients."""
        self._micro_step, self._batch = 0, None
        with self._doing("discarding gradients"):
            self._engine.discard()

    @property
    def is_replicated(self) -> bool:
        """Whether every rank holds all fragments."""
        return self._engine.is_replicated

    def weight_specs(self) -> dict[str, TensorSpec]:
        """Type and shape of each trainable weight."""
        return self._engine.weight_specs()

    def fragments(self) -> list[Fragment]:
        """This rank's part of the training state."""
        with self._doing("checkpoint"):
            return self._engine.fragments()

    def restored(self, steps_done: int) -> None:
        """Take over what was written into the fragments."""
        with self._doing("checkpoint"):
            self._engine.restored(steps_done)

    def trainable_state_dict(self) -> dict[str, Tensor]:
        """Trainable weights on rank 0."""
        with self._doing("gathering weights"):
            return self._engine.trainable_state_dict()

    def train_mode(self, enabled: bool) -> None:
        """Dropout on or off."""
        self._micro_step, self._batch = 0, None
        self._engine.train_mode(enabled)

    @property
    def steps_done(self) -> int:
        """Optimizer steps so far."""
        return self._engine.steps_done

    @property
    def model(self) -> nn.Module:
        """The unwrapped model."""
        return self._engine.model

    @contextmanager
    def _doing(self, phase: str) -> Iterator[None]:
        self._watchdog.mark(phase if not self._micro_step else f"micro-step {self._micro_step}, {phase}")
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(self._explain(self._watchdog.step, phase, error)) from error

    def _explain(self, step: int, phase: str, error: BaseException) -> str:
        rank, where = get_rank(), f"rank {get_rank()}, step {step}, {phase}"
        what = ""
        if self._batch is not None:
            packs = [BadPack(rank, self._micro_step, self._batch.examples)]
            write_failure(self._failures, step, f"out of memory on {where}", packs)
            what = (
                f" of micro-step {self._micro_step}: {self._batch.input_ids.shape[1]:,} tokens, "
                f"{len(self._batch.target_ids):,} targets, examples {name_examples(self._batch.examples)} "
                f"(`fcdist show --failure {step}`)"
            )
        return (
            f"{where}{what}: out of memory{_held(self.device)}. {expected_peak(self._cfg)}"
            f"{advice(self._cfg, get_world_size())}. "
            f"Cause: {first_line(error)}"
        )


@contextmanager
def lost_ranks_explained(watchdog: Watchdog) -> Iterator[None]:
    """Turn the error of a collective whose partner is gone into one that says so.

    Raises:
        TrainingError: another rank ended; its own message tells why.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not any(words in str(error) for words in _LOST):
            raise
        raise TrainingError(
            f"lost contact with another rank in step {watchdog.step}, {watchdog.phase}: it, its node or the network "
            "failed; its own last words tell why. The same command goes on from the newest checkpoint. "
            f"Cause: {first_line(error)}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is about memory: CUDA has a type for it, the CPU's allocator only words."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def expected_peak(cfg: Config) -> str:
    """What `fcdist preflight` reckons with, as a sentence; empty if the model cannot be estimated."""
    try:
        plan = estimate_memory(cfg, get_world_size())
    except (FcdistError, RuntimeError, MemoryError):  # the cause of the failure must be told in any case
        return ""
    return f"Estimated peak {plan.peak / GIB:.1f} GiB for the largest pack ({plan.tokens:,} tokens on a rank). "


def first_line(error: BaseException) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _held(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    total = torch.cuda.get_device_properties(device).total_memory
    return f" ({torch.cuda.memory_allocated(device) / GIB:.1f} GiB held, the device has {total / GIB:.1f} GiB)"

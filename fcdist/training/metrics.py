"""What a step measured, agreed over the ranks, and the log that writes it."""

import logging
import math
import resource
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from fcdist.data.batch import Batch, Kind, StepBatches
from fcdist.errors import TrainingError
from fcdist.training.distributed import all_reduce_max, all_reduce_sum, gather_objects, get_rank
from fcdist.training.engine import StepSource
from fcdist.training.sinks import Sink

logger = logging.getLogger(__name__)

TARGET_KINDS = tuple(kind for kind in Kind if kind != Kind.CONTEXT)
MAX_NAMED = 16
"""Examples named in an error."""


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One optimizer step over all ranks."""

    loss: float
    """Mean over the targets of the step."""
    kind_losses: Mapping[str, float]
    """Mean over the targets of each kind that occurred."""
    grad_norm: float
    """Before clipping."""
    num_targets: float
    num_tokens: int
    """Of the examples."""
    num_unique_tokens: int = 0
    """That were computed."""
    source_counts: Mapping[str, int] = field(default_factory=dict)
    """Examples by source."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all micro-batches of all ranks."""

    loss_sum: float
    kind_sums: tuple[float, ...]
    kind_weights: tuple[float, ...]

    def metrics(self, step: StepBatches, grad_norm: float) -> StepMetrics:
        """Means over targets."""
        return StepMetrics(
            loss=self.loss_sum / step.num_targets,
            kind_losses=self.kind_losses(),
            grad_norm=grad_norm,
            num_targets=step.num_targets,
            num_tokens=step.num_tokens,
            num_unique_tokens=step.num_unique_tokens,
            source_counts=step.source_counts,
        )

    def kind_losses(self) -> dict[str, float]:
        """Mean loss of each kind that has targets."""
        return {
            kind.name.lower(): self.kind_sums[kind] / self.kind_weights[kind]
            for kind in TARGET_KINDS
            if self.kind_weights[kind] > 0
        }


class Tally:
    """Adds up one step's losses on the device; the host waits once, in `reduce`."""

    def __init__(self, step: int, device: torch.device) -> None:
        self._step = step
        self._losses: list[Tensor] = []
        self._examples: list[tuple[int, ...]] = []
        self._kind_sums = torch.zeros(len(Kind), dtype=torch.float64, device=device)
        self._kind_weights = torch.zeros(len(Kind), dtype=torch.float64)

    def add(self, batch: Batch, loss: Tensor, kind_sums: Tensor) -> None:
        """Count one micro-batch."""
        self._losses.append(loss.detach())
        self._examples.append(batch.examples)
        self._kind_sums += kind_sums.detach()
        self._kind_weights.index_add_(0, batch.target_kinds.long().cpu(), batch.target_weights.double().cpu())

    def reduce(self) -> Totals:
        """Sum over the ranks with one collective.

        Raises:
            TrainingError: on every rank, if a loss of any rank is not finite; names step, rank and examples.
        """
        losses = torch.stack(self._losses).double()
        parts = [losses.sum()[None], self._kind_sums, self._kind_weights.to(losses.device)]
        sums = all_reduce_sum(torch.cat(parts)).tolist()
        if not math.isfinite(sums[0]):
            bad = [i for i, loss in enumerate(losses.tolist()) if not math.isfinite(loss)]
            mine = [(i, losses[i].item(), self._examples[i]) for i in bad]
            found = [
                f"rank {rank}, micro-step {i + 1}: loss {loss}, examples {_named(examples)}"
                for rank, items in enumerate(gather_objects(mine))
                for i, loss, examples in items
            ]
            detail = "; ".join(found) or "the sum over the ranks overflows"
            raise TrainingError(
                f"step {self._step}: the loss is not finite ({detail}). Weights are as before this step. Look at these "
                f"rows of the token store (`fcdist show`), or lower optim.lr"
            )
        kinds = len(Kind)
        return Totals(sums[0], tuple(sums[1 : 1 + kinds]), tuple(sums[1 + kinds :]))

    def check_norm(self, grad_norm: float) -> float:
        """Return the norm, which is equal on all ranks; raise TrainingError on every rank if it is not finite."""
        if not math.isfinite(grad_norm):
            examples = gather_objects(tuple(row for rows in self._examples for row in rows))
            by_rank = "; ".join(f"rank {rank}: {_named(rows)}" for rank, rows in enumerate(examples))
            raise TrainingError(
                f"step {self._step}: every loss is finite but the gradient norm is {grad_norm}; the step was not "
                f"applied. Examples of the step by rank: {by_rank}"
            )
        return grad_norm


def check_same_work(step: int, batches: StepBatches) -> None:
    """Fail before the first forward if the ranks brought different numbers of micro-batches or targets.

    ZeRO-2 and 3 would hang in the middle of the step instead, and a different divisor would weigh targets unevenly.

    Raises:
        TrainingError: on every rank, with each rank's numbers.
    """
    mine = (len(batches.batches), float(batches.num_targets))
    values = torch.tensor([mine[0], -mine[0], mine[1], -mine[1]], dtype=torch.float64)
    high_count, low_count, high_targets, low_targets = all_reduce_max(values).tolist()
    if high_count != -low_count or high_targets != -low_targets or high_count == 0 or high_targets <= 0:
        by_rank = "; ".join(
            f"rank {rank}: {count} micro-batches, {targets:g} targets in the step"
            for rank, (count, targets) in enumerate(gather_objects(mine))
        )
        raise TrainingError(f"step {step}: every rank needs the same work and at least one target, but got {by_rank}")


class Log:
    """Writes records to the sinks and shows progress; silent on every rank but 0."""

    def __init__(self, sinks: Sequence[Sink], log_every: int, device: torch.device) -> None:
        self._sinks = sinks if get_rank() == 0 else ()
        self._is_main = get_rank() == 0
        self._log_every, self._device = max(log_every, 1), device
        self._first = self._num_steps = 0
        self._since: list[StepMetrics] = []
        self._began = self._mark = time.perf_counter()
        self._progress: Progress | None = None

    def start(self, done: int, num_steps: int) -> None:
        """Begin after step `done`: later records of an earlier session are dropped, the clock starts."""
        self._first, self._num_steps = done, num_steps
        for sink in self._sinks:
            sink.resume(done)
        self._began = self._mark = time.perf_counter()
        if self._is_main and sys.stderr.isatty():
            self._progress = _progress_bar()
            self._progress.start()
            self._task = self._progress.add_task("train", total=num_steps, completed=done, note="")

    def step(self, step: int, lr: float, loader: StepSource, metrics: StepMetrics) -> None:
        """Record one step; written every `log_every` steps as means over them, and at the last."""
        if not self._is_main:
            return
        self._since.append(metrics)
        if self._progress:
            self._progress.update(self._task, completed=step, note=f"loss {metrics.loss:.3f}")
        if step % self._log_every == 0 or step == self._num_steps:
            record = self._record(step, lr, loader)
            self._write(record)
            if self._progress is None:
                logger.info(
                    "step %d/%d  loss %.4f  lr %.2e  norm %.2f  %.0f tokens/s  %s left",
                    *(step, self._num_steps, record["loss"], lr, record["grad_norm"], record["tokens_per_s"]),
                    format_seconds(record["eta_s"]),
                )
            self._since = []

    def validation(self, step: int, values: Mapping[str, float]) -> None:
        """Record validation losses; the time they took is not counted as training."""
        if self._is_main and values:
            self._write({"step": step, **values})
            shown = "  ".join(f"{key} {value:.4f}" for key, value in values.items())
            (self._progress.console.print if self._progress else logger.info)(f"step {step}  {shown}")
        self._mark = time.perf_counter()

    def close(self) -> None:
        """Flush and close the sinks and the progress bar."""
        if self._progress:
            self._progress.stop()
        for sink in self._sinks:
            sink.close()

    def _record(self, step: int, lr: float, loader: StepSource) -> dict[str, float]:
        now = time.perf_counter()
        elapsed, self._mark = max(now - self._mark, 1e-9), now
        targets = sum(m.num_targets for m in self._since)
        tokens = sum(m.num_tokens for m in self._since)
        unique = sum(m.num_unique_tokens for m in self._since)
        sources: Counter[str] = Counter()
        for metrics in self._since:
            sources.update(metrics.source_counts)
        left = (now - self._began) / max(step - self._first, 1) * (self._num_steps - step)
        record: dict[str, float] = {
            "step": step,
            "epoch": loader.epoch_progress,
            "loss": sum(m.loss * m.num_targets for m in self._since) / targets,
        }
        for kind in TARGET_KINDS:
            name = kind.name.lower()
            values = [m.kind_losses[name] for m in self._since if name in m.kind_losses]
            if values:
                record[f"loss/{name}"] = sum(values) / len(values)
        return record | {
            "lr": lr,
            "grad_norm": sum(m.grad_norm for m in self._since) / len(self._since),
            "num_targets": targets,
            "tokens": tokens,
            "tokens_per_s": tokens / elapsed,
            "unique_tokens": unique,
            "prefix_reuse": tokens / unique if unique else 1.0,
            **{f"examples/{name}": count for name, count in sorted(sources.items())},
            "targets_fraction": targets / tokens if tokens else 0.0,
            "memory_gib": peak_memory_gib(self._device),
            "step_time_s": elapsed / len(self._since),
            "eta_s": left,
        }

    def _write(self, record: Mapping[str, float]) -> None:
        for sink in self._sinks:
            sink.write(record)


def peak_memory_gib(device: torch.device) -> float:
    """Most memory this rank ever held: allocated on the GPU, or resident on the host."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def format_seconds(seconds: float) -> str:
    """`h:mm:ss`."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}"


def _named(examples: Sequence[int]) -> str:
    shown = ", ".join(map(str, examples[:MAX_NAMED]))
    return f"[{shown}{', …' if len(examples) > MAX_NAMED else ''}]"


def _progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=Console(stderr=True))

"""The log of a run: one record a period for the sinks, and progress on the screen."""

import logging
import resource
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fcdist.training.distributed import get_rank
from fcdist.training.engines.engine import StepSource
from fcdist.training.records.metrics import TARGET_KINDS, StepMetrics
from fcdist.training.records.sinks import Sink
from fcdist.training.watching.stragglers import Stragglers

logger = logging.getLogger(__name__)


class Log:
    """Writes records to the sinks and shows progress; silent on every rank but 0."""

    def __init__(
        self, sinks: Sequence[Sink], log_every: int, device: torch.device, stragglers: Stragglers | None = None
    ) -> None:
        self._stragglers = stragglers
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

    def step(self, step: int, lr: float, loader: StepSource, metrics: StepMetrics | None, num_skipped: int = 0) -> None:
        """Record one step; written every `log_every` steps as means over them, and at the last. Every rank calls it.

        Args:
            step: from 1.
            lr: of the step.
            loader: tells the progress through the epoch.
            metrics: None if the step was left out.
            num_skipped: steps that the run has left out so far.
        """
        due = step % self._log_every == 0 or step == self._num_steps
        pace = self._stragglers.report(step) if due and self._stragglers else {}
        if not self._is_main:
            return
        if metrics is not None:
            self._since.append(metrics)
            if self._progress:
                self._progress.update(self._task, completed=step, note=f"loss {metrics.loss:.3f}")
        if due and not self._since:
            self._write({"step": step, "lr": lr, "skipped_steps": num_skipped})
        elif due:
            record = self._record(step, lr, loader) | pace
            if num_skipped:
                record["skipped_steps"] = num_skipped
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


def _progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=Console(stderr=True))

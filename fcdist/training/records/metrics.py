"""What a step measured, agreed over the ranks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fcdist.data.batch import Batch, Kind, StepBatches
from fcdist.errors import TrainingError
from fcdist.training.distributed import all_reduce_max, all_reduce_sum, gather_objects, get_rank, shared
from fcdist.training.watching.failures import BadPack, BadStepError, name_examples

TARGET_KINDS = tuple(kind for kind in Kind if kind != Kind.CONTEXT)


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
            BadStepError: on every rank, if a loss of any rank is not finite; names step, rank and examples.
        """
        losses = torch.stack(self._losses).double()
        parts = [losses.sum()[None], self._kind_sums, self._kind_weights.to(losses.device)]
        sums = all_reduce_sum(torch.cat(parts)).tolist()
        if not math.isfinite(sums[0]):
            values = losses.tolist()
            mine = [self._pack(i, loss) for i, loss in enumerate(values) if not math.isfinite(loss)]
            packs = gather_packs(mine)
            found = [
                f"rank {pack.rank}, micro-step {pack.micro_step}: loss {pack.loss}, examples "
                f"{name_examples(pack.examples)}"
                for pack in packs
            ]
            detail = "; ".join(found) or "the sum over the ranks overflows"
            raise BadStepError(
                f"step {self._step}: the loss is not finite ({detail}). Weights are as before this step. Look at the "
                f"packs with `fcdist show --failure {self._step}`, or lower optim.lr",
                self._step,
                packs or self.all_packs(),
            )
        kinds = len(Kind)
        return Totals(sums[0], tuple(sums[1 : 1 + kinds]), tuple(sums[1 + kinds :]))

    def all_packs(self) -> list[BadPack]:
        """Every pack of the step, of every rank. Every rank calls it."""
        mine = [self._pack(i, loss.item()) for i, loss in enumerate(self._losses)]
        return [pack for pack in gather_packs(mine) if pack.examples]

    def check_norm(self, grad_norm: float) -> float:
        """Return the norm, which is equal on all ranks; raise BadStepError on every rank if it is not finite."""
        if not math.isfinite(grad_norm):
            packs = self.all_packs()
            by_rank = "; ".join(f"rank {pack.rank}: {name_examples(pack.examples)}" for pack in packs)
            raise BadStepError(
                f"step {self._step}: every loss is finite but the gradient norm is {grad_norm}; the step was not "
                f"applied. Examples of the step by rank: {by_rank}",
                self._step,
                packs,
            )
        return grad_norm

    def _pack(self, number: int, loss: float) -> BadPack:
        return BadPack(get_rank(), number + 1, self._examples[number], loss)


def gather_packs(mine: Sequence[BadPack]) -> list[BadPack]:
    """The packs that the ranks name; one that several compute together stands once, with the sum of their losses."""
    found: dict[object, BadPack] = {}
    for packs in gather_objects(mine):
        for pack in packs:
            key = (pack.micro_step, pack.examples or pack.rank)
            known = found.get(key)
            found[key] = replace(pack, rank=known.rank, loss=(known.loss or 0) + (pack.loss or 0)) if known else pack
    return list(found.values())


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
        raise shared(
            TrainingError(f"step {step}: every rank needs the same work and at least one target, but got {by_rank}")
        )

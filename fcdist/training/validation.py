"""Loss on the store's validation split, by source role."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from fcdist.config.types import Config
from fcdist.data.batch import StepBatches
from fcdist.data.loader import evaluation_steps
from fcdist.data.store import TokenStore
from fcdist.training.distributed import all_reduce_sum
from fcdist.training.engines.engine import Engine


@dataclass(frozen=True, slots=True)
class Validation:
    """Mean loss per target over the whole split; call it with the engine, on every rank.

    Each rank runs the same number of forwards, with fillers: unequal ones would hang ZeRO-3.
    """

    store: TokenStore
    """The validation split; may be empty."""
    cfg: Config

    def __call__(self, engine: Engine) -> dict[str, float]:
        """`validation/loss` over all targets and `validation/loss/ROLE`; empty if the split is."""
        is_general = np.asarray(self.store.is_general)
        roles = {"general": np.flatnonzero(is_general), "function_call": np.flatnonzero(~is_general)}
        engine.train_mode(False)
        try:
            sums = {role: self._sum(engine, rows) for role, rows in roles.items() if len(rows)}
        finally:
            engine.train_mode(True)
        if not sums:
            return {}
        total = sum(loss for loss, _ in sums.values()) / sum(weight for _, weight in sums.values())
        by_role = {f"validation/loss/{role}": loss / weight for role, (loss, weight) in sums.items()}
        return {"validation/loss": total, **by_role}

    @torch.no_grad()
    def _sum(self, engine: Engine, rows: np.ndarray) -> tuple[float, float]:
        """(summed loss, targets) over all ranks."""
        loss_sum, num_targets = torch.zeros(1, dtype=torch.float64, device=engine.device), 0.0
        for step in self._steps(engine, rows):
            for batch in step.batches:
                loss_sum += engine(batch)[0]
            num_targets += step.num_targets
        return all_reduce_sum(loss_sum).item(), num_targets

    def _steps(self, engine: Engine, rows: np.ndarray) -> Iterator[StepBatches]:
        return evaluation_steps(self.store, self.cfg.batch, engine.dp_rank, engine.dp_world_size, rows)

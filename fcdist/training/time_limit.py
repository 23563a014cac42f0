"""`train.max_minutes`: as many steps as fit into a time, so that the learning rate still comes down to its end.

How long a step takes is measured once, before the first one. What came out stays in the run folder: a run that is
resumed, here or on another machine, goes on to the same last step.
"""

import json
import logging
import time
from pathlib import Path

import torch

from fcdist.config.types import TrainConfig
from fcdist.data.batch import StepBatches
from fcdist.data.loader import PackLoader
from fcdist.errors import CheckpointError
from fcdist.schema.shards import write_json
from fcdist.training.distributed import all_reduce_max, get_rank, on_rank_zero
from fcdist.training.engines.engine import Engine

logger = logging.getLogger(__name__)

PACE = "time_limit.json"
"""Beside the log of the run."""
LEAST_STEPS = 2


def limit_steps(cfg: TrainConfig, engine: Engine, loader: PackLoader, folder: Path) -> None:
    """Lower `loader.num_steps` to what `train.max_minutes` allows. Every rank calls it, before the first step.

    Args:
        cfg: `max_minutes` is read; 0 changes nothing.
        engine: runs a micro-batch of the first step twice, without an update.
        loader: stays where it is.
        folder: where an earlier session of the run left what it found, and where it is left.

    Raises:
        CheckpointError: what an earlier session left cannot be read.
    """
    if not cfg.max_minutes:
        return
    found = on_rank_zero(lambda: _read(folder / PACE, cfg.max_minutes))
    if found is None:
        step_s = measure_step(engine, _first_step(loader))
        found = num_steps = max(LEAST_STEPS, int(60 * cfg.max_minutes / step_s))
        on_rank_zero(lambda: _write(folder / PACE, cfg.max_minutes, step_s, num_steps))
    if found < loader.num_steps and get_rank() == 0:
        logger.info("train.max_minutes=%g: %d of %d steps", cfg.max_minutes, found, loader.num_steps)
    loader.num_steps = min(found, loader.num_steps)


def measure_step(engine: Engine, step: StepBatches) -> float:
    """Seconds that the slowest rank takes for a step, by its first micro-batch; the first run of it only warms up."""
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        loss, _ = engine(step.batches[0])
        engine.backward(loss / step.num_targets)
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)
        seconds = time.perf_counter() - started
    engine.discard()
    slowest = all_reduce_max(torch.tensor([seconds], dtype=torch.float64))
    return float(slowest.item()) * len(step.batches)


def _first_step(loader: PackLoader) -> StepBatches:
    here = loader.state_dict()
    step = loader.next_step()
    loader.load_state_dict(here)
    return step


def _read(path: Path, max_minutes: float) -> int | None:
    """Steps found before for the same limit."""
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return int(value["num_steps"]) if value["max_minutes"] == max_minutes else None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); delete it to have the pace measured again") from None


def _write(path: Path, max_minutes: float, step_s: float, num_steps: int) -> None:
    write_json(path, {"max_minutes": max_minutes, "step_s": round(step_s, 4), "num_steps": num_steps})

"""FLOPs, hours and disk of a whole run, from the plan of its first epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fcdist.config.types import BatchConfig, Config
from fcdist.data.balance import GlobalBatch, idle_share
from fcdist.data.planning import MAX_FILL
from fcdist.model.precision import dtype_of
from fcdist.training.estimates.activations import count_weights, outline
from fcdist.training.estimates.flops import Shape
from fcdist.training.estimates.hardware import GPUS
from fcdist.training.estimates.memory import MASTER, MOMENTS


@dataclass(frozen=True, slots=True)
class Work:
    """What a run computes."""

    steps: int
    flops_per_step: float
    """Of all ranks, on unique tokens, recomputation included; the mean of the epoch."""
    idle_share: float
    """Of the ranks' time, waiting for the slowest of a micro-step."""
    hours: float
    """Of the whole run, without start, evaluation and saves."""


def attended_pairs_of(step: GlobalBatch, batch: BatchConfig) -> float:
    """Pairs of tokens that a step attends, which its planned cost holds beside tokens and targets."""
    return sum(step.costs) / 2 - step.num_unique_tokens * batch.token_cost - step.num_targets * batch.target_cost


def estimate_work(cfg: Config, plan: Sequence[GlobalBatch], world_size: int, scale: float = 1.0) -> Work:
    """FLOPs and hours on the GPUs and at the utilisation of `cfg.preflight`.

    Args:
        cfg: of the run.
        plan: of one epoch.
        world_size: ranks, a GPU each.
        scale: how many times more data the run has than the plan; above 1 the steps are reckoned from the tokens, and
            waiting is left out.
    """
    shape = Shape.of(outline(cfg))
    total = scale * sum(
        shape.cost(
            step.num_unique_tokens,
            attended_pairs_of(step, cfg.batch),
            step.num_targets,
            cfg.train.activation_checkpointing,
        ).total
        for step in plan
    )
    if scale == 1:
        in_epoch = len(plan)
        idle = idle_share(plan, cfg.batch.micro_batch_size, cfg.batch.dp_world_size(world_size))
    else:
        room = cfg.batch.global_batch_size * cfg.batch.seq_len * MAX_FILL / 1000
        in_epoch, idle = math.ceil(scale * sum(step.num_unique_tokens for step in plan) / room), 0.0
    steps = cfg.train.max_steps or cfg.train.epochs * in_epoch
    rate = GPUS[cfg.preflight.gpu].bf16_flops * cfg.preflight.mfu * world_size * (1 - idle)
    return Work(steps, total / in_epoch, idle, steps * total / in_epoch / rate / 3600)


def checkpoint_bytes(cfg: Config, trained: int | None = None) -> int:
    """Size of one checkpoint: fp32 masters and moments of what trains, and those weights once more as the model
    computes with them. Frozen weights stay out.

    Args:
        cfg: `model`, `tuning` and `train.precision` count.
        trained: weights that train; None: counted.
    """
    number = count_weights(outline(cfg)).trained if trained is None else trained
    return number * (MASTER + MOMENTS + dtype_of(cfg).itemsize)


def checkpoints_kept(cfg: Config, steps: int) -> int:
    """Checkpoints that lie on the disk at once at most, one being written included."""
    saves = -(-steps // cfg.train.save_every) if cfg.train.save_every else 1
    forever = steps // cfg.train.keep_every if cfg.train.keep_every else 0
    return min(saves, cfg.train.keep_last + 1 + forever)

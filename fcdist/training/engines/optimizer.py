"""AdamW, its parameter groups, and the learning rate as a function of the step."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from fcdist.config.types import OptimConfig
from fcdist.model.adapters import whole_shape

NamedTensors = Iterable[tuple[str, Tensor]]
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each element."""


def learning_rate(cfg: OptimConfig, step: int, num_steps: int) -> float:
    """Learning rate of one step.

    Args:
        cfg: peak rate and shape.
        step: counted from 1.
        num_steps: steps of the whole run.

    Returns:
        Grows linearly to `cfg.lr` at the last warm-up step, then stays, or follows a cosine that reaches
        `cfg.min_lr_fraction * cfg.lr` at `num_steps`.
    """
    warmup = math.ceil(cfg.warmup_fraction * num_steps)
    if step < warmup:
        return cfg.lr * step / warmup
    if cfg.schedule == "constant" or num_steps <= warmup:
        return cfg.lr
    progress = min((step - warmup) / (num_steps - warmup), 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return cfg.lr * (cfg.min_lr_fraction + (1 - cfg.min_lr_fraction) * cosine)


def parameter_groups(parameters: NamedTensors, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay, vectors (norms, biases) do not. Groups that would be empty are left out.

    DeepSpeed strips empty groups itself, which shifts the indices that a checkpoint refers to.
    """
    named = list(parameters)
    decayed = [p for _, p in named if len(whole_shape(p)) >= 2]
    plain = [p for _, p in named if len(whole_shape(p)) < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_optimizer(parameters: NamedTensors, cfg: OptimConfig, fused: bool = False) -> torch.optim.AdamW:
    """AdamW over the given trainable parameters. The rate is set before every step by the engine."""
    groups = parameter_groups(parameters, cfg.weight_decay)
    return torch.optim.AdamW(groups, lr=cfg.lr, betas=(cfg.betas[0], cfg.betas[1]), eps=cfg.eps, fused=fused or None)


def adam_state(optimizer: torch.optim.Optimizer, parameter: Tensor, steps_done: int | None = None) -> dict[str, Tensor]:
    """The state AdamW keeps of one tensor. It makes it at its first step; here it is made before, as zeros.

    Args:
        optimizer: from `build_optimizer`.
        parameter: one that it updates.
        steps_done: updates so far, for the bias correction; None leaves the count as it is.
    """
    state: dict[str, Tensor] = optimizer.state[parameter]
    if not state:
        state["step"] = torch.zeros((), device=parameter.device if optimizer.defaults["fused"] else "cpu")
        state |= {key: torch.zeros_like(parameter, requires_grad=False) for key in MOMENTS}
    if steps_done is not None:
        state["step"].fill_(steps_done)
    return state

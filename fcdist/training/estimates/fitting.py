"""Which settings would make a run fit, tried on the estimate from the cheapest to the dearest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from fcdist.config.types import Config
from fcdist.errors import ModelError
from fcdist.training.estimates.memory import MemoryPlan, estimate_memory

Change = Callable[[Config], Config]
SHORTEST = 1024
"""Tokens below which no shorter pack is tried."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Settings that fit."""

    overrides: str
    """As typed on the command line."""
    plan: MemoryPlan


def fitting_settings(
    cfg: Config, world_size: int, target_share: float, memory: int, most: int = 3
) -> list[Alternative]:
    """The first few changes of settings whose estimate is within `memory`.

    Args:
        cfg: settings that do not fit.
        world_size: ranks.
        target_share: targets a token of a full pack.
        memory: bytes of the device.
        most: alternatives to find.
    """
    found: list[Alternative] = []
    for overrides, changed in _changes(cfg, world_size):
        if any(other.overrides.partition("=")[0] == overrides.partition("=")[0] for other in found):
            continue  # of one key the mildest that fits
        row = changed.batch.micro_batch_size * changed.batch.seq_len
        try:
            plan = estimate_memory(changed, world_size, int(row * target_share))
        except ModelError:  # of a class without checkpointing, for example
            continue
        if plan.peak <= memory:
            found.append(Alternative(overrides, plan))
            if len(found) == most:
                break
    return found


def _changes(cfg: Config, world_size: int) -> Iterator[tuple[str, Config]]:
    """Each change that is left to make alone, then, in the same order, the first two of them, the first three, ..."""
    steps = list(_single_changes(cfg, world_size))
    for name, change in steps:
        yield name, change(cfg)
    so_far = cfg
    names: list[str] = []
    for name, change in steps:
        so_far, names = change(so_far), [*(n for n in names if n.partition("=")[0] != name.partition("=")[0]), name]
        if len(names) > 1:
            yield " ".join(names), so_far


def _single_changes(cfg: Config, world_size: int) -> Iterator[tuple[str, Change]]:
    if cfg.batch.micro_batch_size > 1:
        yield "batch.micro_batch_size=1", lambda c: replace(c, batch=replace(c.batch, micro_batch_size=1))
    if not cfg.train.activation_checkpointing:
        yield (
            "train.activation_checkpointing=true",
            lambda c: replace(c, train=replace(c.train, activation_checkpointing=True)),
        )
    if cfg.zero.engine == "local" and world_size > 1:
        yield "zero=zero2", lambda c: replace(c, zero=replace(c.zero, engine="deepspeed", stage=2))
    if (cfg.zero.engine == "local" or cfg.zero.stage < 3) and world_size > 1:
        yield "zero=zero3", lambda c: replace(c, zero=replace(c.zero, engine="deepspeed", stage=3))
    if cfg.zero.engine == "local" or not cfg.zero.offload_optimizer:
        yield (
            "zero=zero3_offload",
            lambda c: replace(c, zero=replace(c.zero, engine="deepspeed", stage=3, offload_optimizer=True)),
        )
    length = cfg.batch.seq_len
    while (length := length // 2) >= SHORTEST:
        yield f"batch.seq_len={length}", partial(_with_length, length)
    if cfg.tuning.mode == "full":
        yield "tuning=lora", lambda c: replace(c, tuning=replace(c.tuning, mode="lora"))


def _with_length(length: int, cfg: Config) -> Config:
    return replace(cfg, batch=replace(cfg.batch, seq_len=length))

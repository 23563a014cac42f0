"""Which settings would make a run fit, tried on the estimate from the cheapest to the dearest, or named as advice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from fcdist.config.types import Config
from fcdist.errors import ConfigError, FcdistError, ModelError
from fcdist.model.sequence_parallel import check_heads
from fcdist.training.estimates.activations import outline
from fcdist.training.estimates.memory import MemoryPlan, estimate_memory

SHORTEST = 1024
"""Tokens below which no shorter pack is tried."""


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that takes memory off a rank."""

    overrides: str
    """As typed on the command line."""
    remark: str
    """What it is now, or what it costs."""
    apply: Callable[[Config], Config]

    @property
    def key(self) -> str:
        """What is set."""
        return _key(self.overrides)


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
    for overrides, changed in _attempts(cfg, world_size):
        if any(_key(other.overrides) == _key(overrides) for other in found):
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


def advice(cfg: Config, world_size: int, most: int = 3) -> str:
    """The first few changes that are left to make, of each key the mildest, as a sentence."""
    mildest: dict[str, str] = {}
    for change in single_changes(cfg, world_size):
        mildest.setdefault(change.key, f"{change.overrides} ({change.remark})")
    ranks = "more ranks (launch.nodes, launch.nproc_per_node), over which ZeRO spreads its state"
    return f"What would help: {'; '.join([*mildest.values(), ranks][:most])}"


def single_changes(cfg: Config, world_size: int) -> Iterator[Change]:
    """Changes of one setting that are not yet made and take memory off a rank, from the cheapest to the dearest."""
    batch, zero = cfg.batch, cfg.zero
    is_local, shards = zero.engine == "local", world_size > 1
    if batch.micro_batch_size > 1:
        now = f"now {batch.micro_batch_size}"
        yield Change("batch.micro_batch_size=1", now, lambda c: _with_batch(c, micro_batch_size=1))
    if not cfg.train.activation_checkpointing:
        yield Change(
            "train.activation_checkpointing=true",
            "about a third more time",
            lambda c: replace(c, train=replace(c.train, activation_checkpointing=True)),
        )
    if is_local and shards:
        yield Change("zero=zero2", f"shards the optimizer over {world_size} ranks", lambda c: _with_zero(c, 2))
    if (is_local or zero.stage < 3) and shards:
        now = "plain torch" if is_local else f"stage {zero.stage}"
        yield Change("zero=zero3", f"now {now}", lambda c: _with_zero(c, 3))
    if (more := _more_ranks_a_pack(cfg, world_size)) is not None:
        yield Change(
            f"batch.sequence_parallel={more}",
            f"now {batch.sequence_parallel}; so many ranks divide the activations of a pack",
            lambda c: _with_batch(c, sequence_parallel=more),
        )
    if is_local or not zero.offload_optimizer:
        remark = "optimizer in host memory, slower updates"
        yield Change("zero=zero3_offload", remark, lambda c: _with_zero(c, 3, offload_optimizer=True))
    length = batch.seq_len
    while (length := length // 2) >= SHORTEST:
        now = f"now {batch.seq_len}; longer examples are then refused"
        yield Change(f"batch.seq_len={length}", now, partial(_with_batch, seq_len=length))
    if cfg.tuning.mode == "full":
        remark = "no optimizer state for the model's own weights"
        yield Change("tuning=lora", remark, lambda c: replace(c, tuning=replace(c.tuning, mode="lora")))


def _attempts(cfg: Config, world_size: int) -> Iterator[tuple[str, Config]]:
    """Each change that is left to make alone, then, in the same order, the first two of them, the first three, ..."""
    steps = list(single_changes(cfg, world_size))
    for change in steps:
        yield change.overrides, change.apply(cfg)
    so_far = cfg
    names: list[str] = []
    for change in steps:
        so_far = change.apply(so_far)
        names = [*(name for name in names if _key(name) != change.key), change.overrides]
        if len(names) > 1:
            yield " ".join(names), so_far


def _more_ranks_a_pack(cfg: Config, world_size: int) -> int | None:
    """The next larger batch.sequence_parallel that ranks and attention heads allow; None: there is none."""
    now = cfg.batch.sequence_parallel
    for factor in range(2, world_size // now + 1):
        if world_size % (now * factor) == 0:
            try:
                check_heads(outline(cfg), now * factor)
            except ConfigError:
                continue
            except (FcdistError, RuntimeError, MemoryError):  # no outline: heads unknown; advice must come in any case
                return None
            return now * factor
    return None


def _key(overrides: str) -> str:
    return overrides.partition("=")[0]


def _with_batch(cfg: Config, **changes: int) -> Config:
    return replace(cfg, batch=replace(cfg.batch, **changes))


def _with_zero(cfg: Config, stage: Literal[1, 2, 3], **changes: bool) -> Config:
    return replace(cfg, zero=replace(cfg.zero, engine="deepspeed", stage=stage, **changes))

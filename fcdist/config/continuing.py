"""Which settings a run keeps from its first step to its last."""

from collections.abc import Mapping
from typing import Any

from fcdist.config.mapping import flatten
from fcdist.config.types import BatchConfig

FIXED = (
    "seed",
    "model",
    "protocol",
    "tuning",
    "optim",
    *(f"batch.{key}" for key in BatchConfig().plan_settings()),
    "train.precision",
)
"""Settings that make the weights and batches what they are. `train.epochs` and `train.max_steps` may grow; ranks,
`zero`, `batch.micro_batch_size` and `batch.sequence_parallel` may change: they only say how a step is divided."""


def fixed_differences(before: Mapping[str, Any], after: Mapping[str, Any], also: tuple[str, ...] = ()) -> list[str]:
    """Settings of a run that may not change and did, each as `key: old → new`.

    Args:
        before: nested settings the run was begun with.
        after: nested settings of now.
        also: keys, or groups of keys, that may not change either.
    """
    there, here = flatten(before), flatten(after)
    fixed = (*FIXED, *also)
    keys = [key for key in sorted({*here, *there}) if any(key == one or key.startswith(f"{one}.") for one in fixed)]
    return [f"{key}: {there.get(key)!r} → {here.get(key)!r}" for key in keys if here.get(key) != there.get(key)]

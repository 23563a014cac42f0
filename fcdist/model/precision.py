"""In which precision a run computes: `train.precision`, or what the hardware multiplies fast."""

from dataclasses import replace

import torch

from fcdist.config.types import Config

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
_CPU_FEATURES = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Of x86 and Arm: without one of them torch multiplies bf16 matrices some 70 times slower than fp32 ones."""


def resolve_precision(cfg: Config, has_bf16: bool | None = None) -> Config:
    """`cfg` with `train.precision=auto` replaced by what it means.

    Args:
        cfg: settings of a run.
        has_bf16: whether the hardware has instructions for bf16; None: look at this machine.
    """
    if cfg.train.precision != "auto":
        return cfg
    has_bf16 = multiplies_bf16() if has_bf16 is None else has_bf16
    return replace(cfg, train=replace(cfg.train, precision="bf16" if has_bf16 else "fp32"))


def dtype_of(cfg: Config) -> torch.dtype:
    """Precision of the weights of a run."""
    return DTYPES[resolve_precision(cfg).train.precision]


def multiplies_bf16(device: str = "") -> bool:
    """Whether `device` (`cuda`, `cpu`; empty: the GPU if there is one) has instructions for bf16."""
    if device != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in _CPU_FEATURES)


def slow_precision(cfg: Config) -> str | None:
    """A warning if `train.precision` is one that this machine has no instructions for."""
    if cfg.train.precision != "bf16" or multiplies_bf16():
        return None
    where = "this GPU" if torch.cuda.is_available() else "this CPU"
    return f"train.precision=bf16: {where} has no instructions for it and will be very slow; fp32 or auto are faster"

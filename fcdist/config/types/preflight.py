"""What a run is estimated for."""

from dataclasses import dataclass
from typing import Literal

from fcdist.config.types.checks import require

GpuName = Literal[
    "a10", "a100-40", "a100-80", "b200", "h100", "h100-pcie", "h200", "l4", "l40s", "mi250x", "mi300x", "rtx4090"
]  # fmt: skip
"""See fcdist/training/estimates/hardware.py."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreflightConfig:
    """What `fcdist preflight` estimates for."""

    gpu: GpuName = "h100"
    """One on each rank."""
    mfu: float = 0.4
    """Share of the GPU's bf16 peak that the FLOPs of a step reach, recomputed ones included. Assumed, not measured."""

    def __post_init__(self) -> None:
        require(0 < self.mfu <= 1, f"preflight.mfu={self.mfu} must be above 0 and at most 1")

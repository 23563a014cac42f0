"""What a checkpoint must share with the run that loads it."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fcdist
from fcdist.config.continuing import fixed_differences
from fcdist.config.mapping import to_mapping
from fcdist.config.types import Config

PACKAGES = ("torch", "transformers", "peft", "deepspeed", "safetensors")


@dataclass(frozen=True, slots=True)
class Identity:
    """Settings and fingerprints of a run."""

    config: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    """Of the token store, the composed template and the base model's weights (`store`, `renderer`, `base model`)."""

    @classmethod
    def of(cls, cfg: Config, store: str, renderer: str = "", base_model: str = "") -> "Identity":
        """Identity of a run."""
        return cls(to_mapping(cfg), {"store": store, "renderer": renderer, "base model": base_model})

    def differences(self, state: Mapping[str, Any]) -> list[str]:
        """Keys that differ from a checkpoint's state.json, each with both values."""
        found = fixed_differences(state["config"], self.config)
        for name, value in self.fingerprints.items():
            if state["fingerprints"].get(name) != value:
                found.append(f"fingerprint of the {name}: {state['fingerprints'].get(name)!r} → {value!r}")
        return found


def versions() -> dict[str, str]:
    """Versions of what made a checkpoint."""
    found = {"fcdist": fcdist.__version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found

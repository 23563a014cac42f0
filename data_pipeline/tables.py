"""The data files beside the code: YAML, read with libyaml where PyYAML was built with it (ten times as fast)."""

from pathlib import Path
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Pair = tuple[str, str]
"""English and Chinese."""


def pairs(text: str) -> tuple[Pair, ...]:
    """ "red|红色; blue|蓝色" as pairs; what is written alone is the same in both languages."""
    items = (item.partition("|") for item in text.split("; ") if item)
    return tuple((english, chinese or english) for english, _, chinese in items)


def read_table(path: Path) -> Any:
    """What a YAML file says. Raises YAMLError with file and line where it is none."""
    with path.open("rb") as file:
        return yaml.load(file, _LOADER)

"""The data files beside the code: YAML, read with libyaml where PyYAML was built with it (ten times as fast)."""

from pathlib import Path
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_table(path: Path) -> Any:
    """What a YAML file says. Raises YAMLError with file and line where it is none."""
    with path.open("rb") as file:
        return yaml.load(file, _LOADER)

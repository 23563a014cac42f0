"""Where `conf/` and `slurm/` are: inside the installed wheel, else beside the package in a checkout."""

from pathlib import Path

from fcdist.errors import ConfigError


def resource_dir(name: str) -> Path:
    """Folder `name` shipped with fcdist. Raises ConfigError if the installation lacks it."""
    here = Path(__file__).resolve().parent
    for folder in (here / name, here.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"this installation has no {name}/ folder (looked in {here} and {here.parent}); reinstall fcdist")

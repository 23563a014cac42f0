"""Which checkpoint of a folder is the newest complete one. What is not complete is never taken for one.

    RUN/checkpoints/step-000123/MANIFEST.json     size and sha256 of every other file

A checkpoint is complete if it has its final name and a manifest that every file agrees with.
"""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcdist.errors import CheckpointError
from fcdist.training.checkpoints.durable import Written, flush_folder, sha256_of, write_file

logger = logging.getLogger(__name__)

MANIFEST, STATE = "MANIFEST.json", "state.json"
FORMAT = 2
NAME = re.compile(r"step-(\d{6,})")


def folder_name(step: int) -> str:
    """Of the checkpoint after `step`."""
    return f"step-{step:06d}"


def checkpoints_by_step(folder: Path) -> dict[int, Path]:
    """Folders with the name of a checkpoint, complete or not, newest first."""
    found = {int(match[1]): path for path in folder.glob("step-*") if (match := NAME.fullmatch(path.name))}
    return dict(sorted(found.items(), reverse=True))


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint below RUN/checkpoints; torn ones are skipped with a warning. None: no such."""
    for path in checkpoints_by_step(folder).values():
        if (problem := find_damage(path)) is None:
            return path
        logger.warning("%s is skipped: %s", path, problem)
    return None


def find_damage(path: Path, reader: int = 0, num_readers: int = 1) -> str | None:
    """Why a checkpoint must not be used: a file is missing, cut or altered. None if it is whole.

    Args:
        path: folder of the checkpoint.
        reader: which of `num_readers` this is, where ranks divide the checksums among themselves.
        num_readers: together they read every file once. Presence and sizes are checked by each.
    """
    try:
        files = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]
        for i, (name, entry) in enumerate(files.items()):
            file = path / name
            if not file.is_file():
                return f"{name} is missing"
            if (size := file.stat().st_size) != entry["size"]:
                return f"{name} has {size} bytes, not {entry['size']}"
            if i % num_readers == reader and sha256_of(file) != entry["sha256"]:
                return f"{name} does not match its checksum"
    except FileNotFoundError:
        return f"{MANIFEST} is missing, the save did not finish"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    return None if STATE in files else f"{MANIFEST} lists no {STATE}"


def read_state(path: Path) -> dict[str, Any]:
    """state.json of a checkpoint. Raises CheckpointError if it is unreadable or of another format."""
    try:
        state: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / STATE}: cannot be read: {error}") from None
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path / STATE}: format {state.get('format')!r}; this version goes on from {FORMAT}. Finish the run with "
            "the version that began it, or train in another run_dir; its weights can be evaluated and exported as ever"
        )
    return state


def write_manifest(folder: Path, files: Mapping[str, Written]) -> None:
    """List the files of a checkpoint, and flush the names of all of them. Raises OSError."""
    table = {name: {"size": files[name].size, "sha256": files[name].sha256} for name in sorted(files)}
    write_file(folder / MANIFEST, [json.dumps({"files": table}, indent=1).encode()])
    for path in {(folder / name).parent for name in files} | {folder}:
        flush_folder(path)

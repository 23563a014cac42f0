"""Small files written whole or not at all. Every room may use it: it imports nothing of fcdist."""

import os
import secrets
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write beside, flush and rename, so that a reader sees the old file or the new one, never half of one.

    Raises:
        OSError: the disk is full or broken; what was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def partial_path(path: Path) -> Path:
    """Where to write what `path` will be. Jobs on several machines may write the same file at once, each its own."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")

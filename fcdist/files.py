"""Files written whole or not at all. Every room may use it: it imports nothing of fcdist."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path`, flushed and renamed to it in the end, so that a reader sees the old one or the new one.

    Raises:
        OSError: the disk is full or broken; what was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a small text file, in UTF-8 and with the line ends of `text`. Raises OSError as `written_whole` does."""
    with written_whole(path) as file:
        file.write(text.encode())


def partial_path(path: Path) -> Path:
    """Where to write what `path` will be. Jobs on several machines may write the same file at once, each its own."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")

"""Files that last: flushed to the disk before anything refers to them, so that a killed or powered-off machine leaves
either the old state or the new one.

Every change of the disk that a checkpoint makes goes through `os` here or in `shutil.rmtree`; the tests make each of
these calls fail, and stop the program at each.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MAX_WRITE = 1 << 24
"""Bytes given to one system call; between two of them other threads run."""


@dataclass(frozen=True, slots=True)
class Written:
    """What went into a file."""

    size: int
    sha256: str


def write_file(path: Path, pieces: Iterable[bytes | memoryview]) -> Written:
    """Write `pieces` one after the other and flush them; the checksum is taken on the way, nothing is read back.

    Neither writing nor hashing holds the interpreter: a background thread that does it leaves the step its time.

    Raises:
        OSError: the disk is full or broken; the file may then be there in part.
    """
    digest, size = hashlib.sha256(), 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        for piece in pieces:
            left = memoryview(piece).cast("B")
            while len(left):
                written = os.write(handle, left[:MAX_WRITE])
                digest.update(left[:written])
                left, size = left[written:], size + written
        os.fsync(handle)
    finally:
        os.close(handle)
    return Written(size, digest.hexdigest())


def make_folder(path: Path) -> None:
    """Make a folder with its parents, each flushed into the one above."""
    if not path.is_dir():
        make_folder(path.parent)
        os.mkdir(path)
        flush_folder(path.parent)


def rename(path: Path, name: Path) -> None:
    """Give a file or folder its name at once: a reader sees it whole or not at all."""
    os.replace(path, name)
    flush_folder(name.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder, in one step for whoever looks: it first becomes hidden. One that is not there is no error."""
    if not path.exists():
        return
    if not path.name.startswith("."):
        hidden = path.with_name(f".{path.name}.old")
        remove_folder(hidden)
        rename(path, hidden)
        path = hidden
    shutil.rmtree(path)


def flush_folder(path: Path) -> None:
    """Make names in a folder last."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

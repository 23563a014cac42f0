"""Checkpoint folders made by hand, and a disk that fails or stops where it is told to."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fcdist.training.checkpoints.durable import Written, sha256_of
from fcdist.training.checkpoints.finding import MANIFEST, write_manifest


def seal(folder: Path) -> None:
    """Write the manifest of whatever lies in `folder`."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
    write_manifest(folder, {p.relative_to(folder).as_posix(): Written(p.stat().st_size, sha256_of(p)) for p in paths})


class Stopped(BaseException):
    """The program ended here; nothing that follows may run."""


CALLS = ("open", "mkdir", "write", "fsync", "replace", "unlink", "rmdir")
"""Functions of `os` by which a save changes the disk."""
FAULTS = ("error", "full", "stop", "torn write", "power cut")


class Disk:
    """Stands in for `os`'s calls; at call number `at` it strikes. Real flushing is left out: nothing here is lost.

    Args:
        at: counted from 0; None only counts.
        fault: `error`: this call fails. `full`: from here on nothing more can be written. `stop`: the program ends.
            `torn write`: likewise, with half of the bytes written. `power cut`: likewise, and files that were not
            flushed are empty afterwards.
    """

    def __init__(self, at: int | None = None, fault: str = "error") -> None:
        self.calls, self.struck = 0, False
        self._at, self._fault = at, fault
        self._real = {name: getattr(os, name) for name in CALLS}
        self._paths: dict[int, str] = {}
        self._dirty: set[str] = set()

    @contextmanager
    def used(self) -> Iterator["Disk"]:
        """Use it for the time of the block."""
        for name in CALLS:
            setattr(os, name, self._wrap(name))
        try:
            yield self
        finally:
            for name, real in self._real.items():
                setattr(os, name, real)

    def _wrap(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            strikes = self.calls == self._at
            self.calls += 1
            self.struck |= strikes
            if strikes or (self.struck and self._fault != "error"):
                self._strike(name, args, strikes)
            result = None if name == "fsync" else self._real[name](*args, **kwargs)
            self._note(name, args, result)
            return result

        return call

    def _strike(self, name: str, args: tuple[Any, ...], first: bool) -> None:
        if self._fault == "error":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self._fault == "full":
            grows = name in ("mkdir", "write") or (name == "open" and args[1] & os.O_CREAT)
            if grows:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return
        if first and self._fault == "torn write" and name == "write":
            self._real["write"](args[0], args[1][: len(args[1]) // 2])
        if first and self._fault == "power cut":
            for path in self._dirty:
                if os.path.exists(path):
                    os.truncate(path, 0)
        raise Stopped

    def _note(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        if name == "open":
            self._paths[result] = str(args[0])
        elif name == "write":
            self._dirty.add(self._paths[args[0]])
        elif name == "fsync":
            self._dirty.discard(self._paths.get(args[0], ""))


def fill(disk: Path, free: int = 0) -> Path:
    """Take the space of a file system but for `free` bytes, with a file whose path is returned."""
    ballast = disk / "ballast"
    space = os.statvfs(disk)
    room = space.f_bavail * space.f_frsize - free
    with ballast.open("wb") as file:
        if room > 0:
            os.posix_fallocate(file.fileno(), 0, room)
    return ballast

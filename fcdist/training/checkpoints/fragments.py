"""Training state as stretches of named parameters: what any engine, ZeRO stage or number of ranks can write and read.

ZeRO gives each rank other stretches of the fp32 masters and Adam moments. Written as (parameter, first element, values)
they need no gathering to save, and each rank of another run picks what overlaps with its own:

    engine/part-00000.safetensors   tensors `master/NAME`, `exp_avg/NAME`, `exp_avg_sq/NAME`, flat;
                                    header: NAME → first element

Memory and traffic are those of one rank's own part, 12 bytes an element, whatever the size of the model.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fcdist.errors import CheckpointError
from fcdist.training.checkpoints.durable import Written
from fcdist.training.checkpoints.tensor_file import TensorSpec, write_tensors
from fcdist.training.engines.optimizer import MOMENTS

MASTER = "master"
PARTS = (MASTER, *MOMENTS)
STARTS = "starts"


@dataclass(frozen=True, slots=True)
class Fragment:
    """A stretch of one flattened parameter with its training state."""

    name: str
    start: int
    """First element, counted in the whole parameter."""
    tensors: Mapping[str, Tensor]
    """PARTS → [length] fp32. From an engine they are views: writing into them changes its state."""

    @property
    def stop(self) -> int:
        """One past the last element."""
        return self.start + self.tensors[MASTER].numel()

    def cut(self, start: int, stop: int) -> "Fragment":
        """The elements from `start` to `stop`, counted in the whole parameter; views again."""
        tensors = {part: tensor[start - self.start : stop - self.start] for part, tensor in self.tensors.items()}
        return Fragment(self.name, start, tensors)


def share(fragments: Iterable[Fragment], rank: int, num_ranks: int) -> list[Fragment]:
    """This rank's share of fragments that every rank holds alike."""
    mine = []
    for fragment in fragments:
        length = fragment.stop - fragment.start
        start, stop = (fragment.start + length * i // num_ranks for i in (rank, rank + 1))
        if start < stop:
            mine.append(fragment.cut(start, stop))
    return mine


def num_bytes(fragments: Iterable[Fragment]) -> int:
    """Bytes of all tensors."""
    return sum(tensor.nbytes for fragment in fragments for tensor in fragment.tensors.values())


class HostCopy:
    """A copy in host memory that later steps do not change; its buffers are allocated once and used again."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, str], Tensor] = {}

    @torch.no_grad()
    def take(self, fragments: Sequence[Fragment]) -> list[Fragment]:
        """Copy all values; from a GPU into pinned memory. It overwrites the copy taken before."""
        copies = []
        for fragment in fragments:
            tensors = {part: self._buffer(fragment.name, part, like) for part, like in fragment.tensors.items()}
            for part, tensor in tensors.items():
                tensor.copy_(fragment.tensors[part], non_blocking=True)
            copies.append(Fragment(fragment.name, fragment.start, tensors))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return copies

    def _buffer(self, name: str, part: str, like: Tensor) -> Tensor:
        if (name, part) not in self._buffers:
            self._buffers[name, part] = torch.empty(like.shape, dtype=like.dtype, pin_memory=like.is_cuda)
        return self._buffers[name, part]


def part_path(folder: Path, rank: int) -> Path:
    """File of one rank."""
    return folder / f"part-{rank:05d}.safetensors"


def write_part(path: Path, fragments: Sequence[Fragment]) -> Written:
    """Write one rank's fragments, at most one of each parameter. Raises OSError."""
    tensors = {f"{part}/{f.name}": tensor for f in fragments for part, tensor in f.tensors.items()}
    starts = json.dumps({f.name: f.start for f in fragments})
    specs = {key: TensorSpec.of(tensor) for key, tensor in tensors.items()}
    return write_tensors(path, specs, tensors.__getitem__, {STARTS: starts})


class FragmentReader:
    """Reads fragments of any division from the files of another. Files are opened when needed and kept open.

    Args:
        folder: where `write_part` wrote.
        num_parts: ranks that wrote.
    """

    def __init__(self, folder: Path, num_parts: int) -> None:
        self._folder, self._num_parts = folder, num_parts
        self._open: dict[int, tuple[Any, dict[str, int]]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "FragmentReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @torch.no_grad()
    def fill(self, fragments: Sequence[Fragment], first_part: int = 0) -> None:
        """Overwrite the values of `fragments` with the stored ones.

        Args:
            fragments: where to; elements and parameters of any division.
            first_part: file to look into first. Once all is found no other is opened, which matters where a thousand
                ranks resume as they were.

        Raises:
            CheckpointError: a file cannot be read, or an element is in none.
        """
        missing = {fragment.name: fragment.stop - fragment.start for fragment in fragments}
        for i in range(self._num_parts):
            if not any(missing.values()):
                return
            self._fill_from((first_part + i) % self._num_parts, fragments, missing)
        if lacking := [name for name, count in missing.items() if count]:
            raise CheckpointError(
                f"{self._folder}: {missing[lacking[0]]} elements of {lacking[0]} are in none of the {self._num_parts} "
                f"files ({len(lacking)} parameters lack some): other trainable weights than this model's"
            )

    def _fill_from(self, part: int, fragments: Sequence[Fragment], missing: dict[str, int]) -> None:
        path = part_path(self._folder, part)
        try:
            file, starts = self._file(part)
            for fragment in fragments:
                if fragment.name in starts and missing[fragment.name]:
                    missing[fragment.name] -= _copy_overlap(file, starts[fragment.name], fragment)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: cannot be read: {type(error).__name__}: {error}") from None

    def _file(self, part: int) -> tuple[Any, dict[str, int]]:
        if part not in self._open:
            file = self._stack.enter_context(safe_open(part_path(self._folder, part), "pt"))
            self._open[part] = file, json.loads(file.metadata()[STARTS])
        return self._open[part]


def _copy_overlap(file: Any, stored_start: int, fragment: Fragment) -> int:
    """Copy what a file holds of a fragment; the number of elements."""
    stored_length: int = file.get_slice(f"{MASTER}/{fragment.name}").get_shape()[0]
    start, stop = max(fragment.start, stored_start), min(fragment.stop, stored_start + stored_length)
    if start >= stop:
        return 0
    for part, tensor in fragment.cut(start, stop).tensors.items():
        stored = file.get_slice(f"{part}/{fragment.name}")[start - stored_start : stop - stored_start]
        tensor.copy_(stored)
    return stop - start

"""Safetensors files written tensor by tensor, so that a file may be larger than the memory.

Source of the format: https://huggingface.co/docs/safetensors (8 bytes length, JSON header, tensors without gaps). The
library writes only from whole dictionaries and reads what is written here.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fcdist.training.checkpoints.durable import Written, write_file

DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Type and shape of a tensor, without its values."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> "TensorSpec":
        """Spec of a tensor."""
        return cls(tensor.dtype, tuple(tensor.shape))

    @property
    def numel(self) -> int:
        """Number of elements."""
        return torch.Size(self.shape).numel()

    @property
    def num_bytes(self) -> int:
        """Bytes in a file."""
        return self.numel * self.dtype.itemsize


def write_tensors(
    path: Path, specs: Mapping[str, TensorSpec], read: Callable[[str], Tensor], metadata: Mapping[str, str]
) -> Written:
    """Write a safetensors file.

    Args:
        path: file to write; flushed.
        specs: what it will hold.
        read: gives the tensor of a name, on any device; called once for each, when its turn has come.
        metadata: free text of the header.

    Raises:
        OSError: see `write_file`.
    """
    names = sorted(specs, key=lambda name: (-specs[name].dtype.itemsize, name))  # so that every tensor is aligned
    return write_file(path, _pieces(names, specs, read, metadata))


def _pieces(
    names: list[str], specs: Mapping[str, TensorSpec], read: Callable[[str], Tensor], metadata: Mapping[str, str]
) -> Iterator[bytes | memoryview]:
    yield _header(names, specs, metadata)
    for name in names:
        tensor = read(name).detach().to("cpu").contiguous()
        if TensorSpec.of(tensor) != specs[name]:
            raise ValueError(f"{name} is {TensorSpec.of(tensor)}, announced as {specs[name]}")
        yield tensor.reshape(-1).view(torch.uint8).numpy().data


def _header(names: list[str], specs: Mapping[str, TensorSpec], metadata: Mapping[str, str]) -> bytes:
    table: dict[str, object] = {"__metadata__": {"format": "pt", **metadata}}
    end = 0
    for name in names:
        spec = specs[name]
        begin, end = end, end + spec.num_bytes
        table[name] = {"dtype": DTYPES[spec.dtype], "shape": list(spec.shape), "data_offsets": [begin, end]}
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text

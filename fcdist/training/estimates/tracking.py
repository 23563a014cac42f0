"""Bytes of tensors that are alive, counted as they come and go, on any device; on `meta` without any memory."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations make, each once however many views it has, until it is freed.

    Use it as a context manager. What is made outside of it, on another device, or by a kernel for itself is not
    counted.

    Args:
        device: type of the device whose memory is counted.
    """

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device
        self._sizes: dict[int, int] = {}
        self.live = 0
        """Bytes alive now."""
        self.peak = 0
        """Most bytes alive at a time since the start or `restart`."""

    def add(self, *tensors: Tensor) -> None:
        """Count tensors that were made before."""
        for tensor in tensors:
            if tensor.device.type != self._device:
                continue
            storage = tensor.untyped_storage()
            key = id(storage)  # of the Python object, which torch keeps as long as the storage lives
            if key not in self._sizes:
                self._sizes[key] = storage.nbytes()
                self.live += storage.nbytes()
                weakref.finalize(storage, self._drop, key)
        self.peak = max(self.peak, self.live)

    def restart(self) -> int:
        """Begin a new peak; return the one before."""
        before, self.peak = self.peak, self.live
        return before

    def _drop(self, key: int) -> None:
        self.live -= self._sizes.pop(key)

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        self.add(*(leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)))
        return result

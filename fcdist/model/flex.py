"""Attention over a forest by FlexAttention (CUDA): one compiled kernel, blocks without any visible key skipped.

Slower to start than the cascade (it compiles, and builds a block mask a pack), but the mask is arbitrary: this back end
takes sliding windows over shared prefixes, which the cascade cannot.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from fcdist.model.forest import Layout

MaskFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(batch, head, query row, key row) -> whether the query sees the key; broadcasts."""


def flex_unavailable(device: torch.device) -> str | None:
    """Why FlexAttention cannot train on a device; None if it can."""
    if device.type != "cuda":
        return f"its backward needs a CUDA device, this one is {device.type}"
    return None


def forest_mask(layout: Layout, device: torch.device, window: int | None = None) -> MaskFunction:
    """A token sees the earlier tokens whose segment's subtree it belongs to.

    Args:
        layout: the forest.
        device: where the mask is evaluated.
        window: keys a token sees at most, itself included, counted along its chain of ancestors.
    """
    subtree_end = layout.subtree_end_of_tokens(device)
    if window is None:
        return lambda _batch, _head, query, key: (key <= query) & (query < subtree_end[key])
    position = layout.positions(device)
    return lambda _batch, _head, query, key: (
        (key <= query) & (query < subtree_end[key]) & (position[query] - position[key] < window)
    )


def attend_masked(
    layout: Layout,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float | None,
    window: int | None = None,
) -> Tensor:
    """Attention of a row over its forest.

    Args:
        layout: the forest; it keeps the block masks for the other layers.
        query: [1, H, T, D].
        key: [1, H_kv, T, D].
        value: [1, H_kv, T, D].
        scale: factor on the scores; None: 1 / sqrt(D).
        window: keys a token sees at most, itself included.

    Returns:
        [1, H, T, D].
    """
    block_mask = layout.kept(("block mask", window, query.device), lambda: _block_mask(layout, query.device, window))
    is_grouped = query.shape[1] != key.shape[1]
    output: Tensor = _kernel(query.device.type)(
        query, key, value, block_mask=block_mask, scale=scale, enable_gqa=is_grouped
    )
    return output


def _block_mask(layout: Layout, device: torch.device, window: int | None) -> Any:
    tokens = layout.num_tokens
    return create_block_mask(forest_mask(layout, device, window), None, None, tokens, tokens, device=str(device))


@cache
def _kernel(device_type: str) -> Callable[..., Any]:
    # every pack has another length; uncompiled it would hold all scores, which is for checks on the CPU only
    kernel: Any = torch.compile(flex_attention, dynamic=True) if device_type == "cuda" else flex_attention
    return kernel  # type: ignore[no-any-return]

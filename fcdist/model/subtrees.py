"""Attention over a forest on the CPU: one call a segment, its whole subtree on its own tokens.

In depth-first order a segment and everything below it are one range of rows, and the segment's own tokens begin it.
So one causal call (query i sees key j <= i, both counted from the segment's first token) is causal on the segment and
unmasked below it. A branch gathers its softmax over its ancestors' calls, merged by log-sum-exp; the backward is the
kernel's own with the merged output and lse, as in `cascade`. Only views of the row are taken: no keys are gathered, and
each key's gradient comes from one call.
"""

from typing import Any

import torch
from torch import Tensor

from fcdist.model.cascade import merge, wide
from fcdist.model.forest import Layout

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

FEW_ROWS = 512
"""Below this many queries a call in bf16 takes up to 3.6 times as long as in fp32 (benchmarks/RESULTS.md)."""


def attend_subtrees(layout: Layout, query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
    """Attention of a row over its forest, by torch's flash kernel for the CPU; fp64, fp32 or 16 bit.

    Args:
        layout: the forest.
        query: [1, H, T, D].
        key: [1, H_kv, T, D].
        value: [1, H_kv, T, D].
        scale: factor on the scores.

    Returns:
        [1, H, T, D], laid out as [1, T, H, D].
    """
    row = (_dense(tensor) for tensor in (query, key, value))
    output: Tensor = _Subtrees.apply(*row, layout, scale)  # type: ignore[no-untyped-call]
    return output


class _Subtrees(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float) -> Tensor:
        _, heads, num_tokens, width = query.shape
        sums = query.dtype if layout.is_flat else wide(query.dtype)
        output = query.new_empty(1, num_tokens, heads, width, dtype=sums).transpose(1, 2)
        lse = query.new_empty(1, num_tokens, heads, dtype=wide(query.dtype)).transpose(1, 2)
        for start, end, subtree_end, is_root in layout.subtrees():
            rows, own = _rows(start, subtree_end), _rows(start, end)
            inputs = _convert(query[rows], key[own], value[own])
            part, part_lse = _flash(*inputs, 0.0, True, attn_mask=None, scale=scale)
            if is_root:
                output[rows], lse[rows] = part, part_lse
            else:
                merge(output[rows], lse[rows], part, part_lse)
        output = output.to(query.dtype)
        ctx.save_for_backward(query, key, value, output, lse)
        ctx.arguments = (layout, scale)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, lse = ctx.saved_tensors
        layout, scale = ctx.arguments
        grad = _dense(grads[0])
        grad_query = torch.empty_like(query, dtype=query.dtype if layout.is_flat else wide(query.dtype))
        grad_key, grad_value = torch.empty_like(key), torch.empty_like(value)
        for start, end, subtree_end, is_root in layout.subtrees():
            rows, own = _rows(start, subtree_end), _rows(start, end)
            inputs = _convert(grad[rows], query[rows], key[own], value[own], output[rows])
            part, grad_key[own], grad_value[own] = _flash_backward(
                *inputs, lse[rows], 0.0, True, attn_mask=None, scale=scale
            )
            if is_root:
                grad_query[rows] = part
            else:
                grad_query[rows] += part
        return grad_query.to(query.dtype), grad_key, grad_value, None, None


def _dense(tensor: Tensor) -> Tensor:
    """The kernel reads the last dimension as contiguous, whatever its stride."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _rows(start: int, end: int) -> tuple[slice, slice, slice]:
    """Index of a range of rows in [1, H, T, ...]."""
    return slice(None), slice(None), slice(start, end)


def _convert(rows: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """What one call computes in: with few query rows the 16-bit kernel is slower than the one for fp32."""
    dtype = wide(rows.dtype) if rows.shape[2] < FEW_ROWS else rows.dtype
    return tuple(tensor.to(dtype) for tensor in (rows, *others))

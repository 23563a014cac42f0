"""Variable-length attention over a forest, in launches merged by log-sum-exp.

Launch 0 is causal over all segments; launch d + 1 lets everything below the nodes of depth d attend to those nodes,
without a mask. The softmax over the union of keys is the sum of the parts weighted by exp(lse_part - lse), and the
backward of every part is the kernel's own, called with the merged output and lse: the kernels only ever use
`exp(score - lse)` and `sum(output * grad)`, which are those of the whole softmax. So keys are never gathered per
branch, and the number of launches is the depth of the forest.

Source of the merge: Liu et al. 2023, arXiv:2310.01889 (ring attention).
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from fcdist.errors import ModelError
from fcdist.model.forest import Launch, Layout


class VarlenKernel(Protocol):
    """Attention over N ranges of queries [Q, H, D] and keys [K, H_kv, D], laid one after the other."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, launch: Launch, scale: float, window: int | None
    ) -> tuple[Tensor, Tensor]:
        """Output [Q, H, D] and log-sum-exp of the scores [H, Q] in fp32."""
        ...

    def backward(
        self,
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
        lse: Tensor,
        launch: Launch,
        scale: float,
        window: int | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of query, key and value, given the output and lse of the whole softmax."""
        ...


class _TorchFlash:
    """The flash kernels inside torch (CUDA)."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, launch: Launch, scale: float, window: int | None
    ) -> tuple[Tensor, Tensor]:
        output, lse, *_ = torch.ops.aten._flash_attention_forward(
            query,
            key,
            value,
            launch.cu_q,
            launch.cu_k,
            launch.max_q,
            launch.max_k,
            0.0,
            launch.causal,
            False,
            scale=scale,
            window_size_left=window - 1 if window else -1,
            window_size_right=0 if window else -1,
        )
        if lse.shape != (query.shape[1], query.shape[0]):
            raise ModelError(
                f"torch {torch.__version__} returns the log-sum-exp of flash attention as {tuple(lse.shape)}; "
                f"[heads, queries] = {(query.shape[1], query.shape[0])} is needed. Use attention.backend=sdpa."
            )
        return output, lse

    def backward(
        self,
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
        lse: Tensor,
        launch: Launch,
        scale: float,
        window: int | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        # seed and offset of a dropout that is 0
        seed = torch.zeros(2, dtype=torch.uint64, device=query.device)
        unused = torch.empty(0, device=query.device)
        gradients = torch.ops.aten._flash_attention_backward(
            grad,
            query,
            key,
            value,
            output,
            lse,
            launch.cu_q,
            launch.cu_k,
            launch.max_q,
            launch.max_k,
            0.0,
            launch.causal,
            seed,
            unused,
            scale=scale,
            window_size_left=window - 1 if window else -1,
            window_size_right=0 if window else -1,
        )
        return gradients[0], gradients[1], gradients[2]


TORCH_FLASH = _TorchFlash()


def flash_unavailable(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why torch's flash kernels cannot run; None if they can."""
    if device.type == "cpu":
        return None
    if device.type != "cuda":
        return f"it needs a CUDA device or the CPU, this one is {device.type}"
    if not torch.backends.cuda.is_flash_attention_available():
        return f"torch {torch.__version__} was built without flash attention"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return f"it needs compute capability 8.0 or newer, {torch.cuda.get_device_name(device)} is older"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"it needs 16-bit weights, these are {dtype} (train.precision=bf16)"
    return None


def attend_cascade(
    kernel: VarlenKernel,
    layout: Layout,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float,
    window: int | None = None,
) -> Tensor:
    """Attention of a row over its forest.

    Args:
        kernel: computes one launch.
        layout: the forest.
        query: [T, H, D].
        key: [T, H_kv, D].
        value: [T, H_kv, D].
        scale: factor on the scores.
        window: keys a token sees at most, itself included.

    Returns:
        [T, H, D].

    Raises:
        ModelError: a window reaches across branches, where a launch cannot tell how far back a key is.
    """
    window = layout.cutting(window)
    if window is not None and not layout.is_flat:
        raise ModelError(
            f"the cascade cannot apply a sliding window of {window} tokens to shared prefixes "
            f"(longest chain {layout.longest_chain}); use attention.backend=sdpa or flex"
        )
    output: Tensor = _Cascade.apply(query, key, value, kernel, layout, scale, window)  # type: ignore[no-untyped-call]
    return output


class _Cascade(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kernel: VarlenKernel,
        layout: Layout,
        scale: float,
        window: int | None,
    ) -> Tensor:
        first, *levels = layout.launches(query.device)
        output, lse = kernel.forward(query, key, value, first, scale, window)
        if levels:
            dtype = output.dtype
            output = output.to(wide(dtype))
            for launch in levels:
                part, part_lse = kernel.forward(*_rows(launch, query, key, value), launch, scale, None)
                index = launch.query_index
                merged, merged_lse = output[index], lse[:, index]
                merge(merged.transpose(0, 1), merged_lse, part.transpose(0, 1), part_lse)
                output[index], lse[:, index] = merged, merged_lse
            output = output.to(dtype)
        ctx.save_for_backward(query, key, value, output, lse)
        ctx.arguments = (kernel, layout, scale, window)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, lse = ctx.saved_tensors
        kernel, layout, scale, window = ctx.arguments
        grad = grads[0].contiguous()
        first, *levels = layout.launches(query.device)
        totals = kernel.backward(grad, query, key, value, output, lse, first, scale, window)
        if levels:
            totals = tuple(total.to(wide(total.dtype)) for total in totals)
            for launch in levels:
                index = launch.query_index
                parts = kernel.backward(
                    grad[index],
                    *_rows(launch, query, key, value),
                    output[index],
                    lse[:, index].contiguous(),
                    launch,
                    scale,
                    None,
                )
                for total, part, rows in zip(totals, parts, (index, launch.key_index, launch.key_index), strict=True):
                    total[rows] += part  # rows of a launch are distinct
            totals = tuple(t.to(x.dtype) for t, x in zip(totals, (query, key, value), strict=True))
        return (*totals, None, None, None, None)


def merge(output: Tensor, lse: Tensor, part: Tensor, part_lse: Tensor) -> None:
    """Add the keys of `part` to the softmax of `output`, in place.

    Args:
        output: [..., Q, D], at least fp32.
        lse: [..., Q] log-sum-exp of the scores that made `output`.
        part: [..., Q, D], any precision.
        part_lse: [..., Q].
    """
    total = torch.logaddexp(lse, part_lse)
    output.mul_(torch.exp(lse - total)[..., None]).addcmul_(part, torch.exp(part_lse - total)[..., None])
    lse.copy_(total)


def wide(dtype: torch.dtype) -> torch.dtype:
    """At least fp32: parts of a softmax or of a gradient are added up in it."""
    return torch.promote_types(dtype, torch.float32)


def _rows(launch: Launch, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return query[launch.query_index], key[launch.key_index], value[launch.key_index]

"""Kernels in plain torch in place of the CUDA ones, so that all but the kernels themselves runs on any machine."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from fcdist.model import attention, flex
from fcdist.model.attention import FLASH, FLEX, REFERENCE
from fcdist.model.cascade import attend_cascade

BACKENDS = {
    "sdpa": REFERENCE,
    "flash on the CPU": FLASH,
    "flash on CUDA": FLASH,
    "flex": FLEX,
}
"""What is tested: the name for `set_attention`. The last two with the kernels below."""


def wide(tensor):
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class DenseKernel:
    """One launch by explicit softmax; the backward uses the given output and lse only, as flash kernels do."""

    def __init__(self):
        self.launches = 0

    def forward(self, query, key, value, launch, scale, window):
        self.launches += 1
        outputs, sums = [], []
        for q, k, v, mask in self._ranges(query, key, value, launch, window):
            scores = (torch.einsum("qhd,khd->hqk", q, k) * scale).masked_fill(~mask, -torch.inf)
            sums.append(scores.logsumexp(-1))
            outputs.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), v))
        return torch.cat(outputs).to(query.dtype), torch.cat(sums, dim=1)

    def backward(self, grad, query, key, value, output, lse, launch, scale, window):
        result = [torch.zeros_like(tensor) for tensor in (query, key, value)]
        grad, output = wide(grad), wide(output)
        group = query.shape[1] // key.shape[1]
        for n, (q, k, v, mask) in enumerate(self._ranges(query, key, value, launch, window)):
            rows, columns = slice(*launch.cu_q[n : n + 2].tolist()), slice(*launch.cu_k[n : n + 2].tolist())
            scores = (torch.einsum("qhd,khd->hqk", q, k) * scale).masked_fill(~mask, -torch.inf)
            p = (scores - lse[:, rows, None]).exp()
            dp = torch.einsum("qhd,khd->hqk", grad[rows], v)
            ds = p * (dp - (grad[rows] * output[rows]).sum(-1).T[..., None]) * scale
            result[0][rows] = torch.einsum("hqk,khd->qhd", ds, k)
            for target, full in (
                (result[1], torch.einsum("hqk,qhd->khd", ds, q)),
                (result[2], torch.einsum("hqk,qhd->khd", p, grad[rows])),
            ):
                target[columns] = full.unflatten(1, (-1, group)).sum(2)
        return tuple(result)

    def _ranges(self, query, key, value, launch, window):
        query, key, value = (wide(tensor) for tensor in (query, key, value))
        group = query.shape[1] // key.shape[1]
        assert launch.max_q == launch.cu_q.diff().max() and launch.max_k == launch.cu_k.diff().max()
        for n in range(len(launch.cu_q) - 1):
            q = query[launch.cu_q[n] : launch.cu_q[n + 1]]
            k, v = (t[launch.cu_k[n] : launch.cu_k[n + 1]].repeat_interleave(group, 1) for t in (key, value))
            mask = torch.ones(len(q), len(k), dtype=torch.bool)
            if launch.causal:
                mask = mask.tril()
                if window:
                    mask &= ~mask.tril(-window)
            yield q, k, v, mask


def dense_flex(query, key, value, *, block_mask, scale, enable_gqa):
    """`flex_attention` by its mask function, with a backward on the CPU."""
    batch, head, rows, columns = torch.meshgrid(
        *(torch.arange(size) for size in (1, 1, query.shape[2], key.shape[2])), indexing="ij"
    )
    mask = block_mask.mask_mod(batch, head, rows, columns)
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale, enable_gqa=enable_gqa)


def use_backend(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name for `set_attention`, with what cannot run here replaced."""
    if name == "flash on CUDA":
        kernel = DenseKernel()

        def cascade(layout, *row, scale):
            return attend_cascade(kernel, layout, *(t[0].transpose(0, 1) for t in row), scale=scale)[None].transpose(
                1, 2
            )

        monkeypatch.setattr(attention, "attend_subtrees", cascade)
    if name == "flex":
        monkeypatch.setattr(attention, "flex_unavailable", lambda device: None)
        monkeypatch.setattr(flex, "_kernel", lambda device_type: dense_flex)
    return BACKENDS[name]

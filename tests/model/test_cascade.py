"""The cascade of launches, with a kernel in plain torch in place of the CUDA one."""

import pytest
import torch
from forests import BRANCHES, FLAT, Tree, build_batch, gradients, relative_error, separate_loss
from torch import nn

import fcdist.model.attention as attention
from fcdist.config.types import AttentionConfig
from fcdist.errors import ModelError
from fcdist.model.attention import FLASH, REFERENCE, attend_reference, resolve_backend, set_attention
from fcdist.model.cascade import attend_cascade
from fcdist.model.debug import tiny_model
from fcdist.model.forest import Layout
from fcdist.training.loss import LossModule


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
        return torch.cat(outputs), torch.cat(sums, dim=1)

    def backward(self, grad, query, key, value, output, lse, launch, scale, window):
        result = [torch.zeros_like(tensor) for tensor in (query, key, value)]
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


def random_row(num_tokens, generator):
    shapes = ((4, 8), (2, 8), (2, 8))
    return [torch.randn(num_tokens, *s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


DEEP = (Tree(3, (Tree(2, (Tree(4, (Tree(1), Tree(2))), Tree(3))), Tree(5))), Tree(2), Tree(6, (Tree(1), Tree(1))))


@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("forest", [FLAT, BRANCHES, DEEP], ids=["flat", "branches", "deep"])
def test_cascade_equals_the_reference(forest, window):
    segments = build_batch(forest).segments
    generator = torch.Generator().manual_seed(0)
    row = random_row(segments.end[-1], generator)
    layout = Layout(segments, segments.end[-1])
    if window and not layout.is_flat:
        with pytest.raises(ModelError, match="sliding window"):
            attend_cascade(DenseKernel(), layout, *row, scale=0.3, window=window)
        return
    outside = [tensor.transpose(0, 1)[None] for tensor in row]
    expected, _ = attend_reference(nn.Module(), *outside, None, scaling=0.3, segments=layout, sliding_window=window)
    kernel = DenseKernel()
    found = attend_cascade(kernel, layout, *row, scale=0.3, window=window)
    torch.testing.assert_close(found, expected[0], rtol=1e-6, atol=1e-6)
    weights = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    gradients_found = torch.autograd.grad((found * weights).sum(), row)
    gradients_expected = torch.autograd.grad((expected[0] * weights).sum(), row)
    torch.testing.assert_close(gradients_found, gradients_expected, rtol=1e-5, atol=1e-6)


def test_launches_are_levels_not_branches():
    segments = build_batch(DEEP).segments
    kernel = DenseKernel()
    row = random_row(segments.end[-1], torch.Generator().manual_seed(0))
    attend_cascade(kernel, Layout(segments, segments.end[-1]), *row, scale=1.0)
    assert kernel.launches == 4  # own, and three levels that have something below them


def test_a_window_longer_than_every_chain_is_no_window():
    segments = build_batch(BRANCHES).segments
    row = random_row(segments.end[-1], torch.Generator().manual_seed(0))
    layout = Layout(segments, segments.end[-1])
    wide = attend_cascade(DenseKernel(), layout, *row, scale=1.0, window=1000)
    torch.testing.assert_close(wide, attend_cascade(DenseKernel(), layout, *row, scale=1.0), rtol=0, atol=0)


@pytest.mark.parametrize("forest", [FLAT, BRANCHES], ids=["flat", "branches"])
def test_a_model_on_the_flash_path_gives_the_gradients_of_separate_examples(monkeypatch, forest):
    monkeypatch.setattr(attention, "TORCH_FLASH", DenseKernel())
    monkeypatch.setattr(attention, "flash_unavailable", lambda device, dtype: None)
    model, batch = tiny_model("qwen3"), build_batch(forest)
    expected = gradients(model, separate_loss(model, batch))
    set_attention(model, FLASH)
    loss, _ = LossModule(model)(batch)
    assert relative_error(gradients(model, loss), expected) < 1e-5


def test_flash_without_a_gpu_is_refused_with_the_reason_and_auto_falls_back():
    cpu = torch.device("cpu")
    with pytest.raises(ModelError, match=r"attention.backend=flash .*CUDA.*attention.backend=auto"):
        resolve_backend(AttentionConfig(backend="flash"), cpu)
    assert resolve_backend(AttentionConfig(backend="auto"), cpu) == REFERENCE
    model = tiny_model()
    set_attention(model, FLASH)
    with pytest.raises(ModelError, match="CUDA"):
        LossModule(model)(build_batch(FLAT))

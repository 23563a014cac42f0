"""The cascade of launches, with a kernel in plain torch in place of the CUDA one."""

import pytest
import torch
from forests import BRANCHES, DEEP, FLAT, build_batch
from substitutes import DenseKernel
from torch import nn

from fcdist.errors import ModelError
from fcdist.model.attention import attend_reference
from fcdist.model.cascade import attend_cascade
from fcdist.model.forest import Layout


def random_row(num_tokens, generator):
    shapes = ((4, 8), (2, 8), (2, 8))
    return [torch.randn(num_tokens, *s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


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

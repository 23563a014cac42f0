"""One set of laws for every attention back end."""

import pytest
import torch
from forests import (
    BRANCHES,
    DEEP,
    FLAT,
    Tree,
    alone_loss,
    build_batch,
    conversations,
    dense_mask,
    gradients,
    grow,
    packed_loss,
    relative_error,
    separate_loss,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from substitutes import BACKENDS, use_backend
from torch import nn
from torch.nn.attention.flex_attention import create_mask
from transformers import AttentionInterface

from fcdist.config.types import AttentionConfig, TuningConfig
from fcdist.errors import ModelError
from fcdist.model.adapters import apply_tuning, enable_activation_checkpointing, trainable_parameters
from fcdist.model.attention import FLASH, FLEX, REFERENCE, attend_flash, resolve_backend, set_attention
from fcdist.model.debug import SLIDING_WINDOW, TINY_KINDS, tiny_model
from fcdist.model.flex import attend_masked, forest_mask
from fcdist.model.forest import Layout
from fcdist.model.subtrees import FEW_ROWS
from fcdist.training.loss import LossModule

FORESTS = {
    "flat": FLAT,
    "branches": BRANCHES,
    "deep": DEEP,
    "one token": (Tree(1),),
    "long": (Tree(300, (Tree(290), Tree(40, (Tree(30), Tree(2))))), Tree(FEW_ROWS + 90)),
}
CPU = torch.device("cpu")
HEADS, KEY_HEADS, WIDTH = 4, 2, 8


def random_row(num_tokens, dtype):
    """Queries, keys, values as a model hands them on: [1, H, T, D] over memory of [1, T, H, D]."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, num_tokens, heads, WIDTH) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]
    row = [torch.randn(shape, generator=generator).to(dtype).transpose(1, 2) for shape in shapes]
    return [tensor.requires_grad_() for tensor in row]


def dense_attention(query, key, value, mask, scale):
    """By explicit softmax over all pairs."""
    key, value = (tensor.repeat_interleave(HEADS // KEY_HEADS, 1) for tensor in (key, value))
    scores = (query @ key.transpose(-1, -2) * scale).masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


def output_and_gradients(attend, row):
    output = attend(*row)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), row)]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6), (torch.bfloat16, 1e-2)]
)
@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("forest", FORESTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_attention_and_its_gradients_are_those_of_a_dense_mask(backend, forest, window, dtype, tolerance, monkeypatch):
    segments = build_batch(FORESTS[forest]).segments
    attend = AttentionInterface()[use_backend(backend, monkeypatch)]
    row = random_row(segments.end[-1], dtype)
    exact = [tensor.detach().double().requires_grad_() for tensor in row]
    expected = output_and_gradients(lambda *qkv: dense_attention(*qkv, dense_mask(segments, window), 0.3), exact)
    found = output_and_gradients(
        lambda *qkv: attend(nn.Module(), *qkv, None, scaling=0.3, segments=segments, sliding_window=window)[0], row
    )
    largest = max(float(wanted.norm()) for wanted in expected)
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.dtype == dtype and actual.shape == wanted.shape
        # a lone token has no gradient to its query and key: what cancels there is as large as the others
        scale = max(float(wanted.norm()), 0.1) if wanted.any() else largest
        assert (actual.double() - wanted).norm() <= tolerance * scale


def trees(depth):
    children = st.just(()) if depth == 0 else st.lists(trees(depth - 1), max_size=3).map(tuple)
    return st.builds(Tree, st.integers(1, 9), children)


@settings(max_examples=25, deadline=None)
@given(forest=st.lists(trees(3), min_size=1, max_size=3), window=st.sampled_from([None, 1, 4, 20]))
def test_flash_on_the_cpu_equals_a_dense_mask_on_any_forest(forest, window):
    segments = build_batch(forest).segments
    row = random_row(segments.end[-1], torch.float64)
    expected = output_and_gradients(lambda *qkv: dense_attention(*qkv, dense_mask(segments, window), 0.3), row)
    found = output_and_gradients(
        lambda *qkv: attend_flash(nn.Module(), *qkv, None, scaling=0.3, segments=segments, sliding_window=window)[0],
        row,
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("window", [None, 1, 6, 1000])
@pytest.mark.parametrize("forest", FORESTS)
def test_the_mask_function_of_flex_is_the_forest(forest, window):
    segments = build_batch(FORESTS[forest]).segments
    tokens = segments.end[-1]
    found = create_mask(forest_mask(Layout(segments, tokens), CPU, window), 1, 1, tokens, tokens, device="cpu")
    assert torch.equal(found[0, 0], dense_mask(segments, window))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("forest", ["branches", "long"])
def test_the_forward_of_torchs_own_flex_attention_agrees(forest, window):
    segments = build_batch(FORESTS[forest]).segments
    row = [tensor.detach() for tensor in random_row(segments.end[-1], torch.float32)]
    found = attend_masked(Layout(segments, segments.end[-1]), *row, scale=0.3, window=window).transpose(1, 2)
    expected = dense_attention(*row, dense_mask(segments, window), 0.3)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_rows_whose_last_dimension_is_not_contiguous_are_read_right():
    segments = build_batch(BRANCHES).segments
    row = [tensor.detach() for tensor in random_row(segments.end[-1], torch.float32)]
    odd = [tensor.transpose(-1, -2).contiguous().transpose(-1, -2).requires_grad_() for tensor in row]
    assert all(tensor.stride(-1) != 1 for tensor in odd)
    output, _ = attend_flash(nn.Module(), *odd, None, scaling=0.3, segments=segments)
    expected = dense_attention(*odd, dense_mask(segments), 0.3)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    # the gradient of a sum is one number, expanded
    torch.testing.assert_close(
        torch.autograd.grad(output.sum(), odd), torch.autograd.grad(expected.sum(), odd), rtol=1e-4, atol=1e-5
    )


def test_values_narrower_than_keys_are_left_to_the_reference():
    segments = build_batch(BRANCHES).segments
    query, key, value = random_row(segments.end[-1], torch.float64)
    value = value[..., :5]
    output, _ = attend_flash(nn.Module(), query, key, value, None, scaling=0.3, segments=segments)
    torch.testing.assert_close(output, dense_attention(query, key, value, dense_mask(segments), 0.3))


def tuned(kind, mode):
    model = apply_tuning(tiny_model(kind), TuningConfig(mode=mode, r=4))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in trainable_parameters(model).items():
        if "lora_B" in name:  # starts at zero, which would leave A without gradient
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
    return model


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("kind", TINY_KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tree_gives_loss_and_gradients_of_its_examples_alone(backend, kind, mode, checkpointing, monkeypatch):
    examples = conversations()
    model, batch = tuned(kind, mode), grow(examples)
    alone = alone_loss(model, examples)
    expected = gradients(model, alone)
    if checkpointing:
        enable_activation_checkpointing(model)
    model.train()
    loss = packed_loss(model, batch, use_backend(backend, monkeypatch))
    assert loss.item() == pytest.approx(alone.item(), rel=1e-6)
    assert relative_error(gradients(model, loss), expected) < 1e-5


def test_the_conversations_are_the_hard_case():
    examples = conversations()
    batch = grow(examples)
    segments = batch.segments
    assert max(len(segments.ancestors(i)) for i in range(len(segments.start))) == 4
    assert sum(len(example.ids) for example in examples) > 1.8 * batch.input_ids.shape[1]
    assert max(len(example.ids) for example in examples) > 2 * SLIDING_WINDOW
    pairs = list(zip(batch.target_index.tolist(), batch.target_ids.tolist(), strict=True))
    assert len(set(pairs)) < len(pairs), "a target that several examples share"
    rows = [row for row, _ in set(pairs)]
    assert len(set(rows)) < len(rows), "a branch point with several next tokens"
    assert any(0 < weight < 1 for weight in batch.target_weights.tolist())


@pytest.mark.parametrize("kind", TINY_KINDS)
@pytest.mark.parametrize("forest", [FLAT, BRANCHES], ids=["flat", "branches"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forest_gives_what_its_leaves_give_alone(backend, forest, kind, monkeypatch):
    model, batch = tuned(kind, "full"), build_batch(forest)
    expected = gradients(model, separate_loss(model, batch))
    loss = packed_loss(model, batch, use_backend(backend, monkeypatch))
    assert relative_error(gradients(model, loss), expected) < 1e-5


def test_the_cpu_takes_flash_and_refuses_flex_with_the_reason():
    for backend, expected in (("auto", FLASH), ("flash", FLASH), ("sdpa", REFERENCE)):
        assert resolve_backend(AttentionConfig(backend=backend), CPU, torch.float32) == expected
    with pytest.raises(ModelError, match=r"attention.backend=flex .*CUDA.*attention.backend=auto"):
        resolve_backend(AttentionConfig(backend="flex"), CPU)
    model = tiny_model()
    set_attention(model, FLEX)
    with pytest.raises(ModelError, match="CUDA"):
        LossModule(model)(build_batch(FLAT))


def test_where_no_flash_kernel_is_auto_takes_the_reference():
    other = torch.device("meta")
    assert resolve_backend(AttentionConfig(backend="auto"), other) == REFERENCE
    with pytest.raises(ModelError, match=r"attention.backend=flash .*this one is meta"):
        resolve_backend(AttentionConfig(backend="flash"), other)

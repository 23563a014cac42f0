"""The loss: against fp64, in any chunking, per kind, and without targets."""

from dataclasses import replace

import pytest
import torch
from forests import BRANCHES, FLAT, build_batch, packed_loss
from torch.nn.functional import cross_entropy

from fcdist.config.types import TuningConfig
from fcdist.data.batch import Kind
from fcdist.model.adapters import apply_tuning, trainable_parameters
from fcdist.model.attention import REFERENCE, set_attention
from fcdist.model.debug import tiny_model
from fcdist.training.loss import LossModule, token_losses


@pytest.mark.parametrize("chunk_elements", [1, 3000, 1 << 24])
def test_token_losses_and_their_gradients_match_fp64(chunk_elements):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5000, generator=generator) * 6
    targets = torch.randint(5000, (7,), generator=generator)
    weights = torch.rand(7, generator=generator)
    exact = logits.double().requires_grad_()
    expected = cross_entropy(exact, targets, reduction="none")
    (expected * weights.double()).sum().backward()
    found_logits = logits.clone().requires_grad_()
    found = token_losses(found_logits, targets, chunk_elements)
    (found * weights).sum().backward()
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    assert (found_logits.grad.double() - exact.grad).norm() / exact.grad.norm() < 1e-6


def test_token_losses_of_bf16_logits_are_summed_in_fp32():
    logits = (torch.randn(4, 300, generator=torch.Generator().manual_seed(0)) * 5).bfloat16().requires_grad_()
    targets = torch.tensor([0, 5, 299, 7])
    found = token_losses(logits, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, cross_entropy(logits.float(), targets, reduction="none"), rtol=1e-5, atol=1e-5)
    found.sum().backward()
    assert logits.grad.dtype == torch.bfloat16


def test_kind_sums_add_up_to_the_loss():
    model, batch = tiny_model(), build_batch(BRANCHES)
    set_attention(model, REFERENCE)
    loss, kind_sums = LossModule(model)(batch)
    assert kind_sums.shape == (len(Kind),) and not kind_sums.requires_grad
    assert kind_sums[Kind.CONTEXT] == 0
    assert kind_sums.sum().item() == pytest.approx(loss.item(), rel=1e-6)
    only = replace(batch, target_weights=batch.target_weights * (batch.target_kinds == Kind.CALL))
    assert packed_loss(model, only).item() == pytest.approx(kind_sums[Kind.CALL].item(), rel=1e-6)


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("fill", ["no targets", "zero weights"])
def test_a_batch_without_targets_still_gives_every_parameter_a_zero_gradient(mode, fill):
    model = apply_tuning(tiny_model(tied=False), TuningConfig(mode=mode, r=2))
    batch = build_batch(FLAT)
    if fill == "zero weights":
        batch = replace(batch, target_weights=torch.zeros_like(batch.target_weights))
    else:
        names = ("target_index", "target_ids", "target_weights", "target_kinds")
        batch = replace(batch, **{name: getattr(batch, name)[:0] for name in names})
    loss = packed_loss(model, batch)
    loss.backward()
    assert loss.item() == 0
    for name, parameter in trainable_parameters(model).items():
        assert parameter.grad is not None and not parameter.grad.any(), name


def test_the_head_sees_target_rows_only():
    model, batch = tiny_model(), build_batch(FLAT)
    shapes = []
    model.lm_head.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    packed_loss(model, batch)
    assert shapes == [(1, len(batch.target_ids), model.config.vocab_size)]
    assert len(batch.target_ids) < batch.input_ids.shape[1]

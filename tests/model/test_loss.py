"""The loss: against fp64, in any chunking, per kind, and without targets."""

from dataclasses import replace

import pytest
import torch
from forests import BRANCHES, FLAT, build_batch, gradients, packed_loss, relative_error
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

from fcdist.config.types import TuningConfig
from fcdist.data.batch import Kind
from fcdist.model.adapters import apply_tuning, trainable_parameters
from fcdist.model.attention import REFERENCE, set_attention
from fcdist.model.debug import VOCAB_SIZE, tiny_model
from fcdist.training.loss import PLAIN_HEADS, LossModule, token_losses


@pytest.mark.parametrize("upcast_elements", [1, 3000, 1 << 24])
def test_token_losses_and_their_gradients_match_fp64(upcast_elements):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5000, generator=generator) * 6
    targets = torch.randint(5000, (7,), generator=generator)
    weights = torch.rand(7, generator=generator)
    exact = logits.double().requires_grad_()
    expected = cross_entropy(exact, targets, reduction="none")
    (expected * weights.double()).sum().backward()
    found_logits = logits.clone().requires_grad_()
    found = token_losses(found_logits, targets, upcast_elements)
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


ROWS = 7
"""Targets of one piece of the head."""


@pytest.mark.parametrize(
    ("targets", "tied"),
    [((), False), ((), True), (("q_proj", "down_proj"), True), (("q_proj", "lm_head"), False)],
    ids=["full, untied", "full, tied", "lora", "lora on the head"],
)
def test_a_head_in_pieces_gives_the_same_loss_and_gradients(targets, tied):
    model = tiny_model(tied=tied)
    if targets:
        model = get_peft_model(model, LoraConfig(r=2, target_modules=list(targets), init_lora_weights=False))
    batch = build_batch(BRANCHES)
    shapes = []
    model.get_output_embeddings().register_forward_hook(lambda module, inputs, output: shapes.append(output.shape[-2]))
    set_attention(model, REFERENCE)
    whole, whole_kinds = LossModule(model)(batch)
    expected = gradients(model, whole)
    assert shapes == [len(batch.target_ids)]
    shapes.clear()
    loss, kinds = LossModule(model, head_elements=ROWS * VOCAB_SIZE)(batch)
    found = gradients(model, loss)
    assert max(shapes) == ROWS and sum(shapes) == 2 * len(batch.target_ids)  # once more in the backward pass
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
    torch.testing.assert_close(kinds, whole_kinds)
    assert relative_error(found, expected) < 1e-6


def build(model_type, **settings):
    shape = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "pad_token_id": 0,
        "num_experts": 2,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
    }
    config = AutoConfig.for_model(model_type, **(shape | settings))
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("model_type", sorted(PLAIN_HEADS))
def test_plain_heads_are_the_head_and_nothing_else(model_type):
    model = build(model_type)
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        torch.testing.assert_close(
            model.get_output_embeddings()(hidden), model(input_ids=ids, use_cache=False).logits, rtol=0, atol=0
        )


def test_a_model_that_scales_its_logits_is_run_whole():
    model, batch = build("granite", logits_scaling=7.0), build_batch(FLAT)
    set_attention(model, REFERENCE)
    loss, _ = LossModule(model, head_elements=1)(batch)
    logits = model(
        input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, segments=batch.segments
    ).logits[0, batch.target_index]
    expected = (cross_entropy(logits.double(), batch.target_ids, reduction="none") * batch.target_weights).sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)

"""What trains, and with which first weights."""

import pytest
import torch
from forests import FLAT, build_batch, gradients, packed_loss

from fcdist.config.types import ALL_PROJECTIONS, TuningConfig
from fcdist.errors import ModelError
from fcdist.model.adapters import (
    apply_tuning,
    cast_weights,
    enable_activation_checkpointing,
    merge_adapter,
    trainable_parameters,
)
from fcdist.model.debug import tiny_model


def test_lora_trains_adapters_of_every_target_and_nothing_else():
    model = apply_tuning(tiny_model(dtype=torch.bfloat16), TuningConfig(r=4))
    names = trainable_parameters(model)
    assert len(names) == 2 * 2 * len(ALL_PROJECTIONS)  # A and B, two layers
    assert all("lora_" in name for name in names)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.peft_config["default"].lora_alpha == 32


def test_a_fresh_adapter_changes_nothing_and_is_the_same_on_every_rank():
    batch = build_batch(FLAT)
    base = packed_loss(tiny_model(), batch).item()
    first, second = (apply_tuning(tiny_model(), TuningConfig(r=4), seed=7) for _ in range(2))
    other = apply_tuning(tiny_model(), TuningConfig(r=4), seed=8)
    assert packed_loss(first, batch).item() == base
    pairs = zip(trainable_parameters(first).values(), trainable_parameters(second).values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    name = next(name for name in trainable_parameters(first) if "lora_A" in name)
    assert not torch.equal(trainable_parameters(first)[name], trainable_parameters(other)[name])


def test_full_tuning_trains_everything():
    model = apply_tuning(tiny_model(), TuningConfig(mode="full"))
    assert trainable_parameters(model).keys() == dict(model.named_parameters()).keys()
    assert merge_adapter(model) is model


def test_an_unknown_target_names_what_there_is():
    with pytest.raises(ModelError, match=r"'query'.*down_proj.*v_proj"):
        apply_tuning(tiny_model(), TuningConfig(targets=("q_proj", "query")))
    with pytest.raises(ModelError, match="empty"):
        apply_tuning(tiny_model(), TuningConfig(targets=()))


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_activation_checkpointing_recomputes_and_changes_no_gradient(mode):
    model, batch = apply_tuning(tiny_model(), TuningConfig(mode=mode, r=4)), build_batch(FLAT)
    model.train()
    expected = gradients(model, packed_loss(model, batch))
    enable_activation_checkpointing(model)
    calls = []
    base = model.get_base_model() if mode == "lora" else model
    base.model.layers[0].mlp.register_forward_pre_hook(lambda *args: calls.append(1))
    found = gradients(model, packed_loss(model, batch))
    assert len(calls) == 2  # once forward, once again for the backward
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_lora_dropout_is_active_in_training_only():
    model, batch = apply_tuning(tiny_model(), TuningConfig(r=4, dropout=0.5)), build_batch(FLAT)
    for name, parameter in trainable_parameters(model).items():
        if "lora_B" in name:
            parameter.data.fill_(0.05)
    model.train()
    torch.manual_seed(0)
    assert packed_loss(model, batch).item() != packed_loss(model, batch).item()
    model.eval()
    assert packed_loss(model, batch).item() == packed_loss(model, batch).item()


def test_casting_leaves_rope_alone():
    model = cast_weights(tiny_model(), torch.bfloat16)
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    assert model.dtype == torch.bfloat16 and model.config.dtype == torch.bfloat16

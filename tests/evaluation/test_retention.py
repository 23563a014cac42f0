"""Retention loss is the plain cross-entropy over targets, whatever the lengths of the examples."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fcdist.config.types import Config, DataConfig, EvaluateConfig
from fcdist.data.tokenizing import Example
from fcdist.errors import EvaluationError
from fcdist.evaluation.retention import mean_loss, retention_loss, spread
from fcdist.model.debug import debug_tokenizer, tiny_model
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.schema.conversation import Conversation, Message
from fcdist.schema.shards import ShardWriter


def example(length, first_target, seed):
    rng = np.random.default_rng(seed)
    kinds = np.zeros(length, np.int8)
    kinds[first_target:] = 3
    return Example(rng.integers(4, 200, length).astype(np.int32), kinds)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def examples():
    return [example(12, 4, 0), example(40, 30, 1), example(7, 1, 2)]


def test_equals_cross_entropy_of_the_full_logits(model, examples):
    total, count = 0.0, 0
    for one in examples:
        ids = torch.tensor(one.input_ids.astype(np.int64))[None]
        losses = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
        wanted = torch.tensor(one.kinds[1:] != 0)
        total, count = total + losses[wanted].sum().item(), count + int(wanted.sum())
    found = mean_loss(model, examples)
    assert found["num_targets"] == count == 8 + 10 + 6
    assert found["loss"] == pytest.approx(total / count, rel=1e-5)


def test_leaves_model_as_it_was(model, examples):
    model.train()
    mean_loss(model, examples)
    assert model.training
    model.eval()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_limit_takes_the_same_examples_each_time(model, examples):
    assert spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert spread([1, 2], 0) == spread([1, 2], 5) == [1, 2]
    assert mean_loss(model, examples, 2) == mean_loss(model, [examples[0], examples[1]])


def test_nothing_to_measure_is_an_error(model):
    with pytest.raises(EvaluationError, match="no target"):
        mean_loss(model, [example(5, 5, 0)])


def test_weights_that_are_not_finite_are_an_error(examples):
    broken = tiny_model(tied=False)
    broken.get_output_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(EvaluationError, match="finite"):
        mean_loss(broken, examples)


def test_reads_general_chat_from_a_file(model, tmp_path):
    renderer = Renderer(debug_tokenizer(), load_protocol("text"))
    path = tmp_path / "chat.jsonl"
    with ShardWriter(path) as shard:
        shard.write(Conversation((Message("user", "How are you?"), Message("assistant", "Fine."))))
    found = retention_loss(Config(evaluate=EvaluateConfig(retention=str(path))), model, renderer)
    assert found is not None and found["num_targets"] == len("Fine.") + 1
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(EvaluationError, match=r"evaluate\.retention"):
        retention_loss(Config(evaluate=EvaluateConfig(retention=str(empty))), model, renderer)


def test_without_a_store_there_is_nothing_to_report(model, tmp_path):
    config = Config(data=DataConfig(store_dir=str(tmp_path / "none")))
    assert retention_loss(config, model, SimpleNamespace()) is None

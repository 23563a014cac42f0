"""Packs with shared prefixes through the engines: the gradients of a step are those of the examples alone."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from model.forests import alone_loss, conversations, gradients, grow, relative_error
from training.ranks import run_ranks
from training.test_engines import NOTHING_RESIDENT
from training.tiny import tiny_config

from fcdist.config.types import Config, OptimConfig, TuningConfig
from fcdist.data.batch import Batch
from fcdist.model.adapters import apply_tuning, enable_activation_checkpointing, trainable_parameters
from fcdist.model.attention import FLASH, set_attention
from fcdist.model.debug import TinyKind, tiny_model
from fcdist.training.distributed import get_rank
from fcdist.training.engines.deepspeed_engine import DeepSpeedEngine
from fcdist.training.engines.engine import Engine
from fcdist.training.loss import LossModule

SPLIT = 4
"""Examples of the first rank; the others belong to the second, which shares prefixes with it."""


EPSILON = 1e8
"""Beside it the root of Adam's second moment vanishes: a step is rate / EPSILON times the gradient."""
STRIDE = 64
"""How many gradients long the step is, so that the weights' own rounding vanishes too."""


def tuned(cfg: Config, kind: TinyKind):
    model = apply_tuning(tiny_model(kind), TuningConfig(mode=cfg.tuning.mode, r=4))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in trainable_parameters(model).items():
        if "lora_B" in name:  # starts at zero, which would leave A without gradient
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
    return model.train()


def attending(cfg: Config, kind: TinyKind, attention: str = FLASH):
    """The model to train, attending over segments."""
    model = tuned(cfg, kind)
    if cfg.train.activation_checkpointing:
        enable_activation_checkpointing(model)
    set_attention(model, attention)
    return model


def tree_gradients(cfg: Config, kind: TinyKind, head_elements: int):
    """(loss, gradients) of one step over both ranks, as the optimizer applies them; gradients on rank 0 only."""
    torch.set_default_dtype(torch.float32)
    module = LossModule(attending(cfg, kind), head_elements=head_elements)
    engine = DeepSpeedEngine(module, cfg, torch.device("cpu"), NOTHING_RESIDENT)
    examples = conversations()
    mine = examples[:SPLIT] if get_rank() == 0 else examples[SPLIT:]
    return step_gradients(engine, [grow(mine)])


def step_gradients(engine: Engine, batches: Sequence[Batch]):
    """(loss of this rank, gradients of all as the optimizer applies them, on rank 0) of one step."""
    before = engine.trainable_state_dict()
    loss_sum = 0.0
    for batch in batches:
        loss, _ = engine(batch)
        engine.backward(loss * engine.dp_world_size)  # the engine averages over ranks
        loss_sum += loss.item()
    engine.step(STRIDE * EPSILON)
    after = engine.trainable_state_dict()
    return loss_sum, {name: (before[name].double() - after[name].double()) / STRIDE for name in after}


@pytest.mark.parametrize(
    ("kind", "mode", "checkpointing", "head_rows"),
    [("qwen3", "full", False, 5), ("llama", "lora", True, 5), ("mistral", "full", True, 1000)],
)
@pytest.mark.parametrize("stage", [2, 3])
def test_trees_under_zero_give_the_gradients_of_separate_examples(
    stage, kind, mode, checkpointing, head_rows, tmp_path
):
    cfg = tiny_config("deepspeed", stage, mode, activation_checkpointing=checkpointing)
    cfg = replace(cfg, optim=OptimConfig(eps=EPSILON, max_grad_norm=0.0))
    model, examples = tuned(cfg, kind), conversations()
    alone = alone_loss(model, examples)
    expected = gradients(model, alone)
    ranks = run_ranks(tree_gradients, 2, tmp_path, cfg, kind, head_rows * model.config.vocab_size)
    assert sum(loss for loss, _ in ranks) == pytest.approx(alone.item(), rel=1e-6)
    assert relative_error(ranks[0][1], expected) < 1e-5

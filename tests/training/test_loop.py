"""The step's checks and the schedule."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training.ranks import run_ranks
from training.test_engines import make_engine
from training.tiny import TinyLoader, is_same, tiny_config

from fcdist.config.types import OptimConfig
from fcdist.data.batch import Kind, StepBatches
from fcdist.errors import CheckpointError, TrainingError
from fcdist.training.distributed import get_rank, get_world_size, on_rank_zero
from fcdist.training.engines.optimizer import build_optimizer, learning_rate
from fcdist.training.loop import is_due, train_step


def test_schedule_values():
    cfg = OptimConfig(lr=1.0, warmup_fraction=0.2, min_lr_fraction=0.1)
    rates = [learning_rate(cfg, step, 10) for step in range(1, 11)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[5] == pytest.approx(0.55)  # half way between the last warm-up step and the end
    assert rates[-1] == pytest.approx(0.1)
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_constant_schedule_and_no_warmup():
    cfg = OptimConfig(lr=3.0, warmup_fraction=0.0, schedule="constant")
    assert {learning_rate(cfg, step, 7) for step in range(1, 8)} == {3.0}


@given(
    num_steps=st.integers(1, 500),
    warmup=st.floats(0, 1),
    floor=st.floats(0, 1, allow_subnormal=False),  # a rate times one of those is 0
    schedule=st.sampled_from(["cosine", "constant"]),
)
def test_the_rate_stays_between_zero_and_the_peak(num_steps, warmup, floor, schedule):
    cfg = OptimConfig(lr=2e-4, warmup_fraction=warmup, min_lr_fraction=floor, schedule=schedule)
    rates = [learning_rate(cfg, step, num_steps) for step in range(1, num_steps + 1)]
    assert all(0 < rate <= cfg.lr * (1 + 1e-12) for rate in rates) or floor == 0
    assert max(rates) == pytest.approx(cfg.lr) or warmup == 0


def test_vectors_do_not_decay_and_no_group_is_empty():
    matrix, vector = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    optimizer = build_optimizer([("m", matrix), ("v", vector)], OptimConfig(weight_decay=0.3))
    assert [(g["weight_decay"], len(g["params"])) for g in optimizer.param_groups] == [(0.3, 1), (0.0, 1)]
    assert len(build_optimizer([("m", matrix)], OptimConfig()).param_groups) == 1


def test_loss_by_kind_adds_up_to_the_loss():
    engine, step = make_engine(tiny_config()), TinyLoader().next_step()
    metrics = train_step(engine, 1, step, 1e-3)
    counts = torch.zeros(len(Kind))
    for batch in step.batches:
        counts += torch.bincount(batch.target_kinds.long(), minlength=len(Kind))
    total = sum(metrics.kind_losses[kind.name.lower()] * counts[kind].item() for kind in Kind if counts[kind])
    assert total / step.num_targets == pytest.approx(metrics.loss, rel=1e-6)
    assert metrics.num_targets == counts.sum().item() and metrics.loss == pytest.approx(math.log(260), rel=0.3)


def poisoned_step(cfg, bad_rank: int):
    """What each rank raises when one rank's second micro-batch has an infinite weight, and whether weights moved."""
    engine = make_engine(cfg)
    loader = TinyLoader(4, 4, get_rank(), get_world_size())
    train_step(engine, 1, loader.next_step(), 1e-2)
    before = engine.trainable_state_dict()
    step = loader.next_step()
    if get_rank() == bad_rank:
        bad = replace(step.batches[1], target_weights=step.batches[1].target_weights * math.inf)
        step = replace(step, batches=(step.batches[0], bad))
    try:
        train_step(engine, 2, step, 1e-2)
    except TrainingError as error:
        return str(error), is_same(engine.trainable_state_dict(), before), step.batches[1].examples
    return "nothing was raised", False, ()


@pytest.mark.parametrize("engine", ["local", "deepspeed"])
def test_an_infinite_loss_stops_every_rank_and_names_the_examples(engine, tmp_path):
    results = run_ranks(poisoned_step, 2, tmp_path, tiny_config(engine, 2), 1)
    (message, unchanged, _), (other, _, (row,)) = results
    assert message == other
    assert "step 2: the loss is not finite" in message
    assert f"rank 1, micro-step 2: loss inf, examples [{row}]" in message
    assert unchanged


def poisoned_gradient(cfg):
    engine = make_engine(cfg)
    loader = TinyLoader(4, 4, get_rank(), get_world_size())
    if get_rank() == 1:
        backward = engine.backward
        engine.backward = lambda loss: backward(loss * math.nan)
    before = engine.trainable_state_dict()
    try:
        train_step(engine, 1, loader.next_step(), 1e-2)
    except TrainingError as error:
        return str(error), is_same(engine.trainable_state_dict(), before)
    return "nothing was raised", False


@pytest.mark.parametrize(("engine", "stage"), [("local", 1), ("deepspeed", 1), ("deepspeed", 3)])
def test_an_infinite_gradient_stops_every_rank_before_the_update(engine, stage, tmp_path):
    (message, unchanged), (other, _) = run_ranks(poisoned_gradient, 2, tmp_path, tiny_config(engine, stage))
    assert message == other and unchanged
    assert "step 1: every loss is finite but the gradient norm is" in message and "rank 1: [" in message


def unequal_work(cfg, drop: int, targets: float):
    engine = make_engine(cfg)
    step = TinyLoader(4, 4, get_rank(), get_world_size()).next_step()
    if get_rank() == 0:
        step = StepBatches(step.batches[drop:], step.num_targets + targets, step.num_tokens)
    try:
        train_step(engine, 2, step, 1e-2)
    except TrainingError as error:
        return str(error)
    return "nothing was raised"


@pytest.mark.parametrize(("drop", "targets", "expected"), [(1, 0, "rank 0: 1 micro-batches"), (0, 3, "targets in the")])
def test_ranks_with_unequal_work_stop_before_the_first_forward(drop, targets, expected, tmp_path):
    messages = run_ranks(unequal_work, 2, tmp_path, tiny_config(), drop, targets)
    assert messages[0] == messages[1]
    assert "step 2: every rank needs the same work" in messages[0] and expected in messages[0]


def test_a_step_without_targets_is_refused():
    step = TinyLoader().next_step()
    with pytest.raises(TrainingError, match="at least one target"):
        train_step(make_engine(tiny_config()), 1, replace(step, num_targets=0.0), 1e-3)


def failing_rank_zero(kind: str):
    def work():
        raise CheckpointError("no") if kind == "known" else KeyError("odd")

    try:
        on_rank_zero(work)
    except (CheckpointError, TrainingError) as error:
        return type(error).__name__, str(error)


@pytest.mark.parametrize(
    ("kind", "expected"), [("known", ("CheckpointError", "no")), ("odd", ("TrainingError", "KeyError: 'odd'"))]
)
def test_an_error_on_rank_zero_reaches_every_rank(kind, expected, tmp_path):
    assert run_ranks(failing_rank_zero, 2, tmp_path, kind) == [expected, expected]


def test_periods():
    assert [step for step in range(1, 8) if is_due(step, 3)] == [3, 6]
    assert not any(is_due(step, 0) for step in range(5))

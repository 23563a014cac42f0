"""Laws of the step: how it is split over ranks and micro-steps changes nothing, and every engine computes the same."""

from dataclasses import replace

import pytest
import torch
from training.ranks import run_ranks
from training.tiny import TinyLoader, max_difference, tiny_config, tiny_module

from fcdist.config.types import Config
from fcdist.training.distributed import get_rank, get_world_size, seed_step
from fcdist.training.engines.deepspeed_engine import DeepSpeedEngine
from fcdist.training.engines.engine import Engine
from fcdist.training.engines.local_engine import LocalEngine
from fcdist.training.loop import train_step

NOTHING_RESIDENT = {
    "stage3_param_persistence_threshold": 0,
    "stage3_max_live_parameters": 0,
    "stage3_max_reuse_distance": 0,
    "stage3_prefetch_bucket_size": 0,
}
"""Parameters of tiny models otherwise stay gathered, which hides stage-3 bugs."""


def make_engine(cfg: Config, dtype: torch.dtype | None = None) -> Engine:
    module = tiny_module(cfg, dtype)
    if cfg.zero.engine == "local":
        return LocalEngine(module, cfg, torch.device("cpu"))
    return DeepSpeedEngine(module, cfg, torch.device("cpu"), NOTHING_RESIDENT)


def train_steps(cfg: Config, packs: int = 4, dtype: torch.dtype | None = None, num_steps: int = 3):
    """(weights, [(loss, norm)]) after some steps; weights on rank 0 only."""
    torch.set_default_dtype(torch.float32)
    engine = make_engine(cfg, dtype)
    engine.train_mode(True)
    loader = TinyLoader(num_steps, packs, get_rank(), get_world_size())
    history = []
    for step in range(1, num_steps + 1):
        seed_step(cfg.seed, step, get_rank())
        metrics = train_step(engine, 1, loader.next_step(), cfg.optim.lr)
        history.append((metrics.loss, metrics.grad_norm))
    assert engine.steps_done == num_steps
    return engine.trainable_state_dict(), history


@pytest.mark.parametrize("packs", [4, 5])
def test_weights_do_not_depend_on_how_a_step_is_split(packs, tmp_path):
    cfg = tiny_config()
    (expected, alone), *_ = run_ranks(train_steps, 1, tmp_path, cfg, packs, torch.float64)
    (actual, split), (nothing, same) = run_ranks(train_steps, 2, tmp_path, cfg, packs, torch.float64)
    assert max_difference(actual, expected) < 1e-12
    assert nothing == {} and same == split
    torch.testing.assert_close(split, alone, rtol=1e-12, atol=0)


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_equals_plain_torch(stage, mode, tmp_path):
    (expected, alone), *_ = run_ranks(train_steps, 1, tmp_path, tiny_config(mode=mode), 5)
    (actual, split), _ = run_ranks(train_steps, 2, tmp_path, tiny_config("deepspeed", stage, mode), 5)
    assert all(norm > 0.5 for _, norm in alone), "clipping must be active for the comparison to mean much"
    torch.testing.assert_close(split, alone, rtol=5e-6, atol=0)
    assert max_difference(actual, expected) < 2e-5  # of weights moved by 3e-2


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_in_bf16_follows_plain_torch_in_bf16(stage, tmp_path):
    (_, alone), *_ = run_ranks(train_steps, 1, tmp_path, tiny_config(precision="bf16"))
    (_, split), _ = run_ranks(train_steps, 2, tmp_path, tiny_config("deepspeed", stage, precision="bf16"))
    for (loss, norm), (expected_loss, expected_norm) in zip(split, alone, strict=True):
        assert loss == pytest.approx(expected_loss, rel=2e-3)
        assert norm == pytest.approx(expected_norm, rel=2e-2)


def test_offloaded_optimizer_equals_plain_torch(tmp_path):
    cfg = tiny_config("deepspeed", 2, "lora")
    cfg = replace(cfg, zero=replace(cfg.zero, offload_optimizer=True))
    (_, alone), *_ = run_ranks(train_steps, 1, tmp_path, tiny_config(mode="lora"))
    (_, split), _ = run_ranks(train_steps, 2, tmp_path, cfg)
    torch.testing.assert_close(split, alone, rtol=5e-6, atol=0)


@pytest.mark.parametrize("engine", ["local", "deepspeed"])
def test_without_clipping_the_norm_is_still_measured(engine, tmp_path):
    clipped = tiny_config(engine)
    free = replace(clipped, optim=replace(clipped.optim, max_grad_norm=0.0))
    (weights, history), *_ = run_ranks(train_steps, 2, tmp_path, free)
    (other_weights, other_history), *_ = run_ranks(train_steps, 2, tmp_path, clipped)
    assert history[0] == pytest.approx(other_history[0], rel=1e-6) and history[0][1] > 0.5
    assert max_difference(weights, other_weights) > 1e-5


def test_bf16_masters_keep_updates_that_bf16_would_lose(tmp_path):
    cfg = tiny_config(precision="bf16")
    engine = make_engine(cfg)
    loader = TinyLoader(4)
    before = engine.trainable_state_dict()
    for _ in range(4):
        train_step(engine, 1, loader.next_step(), 1e-6)
    weights = dict(engine.model.named_parameters())
    moved = max(float((m.detach() - before[n]).abs().max()) for n, m in engine._masters.items())
    assert 1e-6 < moved < 1e-5
    assert all(weight.dtype == torch.bfloat16 for weight in weights.values())
    assert all(torch.equal(weights[n], m.to(torch.bfloat16)) for n, m in engine._masters.items())

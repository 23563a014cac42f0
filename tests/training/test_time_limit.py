"""`train.max_minutes`: how many steps fit, and that measuring it changes nothing."""

import json
import logging
from dataclasses import replace

import pytest
from training.ranks import run_ranks
from training.test_engines import make_engine
from training.test_train import alone, freeze, losses, prepared, records  # noqa: F401
from training.tiny import TinyLoader, is_same, tiny_config, with_train

import fcdist.training.time_limit as time_limit
from fcdist.config.types import TrainConfig
from fcdist.errors import CheckpointError, ConfigError
from fcdist.training.distributed import get_rank, get_world_size, seed_step
from fcdist.training.loop import train_step
from fcdist.training.time_limit import PACE, limit_steps


def warnings_of(name):
    """A list that grows with the warnings of the logger `name`."""
    told, handler = [], logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())
    logging.getLogger(name).addHandler(handler)
    return told


def trained(cfg, folder):
    """Weights after two steps, and how many the loader was left with."""
    engine, loader = make_engine(cfg), TinyLoader(4, 4, get_rank(), get_world_size())
    engine.train_mode(True)
    warned = warnings_of("DeepSpeed")
    limit_steps(cfg.train, engine, loader, folder)
    assert not warned
    for step in (1, 2):
        seed_step(cfg.seed, step, engine.dp_rank)
        train_step(engine, step, loader.next_step(), 1e-2)
    return engine.trainable_state_dict(), loader.num_steps, engine.steps_done


@pytest.mark.parametrize(("engine", "stage"), [("local", 2), ("deepspeed", 1), ("deepspeed", 2), ("deepspeed", 3)])
def test_measuring_the_pace_leaves_no_trace_in_the_weights(engine, stage, tmp_path):
    cfg = tiny_config(engine, stage, dropout=0.1, mode="lora")
    (plain, *_), _ = run_ranks(trained, 2, tmp_path, cfg, tmp_path / "plain")
    (timed, num_steps, done), (_, same, _) = run_ranks(
        trained, 2, tmp_path, with_train(cfg, max_minutes=60.0), tmp_path / "timed"
    )
    assert is_same(plain, timed)
    assert num_steps == same == 4 and done == 2
    assert not (tmp_path / "plain").exists()


class Paced:
    """An engine whose steps are not run, because their pace is given."""

    def __init__(self, monkeypatch, step_s):
        self.calls = 0

        def measure(engine, step):
            self.calls += 1
            return step_s

        monkeypatch.setattr(time_limit, "measure_step", measure)


@pytest.mark.parametrize(("step_s", "expected"), [(10.0, 6), (30.0, 2), (1000.0, 2), (0.1, 9)])
def test_as_many_steps_as_fit_but_no_more_than_there_are(monkeypatch, tmp_path, step_s, expected):
    engine, loader = Paced(monkeypatch, step_s), TinyLoader(num_steps=9)
    limit_steps(TrainConfig(max_minutes=1.0), engine, loader, tmp_path)
    assert loader.num_steps == expected and loader.done == 0


def test_a_resumed_run_keeps_its_last_step_at_any_pace(monkeypatch, tmp_path):
    limit_steps(TrainConfig(max_minutes=1.0), Paced(monkeypatch, 10.0), TinyLoader(num_steps=9), tmp_path)
    slower, loader = Paced(monkeypatch, 20.0), TinyLoader(num_steps=9)
    limit_steps(TrainConfig(max_minutes=1.0), slower, loader, tmp_path)
    assert loader.num_steps == 6 and not slower.calls
    longer = TinyLoader(num_steps=9)
    limit_steps(TrainConfig(max_minutes=2.0), slower, longer, tmp_path)
    assert longer.num_steps == 6 and slower.calls == 1  # another limit is measured anew: 120 s of 20 s steps
    assert json.loads((tmp_path / PACE).read_text()) == {"max_minutes": 2.0, "step_s": 20.0, "num_steps": 6}


@pytest.mark.parametrize("text", ["{", "[]", '{"num_steps": 3}', '{"max_minutes": 1.0, "num_steps": null}'])
def test_a_spoilt_file_is_named(monkeypatch, tmp_path, text):
    (tmp_path / PACE).write_text(text)
    with pytest.raises(CheckpointError, match=PACE):
        limit_steps(TrainConfig(max_minutes=1.0), Paced(monkeypatch, 1.0), TinyLoader(), tmp_path)


def test_a_negative_limit_is_refused():
    with pytest.raises(ConfigError, match=r"train\.max_minutes=-1"):
        TrainConfig(max_minutes=-1)


def test_a_whole_run_ends_within_its_limit_with_its_schedule(prepared, tmp_path):  # noqa: F811
    cfg = replace(prepared, train=replace(prepared.train, max_steps=400, eval_every=0, max_minutes=1e-3))
    run_dir = freeze(cfg, tmp_path / "run")
    assert run_ranks(alone, 1, tmp_path, run_dir) == [0]
    found = json.loads((run_dir / "log" / PACE).read_text())
    steps = [record for record in records(run_dir) if "loss" in record]
    assert 2 <= len(steps) == found["num_steps"] < 400
    assert steps[-1]["lr"] == pytest.approx(cfg.optim.lr * cfg.optim.min_lr_fraction)
    before = losses(run_dir)
    assert run_ranks(alone, 1, tmp_path, run_dir) == [0]  # finished: nothing is added
    assert losses(run_dir) == before

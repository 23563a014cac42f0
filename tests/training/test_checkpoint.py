"""Laws of checkpoints: resume equals no interruption, bit for bit; torn and foreign ones are refused."""

import faulthandler
import json
import logging
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training.ranks import run_ranks
from training.test_engines import make_engine
from training.tiny import FINGERPRINT, Recorder, TinyLoader, is_same, tiny_config, with_train

from fcdist.config.entry import REQUEUE
from fcdist.config.types import Config, ZeroConfig
from fcdist.errors import CheckpointError
from fcdist.training.checkpoints.checkpoint import Checkpoints
from fcdist.training.checkpoints.finding import MANIFEST, find_damage, newest_checkpoint, read_state
from fcdist.training.checkpoints.fragments import part_path
from fcdist.training.checkpoints.identity import Identity
from fcdist.training.distributed import get_rank, get_world_size
from fcdist.training.loop import train
from fcdist.training.records.log import Log
from fcdist.training.watching.failures import FailedSteps
from fcdist.training.watching.stopping import RESUME, StopRequest
from fcdist.training.watching.watchdog import Watchdog

NUM_STEPS = 4


def run(cfg: Config, folder: Path, stop_at: int = 0, store: str = FINGERPRINT):
    """(exit code, weights, history); with `stop_at` the last rank is told to stop within that step's accumulation.

    The history holds (step, loss, norm, lr, targets, tokens).
    """
    engine = make_engine(cfg)
    engine.train_mode(True)
    loader, recorder = TinyLoader(NUM_STEPS, 5, get_rank(), get_world_size()), Recorder()
    folder.mkdir(parents=True, exist_ok=True)
    stop = StopRequest(folder)
    backward = engine.backward

    def signalled_backward(loss):
        backward(loss)
        if loader.done == stop_at and get_rank() == get_world_size() - 1:
            signal.raise_signal(signal.SIGTERM)

    engine.backward = signalled_backward

    def validate(engine):
        torch.rand(3)  # validation may draw from the generators; resume must not notice
        return {}

    checkpoints = Checkpoints(folder / "checkpoints", Identity.of(cfg, store), cfg.train)
    failed, watchdog = FailedSteps(folder / "failures", 0), Watchdog(60, folder / "failures")
    log = Log([recorder], 1, torch.device("cpu"))
    try:
        code = train(with_train(cfg, eval_every=1), engine, loader, checkpoints, log, validate, stop, failed, watchdog)
    finally:
        checkpoints.close()
        faulthandler.cancel_dump_traceback_later()  # `process_group` does this in a real run
    keys = ("step", "loss", "grad_norm", "lr", "num_targets", "tokens")
    history = [tuple(record[key] for key in keys) for record in recorder.records]
    return code, engine.trainable_state_dict(), history


def in_turn(cfg: Config, folder: Path):
    """An uninterrupted run, one stopped within step 2, and its continuation by fresh engines."""
    whole = run(cfg, folder / "whole")
    first = run(cfg, folder / "parts", stop_at=2)
    marker = (folder / "parts" / RESUME).exists()
    rest = run(cfg, folder / "parts")
    return whole, first, marker, rest, (folder / "parts" / RESUME).exists()


CASES = [
    ("local", 2, "full", "fp32", 1),
    ("local", 2, "full", "bf16", 2),
    ("local", 2, "lora", "bf16", 2),
    ("deepspeed", 1, "full", "fp32", 2),
    ("deepspeed", 1, "lora", "bf16", 2),
    ("deepspeed", 2, "full", "fp32", 2),
    ("deepspeed", 2, "lora", "bf16", 2),
    ("deepspeed", 3, "full", "bf16", 2),
    ("deepspeed", 3, "lora", "fp32", 2),
]


@pytest.mark.parametrize(("engine", "stage", "mode", "precision", "world_size"), CASES)
def test_resume_equals_no_interruption_bit_for_bit(engine, stage, mode, precision, world_size, tmp_path):
    lora = mode == "lora"  # these save in the background too
    cfg = tiny_config(engine, stage, mode, dropout=0.2 * lora, precision=precision, save_every=1, async_save=lora)
    results = run_ranks(in_turn, world_size, tmp_path, cfg, tmp_path)
    whole, first, marker, rest, marker_after = results[0]
    assert (whole[0], first[0], rest[0]) == (0, REQUEUE, 0)
    assert [len(part[2]) for part in (first, rest)] == [2, 2]
    assert first[2] + rest[2] == whole[2]
    assert is_same(rest[1], whole[1]) and not is_same(rest[1], first[1])
    assert marker and not marker_after
    published = load_file(tmp_path / "parts" / "checkpoints" / "step-000004" / "trainable.safetensors")
    assert is_same(published, rest[1])
    if mode == "lora":
        assert all("lora_" in name for name in published)


@pytest.mark.parametrize("kind", ["offloaded-2", "offloaded-3", "resident-3"])
def test_other_places_of_the_state_resume_bit_for_bit_too(kind, tmp_path, monkeypatch):
    """An optimizer in host memory, and small weights that ZeRO-3 keeps gathered."""
    name, stage = kind.split("-")
    cfg = tiny_config("deepspeed", int(stage))
    if name == "offloaded":
        cfg = replace(cfg, zero=replace(cfg.zero, offload_optimizer=True))
    else:
        monkeypatch.setattr("training.test_engines.NOTHING_RESIDENT", {})
    (whole, first, _, rest, _), _ = run_ranks(in_turn, 2, tmp_path, cfg, tmp_path)
    assert first[2] + rest[2] == whole[2]
    assert is_same(rest[1], whole[1]) and not is_same(rest[1], first[1])


def updates_with_one_left_out(cfg: Config) -> tuple[int, set[float]]:
    """(steps done, counts of Adam) after two updates with one between that was not finite."""
    engine = make_engine(cfg)
    loader = TinyLoader(3, 4, get_rank(), get_world_size())
    for factor in (1.0, math.nan, 1.0):
        for batch in loader.next_step().batches:
            engine.backward(engine(batch)[0] * factor / 10)
        if not math.isfinite(engine.step(1e-3)):
            engine.discard()
    optimizer = engine._optimizer if cfg.zero.engine == "local" else engine._engine.optimizer.optimizer
    return engine.steps_done, {float(state["step"]) for state in optimizer.state.values()}


@pytest.mark.parametrize(
    ("engine", "stage", "precision"),
    [("local", 1, "fp32"), ("deepspeed", 1, "bf16"), ("deepspeed", 2, "fp32"), ("deepspeed", 3, "bf16")],
)
def test_an_update_that_was_left_out_is_not_counted(engine, stage, precision, tmp_path):
    """A resume would otherwise give Adam another bias correction."""
    cfg = tiny_config(engine, stage, precision=precision)
    assert run_ranks(updates_with_one_left_out, 2, tmp_path, cfg) == [(2, {2.0}), (2, {2.0})]


def test_dropout_differs_by_step_and_rank():
    from fcdist.training.distributed import seed_step

    drawn = []
    for step, rank in [(1, 0), (2, 0), (1, 1), (1, 0)]:
        seed_step(0, step, rank)
        drawn.append(torch.rand(()).item())
    assert drawn[0] == drawn[3] and len(set(drawn)) == 3


def refuse(cfg: Config, folder: Path) -> str:
    try:
        run(cfg, folder)
    except CheckpointError as error:
        return str(error)
    return "was not refused"


@pytest.fixture
def saved(tmp_path):
    """A finished run with checkpoints of steps 3 and 4."""
    cfg = tiny_config(mode="lora", save_every=1)
    run(cfg, tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000003", "step-000004"]
    return cfg, tmp_path


DAMAGE = {
    "cut": (lambda p: os.truncate(p / "trainable.safetensors", 100), "trainable.safetensors has 100 bytes"),
    "missing": (lambda p: part_path(p / "engine", 0).unlink(), "engine/part-00000.safetensors is missing"),
    "unfinished": (lambda p: (p / MANIFEST).unlink(), "MANIFEST.json is missing"),
    "torn manifest": (lambda p: os.truncate(p / MANIFEST, 20), "MANIFEST.json cannot be read"),
    "altered": (lambda p: flip_last_byte(p / "trainable.safetensors"), "does not match its checksum"),
}


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_torn_checkpoint_is_skipped_and_the_one_before_continues(damage, saved, caplog):
    cfg, folder = saved
    broken, reason = DAMAGE[damage]
    newest = folder / "checkpoints" / "step-000004"
    assert newest_checkpoint(folder / "checkpoints") == newest
    broken(newest)
    with caplog.at_level(logging.WARNING):
        assert newest_checkpoint(folder / "checkpoints").name == "step-000003"
    assert reason in caplog.text and "step-000004 is skipped" in caplog.text
    code, _, history = run(cfg, folder)
    assert code == 0 and [record[0] for record in history] == [4]
    assert find_damage(newest) is None, "the repeated step replaces the torn one"


def test_only_torn_checkpoints_start_from_the_beginning(saved):
    cfg, folder = saved
    for path in (folder / "checkpoints").iterdir():
        (path / MANIFEST).unlink()
    assert [record[0] for record in run(cfg, folder)[2]] == [1, 2, 3, 4]


FOREIGN = {
    "optim.lr: 0.01 → 0.02": lambda c: replace(c, optim=replace(c.optim, lr=0.02)),
    "tuning.alpha: 8.0 → 16.0": lambda c: replace(c, tuning=replace(c.tuning, alpha=16.0)),
    "protocol.name: 'text' → 'tagged'": lambda c: replace(c, protocol=replace(c.protocol, name="tagged")),
    "model.path: 'debug' → 'other'": lambda c: replace(c, model=replace(c.model, path="other")),
}


@pytest.mark.parametrize("difference", FOREIGN)
def test_a_foreign_checkpoint_is_refused_with_the_keys_that_differ(difference, saved):
    cfg, folder = saved
    message = refuse(FOREIGN[difference](cfg), folder)
    assert difference in message and "belongs to another run" in message and "run_dir" in message


def test_a_checkpoint_of_other_data_is_refused(saved):
    cfg, folder = saved
    with pytest.raises(CheckpointError, match="fingerprint of the store: 'made-up' → 'new data'"):
        run(cfg, folder, store="new data")


def test_other_base_weights_under_the_same_name_are_refused(saved):
    cfg, folder = saved
    state = read_state(newest_checkpoint(folder / "checkpoints"))
    (difference,) = Identity.of(cfg, FINGERPRINT, base_model="other").differences(state)
    assert difference == "fingerprint of the base model: '' → 'other'"


def test_a_longer_schedule_another_engine_and_division_are_no_foreign_run(saved):
    cfg, folder = saved
    batch = replace(cfg.batch, micro_batch_size=2, sequence_parallel=2)
    zero = ZeroConfig(engine="deepspeed", stage=3)
    other = replace(with_train(cfg, max_steps=100, save_every=2), zero=zero, batch=batch)
    state = read_state(newest_checkpoint(folder / "checkpoints"))
    assert Identity.of(other, FINGERPRINT).differences(state) == []


def test_the_state_names_what_made_it(saved):
    cfg, folder = saved
    state = read_state(newest_checkpoint(folder / "checkpoints"))
    assert state["step"] == 4 and state["protocol"] == cfg.protocol.name and state["world_size"] == 1
    assert state["cursor"] == {"fingerprint": FINGERPRINT, "done": 4}
    assert state["versions"]["torch"] == torch.__version__.split("+")[0] or "+" in state["versions"]["torch"]
    assert json.loads(json.dumps(state)) == state


def fail_on_rank_one(cfg: Config, folder: Path, where: str) -> str:
    """What this rank is told when only rank 1 cannot write, or cannot read."""
    import fcdist.training.checkpoints.checkpoint as checkpoint
    import fcdist.training.checkpoints.publishing as publishing

    def broken(*args, **kwargs):
        raise OSError(5, "Input/output error")

    if get_rank() == 1:
        setattr(*((publishing, "write_part") if where == "save" else (checkpoint, "_read_fragments")), broken)
    return refuse(cfg, folder)


@pytest.mark.parametrize("async_save", [False, True])
def test_a_save_that_fails_on_one_rank_ends_every_rank(async_save, tmp_path):
    cfg = tiny_config(save_every=1, async_save=async_save)
    messages = run_ranks(fail_on_rank_one, 2, tmp_path, cfg, tmp_path / "run", "save")
    assert messages[0] == messages[1] and "rank 1: [Errno 5] Input/output error" in messages[0]
    assert newest_checkpoint(tmp_path / "run" / "checkpoints") is None


def test_a_load_that_fails_on_one_rank_ends_every_rank(tmp_path):
    cfg = tiny_config()
    run_ranks(run, 2, tmp_path, cfg, tmp_path / "run", 1)
    messages = run_ranks(fail_on_rank_one, 2, tmp_path, cfg, tmp_path / "run", "load")
    assert messages[0] == messages[1] and "rank 1: [Errno 5]" in messages[0]

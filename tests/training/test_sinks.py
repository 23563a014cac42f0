"""Sinks: JSON lines are the truth, the others never fail a run."""

import json
import logging
import time
from dataclasses import replace

import pytest
import torch
from training.tiny import TinyLoader, tiny_config

from fcdist.config.types import LaunchConfig, LoggerConfig
from fcdist.training.records.log import Log, format_seconds
from fcdist.training.records.metrics import StepMetrics
from fcdist.training.records.sinks import (
    GuardedSink,
    JsonlSink,
    TensorBoardSink,
    WandbSink,
    build_sinks,
    public_settings,
)

METRICS = StepMetrics(
    loss=2.0,
    kind_losses={"call": 1.5, "end": 2.5},
    grad_norm=0.5,
    num_targets=10,
    num_tokens=40,
    num_unique_tokens=16,
    source_counts={"calls": 3, "chat": 1},
)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_record_is_on_disk_at_once_and_resume_drops_later_ones(tmp_path):
    path = tmp_path / "log" / "metrics.jsonl"
    sink = JsonlSink(path)
    sink.resume(0)
    for step in (1, 2, 3):
        sink.write({"step": step, "loss": 1 / step})
        assert len(lines(path)) == step
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # the process was killed here
    again = JsonlSink(path)
    again.resume(2)
    again.write({"step": 3, "loss": 9.0})
    assert [(r["step"], r["loss"]) for r in lines(path)] == [(1, 1.0), (2, 0.5), (3, 9.0)]


def test_a_failing_sink_is_one_warning_and_the_others_go_on(tmp_path, caplog):
    class Broken:
        calls = 0

        def resume(self, step):
            pass

        def write(self, record):
            Broken.calls += 1
            raise ConnectionError("gone")

        def close(self):
            raise AssertionError("a sink that failed is left alone")

    log = Log([GuardedSink("broken", Broken()), GuardedSink("file", JsonlSink(tmp_path / "m.jsonl"))], 1, CPU)
    with caplog.at_level(logging.WARNING):
        log.start(0, 3)
        for step in (1, 2, 3):
            log.step(step, 1e-3, TinyLoader(), METRICS)
        log.close()
    assert Broken.calls == 1 and caplog.text.count("broken failed and is off") == 1
    assert [record["step"] for record in lines(tmp_path / "m.jsonl")] == [1, 2, 3]


CPU = torch.device("cpu")


def test_records_hold_what_was_agreed_and_average_over_the_period(tmp_path, caplog):
    log = Log([JsonlSink(tmp_path / "m.jsonl")], 2, CPU)
    with caplog.at_level(logging.INFO):
        log.start(0, 3)
        log.step(1, 1e-3, TinyLoader(), METRICS)
        log.step(2, 1e-3, TinyLoader(), replace(METRICS, loss=5.0, num_targets=20, source_counts={"calls": 2}))
        log.step(3, 1e-3, TinyLoader(), METRICS)
        log.validation(3, {"validation/loss": 2.0, "validation/loss/general": 2.5})
        log.close()
    first, last, validation = lines(tmp_path / "m.jsonl")
    expected = {
        "step", "epoch", "loss", "loss/call", "loss/end", "lr", "grad_norm", "num_targets", "tokens", "tokens_per_s",
        "targets_fraction", "unique_tokens", "prefix_reuse", "examples/calls", "examples/chat", "memory_gib",
        "step_time_s", "eta_s",
    }  # fmt: skip
    assert set(first) == expected
    assert (first["step"], last["step"]) == (2, 3)
    assert first["loss"] == pytest.approx(4.0) and first["num_targets"] == 30 and first["tokens"] == 80
    assert first["targets_fraction"] == pytest.approx(0.375) and first["eta_s"] > 0 and last["eta_s"] == 0
    assert (first["unique_tokens"], first["prefix_reuse"]) == (32, 2.5)
    assert (first["examples/calls"], first["examples/chat"]) == (5, 1)
    assert first["memory_gib"] > 0
    assert validation == {"step": 3, "validation/loss": 2.0, "validation/loss/general": 2.5}
    assert "step 2/3" in caplog.text and "left" in caplog.text


def test_time_left_is_readable():
    assert [format_seconds(s) for s in (0, 61, 3661.4)] == ["0:00:00", "0:01:01", "1:01:01"]


def test_tensorboard_writes_scalars(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sink = TensorBoardSink(tmp_path)
    sink.resume(0)
    for step in (1, 2):
        sink.write({"step": step, "loss": float(step), "loss/call": 0.5})
    sink.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 2.0)]


@pytest.fixture
def wandb_env(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))


def logged_run(cfg, folder):
    log = Log(build_sinks(cfg, folder), 1, CPU)
    log.start(0, 1)
    log.step(1, 1e-3, TinyLoader(), METRICS)
    log.close()


def test_wandb_offline_writes_a_run_and_keeps_its_id(wandb_env, tmp_path, caplog):
    cfg = replace(tiny_config(), logger=LoggerConfig(tensorboard=False, wandb="offline"))
    with caplog.at_level(logging.WARNING):
        logged_run(cfg, tmp_path)
        first = (tmp_path / "wandb_id").read_text()
        logged_run(cfg, tmp_path)
    assert "failed" not in caplog.text
    assert (tmp_path / "wandb_id").read_text() == first and first.strip()
    runs = list((tmp_path / "wandb").glob(f"offline-run-*-{first.strip()}"))
    assert runs and any(path.stat().st_size > 500 for run in runs for path in run.glob("*.wandb"))


def test_wandb_online_without_key_or_server_falls_back_in_time(wandb_env, tmp_path, monkeypatch, caplog):
    cfg = replace(tiny_config(), logger=LoggerConfig(tensorboard=False, wandb="online"))
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        logged_run(cfg, tmp_path / "no-key")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setattr("fcdist.training.records.sinks.INIT_TIMEOUT_S", 2)
        logged_run(cfg, tmp_path / "no-server")
    assert "no API key" in caplog.text and "cannot be reached" in caplog.text
    assert time.monotonic() - started < 30
    for name in ("no-key", "no-server"):
        assert [record["step"] for record in lines(tmp_path / name / "metrics.jsonl")] == [1]
        assert list((tmp_path / name / "wandb").glob("offline-run-*"))


def test_a_broken_wandb_never_fails_the_run(wandb_env, tmp_path, monkeypatch, caplog):
    def explode(self, mode):
        raise RuntimeError("wandb is broken")

    monkeypatch.setattr(WandbSink, "_init", explode)
    cfg = replace(tiny_config(), logger=LoggerConfig(tensorboard=False, wandb="offline"))
    with caplog.at_level(logging.WARNING):
        logged_run(cfg, tmp_path)
    assert "W&B failed" in caplog.text and len(lines(tmp_path / "metrics.jsonl")) == 1


def test_what_may_hold_secrets_is_not_logged():
    cfg = replace(tiny_config(), launch=LaunchConfig(env={"HF_TOKEN": "hf_secret"}, setup=("export KEY=hf_secret",)))
    assert "hf_secret" not in json.dumps(public_settings(cfg))

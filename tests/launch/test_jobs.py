import dataclasses
import json
from pathlib import Path

import pytest
from rich.console import Console

from fcdist.config.run_folder import read_config
from fcdist.errors import ConfigError
from launch import cli, local
from launch.compose import compose
from launch.jobs import Job, build_job
from launch.pipeline import plan_steps, run_pipeline
from launch.sweep import plan_members, run_sweep


def test_training_starts_one_process_per_rank_and_reads_only_the_run_folder():
    config = compose(["experiment=quickstart"])
    argv = build_job("train", config).argv
    assert argv[-3:] == ("-m", "fcdist.train", config.run_dir)
    assert "--nproc-per-node=2" in argv and "--standalone" in argv


def test_several_nodes_need_an_end_point():
    config = compose(["launch.nodes=2"])
    with pytest.raises(ConfigError, match=r"launch\.rdzv_endpoint=HOST:PORT"):
        build_job("train", config)
    with_endpoint = compose(["launch.nodes=2", "launch.rdzv_endpoint=head:29500"])
    argv = build_job("train", with_endpoint).argv
    assert argv[argv.index("--rdzv-endpoint") + 1] == "head:29500"


def test_self_teacher_runs_with_the_model():
    assert "fcdist.replay" in build_job("generate", compose(["generate.teacher=self"])).argv
    assert "data_pipeline.generate" in build_job("generate", compose([])).argv


def test_wrong_world_size_is_refused_before_anything_starts(capsys, tmp_path):
    code = cli.main(["train", f"run_dir={tmp_path}", "batch.global_batch_size=3", "launch.nproc_per_node=2"])
    assert code == 2
    assert "Nearest above: 4" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_worker_options_pass_through(capsys):
    assert cli.main(["show", "--pack", "3", "--dry-run", "experiment=debug"]) == 0
    assert capsys.readouterr().out.split()[-2:] == ["--pack", "3"]


def test_a_run_begun_with_other_settings_is_not_overwritten(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "run_job", lambda job: 0)
    first = ["train", "experiment=debug", f"run_dir={tmp_path}"]
    assert cli.main(first) == 0
    (tmp_path / "checkpoints").mkdir()
    assert cli.main(first) == 0
    for override, told in {
        "optim.lr=3e-3": "optim.lr: 0.0002 → 0.003",
        "tuning.r=4": "tuning.r: 16 → 4",
        "batch.seq_len=512": "batch.seq_len: 8192 → 512",
        "data.general_ratio=3": "data.general_ratio: ",
        "data.sources.function_call.path=elsewhere": "data.sources.function_call.path: ",
    }.items():
        assert cli.main([*first, override]) == 2
        assert told in capsys.readouterr().err
    assert read_config(tmp_path).optim.lr == 2e-4


def test_a_run_may_go_on_longer_elsewhere_and_divided_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "run_job", lambda job: 0)
    assert cli.main(["train", "experiment=debug", f"run_dir={tmp_path}"]) == 0
    (tmp_path / "checkpoints").mkdir()
    changes = ["zero=zero3", "train.max_steps=9", "train.epochs=2", "train.save_every=5", "launch.nproc_per_node=2"]
    assert cli.main(["train", "--run", str(tmp_path), *changes, "data.num_workers=2"]) == 0
    config = read_config(tmp_path)
    assert (config.zero.stage, config.zero.engine, config.launch.nproc_per_node) == (3, "deepspeed", 2)
    assert (config.train.max_steps, config.train.epochs, config.train.save_every) == (9, 2, 5)


def test_pipeline_runs_the_steps_in_order_and_stops_at_a_failure(tmp_path):
    config = compose(["experiment=quickstart", f"run_dir={tmp_path}"])
    verbs = [step.verb for step in plan_steps(config)]
    assert verbs == [
        "generate", "generate", "generate", "prepare", "evaluate", "train", "evaluate", "export", "report"
    ]  # fmt: skip
    splits = [step.config.generate.split for step in plan_steps(config)[:2]]
    assert splits == ["held_out", "train"]
    started: list[Job] = []

    def run(job: Job) -> int:
        started.append(job)
        return 3 if "fcdist.prepare" in job.argv else 0

    assert run_pipeline(config, run, Console(quiet=True)) == 3
    assert len(started) == 4


def test_sweep_trains_every_combination_on_shared_data_and_writes_a_manifest(tmp_path):
    overrides = ["experiment=debug", f"run_dir={tmp_path}", "sweep.grid={tuning.r: [4, 8], optim.lr: [1e-3]}"]
    config = compose(overrides)
    members = plan_members(config, overrides, compose)
    assert [(m.config.tuning.r, m.config.optim.lr) for m in members] == [(4, 1e-3), (8, 1e-3)]
    assert {m.config.data.sources["function_call"].path for m in members} == {f"{tmp_path}/shards/function_call"}

    def run(job: Job) -> int:
        if "fcdist.train" in job.argv:
            log = Path(job.argv[-1], "log")
            log.mkdir()
            (log / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 1, "validation/loss": 1.5}\n')
        return 0

    assert run_sweep(config, members, run, Console(quiet=True)) == 0
    rows = json.loads((tmp_path / "sweep.json").read_text())
    assert [row["values"]["tuning.r"] for row in rows] == [4, 8]
    assert all(row["validation/loss"] == 1.5 and row["exit_code"] == 0 for row in rows)


def test_an_empty_grid_is_refused():
    with pytest.raises(ConfigError, match=r"sweep\.grid is empty"):
        plan_members(compose([]), [], compose)


def test_run_job_passes_environment_and_exit_code(tmp_path):
    job = Job(("bash", "-c", 'test "$ANSWER" = 42 && exit 7'), {"ANSWER": "42"})
    assert local.run_job(job) == 7


def test_jobs_are_values():
    job = build_job("prepare", compose([]))
    assert dataclasses.replace(job) == job

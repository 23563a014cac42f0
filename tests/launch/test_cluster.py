"""Job scripts, dependencies and what is said about them, without a cluster; `test_slurm.py` runs them on one."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from data_pipeline.shard_worker import plan_shards
from fcdist.errors import ConfigError
from launch import cli
from launch.cluster.following import describe_state, follow, last_step
from launch.cluster.queue import JobState, submit, summarise
from launch.cluster.scripts import limit_seconds, render_script
from launch.cluster.submitting import Submitted, in_the_queue, submit_tasks, unfinished
from launch.cluster.tasks import Task, jobs_dir, needing, plan_tasks, single_step
from launch.compose import compose
from launch.pipeline import plan_steps

ON_SLURM = ("launch=slurm", "experiment=debug", "batch.global_batch_size=32")


def tasks_of(verb: str, *overrides: str, options: tuple[str, ...] = ()) -> list[Task]:
    config = compose([*ON_SLURM, *overrides])
    return plan_tasks(plan_steps(config) if verb == "pipeline" else [single_step(verb, config)], options)


def script_of(verb: str, *overrides: str, python: str = "") -> str:
    task = tasks_of(verb, *overrides, f"launch.python='{python}'")[-1]
    return render_script(task, [task], Path(task.config.run_dir))


def directives(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]


def assert_is_shell(script: str) -> None:
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_the_script_of_training_is_valid_shell_and_carries_the_settings(tmp_path):
    script = script_of(
        "train", "launch.partition=gpu", "launch.account=lab", "launch.qos=long", "launch.time=01:00:00",
        "launch.constraint=h100", f"run_dir={tmp_path}", "launch.setup=['module load cuda']",
        "launch.sbatch_lines=['--exclusive']", "launch.stop_before_s=300", "launch.env.NCCL_DEBUG=INFO",
        "launch.container_image=images/fcdist.sqsh", "launch.container_mounts=['/data:/data','/runs:/runs']",
        python="/opt/my env/python",
    )  # fmt: skip
    assert set(directives(script)) >= {
        "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=8", "--cpus-per-task=64", "--partition=gpu",
        "--account=lab", "--qos=long", "--time=01:00:00", "--constraint=h100", "--exclusive", "--signal=B:USR1@300",
        "--requeue", "--open-mode=append", f"--output={tmp_path}/log/train-%j.out",
    }  # fmt: skip
    assert "export FCDIST_PYTHON='/opt/my env/python'" in script and "export NCCL_DEBUG=INFO" in script
    assert "module load cuda" in script.splitlines() and "export OMP_NUM_THREADS=8" in script
    assert (
        "srun --kill-on-bad-exit=1 --container-image=images/fcdist.sqsh --container-mounts=/data:/data,/runs:/runs"
        in (script)
    )
    assert_is_shell(script)
    commands = [i for i, line in enumerate(script.splitlines()) if re.match(r"[a-z]", line)]
    last = max(i for i, line in enumerate(script.splitlines()) if line.startswith("#SBATCH"))
    assert last < min(commands), "Slurm stops reading directives at the first command"


def test_a_wrapper_stands_before_the_program():
    assert 'srun --nodes=1 --ntasks=1 apptainer exec --nv x.sif "$FCDIST_PYTHON" -m fcdist.evaluate' in script_of(
        "evaluate", "launch.wrap='apptainer exec --nv x.sif'"
    )


def test_names_with_blanks_and_quotes_are_read_as_one(tmp_path):
    script = script_of("train", "name='it''s \"mine\"'".replace("''", "\\'"), f"run_dir='{tmp_path}/100% mine'")
    assert '"--job-name=it\'s \\"mine\\"-train"' in directives(script)
    assert f'"--output={tmp_path}/100%% mine/log/train-%j.out"' in directives(script)
    assert_is_shell(script)


@pytest.mark.parametrize(
    ("verb", "gpus", "cpus", "partition"),
    [("evaluate", 1, 8, "gpu"), ("export", 0, 1, "cpu"), ("prepare", 0, 6, "cpu"), ("merge", 0, 1, "cpu")],
)
def test_jobs_without_a_model_ask_for_no_gpu(verb, gpus, cpus, partition):
    found = directives(
        script_of(
            verb, "launch.partition=gpu", "launch.cpu_partition=cpu", "data.num_workers=6", "launch.cpu_time=10:00",
            "launch.cpu_sbatch_lines=['--mem=8G']",
        )
    )  # fmt: skip
    assert [line for line in found if "gpus" in line] == ([f"--gpus-per-node={gpus}"] if gpus else [])
    assert f"--cpus-per-task={cpus}" in found and f"--partition={partition}" in found and "--nodes=1" in found
    assert ("--mem=8G" in found, "--time=10:00" in found) == (not gpus, not gpus)


def test_general_chat_needs_the_model():
    assert "--gpus-per-node=1" in directives(script_of("generate", "generate.teacher=self"))


def test_generation_is_an_array_over_shards_and_a_job_that_publishes_them():
    shards, gather = tasks_of(
        "generate", "generate.num_conversations=65", "generate.shard_size=32", "launch.array_limit=2"
    )
    script = render_script(shards, [shards, gather], Path(shards.config.run_dir))
    assert "--array=0-2%2" in directives(script)
    assert "--shard $SLURM_ARRAY_TASK_ID" in script and "Cancelled, as they need it: generate, manifest." in script
    assert shards.config.generate.num_shards == len(plan_shards(Path(), 65, 32))
    assert gather.after == (shards.name,) and gather.options == ("--merge",)
    assert shards.marker not in script.replace(gather.marker, "") and gather.marker == shards.marker


@pytest.mark.parametrize("overrides", [("generate.teacher=openai", "generate.llm=x"), ("generate.teacher=self",)])
def test_a_server_or_a_model_writes_in_one_job(overrides):
    (task,) = tasks_of("generate", *overrides)
    assert not task.shards and "--array" not in render_script(task, [task], Path(task.config.run_dir))


def test_options_of_the_worker_reach_it():
    (task,) = tasks_of("generate", options=("--shard", "1"))
    assert "--config config.generate.yaml --shard 1" in render_script(task, [task], Path(task.config.run_dir))


def test_the_pipeline_waits_only_for_what_it_reads():
    tasks = tasks_of("pipeline", "data=generated")
    after = {task.name: set(task.after) for task in tasks}
    assert after == {
        "held_out_shards": set(),
        "held_out": {"held_out_shards"},
        "function_call_shards": set(),
        "function_call": {"function_call_shards"},
        "general": set(),
        "prepare": {"function_call", "general"},
        "evaluate_base": {"held_out", "prepare"},
        "train": {"prepare"},
        "evaluate_tuned": {"held_out", "evaluate_base", "train"},
        "export": {"train"},
        "report": {"evaluate_tuned", "train"},
    }
    seen: set[str] = set()
    for task in tasks:
        assert set(task.after) <= seen
        seen.add(task.name)
    lost = [task.name for task in needing("function_call_shards", tasks)]
    assert lost == ["function_call", "prepare", "evaluate_base", "train", "evaluate_tuned", "export", "report"]


def test_what_is_done_is_left_out_until_what_it_reads_changes(tmp_path):
    tasks = tasks_of("pipeline", f"run_dir={tmp_path}")
    jobs_dir(tmp_path).mkdir()
    for task in tasks:
        (jobs_dir(tmp_path) / task.marker).write_text(f"{task.digest}\n")
    assert unfinished(tasks, tmp_path) == []
    (jobs_dir(tmp_path) / "train.done").unlink()
    assert [task.name for task in unfinished(tasks, tmp_path)] == ["train", "evaluate_tuned", "export", "report"]
    elsewhere = tasks_of("pipeline", f"run_dir={tmp_path}", "launch.time=1:00:00", "logger=wandb")
    assert len(unfinished(elsewhere, tmp_path)) == 4, "where it runs and who is told changes no result"
    assert len(unfinished(tasks_of("pipeline", f"run_dir={tmp_path}", "seed=7"), tmp_path)) == len(tasks)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("launch.nodes=0", "launch.nodes=0 must be at least 1"),
        ("launch.nproc_per_node=0", "launch.nproc_per_node=0 must be at least 1"),
        ("launch.retries=-1", "launch.retries=-1 must be at least 0"),
        ("launch.poll_s=0", "launch.poll_s=0.0 must be positive"),
        ("launch.time=24h", "launch.time='24h' is not a limit of Slurm: minutes:seconds, hours:minutes:seconds"),
        ("launch.time=", "launch.time='' is not a limit of Slurm"),
        ("launch.cpu_time=1:99:00", "launch.cpu_time='1:99:00' is not a limit of Slurm"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_refused_when_it_is_read(override, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        compose([override])


@pytest.mark.parametrize("limit", ["30:00", "1:00:00", "100:00:00", "7-0", "1-12", "1-12:30", "1-12:30:59"])
def test_the_forms_of_a_limit(limit):
    assert compose([f"launch.time={limit}", f"launch.cpu_time={limit}"]).launch.cpu_time == limit


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [("2:03", 123), ("1:00:00", 3600), ("30:00:00", 108000), ("1-12", 129600), ("1-1:30", 91800), ("2-0:0:5", 172805)],
)
def test_a_limit_in_seconds(limit, seconds):
    assert limit_seconds(limit) == seconds


def test_a_limit_that_leaves_no_time_to_work_is_refused():
    with pytest.raises(ConfigError, match=r"launch\.time=3:00 must be more than a minute longer than"):
        script_of("train", "launch.time=3:00")
    assert "--time=3:00" in directives(script_of("train", "launch.time=3:00", "launch.stop_before_s=60"))


def test_more_ranks_than_gpus_are_refused():
    with pytest.raises(ConfigError, match=r"launch\.nproc_per_node=8 is more than launch\.gpus_per_node=4"):
        script_of("train", "launch.gpus_per_node=4")


def test_a_value_of_several_lines_is_refused():
    (task,) = tasks_of("train")
    bad = replace(task, config=replace(task.config, name="a\n#SBATCH --nodes=99"))
    with pytest.raises(ConfigError, match="must be one line"):
        render_script(bad, [bad], Path(task.config.run_dir))


def fake(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_without_slurm_nothing_is_left_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["train", *ON_SLURM, f"run_dir={tmp_path}/run"]) == 2
    assert "no sbatch on this machine" in capsys.readouterr().err
    assert not (tmp_path / "run" / "slurm" / "jobs.json").exists()


def test_a_refused_job_takes_those_before_it_out_of_the_queue(tmp_path, monkeypatch):
    refuse = 'case "$*" in *prepare*) echo "Invalid account" >&2; exit 1;; esac'
    fake(tmp_path, "sbatch", f'{refuse}\necho "$#" >> {tmp_path}/queued\nwc -l < {tmp_path}/queued')
    fake(tmp_path, "scancel", f'echo "$@" > {tmp_path}/cancelled')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tasks = tasks_of("pipeline", f"run_dir={tmp_path}/run")
    with pytest.raises(ConfigError, match="sbatch refused the job: Invalid account"):
        submit_tasks(tasks, tmp_path / "run")
    assert (tmp_path / "cancelled").read_text().split() == ["1", "2", "3", "4"]
    assert not (tmp_path / "run" / "slurm" / "jobs.json").exists()


def test_variables_of_a_surrounding_job_stay_outside(tmp_path, monkeypatch):
    fake(tmp_path, "sbatch", f'echo "$SLURM_JOB_ID$SBATCH_QOS$SLURM_CONF" > {tmp_path}/seen; echo "42;cluster"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name, value in {"SLURM_JOB_ID": "7", "SBATCH_QOS": "low", "SLURM_CONF": "conf"}.items():
        monkeypatch.setenv(name, value)
    assert submit(tmp_path / "script", ["1", "2"]) == "42"
    assert (tmp_path / "seen").read_text().strip() == "conf"


def shown(state: str, code: str = "0:0", **more: str) -> dict[str, str]:
    return {"JobState": state, "ExitCode": code, "Reason": "None", **more}


def test_an_array_is_over_when_all_its_tasks_are():
    going = summarise([shown("COMPLETED"), shown("RUNNING"), shown("FAILED", "3:0"), shown("PENDING")])
    assert (going.state, going.is_over, going.tasks_done) == ("RUNNING", False, 1)
    over = summarise([shown("COMPLETED"), shown("FAILED", "3:0", Restarts="2")])
    assert (over.state, over.is_over, over.exit_code, over.restarts) == ("FAILED", True, 3, 2)
    assert summarise([shown("CANCELLED", "0:15")]).exit_code == 143
    assert summarise([shown("COMPLETED")]).exit_code == 0


def submitted(folder: Path, name: str = "train", **changes: object) -> Submitted:
    job = Submitted(
        name, name, "7", f"{folder}/log/{name}-7.out", f"{folder}/slurm/{name}.sbatch", str(folder), f"{name}.done"
    )
    return replace(job, **changes)


def test_progress_of_training_is_its_newest_step(tmp_path):
    (tmp_path / "log").mkdir()
    assert last_step(tmp_path) == []
    records = [{"step": 3, "loss": 1.5}, {"step": 3, "validation/loss": 1.0}]
    (tmp_path / "log" / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + '{"step": 4, "lo')
    line = describe_state(submitted(tmp_path, trains=True), JobState("RUNNING", restarts=2))
    assert line == "train, job 7: RUNNING  queued again 2 times  step 3  loss 1.5000"
    waiting = describe_state(submitted(tmp_path, name="x", shards=3), JobState("PENDING", reason="Priority"))
    assert waiting == "x, job 7: PENDING  (Priority)  0 of 3 shards written"


def watch(monkeypatch, tmp_path: Path, states: dict[str, list[JobState]], jobs: list[Submitted], sleep=lambda s: None):
    monkeypatch.setattr("launch.cluster.following.look", lambda job_id: states[job_id].pop(0))
    with Console(record=True, width=200, quiet=False, file=open("/dev/null", "w")) as console:
        code = follow(jobs, tmp_path, 1.0, console, sleep)
    return code, console.export_text()


def test_following_ends_with_the_first_failure_and_what_it_cancelled(monkeypatch, tmp_path):
    jobs = [submitted(tmp_path, "prepare", job_id="1"), submitted(tmp_path, job_id="2")]
    jobs_dir(tmp_path).mkdir()
    (jobs_dir(tmp_path) / "FAILED").write_text(
        "token store: ended with exit code 3. Cancelled, as they need it: train.\n"
    )
    states = {
        "1": [JobState("PENDING"), JobState("RUNNING"), JobState("RUNNING"), JobState("FAILED", 3)],
        "2": [JobState("PENDING", reason="Dependency")] * 4 + [JobState("CANCELLED")],
    }
    code, text = watch(monkeypatch, tmp_path, states, jobs)
    assert code == 3 and "Cancelled, as they need it: train." in text
    assert text.count("prepare, job 1: RUNNING") == 1, "only changes are printed"
    assert "train, job 2: CANCELLED" in text and "Start the same command again" in text


def test_ctrl_c_leaves_the_jobs_running(monkeypatch, tmp_path):
    def interrupt(seconds):
        raise KeyboardInterrupt

    code, text = watch(monkeypatch, tmp_path, {"7": [JobState("RUNNING")]}, [submitted(tmp_path)], interrupt)
    assert code == 130 and "the jobs go on (squeue -j 7)" in text and "scancel 7 ends them" in text


def test_a_job_that_slurm_forgot_is_judged_by_its_marker(monkeypatch, tmp_path):
    assert watch(monkeypatch, tmp_path, {"7": [JobState()]}, [submitted(tmp_path)])[0] == 1
    jobs_dir(tmp_path).mkdir()
    (jobs_dir(tmp_path) / "train.done").touch()
    assert watch(monkeypatch, tmp_path, {"7": [JobState()]}, [submitted(tmp_path)])[0] == 0


def test_a_run_is_not_queued_twice(tmp_path, monkeypatch, capsys):
    states = {"7": JobState("RUNNING", script=f"{tmp_path}/slurm/train.sbatch")}
    monkeypatch.setattr("launch.cluster.submitting.look", lambda job_id: states[job_id])
    jobs_dir(tmp_path).mkdir()
    job = submitted(tmp_path)
    (jobs_dir(tmp_path) / "jobs.json").write_text(json.dumps([{f: getattr(job, f) for f in job.__dataclass_fields__}]))
    assert in_the_queue(tmp_path) == [job]
    assert cli.main(["train", *ON_SLURM, f"run_dir={tmp_path}"]) == 2
    assert "has jobs in the queue: 7; launch.wait=true follows them" in capsys.readouterr().err
    states["7"] = replace(states["7"], script="/someone/elses.sbatch")
    assert in_the_queue(tmp_path) == []


def test_a_dry_run_prints_every_script(capsys, tmp_path):
    assert cli.main(["pipeline", *ON_SLURM, f"run_dir={tmp_path}/run", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("#!/bin/bash") == 10 and "### 7/10 train: training after prepare" in printed
    assert not (tmp_path / "run").exists()
    for script in re.split(r"^### .*$", printed, flags=re.M):
        assert_is_shell(script)


def test_a_sweep_trains_its_members_beside_each_other(tmp_path, capsys):
    grid = "sweep.grid={tuning.r: [4, 8]}"
    assert cli.main(["sweep", *ON_SLURM, f"run_dir={tmp_path}", grid, "--dry-run"]) == 0
    heads = re.findall(r"^### \d/6 (.*)", capsys.readouterr().out, flags=re.M)
    assert heads == [
        "function_call_shards: function-call conversations",
        "function_call: function-call conversations, manifest after function_call_shards",
        "prepare_000: token store of tuning.r=4 after function_call",
        "train_000: training of tuning.r=4 after prepare_000",
        "prepare_001: token store of tuning.r=8 after function_call",
        "train_001: training of tuning.r=8 after prepare_001",
    ]

"""On a real Slurm of two nodes: what is submitted runs, what fails is told, and interrupted training loses nothing."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_cluster import NODES, SlurmCluster, wait_until

from launch import cli

NUM_STEPS = 20
RUN = (
    "experiment=debug", "generate.num_conversations=48", "generate.shard_size=24", "batch.seq_len=2560",
    "data.over_length=drop", "train.epochs=9", f"train.max_steps={NUM_STEPS}", "train.save_every=2",
    "train.timeout_s=600", "launch.nodes=2", "launch.nproc_per_node=1", "launch.threads_per_rank=1",
    "launch.env.GLOO_SOCKET_IFNAME=lo",
)  # fmt: skip
ON_SLURM = ("launch=slurm", "launch.gpus_per_node=2", "launch.cpus_per_task=2", "launch.poll_s=0.5")
SHORT = ("train.max_steps=2", "evaluate.rows=[base,tuned]", "evaluate.suite_limit=2", "evaluate.suite_conversations=8")


@pytest.fixture
def slurm(cluster: SlurmCluster, monkeypatch) -> SlurmCluster:
    """The cluster as the one this process speaks to; empty before and after."""
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    yield cluster
    cluster.cancel_all()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A run folder with shards and token store, written on this machine without Slurm."""
    folder = tmp_path_factory.mktemp("prepared")
    for verb in ("generate", "prepare"):
        assert cli.main([verb, *RUN, f"run_dir={folder}"]) == 0
    return folder


def on_store(prepared: Path, run_dir: Path) -> list[str]:
    """Overrides of a run of its own on the prepared store."""
    source = f"data.sources.function_call.path={prepared}/shards/function_call"
    return [*RUN, f"run_dir={run_dir}", f"data.store_dir={prepared}/store", source]


def losses(run_dir: Path) -> list[tuple]:
    """What every step measured, validation included, without the clock."""
    lines = (run_dir / "log" / "metrics.jsonl").read_text().splitlines()
    keys = ("step", "loss", "grad_norm", "lr", "num_targets", "validation/loss")
    return [tuple(json.loads(line).get(key) for key in keys) for line in lines]


def newest_step(run_dir: Path) -> int:
    path = run_dir / "log" / "metrics.jsonl"
    found = re.findall(r'^{"step": (\d+)', path.read_text(), flags=re.M) if path.is_file() else []
    return int(found[-1]) if found else 0


def job_ids(run_dir: Path) -> dict[str, str]:
    return {job["name"]: job["job_id"] for job in json.loads((run_dir / "slurm" / "jobs.json").read_text())}


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory) -> Path:
    """The same training on two hosts without Slurm: the same command on each, one agent and one rank a host."""
    run_dir = tmp_path_factory.mktemp("torchrun") / "run"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "launch.cli", "train", *on_store(prepared, run_dir)]
    agents = [
        subprocess.Popen([*command, f"launch.rdzv_endpoint=127.0.0.1:{port}"], stderr=subprocess.PIPE) for _ in range(2)
    ]
    try:
        said = [agent.communicate()[1].decode() for agent in agents]
    finally:
        for agent in agents:
            agent.terminate()
    assert [agent.returncode for agent in agents] == [0, 0], said
    return run_dir


def test_two_agents_without_slurm_train_together(uninterrupted):
    assert [record[0] for record in losses(uninterrupted) if record[1] is not None] == list(range(1, NUM_STEPS + 1))


def test_interrupted_training_equals_uninterrupted(slurm, prepared, uninterrupted, tmp_path, capfd):
    run_dir = tmp_path / "run"
    command = ["train", *on_store(prepared, run_dir), *ON_SLURM, "launch.partition=low"]
    assert cli.main(command) == 0
    (job,) = job_ids(run_dir).values()
    log = run_dir / "log" / f"train-{job}.out"

    def train_on_and_pause() -> None:
        """Two steps more; then the ranks stand still until a signal of Slurm's lets them go on, or ends them."""
        goal = newest_step(run_dir) + 2
        wait_until(lambda: newest_step(run_dir) >= goal, f"step {goal} (log: {log})")
        signal_ranks(job, signal.SIGSTOP)

    def requeued(times: int) -> None:
        wait_until(lambda: slurm.restarts(job) == times, f"Slurm queues the job again, time {times} (log: {log})")

    train_on_and_pause()
    bring_the_limit_near(slurm, job)
    wait_until((run_dir / "STOP").exists, "the batch shell asks the ranks to stop")
    signal_ranks(job, signal.SIGCONT)
    requeued(1)
    slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=1440")
    (stopped,) = re.findall(r"stopped early at step (\d+)", log.read_text())
    assert (run_dir / "checkpoints" / f"step-{int(stopped):06d}").is_dir()

    train_on_and_pause()
    slurm.call("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    requeued(2)

    train_on_and_pause()
    slurm.call("scontrol", "requeue", job)
    requeued(3)

    train_on_and_pause()
    slurm.call("scontrol", "update", f"NodeName={NODES[1]}", "State=DOWN", "Reason=test")
    requeued(4)
    slurm.call("scontrol", "update", f"NodeName={NODES[1]}", "State=RESUME")

    train_on_and_pause()
    os.kill(ranks(job)["1"], signal.SIGKILL)
    signal_ranks(job, signal.SIGCONT)
    wait_until(lambda: "started again, time 1 of 2" in log.read_text(), "the job starts the ranks again")

    assert cli.main([*command, "launch.wait=true"]) == 0, log.read_text()
    assert f"train, job {job}: COMPLETED  queued again 4 times  step {NUM_STEPS}" in capfd.readouterr().out
    assert losses(run_dir) == losses(uninterrupted)
    assert not (run_dir / "STOP").exists() and not (run_dir / "RESUME").exists()


def ranks(job: str) -> dict[str, int]:
    """Process ids of a job's training processes, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            variables = (path / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        settings = dict(variable.partition("=")[::2] for variable in variables)
        if b"fcdist.train" in words and b"fcdist.torchrun" not in words and settings.get("SLURM_JOB_ID") == job:
            found[settings.get("RANK", "")] = int(path.name)
    return {rank: pid for rank, pid in found.items() if rank}


def signal_ranks(job: str, number: signal.Signals) -> None:
    """Send a signal to those ranks of a job that are alive."""
    for pid in ranks(job).values():
        os.kill(pid, number)


def bring_the_limit_near(slurm: SlurmCluster, job: str) -> None:
    """Less than two minutes from now, so that Slurm gives its signal when it next compares jobs with their limits."""
    hours, minutes, _ = map(int, slurm.job(job)["RunTime"].split(":"))
    slurm.call("scontrol", "update", f"JobId={job}", f"TimeLimit={60 * hours + minutes + 2}")


def test_cancelled_training_stays_cancelled(slurm, prepared, tmp_path):
    run_dir = tmp_path / "run"
    assert cli.main(["train", *on_store(prepared, run_dir), *ON_SLURM]) == 0
    (job,) = job_ids(run_dir).values()
    wait_until(lambda: newest_step(run_dir) >= 1, "the first step")
    slurm.call("scancel", job)
    wait_until(lambda: slurm.is_state(job, "CANCELLED"), "the job ends")
    assert slurm.restarts(job) == 0


def test_a_pipeline_tells_of_a_failed_shard_and_goes_on_when_it_is_mended(slurm, prepared, tmp_path, capfd):
    run_dir = tmp_path / "run 1"
    command = ["pipeline", *RUN, *SHORT, *ON_SLURM, f"run_dir='{run_dir}'", "launch.wait=true", "launch.retries=1"]
    obstacle = run_dir / "shards" / "function_call" / "shard-00001.facts.json"
    obstacle.mkdir(parents=True)
    assert cli.main(command) == 1
    told = capfd.readouterr().out
    shards = job_ids(run_dir)["function_call_shards"]
    log = run_dir / "log" / f"function_call_shards-{shards}_1.out"
    failure = f"function-call conversations, shard 1: ended with exit code 1, 2 times (job {shards}, log {log})."
    lost = "token store, evaluation before, training, evaluation after, export, report."
    assert f"{failure} Cancelled, as they need it: function-call conversations, manifest, {lost}" in re.sub(
        r"job \d+, log", f"job {shards}, log", told
    )
    assert f"training, job {job_ids(run_dir)['train']}: CANCELLED" in told
    assert "IsADirectoryError" in log.read_text()
    assert not (run_dir / "store").exists()

    obstacle.rmdir()
    assert cli.main(command) == 0
    told = capfd.readouterr().out
    assert "held-out" not in told.partition("watch:")[0], "what is done is not submitted again"
    for name in ("shard-00000.jsonl", "shard-00001.jsonl", "manifest.json"):
        written = (run_dir / "shards" / "function_call" / name).read_bytes()
        assert written == (prepared / "shards" / "function_call" / name).read_bytes()
    assert newest_step(run_dir) == 2 and (run_dir / "export" / "merged" / "config.json").is_file()
    assert set(json.loads((run_dir / "evaluation" / "results.json").read_text())["rows"]) == {"base", "tuned"}

    assert cli.main(command) == 0
    assert "every step is done" in capfd.readouterr().out


def test_nodes_see_their_gpus_and_too_many_are_refused_with_slurms_words(slurm, tmp_path, capsys):
    setup = 'launch.setup=["echo GPUs $CUDA_VISIBLE_DEVICES",exit]'
    command = ["evaluate", "experiment=debug", *ON_SLURM, f"run_dir={tmp_path}", setup]
    assert cli.main([*command, "launch.wait=true"]) == 0
    (job,) = job_ids(tmp_path).values()
    assert (tmp_path / "log" / f"evaluate-{job}.out").read_text() == "GPUs 0\n"
    assert cli.main(["train", *RUN, *ON_SLURM, "launch.gpus_per_node=3", f"run_dir={tmp_path}/more"]) == 2
    assert "sbatch refused the job: sbatch: error: " in capsys.readouterr().err


def test_a_step_that_reaches_its_limit_says_so(slurm, tmp_path):
    endless = "launch.wrap=\"bash -c 'echo working; sleep 600'\""
    assert cli.main(["evaluate", "experiment=debug", *ON_SLURM, f"run_dir={tmp_path}", endless]) == 0
    (job,) = job_ids(tmp_path).values()
    log = tmp_path / "log" / f"evaluate-{job}.out"
    wait_until(lambda: log.is_file() and "working" in log.read_text(), "the program runs")
    slurm.call("scancel", "--batch", "--signal=USR1", job)
    wait_until(lambda: slurm.is_state(job, "FAILED"), "the job ends")
    assert slurm.job(job)["ExitCode"] == "124:0"
    told = f"evaluate: not done before its time limit of 24:00:00 (job {job}, log {log}).\n"
    assert (tmp_path / "slurm" / "FAILED").read_text() == told
    assert told in log.read_text()

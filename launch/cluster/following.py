"""Follow submitted jobs to their end: states, shards, step and loss; then what failed and what was cancelled for it."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from fcdist.config.entry import INTERRUPTED
from launch.cluster.queue import COMPLETED, UNKNOWN, JobState, look
from launch.cluster.submitting import FAILED, PRINT, Submitted
from launch.cluster.tasks import jobs_dir

TAIL = 1 << 16
"""Bytes at the end of the metrics that are read."""


def follow(
    jobs: Sequence[Submitted],
    folder: Path,
    poll_s: float,
    console: Console,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Print every change until all jobs are over.

    Args:
        jobs: in the order of their dependencies.
        folder: run folder of the whole.
        poll_s: pause between two looks at the queue.
        console: where the changes go.
        sleep: waits.

    Returns:
        0 if all ended well, else the exit code of the first that did not (1 if it has none); 130 after Ctrl-C, which
        leaves the jobs in the queue.
    """
    states: dict[str, JobState] = {}
    shown: dict[str, str] = {}
    try:
        while True:
            for job in jobs:
                if job.name in states and states[job.name].is_over:
                    continue
                states[job.name] = _look(job, folder)
                line = describe_state(job, states[job.name])
                if shown.get(job.name) != line:
                    shown[job.name] = line
                    console.print(line, **PRINT)
            if all(state.is_over for state in states.values()):
                break
            sleep(poll_s)
    except KeyboardInterrupt:
        ids = " ".join(job.job_id for job in jobs if not states.get(job.name, JobState("PENDING")).is_over)
        console.print(
            f"no longer following; the jobs go on (squeue -j {ids.replace(' ', ',')}). The same command follows them "
            f"again; scancel {ids} ends them",
            **PRINT,
        )
        return INTERRUPTED
    return _conclude(jobs, states, folder, console)


def describe_state(job: Submitted, state: JobState) -> str:
    """One line: title, id, state, and how far it is."""
    parts = [f"{job.title}, job {job.job_id}: {state.state}"]
    if state.state == "PENDING" and state.reason not in ("", "None"):
        parts.append(f"({state.reason})")
    if job.shards:
        parts.append(f"{state.tasks_done} of {job.shards} shards written")
    if state.restarts:
        parts.append(f"queued again {state.restarts} times")
    if job.trains and state.state != "PENDING":
        parts += last_step(Path(job.run_dir))
    return "  ".join(parts)


def last_step(run_dir: Path) -> list[str]:
    """Step and loss of the newest record of a run's metrics; nothing if there is none."""
    path = run_dir / "log" / "metrics.jsonl"
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:  # cut off, or being written
            continue
        if "loss" in record:
            return [f"step {record['step']}", f"loss {record['loss']:.4f}"]
    return []


def _look(job: Submitted, folder: Path) -> JobState:
    """State of a job; of one that Slurm has forgotten, what its marker says."""
    state = look(job.job_id)
    if state.state == UNKNOWN and (jobs_dir(folder) / job.marker).is_file():
        return JobState(COMPLETED)
    return state


def _conclude(jobs: Sequence[Submitted], states: dict[str, JobState], folder: Path, console: Console) -> int:
    failed = [job for job in jobs if states[job.name].state != COMPLETED]
    if not failed:
        console.print(f"done; everything is in {folder}", **PRINT)
        return 0
    told = jobs_dir(folder) / FAILED
    if told.is_file():
        console.print(told.read_text(encoding="utf-8").strip(), **PRINT)
    else:
        console.print(f"{failed[0].title}: {states[failed[0].name].state}, log {failed[0].log}", **PRINT)
    console.print("Start the same command again to go on from there: what is finished is kept.", **PRINT)
    return next((states[job.name].exit_code for job in failed if states[job.name].exit_code), 1)

"""Slurm's commands: submit, look, cancel."""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fcdist.errors import ConfigError

PENDING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT")
RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED")
COMPLETED = "COMPLETED"
UNKNOWN = "UNKNOWN"
"""Slurm has forgotten the job: some minutes after its end, unless it keeps accounts."""


@dataclass(frozen=True, slots=True)
class JobState:
    """What Slurm says about one job; about all tasks together for an array."""

    state: str = UNKNOWN
    """PENDING, RUNNING, COMPLETED or how it failed; of an array the first of these that any task is in."""
    exit_code: int = 0
    reason: str = ""
    restarts: int = 0
    tasks_done: int = 0
    script: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in (*PENDING, *RUNNING)


def submit(script: Path, after: Sequence[str] = ()) -> str:
    """Queue a script; return its job id.

    Args:
        script: absolute path.
        after: job ids that must end well before; if one does not, Slurm cancels this job.

    Raises:
        ConfigError: sbatch is not on this machine or refuses the job, with its words.
    """
    needs = [f"--dependency=afterok:{':'.join(after)}", "--kill-on-invalid-dep=yes"] if after else []
    done = _call("sbatch", "--parsable", *needs, str(script))
    if done.returncode:
        raise ConfigError(f"sbatch refused the job: {done.stderr.strip()} (script: {script})")
    return done.stdout.strip().split(";")[0]


def look(job_id: str) -> JobState:
    """State of a job.

    Raises:
        ConfigError: scontrol is not on this machine or does not answer.
    """
    done = _call("scontrol", "--oneliner", "show", "job", job_id)
    if "Invalid job id" in done.stderr:
        return JobState()
    if done.returncode:
        raise ConfigError(f"scontrol show job {job_id}: {done.stderr.strip()}")
    return summarise([dict(re.findall(r"(\S+?)=(\S*)", line)) for line in done.stdout.splitlines() if line.strip()])


def summarise(tasks: Sequence[dict[str, str]]) -> JobState:
    """One state for the tasks of a job, each as `scontrol show job` gives it."""
    states = [task["JobState"] for task in tasks]
    shown = (
        next((state for state in states if state in RUNNING), None)
        or next((state for state in states if state in PENDING), None)
        or next((state for state in states if state != COMPLETED), COMPLETED)
    )
    chosen = tasks[states.index(shown)]
    code, _, number = chosen["ExitCode"].partition(":")
    return JobState(
        state=shown,
        exit_code=int(code) or (128 + int(number) if int(number or 0) else 0),
        reason=chosen["Reason"],
        restarts=max(int(task.get("Restarts", 0)) for task in tasks),
        tasks_done=states.count(COMPLETED),
        script=chosen.get("Command", ""),
    )


def cancel(job_ids: Sequence[str]) -> None:
    """Take jobs out of the queue; those that are over are left alone."""
    if job_ids:
        _call("scancel", *job_ids)


def _call(*argv: str) -> "subprocess.CompletedProcess[str]":
    # Inside a job, its own settings would win over those of the script.
    inherited = ("SLURM_", "SBATCH_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(inherited) or key == "SLURM_CONF"}
    try:
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConfigError(
            f"launch.backend=slurm: no {argv[0]} on this machine; start it where Slurm's commands are, or use "
            "--dry-run to see the script"
        ) from None

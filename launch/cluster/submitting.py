"""Submit tasks as dependent jobs, once: what is done is left out, and nothing stays queued if one job is refused."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from fcdist.config.run_folder import write_config
from fcdist.errors import ConfigError
from fcdist.files import write_text
from launch.cluster.queue import cancel, look, submit
from launch.cluster.scripts import render_script
from launch.cluster.tasks import Task, jobs_dir

RECORD = "jobs.json"
FAILED = "FAILED"
PRINT: dict[str, Any] = {"soft_wrap": True, "highlight": False, "markup": False}
"""How lines with paths are printed: as they are."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A task in the queue."""

    name: str
    title: str
    job_id: str
    log: str
    """Of a single job; of an array a pattern."""
    script: str
    run_dir: str
    marker: str
    """File beside the script that appears when it has ended well."""
    shards: int = 0
    trains: bool = False


def print_scripts(tasks: Sequence[Task], folder: Path) -> None:
    """What would be submitted, script by script, with its dependencies."""
    for number, task in enumerate(tasks, 1):
        if len(tasks) > 1:
            after = f" after {', '.join(task.after)}" if task.after else ""
            print(f"### {number}/{len(tasks)} {task.name}: {task.title}{after}")
        print(render_script(task, tasks, folder))


def unfinished(tasks: Sequence[Task], folder: Path) -> list[Task]:
    """Tasks without a result of these settings, and those that need one of them."""
    found: list[Task] = []
    for task in tasks:
        marker = jobs_dir(folder) / task.marker
        is_done = marker.is_file() and marker.read_text(encoding="utf-8").strip() == task.digest
        if not is_done or {other.name for other in found} & set(task.after):
            found.append(task)
    return found


def submit_tasks(tasks: Sequence[Task], folder: Path) -> list[Submitted]:
    """Queue every task after those it needs; record the ids in the run folder.

    Raises:
        ConfigError: a script cannot be rendered (then nothing was submitted), or sbatch refuses one (then those before
            it were cancelled).
    """
    scripts = {task.name: render_script(task, tasks, folder) for task in tasks}
    jobs_dir(folder).mkdir(parents=True, exist_ok=True)
    (folder / "log").mkdir(exist_ok=True)
    (jobs_dir(folder) / FAILED).unlink(missing_ok=True)
    found: dict[str, Submitted] = {}
    try:
        for task in tasks:
            (jobs_dir(folder) / task.marker).unlink(missing_ok=True)
            path = jobs_dir(folder) / f"{task.name}.sbatch"
            write_text(path, scripts[task.name])
            write_config(task.config, Path(task.config.run_dir), task.config_name)
            job_id = submit(path, [found[name].job_id for name in task.after if name in found])
            found[task.name] = _submitted(task, job_id, folder, path)
    except BaseException:
        cancel([job.job_id for job in found.values()])
        raise
    _record(list(found.values()), folder)
    return list(found.values())


def in_the_queue(folder: Path) -> list[Submitted]:
    """Jobs submitted for this run folder, if any of them is not over yet."""
    path = jobs_dir(folder) / RECORD
    if not path.is_file():
        return []
    try:
        jobs = [Submitted(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); remove it if no job of this run is queued") from None
    states = {job.name: look(job.job_id) for job in jobs}
    # Ids begin anew when a cluster is set up again: the script tells whether the job is ours.
    alive = any(not states[job.name].is_over and states[job.name].script == job.script for job in jobs)
    return jobs if alive else []


def announce(jobs: Sequence[Submitted], console: Console) -> None:
    """Print ids, logs, and how to watch and cancel."""
    for job in jobs:
        shards = f", {job.shards} shards" if job.shards else ""
        console.print(f"submitted job {job.job_id}  {job.title}{shards}\n    log: {job.log}", **PRINT)
    ids = [job.job_id for job in jobs]
    log = next((job.log for job in jobs if not job.shards), jobs[0].log)
    console.print(f"watch:  squeue -j {','.join(ids)}; tail -F {log}\ncancel: scancel {' '.join(ids)}", **PRINT)


def _submitted(task: Task, job_id: str, folder: Path, script: Path) -> Submitted:
    name = task.log_name.replace("%j", job_id).replace("%A", job_id).replace("%a", "*")
    return Submitted(
        name=task.name,
        title=task.title,
        job_id=job_id,
        log=str(folder / "log" / name),
        script=str(script),
        run_dir=task.config.run_dir,
        marker=task.marker,
        shards=task.shards,
        trains=task.trains,
    )


def _record(jobs: Sequence[Submitted], folder: Path) -> None:
    text = json.dumps([asdict(job) for job in jobs], indent=2)
    write_text(jobs_dir(folder) / RECORD, f"{text}\n")  # whole: it tells which jobs are queued already

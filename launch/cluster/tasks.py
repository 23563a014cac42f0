"""What is queued for a step: one job, or a job array over its shards and a job that gathers them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import yaml

from fcdist.config.mapping import to_mapping
from fcdist.config.run_folder import CONFIG_NAME
from fcdist.config.types import Config
from launch.jobs import frozen_name, worker_module
from launch.pipeline import Step

WITH_MODEL = ("fcdist.train", "fcdist.evaluate", "fcdist.replay")
"""Modules that use a GPU where there is one."""
ON_THIS_MACHINE = ("show", "preflight", "report")
"""Verbs of seconds, which print: they run where they are called, unless they are part of a pipeline."""

SHARDS = "_shards"
"""What the name of a job array adds to that of its step."""


@dataclass(frozen=True, slots=True)
class Task:
    """One job of the queue."""

    name: str
    """Of its script, log and marker."""
    title: str
    module: str
    config: Config
    config_name: str = CONFIG_NAME
    options: tuple[str, ...] = ()
    """Arguments of the module."""
    after: tuple[str, ...] = ()
    """Names of the tasks that must have ended well before."""
    shards: int = 0
    """Tasks of a job array, each with `--shard`; 0: a single job."""

    @property
    def trains(self) -> bool:
        """Whether it has nodes and ranks, and goes on after an early end."""
        return self.module == "fcdist.train"

    @property
    def needs_model(self) -> bool:
        """Whether it goes to the partition with the GPUs."""
        return self.module in WITH_MODEL

    @property
    def marker(self) -> str:
        """File in `jobs_dir` that holds `digest` when the step, an array's last job included, has ended well."""
        return f"{self.name.removesuffix(SHARDS)}.done"

    @property
    def log_name(self) -> str:
        """Name of its log, with Slurm's own fields for the ids."""
        return f"{self.name}-%A_%a.out" if self.shards else f"{self.name}-%j.out"

    @property
    def shell_log_name(self) -> str:
        """The same where Slurm's variables hold the ids."""
        fields = {"%A": "${SLURM_ARRAY_JOB_ID}", "%a": "${SLURM_ARRAY_TASK_ID}", "%j": "${SLURM_JOB_ID}"}
        return reduce(lambda name, field: name.replace(*field), fields.items(), self.log_name)

    @property
    def digest(self) -> str:
        """Of all that its result depends on, to tell whether an earlier result still holds."""
        settings = to_mapping(self.config)
        for key in ("launch", "logger"):
            settings.pop(key)
        return hashlib.sha256(yaml.safe_dump([self.module, settings]).encode()).hexdigest()[:16]


def single_step(verb: str, config: Config) -> Step:
    """A verb alone as a step."""
    return Step(verb, verb, verb, config, frozen_name(verb))


def plan_tasks(steps: Sequence[Step], options: tuple[str, ...] = ()) -> list[Task]:
    """Tasks of the steps, in an order in which each comes after what it needs.

    Args:
        steps: verbs with their settings.
        options: arguments for the module of each; with any, shards are not divided over an array.
    """
    tasks = []
    for step in steps:
        module = worker_module(step.verb, step.config)
        task = Task(step.name, step.title, module, step.config, step.config_name, options, step.after)
        tasks += [task] if options or not _is_array(module, step.config) else _array(task)
    return tasks


def _is_array(module: str, config: Config) -> bool:
    """Programmatic shards only: limits and budget of a server hold for the processes of one job together."""
    return module == "data_pipeline.generate" and config.generate.teacher == "programmatic"


def _array(task: Task) -> list[Task]:
    shards = replace(
        task,
        name=task.name + SHARDS,
        options=("--shard", "$SLURM_ARRAY_TASK_ID"),
        shards=task.config.generate.num_shards,
    )
    return [shards, replace(task, title=f"{task.title}, manifest", options=("--merge",), after=(shards.name,))]


def needing(name: str, tasks: Sequence[Task]) -> list[Task]:
    """Tasks that wait for `name`, directly or through others, in order."""
    names = {name}
    found = []
    for task in tasks:
        if names & set(task.after):
            names.add(task.name)
            found.append(task)
    return found


def jobs_dir(folder: Path) -> Path:
    """Scripts, ids and outcomes of the jobs submitted for a run folder."""
    return folder / "slurm"

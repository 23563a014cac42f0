"""Submit tasks for a run folder, or take up those that are in the queue already, and follow them if asked to."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from fcdist.config.types import Config
from fcdist.errors import ConfigError
from launch.cluster.following import follow
from launch.cluster.submitting import announce, in_the_queue, print_scripts, submit_tasks, unfinished
from launch.cluster.tasks import Task, jobs_dir


def run_on_cluster(
    config: Config,
    tasks: Sequence[Task],
    freeze: Callable[[], None],
    console: Console,
    dry_run: bool = False,
    again: bool = False,
) -> int:
    """Do what a verb asks for on the cluster.

    Args:
        config: of the whole; its run folder keeps scripts, ids and outcomes.
        tasks: jobs of the verb, in order.
        freeze: writes the config before anything is submitted, or refuses to.
        console: where ids and progress go.
        dry_run: only print the scripts.
        again: submit also what has ended well with the same settings.

    Returns:
        0 when submitted; with launch.wait the exit code of the first job that failed.

    Raises:
        ConfigError: the run folder has jobs in the queue and launch.wait is not set, or Slurm refuses a job.
    """
    folder = Path(config.run_dir)
    if dry_run:
        print_scripts(tasks, folder)
        return 0
    jobs = in_the_queue(folder)
    if jobs and not config.launch.wait:
        raise ConfigError(
            f"{folder} has jobs in the queue: {' '.join(job.job_id for job in jobs)}; launch.wait=true follows them, "
            "scancel ends them"
        )
    if not jobs:
        freeze()
        missing = tasks if again else unfinished(tasks, folder)
        if not missing:
            console.print(f"every step is done; the markers are in {jobs_dir(folder)}", soft_wrap=True)
            return 0
        jobs = submit_tasks(missing, folder)
        announce(jobs, console)
    return follow(jobs, folder, config.launch.poll_s, console) if config.launch.wait else 0

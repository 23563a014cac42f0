"""Slurm back end: a job script from the template, submitted with sbatch. `--dry-run` prints the script."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import jinja2

from fcdist.config.types import Config
from fcdist.errors import ConfigError
from launch.jobs import check_world, environment, log_path
from launch.resources import resource_dir


def render_script(config: Config, python: str = sys.executable, workdir: Path | None = None) -> str:
    """Job script of `train` for the cluster.

    Raises:
        ConfigError: the batch does not divide over the ranks, or more ranks than GPUs on a node.
    """
    check_world(config)
    launch = config.launch
    if launch.gpus_per_node and launch.nproc_per_node > launch.gpus_per_node:
        raise ConfigError(
            f"launch.nproc_per_node={launch.nproc_per_node} is more than launch.gpus_per_node={launch.gpus_per_node}"
        )
    jinja = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    jinja.filters["quote"] = shlex.quote
    template = jinja.from_string((resource_dir("slurm") / "train.sbatch").read_text(encoding="utf-8"))
    of_this_machine = ("GLOO_SOCKET_IFNAME", "DS_ACCELERATOR")
    env = {name: value for name, value in environment(config, ranks=1).items() if name not in of_this_machine}
    threads = launch.threads_per_rank or max(1, launch.cpus_per_task // launch.nproc_per_node)
    return template.render(
        launch=launch,
        job_name=config.name,
        log=log_path(config, "train"),
        run_dir=config.run_dir,
        workdir=str(workdir or Path.cwd()),
        env=env | {"OMP_NUM_THREADS": str(threads)} | dict(launch.env),
        python=shlex.quote(python),
    )


def submit(config: Config, script: str) -> str:
    """Write the script into the run folder and queue it.

    Returns:
        The job id.

    Raises:
        ConfigError: sbatch is not on this machine or refuses the job, with its words.
    """
    path = Path(config.run_dir, "train.sbatch")
    Path(config.run_dir, "log").mkdir(parents=True, exist_ok=True)
    path.write_text(script, encoding="utf-8")
    # A nested sbatch would inherit this job's settings over those of the script.
    inherited = ("SLURM_", "SBATCH_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(inherited) or k == "SLURM_CONF"}
    try:
        done = subprocess.run(["sbatch", "--parsable", str(path)], env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConfigError("launch.backend=slurm: no sbatch on this machine; use --dry-run to see the script") from None
    if done.returncode:
        raise ConfigError(f"sbatch refused the job: {done.stderr.strip()} (script: {path})")
    return done.stdout.strip().split(";")[0]

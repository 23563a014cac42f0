"""Job scripts from the templates in `slurm/`. Pure; nothing is submitted here."""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import jinja2

from fcdist.config.entry import USER_ERROR
from fcdist.config.types import LaunchConfig
from fcdist.errors import ConfigError
from launch.cluster.tasks import Task, jobs_dir, needing
from launch.jobs import HANDLED_SIGNALS, check_world, environment
from launch.resources import resource_dir

OF_THIS_MACHINE = ("GLOO_SOCKET_IFNAME", "DS_ACCELERATOR")
"""Variables that hold for the machine that submits, not for the nodes."""

PLAIN = re.compile(r"[\w@%+=:,./-]*")


def render_script(task: Task, tasks: Sequence[Task], folder: Path, workdir: Path | None = None) -> str:
    """Job script of one task.

    Args:
        task: what to run.
        tasks: all that are submitted together; those that need this one are named when it fails.
        folder: run folder of the whole; scripts and outcomes lie in it.
        workdir: where the program starts; the present folder if None.

    Raises:
        ConfigError: the batch does not divide over the ranks, more ranks than GPUs on a node, or a value that does not
            fit on a line of the script.
    """
    config, launch = task.config, task.config.launch
    log = folder / "log" / task.log_name
    template = _templates().get_template("train.sbatch" if task.trains else "base.sbatch")
    later = ", ".join(other.title for other in needing(task.name, tasks))
    return template.render(
        directives=[_directive(*pair) for pair in _directives(task, log)] + [_line(line) for line in _extra(task)],
        title=task.title,
        shard='", shard $SLURM_ARRAY_TASK_ID"' if task.shards else "",
        run_dir=config.run_dir,
        jobs_dir=str(jobs_dir(folder)),
        log_dir=str(folder / "log"),
        log_name=task.shell_log_name,
        workdir=str(workdir or Path.cwd()),
        python=launch.python or sys.executable,
        env=_environment(task),
        setup=launch.setup,
        srun=" ".join([*_container(launch), launch.wrap]).strip(),
        program=_program(task),
        cancels=f" Cancelled, as they need it: {later}." if later else "",
        limit=_limit(task),
        requeue=launch.requeue,
        retries=launch.retries,
        user_error=USER_ERROR,
        marker="" if task.shards else task.marker,
        digest=task.digest,
    )


def _templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(resource_dir("slurm"))
    jinja = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    jinja.filters["quote"] = shlex.quote
    return jinja


def _directives(task: Task, log: Path) -> list[tuple[str, object]]:
    """Options of sbatch with their values; those that are empty are left out."""
    launch = task.config.launch
    found: list[tuple[str, object]] = [
        ("job-name", f"{task.config.name}-{task.name}"),
        ("nodes", launch.nodes if task.trains else 1),
        ("ntasks-per-node", 1),
        ("partition", launch.partition if task.needs_model else launch.cpu_partition or launch.partition),
        ("account", launch.account),
        ("qos", launch.qos),
        ("constraint", launch.constraint if task.needs_model else ""),
        ("gpus-per-node", _gpus(task)),
        ("cpus-per-task", _cpus(task)),
        ("time", _limit(task)),
        ("array", _array_range(task)),
        ("output", f"{str(log.parent).replace('%', '%%')}/{log.name}"),
        ("open-mode", "append"),
        ("signal", f"B:USR1@{launch.stop_before_s}" if launch.stop_before_s else ""),
    ]
    found.append(("requeue", None) if launch.requeue or not task.trains else ("no-requeue", None))
    return [(key, value) for key, value in found if value not in ("", 0)]


def _extra(task: Task) -> tuple[str, ...]:
    launch = task.config.launch
    return launch.sbatch_lines if task.needs_model else launch.cpu_sbatch_lines


def _limit(task: Task) -> str:
    """Time limit of the job; refused if Slurm's signal, which may come a minute early, would come at once."""
    launch = task.config.launch
    key = "time" if task.needs_model or not launch.cpu_time else "cpu_time"
    limit: str = getattr(launch, key)
    if launch.stop_before_s and limit_seconds(limit) <= launch.stop_before_s + 60:
        raise ConfigError(
            f"launch.{key}={limit} must be more than a minute longer than launch.stop_before_s={launch.stop_before_s}: "
            "Slurm gives its signal up to a minute early. Raise the one or lower the other"
        )
    return limit


def limit_seconds(limit: str) -> int:
    """Seconds of a limit in Slurm's forms: with days the parts count from hours, without them to seconds."""
    days, dash, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = [*parts, 0, 0][:3] if dash else [0, *parts][-3:]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _gpus(task: Task) -> int:
    launch = task.config.launch
    if task.trains and launch.gpus_per_node and launch.nproc_per_node > launch.gpus_per_node:
        raise ConfigError(
            f"launch.nproc_per_node={launch.nproc_per_node} is more than launch.gpus_per_node={launch.gpus_per_node}"
        )
    return launch.gpus_per_node if task.trains else int(task.needs_model and launch.gpus_per_node > 0)


def _cpus(task: Task) -> int:
    """CPUs of a node: those of training, a rank's share of them, or the processes of a job without a model."""
    launch = task.config.launch
    if task.trains:
        return launch.cpus_per_task
    if task.needs_model:
        return -(-launch.cpus_per_task // launch.nproc_per_node)
    if task.shards or "--merge" in task.options:
        return 1
    workers = {
        "fcdist.prepare": task.config.data.num_workers,
        "data_pipeline.generate": task.config.generate.num_workers,
    }
    return workers.get(task.module, 1)


def _array_range(task: Task) -> str:
    if not task.shards:
        return ""
    limit = task.config.launch.array_limit
    return f"0-{task.shards - 1}" + (f"%{limit}" if limit else "")


def _environment(task: Task) -> dict[str, str]:
    launch = task.config.launch
    shared = {key: value for key, value in environment(task.config, ranks=1).items() if key not in OF_THIS_MACHINE}
    ranks = launch.nproc_per_node if task.trains else 1
    threads = launch.threads_per_rank or max(1, _cpus(task) // ranks)
    return shared | {"OMP_NUM_THREADS": str(threads)} | dict(launch.env)


def _container(launch: LaunchConfig) -> list[str]:
    options = [f"--container-image={shlex.quote(launch.container_image)}"] if launch.container_image else []
    if launch.container_mounts:
        options.append(f"--container-mounts={shlex.quote(','.join(launch.container_mounts))}")
    return options


def _program(task: Task) -> str:
    """Shell words of the program; training gets its rendezvous from the template."""
    python = '"$FCDIST_PYTHON" -m'
    if task.trains:
        check_world(task.config)
        launch = task.config.launch
        size = f"--nnodes={launch.nodes} --nproc-per-node={launch.nproc_per_node}"
        return f"{python} fcdist.torchrun {size} \\\n            {' '.join(HANDLED_SIGNALS)}"
    options = " ".join(word if word.startswith("$") else shlex.quote(word) for word in task.options)
    return f'{python} {task.module} "$RUN" --config {shlex.quote(task.config_name)} {options}'.strip()


def _directive(key: str, value: object) -> str:
    """`--key=value` as sbatch reads it: in quotes where a shell would need them."""
    text = _line(f"--{key}" if value is None else f"--{key}={value}")
    return text if PLAIN.fullmatch(text) else '"' + re.sub(r'(["\\\\])', r"\\\1", text) + '"'


def _line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ConfigError(f"{text!r} must be one line: it is an #SBATCH option (launch.*, name, run_dir)")
    return text

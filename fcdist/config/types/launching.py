"""Where programs run, and which runs a sweep consists of."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from fcdist.config.types.checks import require

TIME_LIMIT = re.compile(r"\d+:[0-5]?\d|\d+:[0-5]?\d:[0-5]?\d|\d+-\d+(:[0-5]?\d){0,2}")
"""Forms of a limit that Slurm reads; plain minutes are left out, which YAML would read as a number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchConfig:
    """Where programs run. What follows `env` is for Slurm; sizes, partitions and limits: docs/CLUSTERS.md."""

    backend: Literal["torchrun", "slurm"] = "torchrun"
    nodes: int = 1
    nproc_per_node: int = 1
    """Ranks on each node; on GPUs one each."""
    threads_per_rank: int = 0
    """OMP_NUM_THREADS of each rank; 0: cores / ranks."""
    rdzv_endpoint: str = ""
    """host:port for plain torchrun on several nodes; empty: --standalone."""
    env: dict[str, str] = field(default_factory=dict)
    partition: str = ""
    cpu_partition: str = ""
    """For jobs without a model (generate, merge, audit, prepare, export, report); empty: as `partition`."""
    account: str = ""
    qos: str = ""
    gpus_per_node: int = 0
    """Of training; jobs of one process with the model ask for one GPU if this is not 0."""
    cpus_per_task: int = 0
    """Of a node in training; 0: what the cluster gives."""
    time: str = "24:00:00"
    """Limit of every job: minutes:seconds, hours:minutes:seconds or days-hours[:minutes[:seconds]]."""
    cpu_time: str = ""
    """Limit of jobs without a model; empty: as `time`."""
    stop_before_s: int = 120
    """So long before the limit the ranks are told to save and stop. Slurm may say so up to a minute earlier."""
    constraint: str = ""
    requeue: bool = True
    """Queue training again after the time limit, preemption or the failure of a node."""
    retries: int = 2
    """How often a failed program is started again inside its job; for training, without a new checkpoint in between."""
    array_limit: int = 0
    """Shards written at the same time; 0: as many as the cluster gives."""
    setup: tuple[str, ...] = ()
    """Shell lines before the program (modules, virtual environments)."""
    container_image: str = ""
    """Image of pyxis/enroot: `srun --container-image`."""
    container_mounts: tuple[str, ...] = ()
    """SRC:DST[:FLAGS] of pyxis/enroot. The run folder, the weights and the working folder must be visible inside."""
    wrap: str = ""
    """Words before the program, for other containers: `apptainer exec --nv /images/fcdist.sif`."""
    python: str = ""
    """Interpreter on the nodes or in the image; empty: the one that submits."""
    sbatch_lines: tuple[str, ...] = ()
    """Extra `#SBATCH` arguments of jobs with the model, for example `--exclusive`."""
    cpu_sbatch_lines: tuple[str, ...] = ()
    """The same for jobs without a model, for example `--mem=64G`."""
    wait: bool = False
    """Follow the jobs until they end; the exit code is that of the first that failed. Ctrl-C leaves them running."""
    poll_s: float = 10.0
    """Pause between two looks at the queue."""

    def __post_init__(self) -> None:
        for key, least in {
            "nodes": 1, "nproc_per_node": 1, "threads_per_rank": 0, "gpus_per_node": 0, "cpus_per_task": 0,
            "stop_before_s": 0, "retries": 0, "array_limit": 0,
        }.items():  # fmt: skip
            value = getattr(self, key)
            require(value >= least, f"launch.{key}={value} must be at least {least}")
        require(self.poll_s > 0, f"launch.poll_s={self.poll_s} must be positive")
        for key in ("time", "cpu_time"):
            value = getattr(self, key)
            require(
                TIME_LIMIT.fullmatch(value) is not None or (key == "cpu_time" and not value),
                f"launch.{key}={value!r} is not a limit of Slurm: minutes:seconds, hours:minutes:seconds, "
                "days-hours, days-hours:minutes or days-hours:minutes:seconds",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """A grid of training runs."""

    grid: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Full key → values, for example {"tuning.r": [16, 32], "optim.lr": [1e-4, 2e-4], "data.general_ratio": [2, 3]}."""

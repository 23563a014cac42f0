"""A verb and a config become a job: argv and environment. Pure; nothing starts here."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from fcdist.config.run_folder import CONFIG_NAME
from fcdist.config.types import Config
from fcdist.errors import ConfigError

MODULES = {
    "generate": "data_pipeline.generate",
    "merge": "data_pipeline.merge",
    "audit": "data_pipeline.audit",
    "replay": "fcdist.replay",
    "prepare": "fcdist.prepare",
    "show": "fcdist.show",
    "preflight": "fcdist.preflight",
    "train": "fcdist.train",
    "evaluate": "fcdist.evaluate",
    "export": "fcdist.export",
    "report": "fcdist.report",
}
"""Verb → worker module. `generate` with `generate.teacher=self` runs `replay`: it needs the model."""

HANDLED_SIGNALS = ("--signals-to-handle=SIGTERM,SIGINT,SIGUSR1", "--shutdown-timeout=90")
"""Of torchrun: passed on to the ranks, which get so many seconds to save."""


@dataclass(frozen=True, slots=True)
class Job:
    """One program to run."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    """Set on top of the caller's environment."""


def worker_module(verb: str, config: Config) -> str:
    """Module that does `verb`."""
    return MODULES["replay" if verb == "generate" and config.generate.teacher == "self" else verb]


def build_job(
    verb: str,
    config: Config,
    config_name: str = CONFIG_NAME,
    options: tuple[str, ...] = (),
    python: str = sys.executable,
) -> Job:
    """Job of one verb on this machine.

    Args:
        verb: a key of MODULES.
        config: composed settings; `launch` decides ranks and threads of `train`.
        config_name: frozen file in the run folder.
        options: extra arguments of the worker (`--pack 3`).
        python: interpreter that runs it.

    Raises:
        ConfigError: `train` on several nodes without launch.rdzv_endpoint.
    """
    module = worker_module(verb, config)
    name = () if config_name == CONFIG_NAME else ("--config", config_name)
    tail = (config.run_dir, *name, *options)
    if verb != "train":
        return Job((python, "-m", module, *tail), environment(config, ranks=1))
    if config.launch.nodes == 1:
        rendezvous: tuple[str, ...] = ("--standalone",)
    elif config.launch.rdzv_endpoint:
        rendezvous = (
            "--nnodes", str(config.launch.nodes),
            "--rdzv-backend", "c10d",
            "--rdzv-id", config.name,
            "--rdzv-endpoint", config.launch.rdzv_endpoint,
            "--rdzv-conf", "read_timeout=600",  # hosts that read the program from a slow disk come late
        )  # fmt: skip
    else:
        raise ConfigError(
            f"launch.nodes={config.launch.nodes} with launch.backend=torchrun needs launch.rdzv_endpoint=HOST:PORT "
            "(the same on every node); on a Slurm cluster use launch=slurm"
        )
    torchrun = (python, "-m", "fcdist.torchrun", *rendezvous)
    ranks = config.launch.nproc_per_node
    argv = (*torchrun, f"--nproc-per-node={ranks}", *HANDLED_SIGNALS, "-m", module, *tail)
    return Job(argv, environment(config, ranks))


def check_world(config: Config) -> None:
    """Raise ConfigError unless the global batch divides over the ranks that will be started."""
    config.batch.accumulation_steps(config.launch.nodes * config.launch.nproc_per_node)


def environment(config: Config, ranks: int) -> dict[str, str]:
    """Variables of a worker that shares this machine with `ranks` - 1 others."""
    threads = config.launch.threads_per_rank or max(1, (os.cpu_count() or 1) // ranks)
    env = {
        "OMP_NUM_THREADS": str(threads),
        "MALLOC_ARENA_MAX": "1",  # glibc arenas otherwise keep gigabytes of freed activations (recipes: evaluation)
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore::FutureWarning"),  # of libraries, to each other
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    }
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd")):
        env["DS_ACCELERATOR"] = "cpu"  # else every process that meets DeepSpeed warns that it found no accelerator
    if config.launch.nodes == 1:
        env["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", "lo")
    return env | dict(config.launch.env)


def frozen_name(verb: str) -> str:
    """File a verb freezes its config to: what begins or continues a run owns config.yaml, others leave it alone."""
    return CONFIG_NAME if verb in ("prepare", "train", "pipeline") else f"config.{verb}.yaml"

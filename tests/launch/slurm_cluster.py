"""A real Slurm of two nodes on this machine, below one private folder, for the time of a `with` block.

Two partitions: `low`, and `high` whose jobs preempt those of `low`. Each node pretends to have 8 CPUs and 2 GPUs.
Needs root and Debian's packages; `missing` says what is not there.
"""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGES = "slurmctld slurmd slurm-client munge slurm-wlm-basic-plugins"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "sinfo")
NODES = ("n1", "n2")
PATIENCE_S = 900
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge.sock,cred_expire=5
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
JobFileAppend=1
KillWait=10
CompleteWait=0
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 RealMemory=16000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 RealMemory=16000 Gres=gpu:2
PartitionName=low Nodes=n1,n2 Default=YES PriorityTier=1 State=UP
PartitionName=high Nodes=n1,n2 PriorityTier=10 PreemptMode=OFF State=UP
"""


def missing() -> str:
    """What this machine lacks to run the cluster, with the way out; empty if nothing."""
    if absent := [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]:
        return f"no {', '.join(absent)} here: apt-get install -y --no-install-recommends {PACKAGES}"
    return "" if os.geteuid() == 0 else "slurmd needs root to start jobs: run the tests as root, in a container"


@dataclass(frozen=True, slots=True)
class SlurmCluster:
    """A running cluster; `env` makes Slurm's commands speak to it."""

    root: Path
    env: dict[str, str]

    def call(self, *argv: str) -> str:
        """Output of one of Slurm's commands; its error text fails the test."""
        done = subprocess.run(argv, env=os.environ | self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}{done.stdout}"
        return done.stdout

    def job(self, job_id: str) -> dict[str, str]:
        """What `scontrol show job` knows of one job (of the first task, for an array)."""
        return dict(re.findall(r"(\S+?)=(\S*)", self.call("scontrol", "show", "job", "--oneliner", job_id)))

    def is_state(self, job_id: str, *states: str) -> bool:
        """Whether the job is in one of these states."""
        return self.job(job_id)["JobState"] in states

    def restarts(self, job_id: str) -> int:
        """How often Slurm has queued the job again."""
        return int(self.job(job_id)["Restarts"])

    def cancel_all(self) -> None:
        """End every job and wait until the nodes are free."""
        self.call("scancel", "--user=root")
        wait_until(lambda: not self.call("squeue", "--noheader").strip(), "the queue empties")


def wait_until(is_true: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> None:
    """Wait for a condition; fail with its name when it does not come."""
    last = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < last, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(0.1)


@contextmanager
def slurm_cluster(root: Path) -> Iterator[SlurmCluster]:
    """Start the daemons below `root`, yield the cluster, stop everything that was started."""
    _write_settings(root)
    cluster = SlurmCluster(root, {"SLURM_CONF": str(root / "slurm.conf"), "PATH": PATH})
    conf = str(root / "slurm.conf")
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={root}/munge.key", f"--socket={root}/munge.sock",
         f"--pid-file={root}/munge.pid", f"--log-file={root}/munge.log", f"--seed-file={root}/munge.seed"],
        ["slurmctld", "-D", "-c", "-f", conf],
        *(["slurmd", "-D", "-N", node, "-f", conf] for node in NODES),
    ]  # fmt: skip
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            log = (root / f"{command[0]}-{len(daemons)}.out").open("wb")
            daemons.append(
                subprocess.Popen(
                    command, env=os.environ | cluster.env, stdout=log, stderr=log, preexec_fn=_die_with_the_tests
                )
            )
            if command[0] == "munged":
                wait_until((root / "munge.sock").exists, "munged listens")
        wait_until(lambda: _idle_nodes(cluster) == len(NODES), f"both nodes are idle (logs: {root})")
        yield cluster
    finally:
        _stop(cluster, daemons)


def _write_settings(root: Path) -> None:
    root.chmod(0o755)
    for folder in ("state", "spool/n1", "spool/n2", "dev"):
        (root / folder).mkdir(parents=True)
    (root / "munge.key").write_bytes(os.urandom(1024))
    (root / "munge.key").chmod(0o600)
    host = socket.gethostname().split(".")[0]
    (root / "slurm.conf").write_text(CONF.format(root=root, host=host, ports=_free_ports(3)))
    (root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    for number in (0, 1):  # Slurm sets CUDA_VISIBLE_DEVICES only for device files
        os.mknod(root / "dev" / f"nvidia{number}", 0o666 | 0o020000, os.makedev(1, 3))
    (root / "gres.conf").write_text(f"Name=gpu File={root}/dev/nvidia[0-1]\n")


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _die_with_the_tests() -> None:
    """In the child: end when the test process does, also when it is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _idle_nodes(cluster: SlurmCluster) -> int:
    done = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--partition=low", "--format=%T"],
        env=os.environ | cluster.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.split().count("idle")


def _stop(cluster: SlurmCluster, daemons: list[subprocess.Popen[bytes]]) -> None:
    if len(daemons) == 2 + len(NODES):
        subprocess.run(["scancel", "--user=root"], env=os.environ | cluster.env, capture_output=True, check=False)
        last = time.monotonic() + 30
        while _idle_nodes(cluster) < len(NODES) and time.monotonic() < last and daemons[1].poll() is None:
            time.sleep(0.1)
    for daemon in reversed(daemons):
        daemon.terminate()
    for daemon in reversed(daemons):
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    _kill_leftovers(cluster)


def _kill_leftovers(cluster: SlurmCluster) -> None:
    """End what outlived the daemons: everything that was started to speak to this cluster."""
    variable = f"SLURM_CONF={cluster.env['SLURM_CONF']}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if variable in (path / "environ").read_bytes().split(b"\0") and int(path.name) != os.getpid():
                os.kill(int(path.name), signal.SIGKILL)

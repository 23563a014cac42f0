"""Runs a job on this machine in the foreground."""

import os
import signal
import subprocess
from collections.abc import Callable
from types import FrameType

from launch.jobs import Job


def run_job(job: Job) -> int:
    """Run to the end and return the exit code; SIGTERM and SIGUSR1 are passed on, so that training can save."""
    process = subprocess.Popen(job.argv, env=os.environ | job.env)

    def forward(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGINT:  # a terminal sends Ctrl-C to the whole group: the worker has it already
            process.send_signal(number)

    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before: list[Callable[[int, FrameType | None], object] | int | None] = [signal.signal(s, forward) for s in signals]
    try:
        return process.wait()
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)

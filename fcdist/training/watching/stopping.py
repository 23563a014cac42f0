"""Stopping early so that the run can go on later: signals, the STOP file, the RESUME marker."""

import logging
import signal
import threading
from pathlib import Path
from types import FrameType

import torch

from fcdist.training.distributed import all_reduce_max, get_rank

logger = logging.getLogger(__name__)

STOP = "STOP"
"""A file of this name in the run folder asks for a save and an end; rank 0 removes it."""
RESUME = "RESUME"
"""Left in the run folder when a run stopped early; holds the step. Gone when the run goes on."""


class StopRequest:
    """Watches for SIGTERM, SIGUSR1 and the STOP file; all ranks agree, so that all save at the same step."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._signalled = False
        if get_rank() == 0:
            (run_dir / RESUME).unlink(missing_ok=True)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGUSR1):
                signal.signal(number, self._on_signal)

    def is_agreed(self) -> bool:
        """Whether any rank was told to stop. Every rank calls it after every step."""
        wanted = self._signalled or (get_rank() == 0 and (self._run_dir / STOP).exists())
        return bool(all_reduce_max(torch.tensor([float(wanted)])).item())

    def leave_marker(self, step: int) -> None:
        """Tell the launcher that the saved run wants to go on."""
        if get_rank() == 0:
            (self._run_dir / RESUME).write_text(f"{step}\n", encoding="utf-8")
            (self._run_dir / STOP).unlink(missing_ok=True)
            logger.warning("stopped early at step %d; start the same command again to go on", step)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

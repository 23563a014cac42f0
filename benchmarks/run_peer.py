"""Run a peer's script with CPU time that counts finished child processes too: `python run_peer.py SCRIPT ARGUMENT...`.

Some peers tokenise in a child, which `time.process_time` leaves out. Standard library only: it runs in their
environments.
"""

import resource
import runpy
import sys
import time
from pathlib import Path

own_time = time.process_time


def process_time() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    script = Path(sys.argv[1])
    sys.argv = sys.argv[1:]
    sys.path[0] = str(script.parent)
    time.process_time = process_time
    runpy.run_path(str(script), run_name="__main__")

"""Forked gloo ranks over a file store: imports are paid once, no ports, about a second per test."""

import faulthandler
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import deepspeed
import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: F401  so that no rank imports it after the fork
import torch
import torch.distributed as dist

TIMEOUT_S = 60


def run_ranks(function: Callable[..., Any], world_size: int, folder: Path, *args: Any) -> list[Any]:
    """Run `function(*args)` on `world_size` forked ranks; return what each returned, by rank.

    A rank that raises fails the test with its traceback; ranks that do not end in time are killed.
    """
    folder = folder / f"ranks-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    faulthandler.cancel_dump_traceback_later()  # its thread does not survive the fork, and children would wait for it
    children = []
    for rank in range(world_size):
        child = os.fork()
        if child == 0:
            _run_child(function, rank, world_size, folder, args)
        children.append(child)
    _wait(children, folder)
    return [pickle.loads((folder / f"result-{rank}").read_bytes()) for rank in range(world_size)]


def _run_child(function: Callable[..., Any], rank: int, world_size: int, folder: Path, args: tuple[Any, ...]) -> None:
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        torch.set_num_threads(1)
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size), MASTER_ADDR="127.0.0.1", MASTER_PORT="1"
        )
        store = dist.FileStore(str(folder / "store"), world_size)
        timeout = timedelta(seconds=TIMEOUT_S / 2)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size, timeout=timeout)
        dist.barrier()  # one that closes its connections at once would fail another that still makes them
        result = function(*args)
        temporary = folder / f".result-{rank}"
        temporary.write_bytes(pickle.dumps(result))
        os.replace(temporary, folder / f"result-{rank}")
        code = 0
    except BaseException:
        (folder / f"error-{rank}").write_text(traceback.format_exc())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(children: list[int], folder: Path) -> None:
    waiting, failed = dict(enumerate(children)), []
    deadline = time.monotonic() + TIMEOUT_S
    while waiting and time.monotonic() < deadline and not failed:
        for rank, child in list(waiting.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                del waiting[rank]
                if status:
                    failed.append(rank)
        time.sleep(0.01)
    time.sleep(0.3 if failed else 0)  # the others often fail a moment later, with the better message
    for child in waiting.values():
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    errors = [f"rank {rank}:\n{path.read_text()}" for rank, path in _errors(folder)]
    assert not failed and not waiting, "\n".join(errors) or f"ranks {sorted(waiting)} hung, {failed} died"


def _errors(folder: Path) -> list[tuple[int, Path]]:
    return sorted((int(path.name.split("-")[1]), path) for path in folder.glob("error-*"))

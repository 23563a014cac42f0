"""The shell every worker module shares: read the frozen config, run, and turn a user's error into one line."""

import argparse
import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fcdist.config.run_folder import CONFIG_NAME, read_config
from fcdist.config.types import Config
from fcdist.errors import FcdistError

Body = Callable[[Config, Path, argparse.Namespace], int | None]

USER_ERROR = 2
INTERRUPTED = 130
REQUEUE = 75
"""Training stopped early with its state saved: start it again (EX_TEMPFAIL)."""


def entry(
    program: str,
    body: Body,
    argv: Sequence[str] | None = None,
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """Run `body(config, run_dir, arguments)` of a worker module.

    Args:
        program: shown in usage, for example `fcdist prepare`.
        body: the work; its return value is the exit code (None: 0).
        argv: arguments without the program name; None reads the process's.
        add_arguments: adds the module's own options.

    Returns:
        The exit code. A FcdistError is printed as one line and gives 2.
    """
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("run_dir", type=Path, help="run folder with the frozen config")
    parser.add_argument("--config", default=CONFIG_NAME, help=f"name of the frozen config in it ({CONFIG_NAME})")
    if add_arguments:
        add_arguments(parser)
    arguments = parser.parse_args(argv)
    if hasattr(signal, "SIGUSR2") and sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)  # a crash in C, or a mapped file that was cut meanwhile, shows where
        # `kill -USR2` shows where a process hangs without ending it.
        faulthandler.register(signal.SIGUSR2, file=sys.__stderr__, all_threads=True)
    try:
        config = read_config(arguments.run_dir, arguments.config)
        return body(config, arguments.run_dir, arguments) or 0
    except FcdistError as error:
        rank = os.environ.get("RANK", "0")
        if rank == "0" or not error.is_shared:  # rank 0 says what all ranks raise
            print(f"{'' if rank == '0' else f'[rank {rank}] '}error: {error}", file=sys.stderr, flush=True)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        return INTERRUPTED

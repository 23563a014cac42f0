"""torchrun whose failures are readable: a rank's own message stays the last thing on the screen.

    python -m fcdist.torchrun [torchrun options] -m fcdist.train RUN

Plain `torchrun -m fcdist.train RUN` works as well; it ends with the agent's traceback below the message.
"""

import logging
import signal
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as run_agent

from fcdist.config.entry import INTERRUPTED, REQUEUE, USER_ERROR


def main(argv: Sequence[str] | None = None) -> int:
    """Run the elastic agent. Returns the exit code of the rank that failed first, 75 after a signal to stop, or 0."""
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        run_agent(list(sys.argv[1:] if argv is None else argv))
    except SignalException as stopped:  # the ranks were told, too: they finish the step and save
        return INTERRUPTED if stopped.sigval == signal.SIGINT else REQUEUE
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode != USER_ERROR:
            print(f"rank {rank} ended with exit code {failure.exitcode}", file=sys.stderr, flush=True)
        return failure.exitcode if failure.exitcode > 0 else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

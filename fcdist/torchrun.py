"""torchrun whose failures are readable: a rank's own message stays the last thing on the screen.

    python -m fcdist.torchrun [torchrun options] -m fcdist.train RUN

Plain `torchrun -m fcdist.train RUN` works as well; it ends with the agent's traceback below the message.
"""

import logging
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as run_agent

from fcdist.config.entry import USER_ERROR


def main(argv: Sequence[str] | None = None) -> int:
    """Run the elastic agent. Returns the exit code of the rank that failed first, or 0."""
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        run_agent(list(sys.argv[1:] if argv is None else argv))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode != USER_ERROR:
            print(f"rank {rank} ended with exit code {failure.exitcode}", file=sys.stderr, flush=True)
        return failure.exitcode if failure.exitcode > 0 else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

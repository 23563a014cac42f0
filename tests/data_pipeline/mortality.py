"""Programs that are killed (SIGKILL) at a chosen moment."""

import os
import signal
from itertools import count


def is_killed_before(event, run, moments):
    """Run `run()` in a child that is killed just before the `event`-th call of one of `moments`; False if it ended.

    Args:
        event: from 1.
        moments: (owner, name of one of its functions); every fsync and rename counts besides.
    """
    child = os.fork()
    if child == 0:
        try:
            events = count(1)

            def mortal(function):
                def call(*args, **kwargs):
                    if next(events) == event:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return function(*args, **kwargs)

                return call

            for owner, name in ((os, "fsync"), (os, "replace"), *moments):
                setattr(owner, name, mortal(getattr(owner, name)))
            run()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

"""Start torchrun so that it dies with its parent: `python -m tinystyle.training.agent PARENT_PID TORCHRUN_ARGUMENT...`.

Prints nothing itself: the outcome is in the run record, and the parent command reports it in one sentence.
"""

from __future__ import annotations

import logging
import os
import sys

from tinystyle.data.processes import die_with_parent, interruptible

NO_RENDEZVOUS = 3
"""Exit code if the machines did not meet at the rendezvous endpoint."""
LOST = 4
"""Exit code if the system, or somebody, killed a worker: then what the others raise, who wait for it, is no bug."""


def main() -> int:
    """Run `torch.distributed.run` with the given arguments and return the exit code, 0 if every worker succeeded."""
    from tinystyle.training.worker import PARENT_VARIABLE

    die_with_parent(int(sys.argv[1]))
    os.environ[PARENT_VARIABLE] = str(os.getpid())

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.run import parse_args, run

    logging.disable(logging.CRITICAL)
    try:
        run(parse_args(sys.argv[2:]))  # type: ignore[no-untyped-call]
    except SignalException as error:
        return 128 + error.sigval
    except ChildFailedError as error:
        return LOST if any(failure.exitcode < 0 for failure in error.failures.values()) else 1
    except RendezvousError:
        return NO_RENDEZVOUS
    return 0


if __name__ == "__main__":
    with interruptible():
        code = main()
    sys.exit(code)

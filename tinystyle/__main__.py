"""The command `tinystyle`, and `python -m tinystyle`. Nothing but the interpreter is imported until signals are heeded."""

import os
import signal
from contextlib import suppress
from types import FrameType

__all__ = ["main"]

_CODES = {signal.SIGINT: 130, signal.SIGTERM: 75, signal.SIGHUP: 75}
"""Exit codes of a command that is asked to stop. Those of tinystyle.commands.terminal, whose import takes a while."""


def main() -> None:
    """Run the console script. Asked to stop while its commands are imported, it ends at once, with one sentence."""
    before = {number: signal.signal(number, _stop) for number in _CODES if signal.getsignal(number) != signal.SIG_IGN}
    from tinystyle.commands.app import main as run

    for number, handler in before.items():
        signal.signal(number, handler)
    run()


def _stop(number: int, _frame: FrameType | None) -> None:
    with suppress(OSError):  # a closed terminal
        os.write(2, b"Interrupted before anything was done; run the same command again\n")
    os._exit(_CODES[signal.Signals(number)])  # an exception in the middle of an import may be swallowed


if __name__ == "__main__":
    main()

"""The program of one training process: `python -m tinystyle.training.worker DIR`. torchrun starts it several times."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

from tinystyle.data.processes import die_with_parent, interruptible
from tinystyle.training.imports import import_lightning

BUG = 70
"""Exit status after a bug (EX_SOFTWARE in sysexits.h)."""
PARENT_VARIABLE = "TINYSTYLE_PARENT"
"""Environment variable with the process ID of the parent, torchrun if there are several workers."""
WAIT = "-"
"""Argument in place of the folder, which then comes as a line of JSON on standard input; without one, nothing is done."""
GROUP_FILE = "TINYSTYLE_GROUP_FILE"
"""Environment variable with the file in which the processes of one machine meet; absent if there are more machines."""


def main() -> int:
    """Train the run. A user error is reported in the run record, in one sentence, a bug's traceback in error.log."""
    from tinystyle.data.streams import settle
    from tinystyle.errors import debugging, is_temporary, sentence
    from tinystyle.training.record import RunRecord
    from tinystyle.training.run_folder import RunFolder

    settle()
    parent = os.environ.get(PARENT_VARIABLE)
    die_with_parent(int(parent) if parent else None)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    given = sys.argv[1]
    if given == WAIT:
        with suppress(Exception):  # which comes again below, when it is known where to report it
            _imports()
        given = json.loads(sys.stdin.readline() or '""')
        if not given:
            return 0
    folder = Path(given)
    try:
        _imports()
        from tinystyle.training.runner import fit

        fit(folder)
    except Exception as error:
        message = sentence(error)
        if message is None or debugging():
            trace = traceback.format_exc()
            # Of several processes it may be what one raises because another was killed; the command knows, and shows it.
            if debugging() or os.environ.get("WORLD_SIZE", "1") == "1":
                print(trace, file=sys.stderr)
        if message is None:
            with suppress(OSError):
                RunFolder(folder).error_log.write_text(trace, encoding="utf-8")
            return BUG
        if os.environ.get("RANK", "0") == "0":
            try:
                RunRecord.read(folder).update(folder, state="failed", message=message, may_pass=is_temporary(error))
            except OSError:  # probably a full disk, which `message` then says as well
                print(message, file=sys.stderr)
        return 1
    return 0


def _imports() -> None:
    import_lightning()
    import tinystyle.training.runner  # noqa: F401

    for name in ("lightning.pytorch", "lightning.fabric", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    with interruptible():
        code = main()
    sys.exit(code)

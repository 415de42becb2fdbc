"""The program of one training process, of which torchrun starts several: `python -m tinystyle.training.worker DIR`."""

from __future__ import annotations

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
GROUP_FILE = "TINYSTYLE_GROUP_FILE"
"""Environment variable with the file in which the processes of one machine meet; absent if there are more machines."""


def main() -> int:
    """Train the run. A user error is reported in the run record, in one sentence, a bug's traceback in error.log."""
    from tinystyle.data.streams import settle
    from tinystyle.errors import debugging, is_temporary, sentence
    from tinystyle.training.record import RunRecord
    from tinystyle.training.run_folder import RunFolder

    folder = Path(sys.argv[1])
    settle()
    parent = os.environ.get(PARENT_VARIABLE)
    die_with_parent(int(parent) if parent else None)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    try:
        import_lightning()
        from tinystyle.training.runner import fit

        for name in ("lightning.pytorch", "lightning.fabric", "mlflow"):
            logging.getLogger(name).setLevel(logging.ERROR)
        fit(folder)
    except Exception as error:
        message = sentence(error)
        if message is None or debugging():
            trace = traceback.format_exc()
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


if __name__ == "__main__":
    with interruptible():
        code = main()
    sys.exit(code)

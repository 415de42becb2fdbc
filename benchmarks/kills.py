"""Kills, stops, hangs up and freezes small trainings at random moments, again and again.

    make kills N=200 [OUT=benchmarks/kills.jsonl]

Each training is disturbed up to five times, as the seed decides: SIGKILL, SIGTERM, SIGINT or SIGHUP to the command or its
worker, or one of them frozen for 40 s (SIGSTOP, SIGCONT), with or without a SIGTERM to the command meanwhile. The
next command is the one that the last one printed. No step that was saved may be trained again, what was asked to stop
may lose none, and in the end weights and losses must be those of a training that was not disturbed. A disturbance is a
line of OUT; with N lines it is done.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from tests.support.kills import SIGNALS, VICTIMS, Kills, line
from tests.support.photos import synthetic_photo
from tinystyle.data.ingest import ingest

PER_TRAINING = 5


def summary(lines: list[dict[str, Any]]) -> str:
    """Return the table of benchmarks/kills.md: a row for each signal."""
    rows = [
        f"| signal | {' | '.join(VICTIMS)} | steps lost: most | end, s: median, most |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in SIGNALS:
        those = [one for one in lines if one["signal"] == name]
        counts = Counter(one["victim"] for one in those)
        ends = [one["seconds"] for one in those if one["code"] is not None]
        lost = max((one["trained"] - one["saved"] for one in those), default=0)
        end = f"{median(ends):.1f}, {max(ends):.1f}" if ends else ""
        rows.append(f"| {name} | {' | '.join(str(counts[victim] or '') for victim in VICTIMS)} | {lost} | {end} |")
    trainings = {one["training"] for one in lines}
    bad = {one["training"] for one in lines if one["problems"]}
    whole = f"{len(trainings - bad)} of {len(trainings)} trainings, disturbed {len(lines)} times, are as if undisturbed"
    return "\n".join([*rows, "", whole])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("build/kills.jsonl"))
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(one) for one in out.read_text().splitlines()] if out.exists() else []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as does nohup, which children would inherit
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        photos.mkdir()
        for number in range(24):
            synthetic_photo(number).save(photos / f"photo-{number:02d}.png")
        dataset = Path(scratch) / "dataset"
        ingest(str(photos), str(dataset), size=64, held_out=["photo-00.png", "photo-01.png"], workers=1)
        kills = Kills(dataset, Path(scratch))
        number = max((one["training"] for one in lines), default=0)
        while len(lines) < arguments.kills:
            number += 1
            done = [line(number, one) for one in kills.run(number, disturbances=PER_TRAINING)]
            lines += done
            with out.open("a") as file:
                file.writelines(json.dumps(one) + "\n" for one in done)
            print(*map(json.dumps, done), sep="\n", flush=True)
    print(summary(lines))
    sys.exit(any(one["problems"] for one in lines))


if __name__ == "__main__":
    main()

"""Kills something at a random moment of the way from photographs to a published style, again and again.

    make chaos N=20 [OUT=benchmarks/chaos.jsonl]

Starts a stack of its own with two workers. Each round ingests photographs from S3, trains, exports, registers and
publishes a small style through Prefect. In a random part of it, at a random moment of that part, SIGKILL ends one of: a
flow's process, the agent of a training, a trainer, a worker with all that it runs, the object store, MLflow, Prefect's
server. Nobody helps but the platform's own keeper. Afterwards everything must be as if nothing had happened, and
index.json must have been valid whenever it was read. A finished round is a line of OUT, and is not repeated. A round
waits more than it computes: `python -m benchmarks.chaos --share 1/2` beside `--share 2/2` does each half on its own stack.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from tests.support.chaos import PARTS, SERVERS, Kill, Rounds, Watch
from tests.support.stack import Stack, new_stack


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """A stack whose addresses and secrets are this process's; it is gone afterwards."""
    stack = new_stack(folder / "stack")
    os.environ["TINYSTYLE_CACHE"] = str(folder / "cache")
    try:
        started = stack.up("--workers", "2")
        if started.returncode:
            sys.exit(started.stderr)
        os.environ.update(stack.environment)
        yield stack
    finally:
        stack.run("down")


def summary(lines: list[dict[str, Any]]) -> str:
    """Return the table of benchmarks/chaos.md: a row for each part, a column for each victim."""
    victims = [*("flow", "agent", "trainer", "worker"), *SERVERS]
    rows = [f"| part | {' | '.join(victims)} | delay, s: median, most |", "|---|" + "---:|" * (len(victims) + 1)]
    for part in PARTS:
        those = [line for line in lines if line["part"] == part]
        counts = Counter(line["victim"] for line in those)
        delays = [line["delay"] for line in those]
        delay = f"{median(delays):.0f}, {max(delays):.0f}" if delays else ""
        rows.append(f"| {part} | {' | '.join(str(counts[victim] or '') for victim in victims)} | {delay} |")
    whole = sum(not line["problems"] for line in lines)
    looks = sum(line["looks"] for line in lines)
    return "\n".join([*rows, "", f"{whole} of {len(lines)} rounds whole; index.json read {looks:,} times"])


def read(out: Path) -> list[dict[str, Any]]:
    """Return the rounds that are done."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("build/chaos.jsonl"))
    parser.add_argument("--share", default="1/1", help="I/N: only every Nth round, the first of them I")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    first, of = (int(part) for part in arguments.share.split("/"))
    done = {line["round"] for line in read(out)}
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch, running_stack(Path(scratch)) as stack:
        rounds = Rounds(stack, Path(scratch))
        rounds.prepare()
        print("undisturbed:", {flow: round(seconds, 1) for flow, seconds in rounds.usual.items()}, flush=True)
        for number in sorted(set(range(first, arguments.rounds + 1, of)) - done):
            dice = random.Random(number)
            kill = Kill(dice.choice(list(PARTS)), dice.random(), dice)
            with Watch(stack) as watch:
                runs = rounds.run(number, kill)
                problems = [*rounds.problems(number, runs), *watch.faults]
            line = {
                "round": number,
                "part": kill.part,
                "victim": kill.victim,
                "seconds": round(kill.seconds, 2),
                "delay": round(rounds.delay(runs, kill), 1),
                "looks": watch.looks,
                "problems": problems,
            }
            with out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
    lines = read(out)
    print(summary(lines))
    sys.exit(any(line["problems"] for line in lines))


if __name__ == "__main__":
    main()

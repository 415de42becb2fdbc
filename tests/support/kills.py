"""Small trainings that are killed, stopped, hung up and frozen, and what has to be so afterwards."""

from __future__ import annotations

import json
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from tests.support.runs import family, micro_command, start, steps_done
from tinystyle.model_file import load_model
from tinystyle.training.run_folder import metric_lines

__all__ = ["EVERY", "SIGNALS", "STEPS", "VICTIMS", "Disturbance", "Kills", "line"]

STEPS, EVERY = 80, 10
"""Steps of a training, and between its checkpoints."""
FROZEN_SECONDS = 40.0
END_SECONDS = 900.0
SIGNALS = ("KILL", "TERM", "INT", "HUP", "STOP", "STOP+TERM")
"""STOP freezes a process for 40 s; in STOP+TERM the command is asked to stop in the meantime."""
VICTIMS = ("command", "worker")
_ON = re.compile(r"resume with: tinystyle (.*)$")


@dataclass
class Disturbance:
    """What is done to a training, and what came of it."""

    signal: str
    victim: str
    at: int
    """The step after which it happens; 0 is before the first one of this process."""
    code: int | None = None
    """Exit code of the command; None if it went on."""
    seconds: float = 0.0
    """From the signal, or the end of the freeze, to the end of the command."""
    trained: int = 0
    saved: int = 0
    """The last step that was trained, and that of the checkpoint that is left."""
    problems: list[str] = field(default_factory=list)

    @property
    def orderly(self) -> bool:
        """Whether the training was asked to stop, rather than killed."""
        return self.signal in ("TERM", "INT", "HUP", "STOP+TERM")


class Kills:
    """Trainings of one dataset, beside one that is not disturbed."""

    def __init__(self, dataset: Path, scratch: Path) -> None:
        self.dataset, self.scratch = dataset, scratch
        self.reference = scratch / "undisturbed"
        subprocess.run(self._command(self.reference), check=True, capture_output=True)

    def _command(self, out: Path) -> list[str]:
        return micro_command(self.dataset, out, steps=STEPS)

    def run(self, number: int, signals: list[str] | None = None, disturbances: int = 5) -> list[Disturbance]:
        """Train once, disturbed as `number` decides, to the end; return what was done, the last with all problems."""
        dice = random.Random(number)
        out = self.scratch / f"run-{number}"
        plan = signals or [dice.choice(SIGNALS) for _ in range(disturbances)]
        command, done = self._command(out), []
        process = start(command)
        for index, name in enumerate(plan):
            # Each a little further than the one before; now and then before the first step.
            low, high = steps_done(out), max(1, STEPS * (index + 1) // (len(plan) + 1))
            at = 0 if dice.random() < 0.15 else dice.randint(min(low + 1, high), high)
            disturbance = Disturbance(name, dice.choice(VICTIMS), at)
            if not self._reach(process, out, at, dice):
                break  # who was frozen was not the worker, which has come to its end; how, is seen below
            done.append(disturbance)
            answer = self._strike(process, out, disturbance)
            if disturbance.code is not None:
                command = self._next(command, answer, disturbance)
                process = start(command)
        output = process.communicate(timeout=END_SECONDS)
        assert done, output
        done[-1].problems += self._differences(out, process.returncode, output)
        return done

    def _reach(self, process: subprocess.Popen[str], out: Path, at: int, dice: random.Random) -> bool:
        if at == 0:
            time.sleep(dice.uniform(0, 20))
            return process.poll() is None
        deadline = time.monotonic() + END_SECONDS
        while steps_done(out) < at or len(_members(process)) < len(VICTIMS):
            if process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _strike(self, process: subprocess.Popen[str], out: Path, disturbance: Disturbance) -> str:
        members = _members(process)
        if disturbance.victim not in members:
            disturbance.victim = "command"
        victim = members[disturbance.victim]
        below = psutil.Process(process.pid).children(recursive=True)
        name = disturbance.signal.partition("+")[0]
        # A signal that a process does not handle yet ends it, as it would end any other.
        ready = disturbance.at > 0
        victim.send_signal(getattr(signal, f"SIG{name}"))
        if name == "STOP":
            time.sleep(FROZEN_SECONDS / 2)
            if disturbance.signal == "STOP+TERM":
                process.send_signal(signal.SIGTERM)
            time.sleep(FROZEN_SECONDS / 2)
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGCONT)
            if disturbance.signal == "STOP":
                disturbance.trained = disturbance.saved = steps_done(out)
                return ""
        began = time.monotonic()
        try:
            _, answer = process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            disturbance.problems.append(f"still runs after {END_SECONDS:.0f} s")
            process.kill()
            _, answer = process.communicate()
        disturbance.seconds = round(time.monotonic() - began, 2)
        disturbance.code = process.returncode
        _, alive = psutil.wait_procs(below, timeout=10)
        if alive := [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]:
            disturbance.problems.append(f"still there: {alive}")
        disturbance.trained = max((step for step, _ in metric_lines(out / "metrics.jsonl")), default=0)
        disturbance.saved = _saved(out / "last.ckpt")
        self._judge(disturbance, answer, ready)
        return answer

    def _judge(self, disturbance: Disturbance, answer: str, ready: bool) -> None:
        lost = disturbance.trained - disturbance.saved
        if lost > EVERY:
            disturbance.problems.append(f"{lost} steps are lost: {answer}")
        if "Traceback" in answer:
            print(answer, file=sys.stderr)
            after = answer.rpartition("Traceback")[2].splitlines()[1:]
            error = next((line for line in after if not line.startswith(" ")), "cut off")
            disturbance.problems.append(f"a traceback: {error}")
        if disturbance.code == 0 or (disturbance.signal == "KILL" and disturbance.victim == "command"):
            return  # it was complete already, or has no say
        if ready and disturbance.orderly and (disturbance.code != 75 or lost):
            disturbance.problems.append(f"exit code {disturbance.code}, {lost} steps are lost: {answer}")
        if ready and disturbance.code == 1 and f"resumes from step {disturbance.saved}" not in answer:
            disturbance.problems.append(f"says nothing of step {disturbance.saved}: {answer}")
        if ready and disturbance.code == 75 and f"stopped at step {disturbance.saved}" not in answer:
            disturbance.problems.append(f"it is at step {disturbance.saved}, and says: {answer}")

    def _next(self, command: list[str], answer: str, disturbance: Disturbance) -> list[str]:
        """Return the command that the last one printed, or the same one again."""
        if printed := _ON.search(answer.strip()):
            return [sys.executable, "-m", "tinystyle", *shlex.split(printed[1])]
        if disturbance.code == 75 and disturbance.at:
            disturbance.problems.append(f"names no way on: {answer}")
        return command

    def _differences(self, out: Path, code: int, output: tuple[str, str]) -> list[str]:
        """Return what is not as in the training that was not disturbed."""
        if code != 0:
            return [f"the last command ended with {code}: {output}"]
        found = []
        ours, theirs = (load_model(folder / "model.safetensors") for folder in (out, self.reference))
        expected = theirs.network.state_dict()
        if not all(torch.equal(tensor, expected[name]) for name, tensor in ours.network.state_dict().items()):
            found.append("the weights differ from those of the undisturbed training")
        totals = [
            [values["total"] for _, values in metric_lines(folder / "metrics.jsonl")]
            for folder in (out, self.reference)
        ]
        if totals[0] != totals[1]:
            found.append(f"the losses differ: {totals}")
        if json.loads((out / "run.json").read_text())["state"] != "completed":
            found.append("the record does not say that the run is complete")
        if left := sorted(path.name for path in out.rglob("*") if path.name.endswith(".tmp")):
            found.append(f"left over: {left}")
        return found


def line(number: int, disturbance: Disturbance) -> dict[str, Any]:
    """Return a disturbance as a line of the table of results."""
    return {"training": number, **asdict(disturbance)}


def _members(process: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """The processes of a training that exist by now."""
    try:
        return family(process)
    except (IndexError, ValueError, psutil.NoSuchProcess):
        return {"command": psutil.Process(process.pid)}


def _saved(checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    return int(torch.load(checkpoint, weights_only=True)["global_step"])

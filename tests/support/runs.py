"""A run that trains within seconds: its configuration, and the command line of the same one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import psutil

from tinystyle.config import DataConfig, ExecutionConfig, LossConfig, NetworkConfig, OptimizerConfig, RunConfig
from tinystyle.training.record import RunRecord

__all__ = [
    "assert_all_gone",
    "family",
    "micro_command",
    "micro_config",
    "micro_parameters",
    "start",
    "steps_done",
    "train",
    "wait_for_step",
]


def micro_config(
    dataset: Path, *, steps: int = 12, precision: Literal["32", "bf16"] = "32", **execution: Any
) -> RunConfig:
    """A run of seconds: three filters, 48-pixel crops, the packaged loss network."""
    return RunConfig(
        style="builtin:mosaic",
        photos=str(dataset),
        network=NetworkConfig(architecture="small", alpha=0.1),
        loss=LossConfig(perceptual="efficientnet-lite0", style_size=96, tv_weight=1.0, saturation_weight=1.0),
        data=DataConfig(size=48),
        optimizer=OptimizerConfig(steps=steps),
        execution=ExecutionConfig(
            **{"checkpoint_every": 4, "preview_every": 6, "threads": 1, "track": False, **execution}
        ),
        precision=precision,
        seed=3,
    )


def train(config: RunConfig, folder: Path) -> RunRecord:
    """Train in this process; return the record of the run."""
    from tinystyle.training.launch import prepare
    from tinystyle.training.runner import fit

    prepare(config, folder, resume=True)
    return fit(folder, show_progress=False)


def micro_parameters(photos: str, name: str, **changes: Any) -> dict[str, Any]:
    """The parameters of `train-style` for `micro_config`'s run; its files are for a small image."""
    return {
        "style": "builtin:mosaic",
        "photos": photos,
        "name": name,
        "alpha": 0.1,
        "size": 48,
        "seed": 3,
        "perceptual": "efficientnet-lite0",
        "style_size": 96,
        "tv_weight": 1,
        "saturation_weight": 1,
        "precision": "32",
        "threads": 1,
        "export_size": "64x48",
        **changes,
    }


def micro_command(dataset: Path, out: Path, *options: str, steps: int = 160, precision: str = "32") -> list[str]:
    """The command line of `micro_config`'s run."""
    return [
        sys.executable, "-m", "tinystyle", "train", "--style", "builtin:mosaic", "--photos", str(dataset),
        "--out", str(out), "--alpha", "0.1", "--size", "48", "--steps", str(steps), "--seed", "3",
        "--perceptual", "efficientnet-lite0", "--style-size", "96", "--tv-weight", "1",
        "--saturation-weight", "1", "--precision", precision, "--checkpoint-every", "10", "--threads", "1",
        "--no-track", *options,
    ]  # fmt: skip


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """Start a command that a hang-up reaches, even where the tests run under nohup; its output is kept."""
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_hangups
    )


def heed_hangups() -> None:
    """Undo what nohup does."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def steps_done(out: Path) -> int:
    """How many steps a run has logged."""
    metrics = out / "metrics.jsonl"
    return metrics.read_text().count("\n") if metrics.exists() else 0


def wait_for_step(process: subprocess.Popen[str], out: Path, step: int) -> None:
    """Return once the run that `process` trains has logged that step."""
    deadline = time.monotonic() + 120
    while steps_done(out) < step:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def family(process: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """The command, its first worker, and if there are several of these, torchrun, which watches over them."""
    command = psutil.Process(process.pid)
    (child,) = command.children()
    if "tinystyle.training.agent" not in child.cmdline():
        return {"command": command, "worker": child}
    return {"command": command, "torchrun": child, "worker": child.children()[0]}


def assert_all_gone(descendants: list[psutil.Process]) -> None:
    """Assert that processes end within ten seconds."""
    _, alive = psutil.wait_procs(descendants, timeout=10)
    alive = [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not alive

"""What tests share: synthetic photographs, a dataset of them, one trained micro-network, and the project's shared data."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinystyle.config import DataConfig, ExecutionConfig, LossConfig, NetworkConfig, OptimizerConfig, RunConfig

# A shell starts what it puts in the background with Ctrl-C ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Several test processes share the cores: threads that wait for each other would cost more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's cache or MLflow store."""
    os.environ["TINYSTYLE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The shared photographs, paintings and weights; skips where they are absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared photographs and weights are not here")
    return SHARED


def synthetic_photo(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """A smooth random colour field with some noise: no photograph, but none of its blocks is flat."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noise = random.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 synthetic photos as PNG files."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(24):
        synthetic_photo(i).save(folder / f"photo-{i:02d}.png")
    return folder


@pytest.fixture(scope="session")
def dataset(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic photos as a shard dataset, the first two held out."""
    from tinystyle.data.ingest import ingest

    folder = tmp_path_factory.mktemp("dataset") / "shards"
    ingest(str(photo_folder), str(folder), size=64, held_out=["photo-00.png", "photo-01.png"], workers=1)
    return folder


def micro_config(dataset: Path, *, steps: int = 12, precision: str = "32", **execution: object) -> RunConfig:
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


@pytest.fixture(scope="session")
def micro_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a completed micro-run, trained in this process."""
    from tinystyle.training.launch import prepare
    from tinystyle.training.runner import fit

    folder = tmp_path_factory.mktemp("runs") / "micro"
    prepare(micro_config(dataset, steps=20), folder, resume=True)
    assert fit(folder, show_progress=False).state == "completed"
    return folder


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

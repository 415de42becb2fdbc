"""What `tinystyle doctor` says of a GPU, as far as a machine without one can tell, and of addresses before it asks them."""

from __future__ import annotations

from importlib import metadata

import pytest
import torch

from tinystyle.commands.doctor import machine, servers, transport


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("no_cuda")
def test_no_gpu_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_driver", lambda: ("", []))
    (found,) = machine.gpu()
    assert (found.status, found.what) == ("skipped", "no NVIDIA GPU here; trainings use the CPU")


@pytest.mark.usefixtures("no_cuda")
def test_a_gpu_that_torch_does_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_driver", lambda: ("580.1", ["NVIDIA H100"]))
    (found,) = machine.gpu()
    assert found.status == "fail"
    assert found.what.startswith("driver 580.1 sees NVIDIA H100, torch (built ")
    assert found.remedy == "install a torch that is built for a CUDA which this driver supports"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (found,) = machine.gpu()
    assert (found.status, found.what) == ("warn", "CUDA_VISIBLE_DEVICES= hides NVIDIA H100")


def test_a_server_of_another_version() -> None:
    client = metadata.version("mlflow")
    major, minor, _ = client.split(".", 2)
    assert servers._versions("mlflow", f"{major}.{minor}.99").status == "ok"
    other = servers._versions("mlflow", f"{major}.{int(minor) + 1}.0")
    assert (other.status, other.what) == (
        "fail",
        f"server {major}.{int(minor) + 1}.0 and client {client} do not fit together",
    )
    assert other.remedy == "upgrade both to the versions of constraints.txt, the server first"


@pytest.mark.parametrize(("address", "warned"), [("http://10.0.0.1:5000", True), ("http://127.0.0.1:5000", False)])
def test_a_password_that_travels_openly(address: str, warned: bool) -> None:
    found = list(transport.certificates({"MLFLOW_TRACKING_URI": address.replace("//", "//admin:secret@")}))
    texts = [each.what for each in found if each.status == "warn"]
    assert texts == [f"mlflow at {address} is reached without TLS, so its password can be read on the way"] * warned

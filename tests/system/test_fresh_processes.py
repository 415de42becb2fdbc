"""What a fresh process imports, prints and makes: it starts fast, and makes the same bytes as any other."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tinystyle
from tests.support.command_line import COMMANDS
from tests.support.coreml import untrained_model
from tests.support.runs import start
from tinystyle.model_file import save_model
from tinystyle.styles import BUILTIN_STYLES


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_c10_help_explains_itself_without_torch_in_under_a_second(command: str) -> None:
    arguments = [sys.executable, "-X", "importtime", "-m", "tinystyle", *command.split(), "--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = subprocess.run(arguments, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 1
    imported = {line.rsplit("|", 1)[-1].strip() for line in shown.stderr.splitlines()}
    assert "tinystyle.config" in imported
    assert not imported & {"torch", "lightning", "mlflow", "coremltools", "pyarrow", "numpy"}
    assert "Usage:" in shown.stdout
    assert "--help" in shown.stdout


@pytest.mark.parametrize(
    "line",
    [
        "train --lr 0.1",
        "train -s builtin:wave -p {here} -o {here}/out --steps 4k",
        "train -s builtin:Wave -p {here} -o {here}/out",
        "train -s wave -p {here} -o {here}/out",
        "export {here}/none -o a.mlmodel",
        "export starry-night -o a.onnx",
        "export pretrained:starry -o a.mlmodel",
        "evaluate {here}",
        "verify {here}/none.mlmodel -a pretrained:starry-night -p {here}",
        "verify pretrained:starry-night -a a.mlmodel -p {here}",
        "stylize {here}/none.ckpt a.jpg",
        "swift {here}/none.mlmodel",
        "ingest {here} {here}/out --size 3",
    ],
)
def test_c9_a_wrong_argument_is_answered_without_torch_in_under_a_second(line: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-X", "importtime", "-m", "tinystyle", *line.format(here=tmp_path).split()]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = subprocess.run(arguments, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 1
    said = [each for each in answer.stderr.splitlines() if not each.startswith("import time:")]
    assert (answer.returncode, answer.stdout) == (2, ""), said
    assert said[-1].startswith("Error: ")
    assert all(each.startswith("Reading ") for each in said[:-1])
    imported = {each.rsplit("|", 1)[-1].strip() for each in answer.stderr.splitlines()}
    assert not imported & {"torch", "lightning", "mlflow", "coremltools"}


def test_help_imports_neither_torch_nor_matplotlib() -> None:
    arguments = [sys.executable, "-X", "importtime", "-m", "tinystyle", "frontier", "--help"]
    shown = subprocess.run(arguments, capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[-1].strip() for line in shown.stderr.splitlines()}
    assert "tinystyle.commands.frontier" in imported
    assert not imported & {"torch", "matplotlib", "jinja2", "coremltools", "lightning"}
    assert "--collect" in shown.stdout


def test_the_same_bytes_in_every_process() -> None:
    code = (
        "from hashlib import sha256; from tinystyle.styles import *; "
        "print(*(sha256(draw_style(n, 96).tobytes()).hexdigest() for n in sorted(BUILTIN_STYLES)))"
    )
    prints = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert prints[0] == prints[1]
    assert len(set(prints[0])) == len(BUILTIN_STYLES)


def test_importing_brings_no_torch() -> None:
    code = "import sys, tinystyle.styles, tinystyle.data.contact_sheet; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_it_imports_neither_torch_nor_coremltools() -> None:
    code = (
        "import sys, tinystyle; print(tinystyle.__version__, {'torch', 'coremltools', 'lightning'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == f"{tinystyle.__version__} set()\n"


@pytest.mark.parametrize(
    "module", ["evaluation.model_report", "coreml.verification.verify", "stylize.sample_photos", "api"]
)
def test_evaluating_and_verifying_need_no_lightning(module: str) -> None:
    code = f"import sys, tinystyle.{module}; print('lightning' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], text=True) == "False\n"


def test_it_knows_nothing_of_what_it_checks() -> None:
    code = "import sys, tinystyle.coreml.evaluator.model; print(*(n for n in sys.modules if n.startswith('tinystyle')))"
    modules = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(modules.stdout.split())
    assert "tinystyle.coreml.evaluator.model" in loaded
    assert not [name for name in loaded if name.startswith("tinystyle.nets")]
    forbidden = {
        "tinystyle.coreml.exporter.convert",
        "tinystyle.coreml.exporter.quantize",
        "tinystyle.model_file",
        "tinystyle.training",
    }
    assert not loaded & forbidden


EXPORT = """
import sys
from pathlib import Path
from tinystyle.release.card import stylized_preview, write_card
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.model_file import load_model
model = load_model(sys.argv[1])
for name, bits, ios, size in (
    ("a.mlmodel", 8, 16, "20x24"), ("b.mlpackage", 16, 16, "20x24"), ("c.mlpackage", 8, 16, "24x20,20x24"),
    ("d.mlpackage", 4, 16, "20x24"), ("e.mlpackage", 4, 18, "20x20..32x32"),
):
    out = Path(sys.argv[3]) / name
    sizes = ImageSizes.parse(size)
    result = export_model(model, format=name[2:], bits=bits, size=sizes, ios=ios, out=out)
    write_card(result, model, preview=stylized_preview(model, sys.argv[2]))
"""


@pytest.mark.long
def test_bytes_are_the_same_in_every_process_and_nothing_is_printed(photo_folder: Path, tmp_path: Path) -> None:
    model = untrained_model()
    save_model(model.network, tmp_path / "m.safetensors", model.config, model.lineage)
    (tmp_path / "cwd").mkdir()
    photo = photo_folder / "photo-00.png"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", EXPORT, tmp_path / "m.safetensors", photo, tmp_path / seed],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=tmp_path / "cwd",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for seed in ("1", "2")
    ]
    assert [(process.communicate()[0], process.returncode) for process in processes] == [("", 0), ("", 0)]
    contents = []
    for seed in ("1", "2"):
        files = sorted(file for file in (tmp_path / seed).rglob("*") if file.is_file())
        contents.append({str(file.relative_to(tmp_path / seed)): file.read_bytes() for file in files})
    assert len(contents[0]) == 1 + 4 * 3 + 5 * 2
    assert contents[0] == contents[1]
    assert not list((tmp_path / "cwd").iterdir())


@pytest.mark.parametrize(("asked", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGHUP, 75)])
def test_a_stop_while_commands_are_imported_is_one_sentence(asked: signal.Signals, code: int) -> None:
    with start([sys.executable, "-X", "importtime", "-m", "tinystyle", "train", "--help"]) as process:
        assert process.stderr is not None
        for line in process.stderr:  # the first import of those that take a while
            if line.rsplit("|", 1)[-1].strip() == "typer._click.globals":
                process.send_signal(asked)
                break
        said = [line for line in process.stderr.read().splitlines() if not line.startswith("import time:")]
    assert (process.returncode, said) == (code, ["Interrupted before anything was done; run the same command again"])


def test_packages_of_others_that_torchmetrics_knows_do_not_stop_a_training(tmp_path: Path) -> None:
    package, facts = tmp_path / "transformers", tmp_path / "transformers-5.0.0.dist-info"
    for folder in (package, facts):
        folder.mkdir()
    (package / "__init__.py").write_text("import scipy\nAutoModel = AutoTokenizer = object\n")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 5.0.0\n")
    program = (
        "from tinystyle.training.imports import import_lightning; import_lightning(); import tinystyle.training.runner; "
        "import transformers; print(transformers.AutoModel)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment
    )
    assert (ended.returncode, ended.stdout) == (0, "<class 'object'>\n"), ended.stderr


def test_a_training_process_imports_no_package_for_plots_or_audio() -> None:
    program = (
        "import sys; from tinystyle.training.imports import import_lightning; import_lightning(); "
        "import tinystyle.training.runner; print(*(name for name in ('scipy', 'matplotlib') if name in sys.modules)); "
        "import scipy.signal, matplotlib.pyplot; from lightning_utilities.core.imports import package_available; "
        "print(package_available('scipy'))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["", "True"]

"""What a command line names: the folder of a run instead of its model, exchanged arguments, names that are almost right."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer

from tests.support.command_line import COMMANDS, Run
from tinystyle.commands import app as cli
from tinystyle.commands.examples import EXAMPLES
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.errors import UserError
from tinystyle.model_file import load_model
from tinystyle.training.run_model import model_of, trained_with


@pytest.fixture(scope="module")
def places(
    micro_run: Path, photo_folder: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """A folder of runs: a completed one and one that was stopped; a Core ML file; photos."""
    runs = tmp_path_factory.mktemp("runs")
    shutil.copytree(micro_run, runs / "micro")
    shutil.copytree(micro_run, runs / "stopped")
    (runs / "stopped" / "model.safetensors").unlink()
    file = tmp_path_factory.mktemp("exported") / "micro.mlmodel"
    export_model(load_model(micro_run / "model.safetensors"), format="mlmodel", bits=8, size=(48, 32), out=file)
    return {
        "runs": str(runs), "run": str(runs / "micro"), "file": str(file), "photos": str(photo_folder),
        "photo": str(photo_folder / "photo-00.png"), "dataset": str(dataset),
    }  # fmt: skip


TAKE_A_RUN = {
    "export {run} --out {out}/a.mlmodel --no-card": "a.mlmodel: ",
    "verify {file} --against {run} --photos {dataset}": "verified: ",
    "verify {file} -a {run}/ -p {dataset}": "verified: ",
    "stylize {run} {photo} -o {out}": "photo-00.png",
    "evaluate {run} --no-export": "2 held-out photos",
}


@pytest.mark.slow
@pytest.mark.parametrize("line", TAKE_A_RUN)
def test_c8_a_folder_of_a_run_is_a_model(line: str, run: Run, places: dict[str, str], tmp_path: Path) -> None:
    code, output, error = run(*shlex.split(line.format_map(places | {"out": str(tmp_path)})))
    assert code == 0, error
    assert TAKE_A_RUN[line] in output
    assert error.startswith(f"Using {places['run']}/model.safetensors\n")


def test_c8_which_model_of_a_run(places: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    stopped, done = Path(places["runs"]) / "stopped", places["run"]
    assert model_of(done) == f"{done}/model.safetensors"
    assert model_of(f"{done}/run.json") == f"{done}/model.safetensors"
    assert model_of(stopped) == str(stopped / "best.ckpt")
    monkeypatch.chdir(done)
    assert Path(model_of(".")).resolve() == Path(done, "model.safetensors")
    assert model_of("run.json") == model_of(".")
    Path(done, "a.mlpackage").mkdir()
    for other in ("pretrained:starry-night", "a.mlpackage", "s3://bucket/a.ckpt", "https://example.org/model"):
        assert model_of(other) == other
    for absent in ("none", "none.mlmodel", "pretrained:none"):
        with pytest.raises(UserError, match=f"{absent}: no such"):
            model_of(absent)


def test_c8_a_run_that_keeps_its_checkpoints_elsewhere(places: dict[str, str], tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(Path(places["runs"]) / "stopped", tmp_path / "run")
    elsewhere.mkdir()
    for name in ("last.ckpt", "best.ckpt"):
        (tmp_path / "run" / name).rename(elsewhere / name)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["config"]["execution"]["checkpoints"] = str(elsewhere)
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    assert model_of(tmp_path / "run") == str(elsewhere / "best.ckpt")
    (elsewhere / "best.ckpt").unlink()
    assert model_of(tmp_path / "run") == str(elsewhere / "last.ckpt")


def test_c8_a_folder_without_a_model_says_what_is_in_it(places: dict[str, str]) -> None:
    with pytest.raises(UserError, match=re.escape(f"give one of the runs in it, such as {places['run']}")):
        model_of(places["runs"])
    with pytest.raises(UserError, match=re.escape(f"such as {places['file']}")):
        model_of(Path(places["file"]).parent)
    with pytest.raises(UserError, match=r"is a folder without a model\.safetensors, best\.ckpt or last\.ckpt$"):
        model_of(places["photos"])


@pytest.mark.slow
def test_c8_evaluate_measures_as_the_training_did(run: Run, places: dict[str, str], tmp_path: Path) -> None:
    code, output, error = run("evaluate", places["run"], "--no-export", "--json")
    assert code == 0
    report = json.loads(output)
    assert (report["perceptual"], report["style"], report["photos"]) == (
        "efficientnet-lite0",
        "builtin:mosaic",
        places["dataset"],
    )
    said = f"As in training: --style builtin:mosaic, --photos {places['dataset']}, --perceptual efficientnet-lite0"
    assert said in error
    record = json.loads((Path(places["run"]) / "run.json").read_text())
    total = (
        report["content_weight"] * report["rows"][2]["content"] + report["style_weight"] * report["rows"][2]["style"]
    )
    assert report["rows"][2]["total"] == pytest.approx(total, rel=1e-3)
    assert report["style_size"] == record["config"]["loss"]["style_size"]
    # What is given takes precedence; the same model elsewhere is known by the hashes in it.
    moved = shutil.copy(Path(places["run"]) / "model.safetensors", tmp_path / "moved.safetensors")
    code, output, error = run("evaluate", moved, "--no-export", "--json", "-s", "builtin:wave", "-p", places["dataset"])
    assert code == 0
    assert (json.loads(output)["perceptual"], json.loads(output)["style"]) == ("efficientnet-lite0", "builtin:wave")
    assert "As in training: --perceptual efficientnet-lite0, --size 48\n" in error
    code, _, error = run("evaluate", moved, "-p", places["dataset"])
    assert code == 2
    assert error.startswith(f"Error: --style is missing: {moved} has no run.json beside it")


def test_c8_settings_of_another_loss_network_or_run_are_not_taken(places: dict[str, str]) -> None:
    model = f"{places['run']}/model.safetensors"
    lineage = load_model(model).lineage
    assert trained_with(model, lineage, {})["style"] == "builtin:mosaic"
    assert "style" not in trained_with(model, lineage | {"key": "of another run"}, {})
    assert trained_with(model, lineage, {"perceptual": "vgg16"})["perceptual"] == "vgg16"


def test_c8_the_name_of_the_file_says_the_format(run: Run, places: dict[str, str], tmp_path: Path) -> None:
    for name in ("a.mlmodel", "b.mlpackage"):
        assert run("export", places["run"], "--out", tmp_path / name, "--no-card", "--size", "32x32")[0] == 0
        assert (tmp_path / name).exists()


SLIPS = {
    "verify {run} --against {file} --photos {photos}": "{run} is not; are FILE and --against swapped?",
    "verify {run}/model.safetensors --against {file} -p {photos}": "are FILE and --against swapped?",
    "verify {run} --against {run} --photos {photos}": "`tinystyle export {run} --out micro.mlmodel` writes one of it",
    "verify {file} --against {file} --photos {photos}": "{file} is a Core ML file; verify --against needs the network",
    "verify {file} --against {photo} --photos {photos}": "{photo} is an image; verify --against needs a trained network",
    "swift {run}": "{run} is a trained network, not a Core ML file; `tinystyle export",
    "swift pretrained:great-wave": "`tinystyle export pretrained:great-wave --out great-wave.mlmodel` writes one of it",
    "export {file} --out b.mlmodel": "{file} is a Core ML file; export needs the network it was exported from",
    "export {photo} --out b.mlmodel": "{photo} is an image; export needs a trained network",
    "export starry-night --out b.mlmodel": "(did you mean pretrained:starry-night?)",
    "export pretrained:Starry --out b.mlmodel": "(did you mean starry-night?); choose from pretrained:composition-vii",
    "evaluate {file} -p {photos}": "{file} is a Core ML file; evaluate needs the network it was exported from",
    "stylize {photo} {file}": "{photo} is an image, not a model; are MODEL and PHOTOS swapped?",
    "stylize {photo} {photo}": "{photo} is an image, not a model; give a trained network or a Core ML file first",
    "stylize {file} {photo} {run}/model.safetensors": "is a model, not a photo; one command takes one model",
    "stylize {file} {photo} --strength 2": "--strength 2: give a number from 0",
    "stylize {file} {photo} --max-side 0": "--max-side 0: give",
    "train -s builtin:Wave -p {dataset} -o t": "unknown built-in style 'Wave' (did you mean wave?); choose one of mosaic",
    "train -s wave -p {dataset} -o t": "(no such file; did you mean builtin:wave?)",
    "train -s pretrained:starry-night -p {dataset} -o t": "is a trained network; a style is an image",
    "train -s builtin:wave -p {dataset} -o t --perceptual vgg61": "unknown loss network 'vgg61' (did you mean vgg16?)",
    "train -s builtin:wave -p {dataset} -o t --architecture smal": "unknown architecture 'smal' (did you mean small?)",
    "published waev --root {run}/none": "waev is not published at {run}/none; nothing is",
}


@pytest.mark.parametrize("line", SLIPS)
def test_c9_a_slip_is_named(
    line: str, run: Run, places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, error = run(*shlex.split(line.format_map(places)))
    assert (code, output) == (2, "")
    *status, last = error.splitlines()  # a status line may stand before it
    assert len(status) == line.startswith("train -s") * ("perceptual" not in line and "architecture" not in line)
    assert last.startswith("Error: ")
    assert SLIPS[line].format_map(places) in last
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_c9m_ingest_into_a_folder_that_cannot_be_written(
    run: Run, places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("ingest", places["photos"], tmp_path / "new" / "d")
    with monkeypatch.context() as patch:  # whoever runs the tests may write everywhere, as root may
        patch.setattr("os.access", lambda path, _mode: Path(path) != tmp_path)
        code, output, error = run(*line)
    assert (code, output) == (2, "")
    assert error == f"Error: {tmp_path}/new/d cannot be written to (no permission, or read-only); give another folder\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("no_object_store")
def test_c9n_missing_credentials_come_before_what_the_folder_holds(run: Run, places: dict[str, str]) -> None:
    line = f"train -s builtin:wave -p {places['dataset']} -o {places['run']} --size 32 --checkpoints s3://nobucket"
    code, _, error = run(*line.split(), "--perceptual", "efficientnet-lite0", "--no-track")
    assert code == 2
    assert "no credentials; set AWS_ACCESS_KEY_ID" in error


def test_c10_every_example_is_a_command_line() -> None:
    """Each is parsed, and nothing is run."""
    root = typer.main.get_command(cli.app)
    assert set(EXAMPLES) == {*COMMANDS, "models show", "models fetch"}
    for name, lines in EXAMPLES.items():
        for line in lines:
            assert line.startswith(name.split()[0])
            command, words = root, shlex.split(line)
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
            command.make_context(line, words)


def test_c10_short_options_and_help(run: Run) -> None:
    for command in ("", "train", "models show"):
        assert run(*command.split(), "-h")[:2] == run(*command.split(), "--help")[:2]
    _, page, _ = run("train", "-h")
    for line in ("-s, --style", "-p, --photos", "-o, --out", "--devices INTEGER|all", "--on-collapse stop|rollback"):
        assert line in page, line
    assert "1<=x<=10,000,000" in page
    assert run("-V")[1] == run("--version")[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_c10_completion(shell: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TINYSTYLE_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", "tinystyle sty")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "tinystyle sty")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    code, output, _ = run()
    assert code == 0
    assert "styles" in output
    assert "stylize" in output
    assert "train" not in output.split()

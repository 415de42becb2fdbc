"""The command line as a user meets it: help, mistakes, interruptions. No test here trains."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from tests.support.command_line import COMMANDS, Run
from tinystyle.commands import app as cli


@pytest.fixture(scope="module")
def places(
    micro_run: Path, dataset: Path, photo_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Good and bad things to name on a command line."""
    bad = tmp_path_factory.mktemp("bad")
    (bad / "file").write_text("no image, no model, no zip")
    (bad / "model.ckpt").write_bytes(b"PK\x03\x04 no checkpoint")
    (bad / "empty").mkdir()
    (bad / "texts").mkdir()
    (bad / "texts" / "a.jpg").write_text("no photo")
    return {
        "model": str(micro_run / "model.safetensors"),
        "photo": str(photo_folder / "photo-00.png"),
        "photos": str(photo_folder),
        "dataset": str(dataset),
        "bad": str(bad),
        "train": "train --style builtin:mosaic --photos {dataset} --out {out}",
        "small": "--size 48 --style-size 96 --perceptual efficientnet-lite0 --no-track --steps 2",
    }


def test_no_arguments_show_the_help(run: Run) -> None:
    _, output, error = run()
    for command in COMMANDS:
        assert f"\n  {command} " in output + error


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", ["", *COMMANDS, "models show", "models fetch"])
def test_help_breaks_no_word_and_no_bounds(
    command: str, columns: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    code, page, _ = run(*command.split(), "--help")
    assert code == 0
    assert max(map(len, page.splitlines())) < columns
    assert not re.search(r"\w-\n", page)
    for bracket in re.findall(r"\[[^\[\]]*\]", page):
        assert "\n" not in bracket or len(" ".join(bracket.split())) > columns - 40, bracket
    assert not re.search(r"<[a-z]+[ >\[]", page), "types as Python writes them"
    if command in ("", "models"):
        commands = page.split("--help", 1)[1]
        assert not re.search(r"\.\.\.\n|\n {9,}\S", commands), "a description is cut, or longer than its line"


def test_every_command_and_parameter_has_a_description() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    assert set(commands) == set(COMMANDS)
    for command in commands.values():
        assert command.help
        for parameter in command.params:
            assert getattr(parameter, "help", ""), f"{command.name} {parameter.name}"


def test_networks_as_json_have_the_exact_weight_counts(run: Run) -> None:
    code, output, _ = run("networks", "--json")
    assert code == 0
    weights = {(row["architecture"], row["alpha"]): row["weights"] for row in json.loads(output)}
    assert weights["johnson", 1.0] == 1_677_638
    assert weights["johnson", 0.5] == 424_102
    assert weights["small", 0.3] == 11_868


def test_networks_layers_add_up(run: Run) -> None:
    _, output, _ = run("networks", "--architecture", "small", "--alpha", "0.3", "--layers", "--json")
    (row,) = json.loads(output)
    assert sum(layer["weights"] for layer in row["layers"]) == row["weights"] == 11_868
    code, table, _ = run("networks", "--architecture", "small", "--alpha", "0.3", "--layers")
    assert code == 0
    assert table.count("conv") >= 10
    assert "11,868" in table


TRAIN = "{train} {small}"
EXPORT = "export {model} --out {out}/x.mlmodel"
MISTAKES = {  # command line -> what the one sentence says
    TRAIN + " --architecture unet": "--architecture unet: unknown .* choose one of johnson, small",
    TRAIN + " --perceptual alexnet": "--perceptual alexnet: unknown .* choose one of efficientnet-lite0, vgg16",
    TRAIN + " --alpha 0": r"--alpha 0: input should be greater than 0",
    TRAIN + " --alpha 0.01": "alpha 0.01 leaves .* without filters; use at least 0.03125",
    TRAIN + " --alpha x": "--alpha x: input should be a valid number",
    TRAIN + " --precision fp8": "--precision fp8: input should be 'auto', '32' or 'bf16'",
    TRAIN + " --alpha nan": "--alpha nan: input should be",
    TRAIN + " --steps -1": "--steps -1: input should be greater than or equal to 1",
    TRAIN + " --size 8": "--size 8: input should be greater than or equal to 32",
    TRAIN + " --size 128": (
        "{dataset} holds photos with a short side of 64 pixels, 128 are needed; ingest with --size 128"
    ),
    TRAIN + " --seed -1": "--seed -1: input should be",
    TRAIN + " --learning-rate 0": "--learning-rate 0: input should be greater than 0",
    TRAIN + " --style-weight -1": "--style-weight -1: give a number of at least 0, or auto",
    TRAIN + " --style-weight much": "--style-weight much: give a number of at least 0, or auto",
    TRAIN + " --style-weight nan": "--style-weight nan: give a number of at least 0, or auto",
    TRAIN + " --content-target 0": "--content-target 0: input should be greater than 0",
    TRAIN + " --style-scale 0": "--style-scale 0: input should be greater than 0",
    TRAIN + " --style-layer-weights 1,2": "--style-layer-weights 1,2: give 4 weights, not all 0, for stem, block1.expand",
    TRAIN + " --style-layer-weights 0,0,0,0": "--style-layer-weights 0,0,0,0: give 4 weights, not all 0",
    TRAIN + " --style-layer-weights 1,a,1,1": "--style-layer-weights a: input should be a valid number",
    TRAIN + " --checkpoint-every 0": "--checkpoint-every 0: input should be",
    TRAIN + " --batch-size 5 --devices 2": "--batch-size 5 must be a multiple of the 2 processes",
    TRAIN + " --nodes 2": "--nodes over 1 needs --rdzv-endpoint HOST:PORT",
    TRAIN + " --nodes 2 --rdzv-endpoint here": "--rdzv-endpoint here: give HOST:PORT",
    TRAIN + " --nodes 2 --rdzv-endpoint here:99999": "--rdzv-endpoint here:99999: give HOST:PORT",
    TRAIN + " --style {bad}/none.png": r"style {bad}/none.png cannot be read \(no such file\); give an image",
    TRAIN + " --style {bad}/file": "style {bad}/file is not an image that can be read; give",
    TRAIN + " --style builtin:none": "unknown built-in style 'none'; choose one of",
    TRAIN + " --style ''": "--style is empty; give a value",
    TRAIN + " --style=": "--style is empty; give a value",
    TRAIN + " --style none://x": "none://x: this kind of address is not read; give a path, s3://",
    TRAIN + " --photos {bad}/none": "{bad}/none: no such file or folder",
    TRAIN + " --photos {bad}/empty": "{bad}/empty holds no files",
    TRAIN + " --photos {bad}/texts": "{bad}/texts holds no usable photo: 1 not an image",
    TRAIN + " --photos {bad}/file": "{bad}/file is neither a folder nor a zip file",
    TRAIN + " --photos ''": "--photos is empty; give a value",
    TRAIN + " --out {bad}/file": r"{bad}/file cannot be written to \(.*\); give another folder",
    TRAIN + " --out {bad}/file/x": r"{bad}/file/x cannot be written to \(Not a directory\); give another folder",
    TRAIN + " --perceptual-weights {bad}/none.pth": "no weights for .* {bad}/none.pth cannot be read .*; give",
    TRAIN + " --perceptual-weights {bad}/file": "{bad}/file is not a .safetensors or .pth file",
    TRAIN + " --init-from {bad}/none": "{bad}/none: no such file; give a model.safetensors or a .ckpt",
    TRAIN + " --init-from {model}": "{model} is small at alpha 0.1, .* they must agree for --init-from",
    TRAIN + " --checkpoints {bad}/file": "{bad}/file/run.json: ",
    TRAIN + " --checkpoints https://example.org/x": "a web address cannot be written to",
    TRAIN + " --checkpoints none://x": "none://x: this kind of address is not read",
    EXPORT.replace("{model}", "{bad}/none") + " --format mlmodel": "{bad}/none: no such file; give a model",
    EXPORT.replace("{model}", "{bad}/file") + " --format mlmodel": "{bad}/file: not a model that tinystyle saved",
    EXPORT.replace("{model}", "{bad}/model.ckpt") + " --format mlmodel": "{bad}/model.ckpt: not a checkpoint",
    EXPORT + " --format foo": "there is no foo with 8 bits for iOS 16; choose from: mlmodel",
    EXPORT + " --format mlmodel --bits 5": "there is no mlmodel with 5 bits for iOS 16; choose from: mlmodel with 32, 16",
    EXPORT + " --format mlmodel --size 640": "--size 640: give WIDTHxHEIGHT",
    EXPORT + " --format mlmodel --size 641x480": "641x480 is not possible: .* the nearest is 640x480",
    EXPORT + ".txt --format mlmodel": "x.mlmodel.txt: the name of this file must end in .mlmodel",
    EXPORT + " --format mlmodel --out {bad}/file/x.mlmodel": r"{bad}/file cannot be written to \(.*\); give",
    "stylize {bad}/none {photo} --out {out}": "{bad}/none: no such file; give a model",
    "stylize {model} {bad}/none.png --out {out}": "{bad}/none.png: no such photo",
    "stylize {model} {photo} --out {bad}/file": r"{bad}/file cannot be written to \(.*\); give another folder",
    "ingest {bad}/none {out}": "{bad}/none: no such file or folder",
    "ingest {bad}/empty {out}": "{bad}/empty holds no files",
    "ingest {bad}/file {out}": "{bad}/file is neither a folder nor a zip file",
    "ingest {photos} {bad}/file": "{bad}/file is a file; give a folder",
    "ingest {photos} {bad}/file/x": "{bad}/file/x: not a directory",
    "ingest {photos} {bad}/texts": "{bad}/texts holds files but no shard dataset; give an empty or a new folder",
    "ingest '' {out}": "an argument is empty",
    "networks --architecture unet": "unknown architecture 'unet'; choose one of johnson, small",
    "networks --alpha 0": "--alpha 0.0: input should be greater than 0",
    "demo --out {bad}/file": r"{bad}/file cannot be written to \(.*\); give another folder",
}  # fmt: skip


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_sentence_before_any_work(line: str, run: Run, places: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = {**places, "out": str(out)}
    code, output, error = run(*shlex.split(line.format_map(names | {"train": places["train"].format_map(names)})))
    assert code == 2
    assert output == ""
    assert error.count("\n") == 1, "one line"
    assert error.startswith("Error: ")
    pattern = MISTAKES[line].format_map(names)
    assert re.search(pattern, error), error
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("line", "last"),
    {
        "train": "Missing option '--out'",
        "nonsense": "No such command 'nonsense'",
        "train --bogus 1": "No such option: --bogus",
        TRAIN + " --resume maybe": "Invalid value for '--resume': .* one of 'auto', 'never'",
        "ingest {photos} {out} --size 0": "Invalid value for '--size': .* greater than or equal to 16",
        "stylize {model} --out {out}": "Missing argument 'PHOTOS'",
    }.items(),
)
def test_what_is_no_command_line_is_short(
    line: str, last: str, run: Run, places: dict[str, str], tmp_path: Path
) -> None:
    names = {**places, "out": str(tmp_path / "out")}
    code, output, error = run(*shlex.split(line.format_map(names | {"train": places["train"].format_map(names)})))
    assert (code, output) == (2, "")
    assert len(error.splitlines()) <= 4
    assert re.match(f"Error: {last}", error.splitlines()[-1]), error
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_object_store")
@pytest.mark.parametrize(
    "option", ["--photos s3://bucket/photos", "--style s3://bucket/a.png", "--checkpoints s3://b/c"]
)
def test_no_credentials_are_named(option: str, run: Run, places: dict[str, str], tmp_path: Path) -> None:
    names = {**places, "out": str(tmp_path / "out")}
    line = f"{places['train'].format_map(names)} {places['small']} {option}"
    code, _, error = run(*line.split())
    assert code == 2
    assert error.count("\n") == 1
    assert option.split()[1] in error
    assert "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in error

"""The command line as a user meets it: help, mistakes, interruptions. No test here trains."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from tests.support.command_line import COMMANDS, Run, complaint
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
    TRAIN + " --perceptual alexnet": "--perceptual alexnet: unknown .* choose one of efficientnet-lite0, narrow, vgg16",
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
    TRAIN + " --checkpoints {bad}/file": "{bad}/file is a file; give a folder or URI with --checkpoints",
    TRAIN + " --checkpoints https://example.org/x": "a web address cannot be written to",
    TRAIN + " --checkpoints none://x": "none://x: this kind of address is not read",
    EXPORT.replace("{model}", "{bad}/none") + " --format mlmodel": "{bad}/none: no such file; give a model",
    EXPORT.replace("{model}", "{bad}/file") + " --format mlmodel": "{bad}/file: not a model that tinystyle saved",
    EXPORT.replace("{model}", "{bad}/model.ckpt") + " --format mlmodel": "{bad}/model.ckpt: not a checkpoint",
    EXPORT + " --format foo": "--format foo: give mlmodel, mlpackage, onnx or aimodel",
    EXPORT + " --bits 5": "--bits 5: give 32, 16, 8, 6 or 4",
    EXPORT + " --ios 15": "--ios 15: give 16 or 18",
    EXPORT + " --format mlmodel --size 640": "--size 640: give WIDTHxHEIGHT",
    EXPORT + " --format mlmodel --size 641x480": "641x480 is not possible: .* the nearest is 640x480",
    EXPORT + ".txt": "x.mlmodel.txt: give a name that ends in .mlmodel, .mlpackage, .onnx or .aimodel",
    EXPORT + ".txt --format mlmodel": "x.mlmodel.txt is not the name of an .mlmodel; leave out --format",
    EXPORT + " --format mlmodel --out {bad}/file/x.mlmodel": r"{bad}/file cannot be written to \(.*\); give",
    "stylize {bad}/none {photo} --out {out}": "{bad}/none: no such file; give a model",
    "stylize {model} {bad}/none.png --out {out}": "{bad}/none.png: no such photo",
    "stylize {model} {photo} --out {bad}/file": "{bad}/file: is a file; give a folder, or a file that ends in .png",
    "stylize {model} {photo} --out {bad}/file/x": r"{bad}/file/x cannot be written to \(Not a directory\); give another",
    "stylize {model} {photo} --out {out}.gif": "{out}.gif: .gif files are not written; use .png",
    "stylize {model} {photo} --out {out} --quality 90": "--quality is for JPEG and WebP; PNG keeps every pixel",
    "stylize {model} {photo} --out {out} --format bmp": "--format 'bmp': choose one of png, jpeg, webp, tiff",
    "stylize {model} {photo} --out {out} --tile big": "--tile big: give auto, off, or the side of a tile from 32 to 4096 pixels",
    "ingest {bad}/none {out}": "{bad}/none: no such file or folder",
    "ingest {bad}/empty {out}": "{bad}/empty holds no files",
    "ingest {bad}/file {out}": "{bad}/file is neither a folder nor a zip file",
    "ingest {photos} {bad}/file": "{bad}/file is a file; give a folder",
    "ingest {photos} {bad}/file/x": r"{bad}/file/x cannot be made \({bad}/file is a file\); give another folder",
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
    error = complaint(error)
    assert code == 2
    assert output == ""
    assert error.count("\n") == 1, "one line"
    assert error.startswith("Error: ")
    pattern = MISTAKES[line].format_map(names)
    assert re.search(pattern, error), error
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("line", "sentence"),
    {
        "train": "--out is missing: Folder for the model",
        "train --out {out}": "--style is missing",
        "nonsense": "tinystyle has no command nonsense; `tinystyle --help` shows those it has",
        "trian": r"tinystyle has no command trian; did you mean train\?",
        "quantize x": r"tinystyle has no command quantize; did you mean export\?",
        "models shwo": r"tinystyle models has no command shwo; did you mean show\?",
        "train --bogus 1": "tinystyle train has no option --bogus; `tinystyle train --help` shows those it has",
        "train --lr 0.1": r"tinystyle train has no option --lr; did you mean --learning-rate\?",
        "train --epochs 3": r"tinystyle train has no option --epochs; did you mean --steps\?",
        "train --stpes 3": r"tinystyle train has no option --stpes; did you mean --steps\?",
        "networks --lr 3": "tinystyle networks has no option --lr; `tinystyle networks --help` shows",
        "train --no-trakc": r"tinystyle train has no option --no-trakc; did you mean --no-track\?",
        "train --out": "--out needs a value",
        "styles --json=3": "--json takes no value",
        "styles a b": r"got unexpected extra argument\(s\) \(a b\); put quotes around names",
        TRAIN + " --resume maybe": "--resume maybe: .* one of 'auto', 'never'$",
        "ingest {photos} {out} --size 0": "--size 0: input should be greater than or equal to 16",
        "ingest {photos} {out} --size x": "--size x: input should be a valid integer$",
        "ingest {photos} {out} --size 1e3": r"--size 1e3: .* integer; did you mean 1000\?",
        TRAIN + " --steps 4k": r"--steps 4k: input should be a valid integer; did you mean 4000\?",
        TRAIN + " --steps 4,000": r"--steps 4,000: .* did you mean 4000\?",
        TRAIN + " --steps 4.5": "--steps 4.5: input should be a valid integer$",
        TRAIN + " --precision fp16": "--precision fp16: input should be 'auto', '32' or 'bf16'$",
        "stylize {model} --out {out}": "PHOTOS is missing: Photos: files",
    }.items(),
)
def test_c9_c10_what_is_no_command_line_is_one_sentence_as_everything_else(
    line: str, sentence: str, run: Run, places: dict[str, str], tmp_path: Path
) -> None:
    names = {**places, "out": str(tmp_path / "out")}
    code, output, error = run(*shlex.split(line.format_map(names | {"train": places["train"].format_map(names)})))
    assert (code, output) == (2, "")
    assert error.count("\n") == 1
    assert re.match(f"Error: {sentence}", error.rstrip("\n")), error
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_object_store")
@pytest.mark.parametrize("option", ["--checkpoints s3://b/c"])
def test_c9a_no_credentials_are_named(option: str, run: Run, places: dict[str, str], tmp_path: Path) -> None:
    names = {**places, "out": str(tmp_path / "out")}
    line = f"{places['train'].format_map(names)} {places['small']} {option}"
    code, _, error = run(*line.split())
    error = complaint(error)
    assert code == 2
    assert error.count("\n") == 1
    assert option.split()[1] in error
    assert "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in error

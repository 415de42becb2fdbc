from pathlib import Path

import pytest
from PIL import Image

from tests.support.command_line import Run
from tests.support.photos import synthetic_photo
from tinystyle.config import NetworkConfig
from tinystyle.coreml.evaluator.model import read_model
from tinystyle.coreml.verification.verify import MIN_PSNR
from tinystyle.data.images import open_rgb
from tinystyle.model_file import save_model
from tinystyle.nets import build_network


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run folder with an untrained micro-network and a preview."""
    config = NetworkConfig(architecture="small", alpha=0.1)
    save_model(
        build_network(config.architecture, config.alpha),
        tmp_path / "run" / "model.safetensors",
        config,
        {"style_name": "mosaic"},
    )
    (tmp_path / "run" / "previews").mkdir()
    Image.new("RGB", (20, 10), "red").save(tmp_path / "run" / "previews" / "step-000001.png")
    return tmp_path / "run" / "model.safetensors"


@pytest.mark.slow
def test_a_file_its_card_and_the_last_preview(run: Run, saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "mosaic.mlmodel"
    code, output, error = run("export", saved, "--format", "mlmodel", "--bits", "4", "--size", "32x48", "--out", out)
    assert (code, error) == (0, "")
    assert output == f"{out}: {out.stat().st_size:,} bytes\n{out}.md: model card\n"
    assert sorted(path.name for path in out.parent.iterdir()) == [f"mosaic.mlmodel{end}" for end in ("", ".md", ".png")]
    assert "mosaic, small 0.1" in Path(f"{out}.md").read_text()
    assert open_rgb(Path(f"{out}.png").read_bytes(), "preview").size == (20, 10)
    file = read_model(out)
    assert (file.bits, file.sizes.default) == (4, (32, 48))

    code, _, _ = run(
        "export", saved, "--format", "mlmodel", "--bits", "8", "--size", "32x48", "--out", out, "--no-card"
    )
    assert code == 0
    assert [path.name for path in out.parent.iterdir()] == ["mosaic.mlmodel"]  # the card was of the file before


@pytest.mark.slow
def test_o3_a_name_that_xcode_cannot_use_gets_a_hint(run: Run, saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "class.mlmodel"
    code, output, error = run("export", saved, "--format", "mlmodel", "--size", "32x48", "--no-card", "--out", out)
    assert (code, output) == (0, f"{out}: {out.stat().st_size:,} bytes\n")
    assert error.startswith("class.mlmodel: Xcode generates a class class from this name, which is a word of Swift")
    assert error.count("\n") == 1


@pytest.mark.slow
def test_files_called_like_options(
    run: Run, saved: Path, tmp_path: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--format", "mlmodel", "--size", "32x48", "--bits", "32", "--no-card")
    assert run("export", saved, *options, "--out", "-x.mlmodel")[::2] == (0, "")
    check = ("--against", saved, "--photos", photo_folder, "--max-photos", 1)
    assert run("verify", *check, "--", "-x.mlmodel")[::2] == (0, "")
    assert run("verify", "./-x.mlmodel", *check)[::2] == (0, "")
    assert run("swift", "--", "-x.mlmodel")[::2] == (0, "")
    code, _, error = run("verify", "-x.mlmodel", *check)
    assert code == 2
    assert "-x.mlmodel is a file here; write ./-x.mlmodel" in error


@pytest.mark.slow
def test_int4_in_float32_of_a_range_with_a_preview(run: Run, saved: Path, tmp_path: Path) -> None:
    synthetic_photo(3, 60, 40).save(tmp_path / "photo.png")
    out = tmp_path / "m.mlpackage"
    options = ("--bits", "4", "--ios", "18", "--compute", "float32", "--size", "32x32..64x128")
    code, _, error = run(
        "export", saved, "--format", "mlpackage", *options, "--preview", tmp_path / "photo.png", "--out", out
    )
    assert (code, error) == (0, "")
    file = read_model(out)
    assert (file.bits, file.minimum_ios, file.sizes.kind) == (4, 18, "ranged")
    assert file.sizes.choices == ((32, 32), (64, 128))
    text = Path(f"{out}.md").read_text()
    assert "| float32 |" in text
    assert "| iOS 18 and later |" in text
    assert open_rgb(Path(f"{out}.png").read_bytes(), "preview").width > 120


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--format mlmodel --size 32x32,64x64", "an .mlmodel takes images of one size"),
        ("--format mlmodel --compute float16", "leaves precision to the device"),
        ("--format mlmodel --bits 4 --ios 18", "--ios 18 is for an mlpackage of 4 bits; give 16 for this one"),
        ("--format mlpackage --bits 5", "--bits 5: give 32, 16, 8, 6 or 4"),
        ("--format mlpackage --size 640", "--size 640: give WIDTHxHEIGHT"),
        ("--format mlpackage --size 641x480", "the nearest is 640x480"),
        ("--format mlpackage --no-card --preview a.png", "leave out --no-card"),
        ("--format mlpackage --preview nowhere.png", "nowhere.png: cannot be read"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    run: Run, saved: Path, tmp_path: Path, options: str, sentence: str
) -> None:
    out = tmp_path / f"a.{options.split()[1]}"
    code, output, error = run("export", saved, *options.split(), "--out", out)
    assert (code, output) == (2, "")
    assert sentence in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
def test_train_exports_and_proves_what_it_has_trained(
    run: Run, micro_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MIN_PSNR, 8, 30.0)  # a network of twenty steps is about at the limit, 40, on this or that side
    out = tmp_path / "new" / "mosaic.mlmodel"
    again = ("train", "--config", micro_run / "run.json", "--out", micro_run, "--export", out)
    code, output, error = run(*again)
    assert code == 0, error
    already, exported = output.splitlines()
    assert already.startswith(f"{micro_run} already contains this completed run")
    assert exported.startswith(f"{out}: {out.stat().st_size:,} bytes; ")
    assert "verified" in exported
    assert "verified" in Path(f"{out}.md").read_text().lower()
    assert read_model(out).bits == 8


def test_train_refuses_a_name_of_no_format(run: Run, dataset: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "run", tmp_path / "mosaic.tflite"
    code, _, error = run("train", "-s", "builtin:mosaic", "-p", dataset, "-o", out, "--export", file)
    assert (code, error) == (2, f"Error: {file}: give a name that ends in .mlmodel, .mlpackage, .onnx or .aimodel\n")
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_onnx_is_exported_described_and_verified(run: Run, saved: Path, tmp_path: Path, photo_folder: Path) -> None:
    out = tmp_path / "style.onnx"
    code, output, error = run("export", saved, "--bits", 16, "--size", "32x32..64x64", "--out", out)
    assert (code, error) == (0, "")
    assert output.startswith(f"{out}: {out.stat().st_size:,} bytes")
    card = Path(f"{out}.md").read_text()
    assert "| input | `image`, float32 (1, 3, height, width)" in card
    assert "Not run on a phone." in card
    assert "Core ML" not in card
    code, output, error = run("verify", out, "--against", saved, "--photos", photo_folder, "--max-photos", 2)
    assert (code, error) == (0, "")
    assert "values match the trained ones at 16 bits" in output
    assert "Run by ONNX Runtime" in Path(f"{out}.md").read_text()


def test_a_missing_file_of_another_format_is_named(run: Run, saved: Path, tmp_path: Path, photo_folder: Path) -> None:
    code, _, error = run("verify", tmp_path / "a.onnx", "--against", saved, "--photos", photo_folder)
    assert code == 2
    assert "a.onnx: no such file; `tinystyle export MODEL --out a.onnx` writes one" in error
    code, _, error = run("export", tmp_path / "a.onnx", "--out", tmp_path / "b.mlmodel")
    assert code == 2
    assert "was exported from a network; export needs that network" in error

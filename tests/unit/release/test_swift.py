"""The generated Swift file. No Swift compiler is here: what is asserted is its text."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinystyle.coreml.evaluator.model import read_model
from tinystyle.errors import UserError
from tinystyle.release.swift import class_name, swift_source
from tinystyle.release.swift_names import model_name_hint

Exported = Callable[[str, int], Path]
STRING = r'"(?:\\.|[^"\\\n])*"'


def edited(source: Path, destination: Path, edit: Callable[[Any], None]) -> Path:
    """A copy of an exported .mlpackage whose specification `edit` has changed."""
    from coremltools.proto import Model_pb2

    shutil.copytree(source, destination)
    file = destination / "Data" / "com.apple.CoreML" / "model.mlmodel"
    spec = Model_pb2.Model.FromString(file.read_bytes())
    edit(spec)
    file.write_bytes(spec.SerializeToString())
    return destination


def enumerate_sizes(spec: Any) -> None:
    for feature in (spec.description.input[0], spec.description.output[0]):
        for width, height in ((48, 32), (32, 48)):
            feature.type.imageType.enumeratedSizes.sizes.add(width=width, height=height)


def allow_range(spec: Any) -> None:
    for feature in (spec.description.input[0], spec.description.output[0]):
        for bound in ("widthRange", "heightRange"):
            side = getattr(feature.type.imageType.imageSizeRange, bound)
            side.lowerBound, side.upperBound = 16, 1024


@pytest.fixture(params=["fixed", "enumerated", "ranged"])
def source(request: pytest.FixtureRequest, exported: Exported, tmp_path: Path) -> str:
    """The Swift file of a model of each kind of sizes."""
    path = exported("mlpackage", 16)
    if request.param != "fixed":
        edit = {"enumerated": enumerate_sizes, "ranged": allow_range}[request.param]
        path = edited(path, tmp_path / "sized.mlpackage", edit)
    return swift_source(read_model(path))


@pytest.mark.slow
def test_what_depends_on_the_model_is_in_the_file(exported: Exported) -> None:
    path = exported("mlmodel", 8)
    text = swift_source(read_model(path), "Sky")
    assert text.startswith(f"// Sky.swift runs {path.name}")
    assert 'static let inputName = "image"' in text
    assert 'static let outputName = "stylized"' in text
    assert "static let defaultSize = Size(width: 48, height: 32)" in text
    assert f'init(\n        named name: String = "{path.stem}", in bundle' in text
    assert "//   weights  8 bits" in text
    assert re.search(r"^@available\(iOS 15\.0, macOS 12\.0, \*\)\nfinal class Sky \{$", text, re.MULTILINE)


@pytest.mark.slow
def test_an_ml_program_raises_the_system_that_is_needed(exported: Exported) -> None:
    model = read_model(exported("mlpackage", 16))
    assert model.minimum_ios == 16
    assert "@available(iOS 16.0, macOS 13.0, *)" in swift_source(model)


def test_no_placeholder_is_left_and_every_bracket_closes(source: str) -> None:
    assert "___" not in source
    assert "{{" not in source
    assert max(map(len, source.splitlines())) <= 120
    code = re.sub(rf"{STRING}|//[^\n]*", "", source)
    assert '"' not in code
    open_brackets: list[str] = []
    for bracket in re.findall(r"[][(){}]", code):
        if bracket in "([{":
            open_brackets.append(bracket)
        else:
            assert open_brackets.pop() + bracket in ("()", "[]", "{}")
    assert not open_brackets


def test_persons_are_found_by_vision_and_blended_by_its_mask(source: str) -> None:
    """Names of Apple's documentation: a misspelled filter would be found out by nobody before it runs."""
    assert "personRequest = VNGeneratePersonSegmentationRequest()" in source
    assert "personRequest.outputPixelFormat = kCVPixelFormatType_OneComponent8" in source
    assert '"CIBlendWithRedMask", parameters: [kCIInputBackgroundImageKey: black, kCIInputMaskImageKey: mask]' in source
    assert "only part: Part" in source


@pytest.mark.slow
def test_every_listed_size_is_a_choice(exported: Exported, tmp_path: Path) -> None:
    path = edited(exported("mlpackage", 16), tmp_path / "a.mlpackage", enumerate_sizes)
    text = swift_source(read_model(path))
    assert "//   sizes    48x32, 32x48" in text
    sizes = re.search(r"static let sizes = \[(.*?)\]", text, re.DOTALL)
    assert sizes
    assert re.findall(r"Size\(width: (\d+), height: (\d+)\)", sizes[1]) == [("48", "32"), ("32", "48")]


@pytest.mark.slow
def test_a_range_gives_its_bounds_and_steps_of_four_pixels(exported: Exported, tmp_path: Path) -> None:
    path = edited(exported("mlpackage", 16), tmp_path / "a.mlpackage", allow_range)
    text = swift_source(read_model(path))
    assert "static let smallest = Size(width: 16, height: 16), largest = Size(width: 1024, height: 1024)" in text
    assert "Int((length * scale / 4).rounded()) * 4" in text


@pytest.mark.slow
def test_the_same_file_gives_the_same_text_wherever_it_lies(exported: Exported, tmp_path: Path) -> None:
    original = exported("mlmodel", 8)
    copy = shutil.copy(original, tmp_path / original.name)
    assert swift_source(read_model(original)) == swift_source(read_model(copy))


@pytest.mark.slow
def test_names_of_any_kind_become_string_literals(exported: Exported, tmp_path: Path) -> None:
    from coremltools.models.utils import rename_feature
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model.FromString(exported("mlmodel", 8).read_bytes())
    rename_feature(spec, "image", 'my "image" \\(exit(1)) ___CLASS___')
    rename_feature(spec, "stylized", "two\nlines\u202e*/")
    file = tmp_path / 'a "quote"\n#error("x").mlmodel'
    file.write_bytes(spec.SerializeToString())
    text = swift_source(read_model(file))
    assert r'static let inputName = "my \"image\" \\(exit(1)) ___CLASS___"' in text
    assert r'static let outputName = "two\u{a}lines\u{202e}*/"' in text
    assert r'named name: String = "a \"quote\"\u{a}#error(\"x\")", in' in text
    code = re.sub(rf"{STRING}|//[^\n]*", "", text)
    for escaped in ("exit(1)", "#error", "*/"):
        assert escaped not in code


@pytest.mark.parametrize("name", ["StyleTransfer", "Sky2", "Starry_Sky"])
def test_the_class_is_named_like_the_file(name: str) -> None:
    assert class_name(Path("app") / f"{name}.swift") == name


@pytest.mark.parametrize(
    "name",
    ["style.swift", "2Sky.swift", "Sky-Style.swift", "Sky", "Sky.txt", "MLModel.swift", "Camera.swift", "Self.swift",
     "Any.swift", "Été.swift", "Sky\n.swift"],
)  # fmt: skip
def test_a_name_that_is_no_class_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"give (a name such as StyleTransfer\.swift|one of your own)"):
        class_name(Path(name))


@pytest.mark.parametrize(
    "name",
    re.findall(
        r"\w+",
        """Array Bool Float Double Optional Set Data Date Image View Swift Foundation UIKit SwiftUI Task Sequence AnyObject
    Any Self Error Result Void Int String Hashable DispatchQueue Protocol Type Character Dictionary URL Color Text State
    Button Bundle Timer Never Codable Sendable MainActor CoreML Vision CIImage CGRect UIImage NSObject MLModel
    VNRequest AVPlayer Size Camera Failure""",
    ),
)  # fmt: skip
def test_o3_names_of_swift_and_of_apple_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"{name}\.swift: the name {name} is .*{name}Style\.swift"):
        class_name(Path(f"{name}.swift"))


def test_every_type_that_the_swift_file_uses_is_refused_as_its_name(source: str) -> None:
    """The names of types and of cases begin with a capital; a class of such a name would be meant in their place."""
    code = re.sub(rf"{STRING}|//[^\n]*", "", source)
    used = set(re.findall(r"\b[A-Z][A-Za-z0-9_]*\b", code)) - {"StyleTransfer"}
    assert {"Double", "CIContext", "MLModel", "Result"} <= used
    for name in used:
        with pytest.raises(UserError, match="give one of your own"):
            class_name(Path(f"{name}.swift"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "name", "generated"),
    [
        ("Sky.mlmodel", "Sky", "Sky"),
        ("Starry-sky.mlmodel", "Starry_sky", "Starry_sky"),
        ("Sky.mlmodel", "SkyInput", "SkyInput"),
        ("Sky.mlmodel", "SkyOutput", "SkyOutput"),
        ("sky.mlmodel", "Sky", "sky"),  # their object files are one file on macOS
    ],
)
def test_o3_the_classes_that_xcode_generates_are_not_declared_twice(
    file: str, name: str, generated: str, exported: Exported, tmp_path: Path
) -> None:
    model = read_model(shutil.copy(exported("mlmodel", 8), tmp_path / file))
    with pytest.raises(UserError, match=rf"class {generated} .*{name}Style\.swift"):
        swift_source(model, name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("class.mlmodel", "a class class .* a word of Swift.*class-style.mlmodel"),
        ("String.mlmodel", "a class String .* taken in Swift"),
        ("self.mlpackage", "a word of Swift"),
        ("CIFilter.mlmodel", "like those of Apple's frameworks"),
        ("Starry.mlmodel", "starry.mlmodel beside it is the same file"),
        ("starryInput.mlmodel", "class starryinput from starry.mlmodel too"),
        ("a_b.mlmodel", "class a_b from a-b.mlpackage too"),
        ("a-b.mlmodel", None),
        ("starry sky.mlmodel", None),
        ("-x.mlmodel", None),
        ("8.mlmodel", None),
    ],
)
def test_o3_a_model_file_whose_generated_class_clashes_gets_a_hint(
    tmp_path: Path, name: str, expected: str | None
) -> None:
    (tmp_path / "starry.mlmodel").touch()
    (tmp_path / "a-b.mlpackage").mkdir()
    hint = model_name_hint(tmp_path / name)
    if expected is None:
        assert hint is None
    else:
        assert hint is not None
        assert re.search(expected, hint), hint

"""Files with all the right weights in an ML Program that is none: its operations, and their frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.mutilations import Mutilation, flipped, operation, specification, specification_file, without

pytestmark = pytest.mark.slow  # each is verified, in half a second

OTHER = "other than the weights"


def step(kind: str, edit: Callable[[Any], object], number: int = 0) -> Mutilation:
    """Edit an operation of a program."""
    return specification(lambda spec: edit(operation(spec, kind, number)))


def program(edit: Callable[[Any], object]) -> Mutilation:
    return specification(lambda spec: edit(spec.mlProgram))


def block(edit: Callable[[Any], object]) -> Mutilation:
    def change(spec: Any) -> None:
        main = spec.mlProgram.functions["main"]
        edit(main.block_specializations[main.opset])

    return specification(change)


def constant(kind: str, key: str, edit: Callable[[Any], object], number: int = 0) -> Mutilation:
    """Edit the constant that an operation of a program takes."""

    def change(spec: Any) -> None:
        name = operation(spec, kind, number).inputs[key].arguments[0].name
        main = spec.mlProgram.functions["main"]
        (found,) = [made for made in main.block_specializations[main.opset].operations if made.outputs[0].name == name]
        edit(found)

    return specification(change)


def set_text(text: str) -> Callable[[Any], None]:
    return lambda made: made.attributes["val"].immediateValue.tensor.strings.values.__setitem__(0, text)


def set_numbers(*numbers: int) -> Callable[[Any], None]:
    return lambda made: made.attributes["val"].immediateValue.tensor.ints.values.__setitem__(slice(None), numbers)


def set_half(value: bytes) -> Callable[[Any], None]:
    return lambda made: setattr(made.attributes["val"].immediateValue.tensor.bytes, "values", value)


def moved(spec: Any) -> None:
    main = spec.mlProgram.functions["main"]
    steps = main.block_specializations[main.opset].operations
    last = steps.pop()
    steps.insert(0, last)


def another_function(spec: Any) -> None:
    spec.mlProgram.functions["other"].CopyFrom(spec.mlProgram.functions["main"])


def renamed_function(spec: Any) -> None:
    another_function(spec)
    del spec.mlProgram.functions["main"]


def doubled(spec: Any) -> None:
    relu = operation(spec, "relu")
    main = spec.mlProgram.functions["main"]
    main.block_specializations[main.opset].operations.add().CopyFrom(relu)


def attributed(part: Any) -> None:
    part.attributes["note"].immediateValue.tensor.strings.values.append("x")
    part.attributes["note"].type.tensorType.dataType = 2


def built(part: Any) -> None:
    """What coremltools writes about itself."""
    attributed(part)
    part.attributes["buildInfo"].CopyFrom(part.attributes["note"])
    del part.attributes["note"]


def dtype(number: int) -> Callable[[Any], None]:
    return lambda made: setattr(made.outputs[0].type.tensorType, "dataType", number)


def unknown_field(path: Path) -> None:
    file = specification_file(path)
    file.write_bytes(file.read_bytes() + b"\xf8\x7f\x01")


CASES: dict[str, tuple[str, Mutilation, str | None]] = {
    # a whole one
    "written by another tool": ("mlpackage-8", program(built), None),
    # operations
    "another constant": ("mlpackage-int4", constant("mul", "y", set_half(b"\x00\x58"), -1), OTHER),
    "another epsilon of a program": (
        "mlpackage-int4",
        constant("instance_norm", "epsilon", set_half(b"\x66\x2e")),
        OTHER,
    ),
    "another border of a program": ("mlpackage-int4", constant("pad", "mode", set_text("replicate")), OTHER),
    "a border that is none": (
        "mlpackage-8",
        constant("pad", "mode", set_text("mirror")),
        "coremltools does not load it",
    ),
    "another padding of a program": (
        "mlpackage-8",
        constant("conv", "pad_type", set_text("valid"), 1),
        "coremltools does not load it",
    ),
    "no activation of a program": ("mlpackage-8", without("relu", 4), OTHER),
    "an unknown operation": ("mlpackage-8", step("relu", lambda made: setattr(made, "type", "mish")), "is a mish"),
    "an unknown input": (
        "mlpackage-8",
        step("relu", lambda p: p.inputs["alpha"].CopyFrom(p.inputs["x"])),
        "other than x and y",
    ),
    "an input less": ("mlpackage-8", step("conv", lambda made: made.inputs.pop("weight") and None), "damaged|lacks"),
    "an unknown attribute": ("mlpackage-8", step("relu", attributed), "coremltools does not load it"),
    "a result of another type": ("mlpackage-8", step("relu", dtype(11)), "coremltools does not load it"),
    "a weight of another type": (
        "mlpackage-8",
        step("constexpr_affine_dequantize", dtype(11)),
        "coremltools does not load it|quantization steps",
    ),
    "a constant of another type": ("mlpackage-8", step("const", dtype(11)), "another type than its value"),
    "another rank": (
        "mlpackage-8",
        step("relu", lambda p: setattr(p.outputs[0].type.tensorType, "rank", 3)),
        "dimensions, and lists",
    ),
    "another shape": (
        "mlpackage-8",
        step("relu", lambda p: setattr(p.outputs[0].type.tensorType.dimensions[1].constant, "size", 8)),
        "coremltools|declared",
    ),
    "before its inputs": ("mlpackage-8", specification(moved), "takes computed inputs"),
    "a value twice": ("mlpackage-8", specification(doubled), "computes .* twice"),
    "no identifier": (
        "mlpackage-8",
        step("tanh", lambda p: setattr(p.outputs[0], "name", "a b")),
        "nothing computes|identifier",
    ),
    # the frame of a program
    "another result": (
        "mlpackage-8",
        block(lambda b: b.outputs.__setitem__(0, b.operations[-2].outputs[0].name)),
        "its program gives",
    ),
    "two results": ("mlpackage-8", block(lambda b: b.outputs.append(b.outputs[0])), "its program gives"),
    "two functions": ("mlpackage-8", specification(another_function), "has 2 functions \\(main, other\\)"),
    "a function of another name": ("mlpackage-8", specification(renamed_function), "has 1 functions \\(other\\)"),
    "operations of another system": (
        "mlpackage-8",
        program(lambda p: setattr(p.functions["main"], "opset", "CoreML7")),
        "its own opset",
    ),
    "a program of another version": ("mlpackage-8", program(lambda p: setattr(p, "version", 2)), "is of version 2"),
    "a program with text": (
        "mlpackage-8",
        program(lambda p: setattr(p, "docString", "x")),
        "coremltools does not load it",
    ),
    "a program with a note": ("mlpackage-8", program(attributed), "coremltools does not load it"),
    "an input of float16": (
        "mlpackage-8",
        program(lambda p: setattr(p.functions["main"].inputs[0].type.tensorType, "dataType", 10)),
        "not float32",
    ),
    "two inputs of a program": (
        "mlpackage-8",
        program(lambda p: p.functions["main"].inputs.add(name="x")),
        "its program takes",
    ),
    # bytes
    "a field that is not known, in a package": ("mlpackage-8", unknown_field, "field of number 2047"),
    **{f"byte {position}": ("mlpackage-8", flipped(position), ".") for position in (2000, 6000, 9000)},
}


@pytest.mark.parametrize("name", CASES)
def test_a_program_is_judged_as_the_tools_judge_it(judge: Callable[..., None], name: str) -> None:
    judge(*CASES[name])


def test_verifying_leaves_a_package_as_it_is(judge: Callable[..., None]) -> None:
    """coremltools writes the manifest of a package anew when it closes it."""
    states: list[dict[Path, tuple[int, int]]] = []

    def remember(path: Path) -> None:
        states.append({file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in path.rglob("*")})
        packages.append(path)

    packages: list[Path] = []
    judge("mlpackage-8", remember, None)
    remember(packages[0])
    assert states[0] == states[1]

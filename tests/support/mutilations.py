"""Ways to change a saved Core ML file, each a function that changes a copy of it in place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.coreml import read_spec

__all__ = [
    "LFS_POINTER",
    "Mutilation",
    "flipped",
    "manifest",
    "operation",
    "specification",
    "specification_file",
    "weight_file",
    "weights",
    "without",
]

Mutilation = Callable[[Path], Path | None]
"""Changes the copy at a path, and may return another path to judge in its place."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"


def specification_file(path: Path) -> Path:
    """The file with the Model message of a file or a package."""
    return path if path.is_file() else path / "Data" / "com.apple.CoreML" / "model.mlmodel"


def weight_file(path: Path) -> Path:
    """The weights of a package."""
    return path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"


def specification(edit: Callable[[Any], object]) -> Mutilation:
    """Edit the Model message."""

    def change(path: Path) -> None:
        spec = read_spec(path)
        edit(spec)
        specification_file(path).write_bytes(spec.SerializeToString())

    return change


def manifest(edit: Callable[[dict[str, Any]], object]) -> Mutilation:
    """Edit the manifest of a package; `edit` may return another."""

    def change(path: Path) -> None:
        file = path / "Manifest.json"
        content = json.loads(file.read_text())
        returned = edit(content)
        file.write_text(json.dumps(content if returned is None else returned))

    return change


def weights(edit: Callable[[bytearray], object]) -> Mutilation:
    """Edit the weight file of a package."""

    def change(path: Path) -> None:
        content = bytearray(weight_file(path).read_bytes())
        edit(content)
        weight_file(path).write_bytes(bytes(content))

    return change


def flipped(position: int, bits: int = 0xFF) -> Mutilation:
    """Invert bits of one byte of the specification; a negative position counts from the end."""

    def change(path: Path) -> None:
        file = specification_file(path)
        content = bytearray(file.read_bytes())
        content[position] ^= bits
        file.write_bytes(bytes(content))

    return change


def operation(spec: Any, kind: str, number: int = 0) -> Any:
    """An operation of a program, or the layer of a network: of those of its kind, the one of this number."""
    if spec.WhichOneof("Type") == "neuralNetwork":
        return [layer for layer in spec.neuralNetwork.layers if layer.WhichOneof("layer") == kind][number]
    main = spec.mlProgram.functions["main"]
    return [step for step in main.block_specializations[main.opset].operations if step.type == kind][number]


def without(kind: str, number: int = 0) -> Mutilation:
    """Take out an operation, and join what is before it with what is after."""

    def change(spec: Any) -> None:
        gone = operation(spec, kind, number)
        if spec.WhichOneof("Type") == "neuralNetwork":
            steps = spec.neuralNetwork.layers
            for other in steps:
                other.input[:] = [gone.input[0] if name == gone.output[0] else name for name in other.input]
        else:
            main = spec.mlProgram.functions["main"]
            steps = main.block_specializations[main.opset].operations
            for other in steps:
                for binding in (binding for value in other.inputs.values() for binding in value.arguments):
                    if binding.name == gone.outputs[0].name:
                        binding.name = gone.inputs["x"].arguments[0].name
        steps.remove(gone)

    return specification(change)

"""The frame of an ML Program: functions, blocks, names and declared types, which the evaluator of results does not need.

Sources: the comments in MIL.proto, and ProgramValidator.cpp of coremltools.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["program_faults"]

# Operation set -> version of the specification that it came with (iOS 15, 16, 17, 18, 26).
_OPSETS = {"CoreML5": 6, "CoreML6": 7, "CoreML7": 8, "CoreML8": 9, "CoreML9": 10}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_@]*")
_FLOAT32 = 11


def program_faults(spec: Any) -> Iterator[str]:
    """Yield what is wrong with the program in a Model protobuf that has a function `main`."""
    program, version = spec.mlProgram, spec.specificationVersion
    main = program.functions["main"]
    if program.version != 1:
        yield f"its program is of version {program.version}, and tools read 1"
    if main.opset not in _OPSETS:
        yield f"its operations are of {main.opset!r}, which is not known"
    elif _OPSETS[main.opset] != version:
        yield f"its specification {version} does not fit its operations of {main.opset} ({_OPSETS[main.opset]})"
    if sorted(main.block_specializations) != [main.opset]:
        yield f"its program exists for {', '.join(sorted(main.block_specializations))}, and is of {main.opset}"
    block = main.block_specializations[main.opset]
    if len(block.inputs):
        yield "its main block takes inputs, which only blocks inside of operations do"
    (image,), (stylized,) = spec.description.input, spec.description.output
    if [value.name for value in main.inputs] != [image.name]:
        yield f"its program takes {_listed(value.name for value in main.inputs)}, and the model {image.name!r}"
    else:
        yield from _shape_faults(main.inputs[0].type.tensorType, image.type.imageType, f"input {image.name!r}")
    if list(block.outputs) != [stylized.name]:
        yield f"its program gives {_listed(block.outputs)}, and the model {stylized.name!r}"
    yield from _value_faults(main, block)
    for operation in block.operations:
        for output in operation.outputs:
            if output.name == stylized.name:
                yield from _shape_faults(output.type.tensorType, stylized.type.imageType, f"output {output.name!r}")


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names)) or "nothing"


def _value_faults(main: Any, block: Any) -> Iterator[str]:
    """Yield names that are none or are given twice, and types that contradict themselves."""
    values = [*main.inputs, *(output for operation in block.operations for output in operation.outputs)]
    seen: set[str] = set()
    for value in values:
        if not _IDENTIFIER.fullmatch(value.name):
            yield f"its program has a value named {value.name!r}, which is not an identifier"
        if value.name in seen:
            yield f"its program computes {value.name!r} twice"
        seen.add(value.name)
        if value.type.tensorType.rank != len(value.type.tensorType.dimensions):
            yield f"its program declares {value.name!r} with {value.type.tensorType.rank} dimensions, and lists others"
    for operation in block.operations:
        if operation.type == "const" and operation.attributes["val"].type != operation.outputs[0].type:
            yield f"its constant {operation.outputs[0].name!r} is of another type than its value"


def _shape_faults(tensor: Any, image: Any, label: str) -> Iterator[str]:
    """Compare a program's tensor with the image that the model declares."""
    if tensor.dataType != _FLOAT32:
        yield f"its {label} is not float32 in its program, as images are"
    fixed = image.WhichOneof("SizeFlexibility") is None
    expected = (1, 3, image.height if fixed else None, image.width if fixed else None)
    sides = [side.constant.size if side.HasField("constant") else None for side in tensor.dimensions]
    if len(sides) != 4 or any(side is not None and side != want for side, want in zip(sides, expected, strict=True)):
        shape = ", ".join("any" if side is None else str(side) for side in sides)
        yield f"its {label} has the shape ({shape}) in its program, which is not that of its declared image"

"""The first fault of a Core ML file, from the outside in: container, description, then the network's own format."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from tinystyle.coreml.evaluator.saved_file import read_specification
from tinystyle.coreml.quiet import quiet
from tinystyle.coreml.verification.usable.container import container_faults
from tinystyle.coreml.verification.usable.description import description_faults
from tinystyle.coreml.verification.usable.loader import loader_faults
from tinystyle.coreml.verification.usable.messages import submessages
from tinystyle.coreml.verification.usable.neural_network import neural_network_faults
from tinystyle.coreml.verification.usable.program import program_faults
from tinystyle.coreml.verification.usable.weight_files import has_files, weight_file_faults

__all__ = ["first_fault"]


def first_fault(path: Path) -> str | None:
    """Return what keeps a Core ML file that can be read from being used, in words, or None.

    Args:
        path: `.mlmodel` or `.mlpackage` that `read_model` has read.
    """
    with quiet():
        spec, folder = read_specification(path)
        is_program = spec.WhichOneof("Type") == "mlProgram"
        return next(
            chain(
                container_faults(path, is_program=is_program, has_weights=is_program and has_files(spec.mlProgram)),
                _unknown_fields(spec, "specification"),
                description_faults(spec),
                program_faults(spec) if is_program else neural_network_faults(spec),
                weight_file_faults(spec.mlProgram, folder) if is_program else (),
                loader_faults(path),
            ),
            None,
        )


def _unknown_fields(message: Any, name: str) -> Iterator[str]:
    """Yield fields that the format does not have: a reader skips them, so a value may be lost."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    for field in UnknownFieldSet(message):
        yield f"its {name} has a field of number {field.field_number}, which the format does not know"
    for field_name, part in submessages(message):
        yield from _unknown_fields(part, field_name)

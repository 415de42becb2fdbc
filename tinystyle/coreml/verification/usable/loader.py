"""coremltools' own loader of models: what it refuses, no user of it can open."""

from __future__ import annotations

import gc
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["loader_faults"]


def loader_faults(path: Path) -> Iterator[str]:
    """Yield what coremltools says when it opens the file, and builds the program in it anew.

    It gets a copy, since it writes a package's manifest anew when it closes it.
    """
    with tempfile.TemporaryDirectory(prefix="tinystyle-") as folder:
        copy = Path(folder) / f"model{path.suffix}"
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, copy)
        try:
            _load(copy)
        # It is a parser of foreign data that raises whatever its parts do.
        except Exception as error:
            reason = " ".join(str(error).replace(f"{copy}", path.name).split())[:200] or type(error).__name__
            yield f"coremltools does not load it ({reason})"


def _load(path: Path) -> None:
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto.load import load

    model = ct.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    if spec.WhichOneof("Type") == "mlProgram":
        program = load(spec, spec.specificationVersion, model.weights_dir or "")
        _check_types(spec.mlProgram.functions["main"], program.functions["main"])
    del model
    with warnings.catch_warnings():  # about temporary folders, which it leaves to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _check_types(function: Any, loaded: Any) -> None:
    """Compare declared types of constants with their values', which `load` does for computed results alone."""
    from coremltools.converters.mil.frontend.milproto.helper import proto_to_types
    from coremltools.converters.mil.mil import types

    values = {output.name: output for operation in loaded.operations for output in operation.outputs}
    for operation in function.block_specializations[function.opset].operations:
        for output in operation.outputs:
            value = values.get(output.name)
            if operation.type.startswith("const") and value is not None:
                declared = proto_to_types(output.type)
                if not types.is_compatible_type(value.sym_type, declared):
                    found, said = (types.builtin_to_string(kind) for kind in (value.sym_type, declared))
                    raise TypeError(f"'{output.name}' is declared as {said}, and is {found}")

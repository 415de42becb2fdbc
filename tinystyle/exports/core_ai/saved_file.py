"""Reads a saved Core AI file (.aimodel), and runs it in Apple's runtime. Does not depend on networks or the exporter."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tinystyle.coreml.evaluator.stored_weights import StoredWeight, decode_affine, decode_palette, decode_plain
from tinystyle.coreml.quiet import silent
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError
from tinystyle.exports.extras import require
from tinystyle.exports.runtime_file import RuntimeFile, check_named

__all__ = ["CoreAIFile", "read"]

_PROGRAM, _HASH, _METADATA = "main.mlirb", "main.hash", "metadata.json"
_FUNCTION = "main"
_NORM = "instance_norm_"
"""How the graphs begin that the operation `invoke` calls for a norm; each has an input, gamma and beta."""
_TYPE = re.compile(r"tensor<1x3x(\d+)x(\d+)xf32>")
_SHARES = re.compile(r"tensor<1x(\d+)x1x1xf32>")
_SHAPE = re.compile(r"tensor<(?:([\dx]+)x)?([a-z]+\d+)>")
_BLOB = re.compile(r"(resource_\w+): \"0x([0-9A-F]+)\"")
_DTYPES = {"f32": "<f4", "f16": "<f2", "ui8": "<u1", "si8": "<i1", "i8": "<i1"}
_FROM_HOME = re.compile(rb"/(?:home|root|Users|tmp|usr|site-packages)[/\w.-]{3,}")

Array = NDArray[Any]


@dataclass(frozen=True)
class CoreAIFile(RuntimeFile):
    """A Core AI file that takes an image and returns one, as float32 (1, 3, height, width)."""

    path: Path
    input: str
    output: str
    sizes: ImageSizes
    metadata: dict[str, str]
    weights: tuple[StoredWeight, ...]
    """Weights of convolutions and norms, in order of execution."""
    compute: str
    """Precision that the file computes in: float16 or float32."""
    shares: tuple[str, int] | None = None
    """Name of the second input of a file of many styles, (1, styles, 1, 1), and the number of styles."""
    chosen: tuple[float, ...] | None = None
    """The share of each style; see `choose`."""
    format: str = "aimodel"

    @property
    def tolerance(self) -> float:
        """Largest difference, in gray levels, from the network with the file's own weights in float32.

        In float16 no file can be run more exactly than it is declared, and a drawn picture of noise moves single pixels
        of an untrained network by up to 8.
        """
        return 0.25 if self.compute == "float32" else 24.0

    @property
    def runtime(self) -> str:
        """What runs the file here, and its version."""
        from coreai import _version

        return f"Apple's Core AI runtime (coreai-core {_version.__version__}) on this machine's CPU"

    def fault(self) -> str | None:
        """Return what the file should not hold, in words, or None."""
        found = _FROM_HOME.search((self.path / _PROGRAM).read_bytes())
        return f"it holds a path of the machine that built it ({found[0].decode()})" if found else None

    def run(self, image_13hw: Tensor, *, float16: bool = False, exact: bool = False) -> Tensor:  # noqa: ARG002
        """Compute the output for one image, in Apple's runtime.

        Args:
            image_13hw: RGB in 0..255, float32, (1, 3, height, width).
            float16: of no effect: the file declares its precision.
            exact: of no effect: the runtime computes as declared.

        Returns:
            RGB, float32, (1, 3, height, width).

        Raises:
            UserError: the file does not accept images of this size, no style is chosen, or the runtime cannot run it.
            NotFiniteError: the output has NaN or infinity.
        """
        inputs = self._inputs(image_13hw)
        try:
            # A thread of its own: the caller's may have a loop of events, as in a notebook.
            with ThreadPoolExecutor(1) as thread:
                result = thread.submit(lambda: asyncio.run(self._predict(inputs))).result()
        # The graph is foreign, and what Apple's runtime raises is of many types.
        except Exception as error:
            raise UserError(f"{self.path}: Core AI cannot run it ({' '.join(str(error).split())[:200]})") from error
        return self._finite(result)

    async def _predict(self, inputs: dict[str, Array]) -> Array:
        with silent():
            from coreai.authoring.asset import AIModelAsset
            from coreai.runtime import NDArray as CoreAIArray

            async with AIModelAsset.load(self.path.resolve()).executable() as model:
                with _without_its_log():
                    function = model.load_function(_FUNCTION)
                results: Any = await function({name: CoreAIArray(values) for name, values in inputs.items()})
                return np.array(results[self.output].numpy(), np.float32)


def read(path: Path) -> CoreAIFile:
    """Read an .aimodel.

    Raises:
        UserError: it is missing, damaged, or not a model from one RGB image to one; or the extra `coreai` is missing.
    """
    require("coreai", "an .aimodel")
    try:
        with silent():
            return _read(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: not a whole Core AI file ({error.strerror or error})") from error
    # Damage may show in any part that reads the file: Apple's loader in C++, JSON, numpy.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: not a Core AI file of an image network, or damaged ({reason})") from error


def _read(path: Path) -> CoreAIFile:
    said = json.loads((path / _METADATA).read_text())
    if not (path / _PROGRAM).is_file():
        raise UserError(f"it has no {_PROGRAM}, so it is no Core AI file, or not a whole one")
    # Before Apple's loader sees the program: it ends the process at a damaged one.
    if (path / _HASH).read_bytes() != hashlib.sha256((path / _PROGRAM).read_bytes()).digest():
        raise UserError(f"damaged: its {_HASH} is not the SHA-256 of its {_PROGRAM}")
    from coreai.authoring.asset import AIModelAsset

    module: Any = AIModelAsset.load(path.resolve()).program._module._mlir_module
    graphs = {op.attributes["sym_name"].value: op for op in module.body.operations if op.name == "coreai.graph"}
    if _FUNCTION not in graphs:
        raise UserError(f"it has no function '{_FUNCTION}'")
    main = graphs[_FUNCTION]
    argument, *more = main.regions[0].blocks[0].arguments
    operations = list(main.regions[0].blocks[0].operations)
    (result,) = operations[-1].operands
    taken, given = (_TYPE.fullmatch(str(value.type)) for value in (argument, result))
    if not taken or not given or taken.groups() != given.groups():
        raise UserError(f"it turns {argument.type} into {result.type}, not an image into one of its size")
    inputs, (output,) = ([_name(entry) for entry in main.attributes[key]] for key in ("arg_attrs", "res_attrs"))
    custom = said.get("creatorDefinedMetadata", {})
    metadata = {key: value for key, value in {**said, **custom}.items() if isinstance(value, str)}
    shares = _shares(inputs[1:], [str(value.type) for value in more])
    check_named(metadata, shares)
    constants = _Constants(str(module))
    weights = tuple(_weights(operations, constants))
    types = [str(op.results[0].type) for op in operations if op.name == "coreai.conv2d"]
    return CoreAIFile(
        path=path,
        input=inputs[0],
        output=output,
        sizes=ImageSizes.fixed(int(taken[2]), int(taken[1])),
        metadata=metadata,
        weights=weights,
        shares=shares,
        compute="float16" if any(each.endswith("xf16>") for each in types) else "float32",
    )


def _name(attributes: Any) -> str:
    return str(attributes["coreai.name"]).strip('"')


def _shares(names: list[str], types: list[str]) -> tuple[str, int] | None:
    """Return name and length of the second input of a file of many styles; None if there is none."""
    found = [_SHARES.fullmatch(each) for each in types]
    if not found:
        return None
    if len(found) > 1 or not found[0]:
        raise UserError(f"it takes {' and '.join(types)} besides an image; the share of each style would be 1xNx1x1")
    return names[0], int(found[0][1])


def _weights(operations: list[Any], constants: _Constants) -> Iterator[StoredWeight]:
    """Yield the constants that convolutions and norms take, in order of execution."""
    for number, op in enumerate(operations):
        if op.name == "coreai.conv2d":
            yield replace(_stored(op.operands[1], constants), operation=str(number), kind="conv", parameter="weight")
        elif op.name == "coreai.invoke" and f"@{_NORM}" in str(op.attributes["callee"]):
            for role, value in zip(("gamma", "beta"), list(op.operands)[1:], strict=True):
                values = constants.array(value).reshape(-1)
                yield replace(decode_plain(values), operation=str(number), kind="instance_norm", parameter=role)


def _stored(value: Any, constants: _Constants) -> StoredWeight:
    op = value.owner
    if op.name == "coreai.blockwise_shift_scale":
        indices, scale, zero_point, offset = (constants.array(each) for each in op.operands)
        if np.any(offset) or indices.dtype != np.int8:
            raise UserError("a weight is quantized in a way that is not supported")
        return decode_affine(indices, scale, zero_point, 8, scale.dtype)
    if op.name == "coreai.lut_to_dense":
        indices, palette = (constants.array(each) for each in list(op.operands)[:2])
        palette = palette.reshape(-1)
        return decode_palette(indices, palette, int(np.log2(palette.size)))
    return decode_plain(constants.array(value))


class _Constants:
    """The constants of a program: small ones are in it, large ones are blobs at its end, of which MLIR's text has all."""

    def __init__(self, text: str) -> None:
        self._blobs = {name: bytes.fromhex(digits) for name, digits in _BLOB.findall(text)}

    def array(self, value: Any) -> Array:
        """Return the constant that makes a value.

        Raises:
            UserError: no constant makes it.
        """
        from coreai._compiler import ir

        op = value.owner
        if getattr(op, "name", "") != "coreai.constant":
            raise UserError(f"{value.type} is no constant where a weight is expected, which is not supported")
        attribute = op.attributes["value"]
        blob = re.match(r"dense_resource<(\w+)>", str(attribute)[:99])
        if not blob:
            return np.array(ir.DenseElementsAttr(attribute))
        shape = _SHAPE.fullmatch(str(value.type))
        assert shape
        sides = tuple(map(int, shape[1].split("x"))) if shape[1] else ()
        # The first four bytes say how the rest is aligned.
        data = self._blobs[blob[1]][4:]
        if shape[2] in _DTYPES:
            return np.frombuffer(data, _DTYPES[shape[2]]).reshape(sides)
        bits = int(shape[2].lstrip("uis"))
        return _unpacked(data, bits, int(np.prod(sides))).reshape(sides)


def _unpacked(data: bytes, bits: int, count: int) -> Array:
    """Return `count` unsigned integers of fewer than 8 bits."""
    if len(data) == count:
        return np.frombuffer(data, np.uint8)
    stream = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: count * bits].reshape(count, bits)
    return np.packbits(np.pad(stream, ((0, 0), (0, 8 - bits))), axis=1, bitorder="little").ravel()


@contextlib.contextmanager
def _without_its_log() -> Iterator[None]:
    """Silence the runtime's own log, a line on stderr for every function that it loads, which no setting turns off."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

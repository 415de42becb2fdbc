"""Makes coremltools store the convolution weights of an ML Program in few bits, and halves the text of its graph.

Imports coremltools, which prints when it is imported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.pass_registry import register_pass

from tinystyle.coreml.exporter.quantize import linear_per_channel, palette

__all__ = ["ENCODE_WEIGHTS", "slim_program"]

ENCODE_WEIGHTS = "tinystyle::encode_weights"
"""Name of the pass in a coremltools pipeline, with the options `bits` and `ios`; it must be the last pass."""


@register_pass(namespace="tinystyle", name="encode_weights")
class _EncodeWeights(AbstractGraphPass):  # type: ignore[misc]
    """Stores the weights of convolutions in `bits` bits; linear encodings are per output channel.

    16: float16. 8: `constexpr_affine_dequantize`, int8. 6 and 4: `constexpr_lut_to_dense`, one palette per tensor,
    except 4 for iOS 18: `constexpr_blockwise_shift_scale`, int4. See `tinystyle.coreml.exporter.quantize` for the
    numbers.
    """

    bits = 32
    ios = 16

    def apply(self, prog: Any) -> None:
        for function in prog.functions.values() if self.bits < 32 else ():
            with function:
                for conv in function.find_ops(op_type="conv"):
                    _encode(function, conv.weight, self.bits, self.ios)


def _encode(function: Any, weight: Any, bits: int, ios: int) -> None:
    const = weight.op
    if const.op_type != "const":
        return  # another convolution with equal weights shared this constant, which is already encoded
    encoded = _encoded(weight.val, bits, ios, before_op=const, name=f"{const.name}_encoded")
    if encoded is not None:
        function.replace_uses_of_var_after_op(const, weight, encoded, no_check_var_types=True)
        function.remove_ops([const])


def _encoded(weights: Any, bits: int, ios: int, **place: Any) -> Any | None:
    """Return the operation that decodes `weights`, or None if they can stay a constant as they are."""
    if bits == 16:
        if weights.dtype == np.float16:
            return None
        return Builder.constexpr_cast(source_val=weights.astype(np.float16), output_dtype="fp32", **place)
    if bits == 8:
        indices, scale, zero_point = linear_per_channel(weights, 8)
        return Builder.constexpr_affine_dequantize(
            quantized_data=indices, zero_point=zero_point, scale=scale, axis=np.int32(0), **place
        )
    if ios == 18:
        indices, scale, zero_point = linear_per_channel(weights, bits)
        per_channel = (-1, *[1] * (weights.ndim - 1))
        return Builder.constexpr_blockwise_shift_scale(
            data=indices.astype(types.np_int4_dtype),
            scale=scale.reshape(per_channel),
            offset=zero_point.astype(types.np_int4_dtype).reshape(per_channel),
            **place,
        )
    values, colors = palette(weights, bits)
    packed = np.packbits(np.unpackbits(colors[:, None], axis=1, bitorder="little")[:, :bits], bitorder="little")
    return Builder.constexpr_lut_to_dense(indices=packed, lut=values, shape=np.uint32(weights.shape), **place)


def slim_program(spec: Any) -> None:
    """Shorten the text of an ML Program's graph, in place; in a small network it is most of the file.

    Values are numbered, equal constants merged, and the converter's build information removed. MIL.proto permits all of
    it: names are arbitrary identifiers, and attributes of a program are optional. The model's input and output keep
    their names; references into the weight file are unchanged.
    """
    spec.mlProgram.attributes.clear()
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            names = {name: name for name in (*(value.name for value in function.inputs), *block.outputs)}
            constants: dict[bytes, str] = {}
            repeated = []
            for index, operation in enumerate(block.operations):
                for argument in operation.inputs.values():
                    for binding in argument.arguments:
                        if binding.WhichOneof("binding") == "name":
                            binding.name = names[binding.name]
                (output,) = operation.outputs
                short = names.get(output.name, f"v{len(names)}")
                if operation.type == "const":
                    value = operation.attributes["val"].SerializeToString(deterministic=True)
                    names[output.name] = constants.setdefault(value, short)
                    if constants[value] != short:
                        repeated.append(index)
                names.setdefault(output.name, short)
                output.name = short
                operation.attributes["name"].immediateValue.tensor.strings.values[:] = [short]
            for index in reversed(repeated):
                del block.operations[index]

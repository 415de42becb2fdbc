"""Makes an ML Program of a range of sizes stylize images of any side, as the network does.

Imports coremltools, which prints when it is imported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.pass_registry import register_pass
from coremltools.converters.mil.mil.scope import ScopeInfo

__all__ = ["ANY_SIDE"]

ANY_SIDE = "tinystyle::any_side"
"""Name of the pass in a coremltools pipeline, with the option `stride`; it must be the first pass."""

_EXTENDS = ("reflect", "replicate")
_BEFORE_EXTENSION = ("mul", "real_div", "sub", "add", "cast", "identity")


@register_pass(namespace="tinystyle", name="any_side")
class _AnySide(AbstractGraphPass):  # type: ignore[misc]
    """Extends images to multiples of `stride` and crops the result, which tracing at one size leaves out.

    A program cannot pad by an amount that depends on the image. So the network's own extension gets `stride` - 1 more
    pixels at the right and bottom, of which as many are cut off again as are too many.
    """

    stride = 1

    def apply(self, prog: Any) -> None:
        with prog.functions["main"] as function:
            (image,) = function.inputs.values()
            pad = _extension(image)
            margin = pad.pad.val[-4:]
            shape = Builder.shape(x=image, before_op=pad)
            padding = np.copy(pad.pad.val)
            padding[[-3, -1]] += self.stride - 1
            larger = Builder.pad(x=pad.x, pad=padding, mode=pad.mode.val, before_op=pad)
            sides = Builder.add(x=shape, y=np.int32(self.stride - 1), before_op=pad)
            sides = Builder.floor_div(x=sides, y=np.int32(self.stride), before_op=pad)
            sides = Builder.mul(x=sides, y=np.int32(self.stride), before_op=pad)
            margins = np.array([0, 0, margin[:2].sum(), margin[2:].sum()], np.int32)
            extended = _first(larger, Builder.add(x=sides, y=margins, before_op=pad), before_op=pad)
            function.replace_uses_of_var_after_op(pad, pad.outputs[0], extended, no_check_var_types=True)
            function.remove_ops([pad])
            (result,) = function.outputs
            name, result.name = result.name, f"{result.name}_uncropped"
            with Builder.scope(*(ScopeInfo(source, data) for source, data in result.scopes.items())):
                function.set_outputs([_first(result, shape, name=name)])


def _extension(image: Any) -> Any:
    """Return the operation by which the network extends the image."""
    var = image
    while True:
        (op,) = var.child_ops
        if op.op_type == "pad":
            assert op.mode.val in _EXTENDS, op.mode.val
            return op
        assert op.op_type in _BEFORE_EXTENSION, op.op_type
        (var,) = op.outputs


def _first(x: Any, sides: Any, **place: Any) -> Any:
    """Cut off what is beyond height and width in `sides`, (4,)."""
    return Builder.slice_by_index(
        x=x, begin=np.zeros(4, np.int32), end=sides, begin_mask=[True] * 4, end_mask=[True, True, False, False], **place
    )

"""Judges whether the tools that open a Core ML file would take it, apart from what it computes.

Apple's own validator does not run here. The rules are those of its source (coremltools, mlmodel/src/Validation), of the
comments in Model.proto, NeuralNetwork.proto and MIL.proto, and of coremltools' own loader, which is called.
"""

from tinystyle.coreml.verification.usable.check import first_fault

__all__ = ["first_fault"]

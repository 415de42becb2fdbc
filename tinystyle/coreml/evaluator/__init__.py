"""Reads Core ML files and computes them in torch. Shares no code with `tinystyle.coreml.exporter`, nor with the networks."""

"""Reads Core ML files and evaluates them in torch. Shares no code with `tinystyle.coreml.exporter` or the networks."""

"""Writes Core ML files. Shares no code with `tinystyle.coreml.evaluator`, so that a mistake cannot hide in both."""

"""Releases: the folder of a style with Core ML files, model cards, Swift code and checksums, and its publication."""

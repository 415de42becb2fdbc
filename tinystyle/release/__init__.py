"""Releases: the folder of a style with files for runtimes, model cards, Swift code and checksums, and its publication."""

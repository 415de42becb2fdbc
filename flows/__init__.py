"""Prefect flows that use the library, one per file."""

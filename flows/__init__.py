"""Prefect flows over the library, one a file."""

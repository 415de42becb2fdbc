"""Photographs, from where they lie to batches: sources, decoding, shards, ingest, and the data module for training.

Importing this package imports none of it, so that decoding processes and `--help` start without torch.
"""

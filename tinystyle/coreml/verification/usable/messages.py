"""Walks through a protobuf message, whatever its type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["submessages"]


def submessages(message: Any) -> Iterator[tuple[str, Any]]:
    """Yield the messages directly in a message, in its order, each with the name of its field."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        if descriptor.message_type.GetOptions().map_entry:
            held = [entry for entry in value.values() if hasattr(entry, "ListFields")]
        else:
            held = list(value) if descriptor.is_repeated else [value]
        for part in held:
            yield descriptor.name, part

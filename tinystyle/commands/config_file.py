"""Reads files of parameters, for `tinystyle train --config FILE`."""

from __future__ import annotations

import json
from typing import Any

from tinystyle.config import PARAMETERS
from tinystyle.data import storage
from tinystyle.errors import UserError

__all__ = ["read_config"]


def read_config(uri: str) -> dict[str, Any]:
    """Read the parameters in a file: YAML or JSON, by name or nested in sections, or the run.json of an earlier run.

    Args:
        uri: path or URI of the file.

    Returns:
        Values by the names of `PARAMETERS`, only those in the file; not validated.

    Raises:
        UserError: the file cannot be read, is neither YAML nor JSON, or contains no parameters.
    """
    try:
        data = storage.read_bytes(uri)
    except OSError as error:
        raise UserError(
            f"`config` {uri} cannot be read ({error.strerror or error}); give a YAML or JSON file"
        ) from error
    content = _parse(uri, data)
    if isinstance(content, dict) and isinstance(content.get("config"), dict) and "lineage" in content:
        content = content["config"]
    if not isinstance(content, dict):
        raise UserError(f"`config` {uri} holds no parameters; give lines such as alpha: 0.3")
    values: dict[str, Any] = {}
    sections = {parameter.section for parameter in PARAMETERS.values() if parameter.section}
    for key, value in content.items():
        if key in sections and isinstance(value, dict):
            values |= value
        else:
            values[str(key)] = value
    return values


def _parse(uri: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        pass
    try:
        import yaml  # type: ignore[import-untyped]

        return yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"`config` {uri} is neither YAML nor JSON: {' '.join(str(error).split())}") from error

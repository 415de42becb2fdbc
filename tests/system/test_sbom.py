"""`make sbom`: a valid bill of materials for every lock, with every package of it and its checksums."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support.places import REPOSITORY

REQUIREMENTS, IMAGES = REPOSITORY / "requirements", REPOSITORY / "docker" / "requirements"
LOCKS = {"library": REQUIREMENTS, "dev": REQUIREMENTS, "trainer-cpu": IMAGES, "trainer-cuda": IMAGES, "server": IMAGES}


@pytest.mark.long
def test_bills_of_materials_are_valid_complete_and_reproducible(tmp_path: Path) -> None:
    for folder, *names in (("first",), ("second", "library")):
        command = [sys.executable, REQUIREMENTS / "sbom.py", tmp_path / folder, *names]
        subprocess.run(command, check=True, capture_output=True)
    files = {path.name.removesuffix(".cdx.json"): path for path in (tmp_path / "first").iterdir()}
    assert set(files) == set(LOCKS)
    for name, path in files.items():
        text = path.read_text()
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
        bill = json.loads(text)
        assert bill["metadata"]["component"]["name"] == "tinystyle"
        locked = re.findall(r"^([\w.-]+)==(\S+)", (LOCKS[name] / f"{name}.txt").read_text(), re.MULTILINE)
        assert sorted((each["name"], each["version"]) for each in bill["components"]) == sorted(locked)
        for each in bill["components"]:
            assert each["purl"].startswith("pkg:pypi/")
            assert re.search(r'"content": "[0-9a-f]{64}"', json.dumps(each)), each["name"]
    again = (tmp_path / "second" / "library.cdx.json").read_bytes()
    assert files["library"].read_bytes() == again

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from tinystyle.commands.demo import HELD_OUT, run_demo
from tinystyle.data.contact_sheet import CELL
from tinystyle.data.manifest import Manifest


@pytest.mark.long
@pytest.mark.timeout(280)
def test_a_shorter_demo_meets_what_the_whole_one_promises(tmp_path: Path) -> None:
    screen = Console(record=True, width=120)
    rows = {row.name: row for row in run_demo(tmp_path / "demo", screen, steps=150)}
    assert list(rows) == ["identity", "color match", "small 0.3"]
    assert rows["small 0.3"].style <= 0.5
    assert rows["small 0.3"].style < rows["color match"].style
    assert rows["small 0.3"].bad_blocks < 0.01
    manifest = Manifest.read(str(tmp_path / "demo" / "dataset"))
    assert (manifest.count, sorted(manifest.held_out)) == (7, sorted(HELD_OUT))
    assert (tmp_path / "demo" / "starry-sky.mlmodel").stat().st_size < 16_500
    with Image.open(tmp_path / "demo" / "gallery.png") as sheet:
        assert sheet.width == 1600
    with Image.open(tmp_path / "demo" / "styles.png") as sheet:
        assert sheet.width > 6 * CELL[0]
        assert sheet.height > 3 * CELL[1]
    files = [tmp_path / "demo" / "starry-sky.mlmodel", *(tmp_path / "demo" / "coreml").glob("*.ml*")]
    files = [file for file in files if file.suffix in (".mlmodel", ".mlpackage")]
    assert len(files) == 11
    for file in files:
        card = file.with_name(f"{file.name}.md").read_text()
        assert "Verified: 11,868 values match the trained ones" in card
        assert card.endswith("Not run on Apple hardware.\n")
    text = screen.export_text()
    for shown in ("color match", "gallery.png", "starry-sky.mlmodel", "starry-sky-int4.mlpackage"):
        assert shown in text

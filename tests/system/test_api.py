"""`import tinystyle`, with a training: its processes are others."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinystyle
from tests.support.runs import micro_config
from tinystyle.config import flat
from tinystyle.model_file import load_model


@pytest.mark.slow
def test_from_photos_to_a_verified_file(dataset: Path, photo_folder: Path, tmp_path: Path) -> None:
    parameters = {name: value for name, value in flat(micro_config(dataset, steps=6)).items() if value is not None}
    model = tinystyle.train(out=tmp_path / "run", **parameters)
    assert model.config.alpha == 0.1
    assert model.lineage["style_name"] == "mosaic"
    assert repr(model).startswith("<tinystyle.Model small alpha 0.1 from ")
    assert tinystyle.train(out=tmp_path / "run", **parameters).lineage == model.lineage  # loaded, not trained again

    model.save(tmp_path / "copy.safetensors")
    assert load_model(tmp_path / "copy.safetensors").lineage == model.lineage
    file = model.export(tmp_path / "mosaic.mlmodel", bits=16, size="64x48")
    result = tinystyle.verify(file, against=model, photos=photo_folder, max_photos=2)
    assert result.passed, result.sentence()
    report = model.evaluate(style="builtin:mosaic", photos=str(dataset), perceptual="efficientnet-lite0", size=48)
    assert [row.name for row in report.rows][:2] == ["identity", "color match"]
    with pytest.raises(tinystyle.UserError, match="`alpha` wide"):
        tinystyle.train(out=tmp_path / "other", **{**parameters, "alpha": "wide"})

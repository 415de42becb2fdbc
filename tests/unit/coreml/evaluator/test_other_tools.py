"""Files that coremltools has changed: pruned ones, and those of several functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinystyle.coreml.evaluator.model import UnknownOperationError, read_model
from tinystyle.coreml.quiet import quiet
from tinystyle.coreml.verification.verify import verify
from tinystyle.model_file import LoadedModel

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("bits", "compute"), [(16, None), (32, None)])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_o11_pruned_weights_are_read_and_called_that(
    model: LoadedModel, exported: Callable[..., Path], tmp_path: Path, bits: int, compute: str | None
) -> None:
    with quiet():
        import coremltools as ct
        import coremltools.optimize.coreml as cto

        whole = ct.models.MLModel(str(exported("mlpackage", bits, compute=compute)), skip_model_load=True)
        half = cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=0)
        cto.prune_weights(whole, cto.OptimizationConfig(global_config=half)).save(str(tmp_path / "pruned.mlpackage"))
    pairs = zip(
        read_model(exported("mlpackage", bits, compute=compute)).weights,
        read_model(tmp_path / "pruned.mlpackage").weights,
        strict=True,
    )
    for before, after in pairs:
        kept = after.values != 0
        np.testing.assert_array_equal(after.values[kept], before.values[kept])
        assert before.kind != "conv" or 0.4 < kept.mean() < 0.6
    failure = verify(tmp_path / "pruned.mlpackage", model, []).failure
    assert failure is not None
    assert failure.endswith("50% are 0: pruned")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_o12_a_file_of_several_functions_is_called_that(exported: Callable[..., Path], tmp_path: Path) -> None:
    with quiet():
        import coremltools as ct

        both = ct.utils.MultiFunctionDescriptor()
        for name, size in (("wide", "48x32"), ("tall", "32x48")):
            both.add_function(str(exported("mlpackage", 16, size)), "main", name)
        both.default_function_name = "wide"
        ct.utils.save_multifunction(both, str(tmp_path / "both.mlpackage"))
    with pytest.raises(UnknownOperationError, match=r"has 2 functions \(tall, wide\), .*; export a file for each"):
        read_model(tmp_path / "both.mlpackage")

"""Turns the folder of a network into an MLflow model, for `mlflow.pyfunc.load_model` and `mlflow models serve`.

model = mlflow.pyfunc.load_model("models:/starry-night@champion")
stylized = model.predict(photo)  # RGB, (height, width, 3), uint8
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tinystyle import __version__
from tinystyle.data import storage
from tinystyle.errors import UserError

__all__ = ["write_mlmodel"]

EXAMPLE_SIDE = 32
"""Side of the input example, in pixels."""


def write_mlmodel(model: Path, run_id: str) -> None:
    """Write MLmodel, an input example and the requirements beside a model.safetensors.

    Args:
        model: path of the network's file.
        run_id: ID of the MLflow run that the files are logged to.
    """
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    image = Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, 3))])
    mlmodel = Model(artifact_path="model", run_id=run_id, signature=ModelSignature(inputs=image, outputs=image))
    pyfunc.add_to_model(mlmodel, loader_module=__name__, data=model.name, env={"virtualenv": "python_env.yaml"})
    example = np.zeros((EXAMPLE_SIDE, EXAMPLE_SIDE, 3), np.uint8).tolist()
    mlmodel.saved_input_example_info = {
        "artifact_path": "input_example.json",
        "type": "ndarray",
        "format": "tf-serving",
        "serving_input_path": "serving_input_example.json",
    }
    for name, text in {
        "input_example.json": json.dumps({"inputs": example}),
        "serving_input_example.json": json.dumps({"inputs": example}),
        "requirements.txt": f"mlflow\ntinystyle=={__version__}\n",
        "python_env.yaml": "python: '3.11'\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n",
    }.items():
        storage.write_bytes(model.with_name(name), text.encode())
    mlmodel.save(str(model.with_name("MLmodel")))


def _load_pyfunc(path: str) -> _Stylizer:
    """Load a network; MLflow calls this function by name.

    Args:
        path: path of the network's file.
    """
    return _Stylizer(path)


class _Stylizer:
    """The object that `mlflow.pyfunc` wraps."""

    def __init__(self, path: str) -> None:
        from tinystyle.model_file import load_model

        self._model = load_model(path)

    # Not annotated, because MLflow would interpret type annotations as a schema.
    def predict(self, photo, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        """Stylize one photo.

        Args:
            photo: RGB, (height, width, 3), uint8.
            params: ignored; no parameters are supported.

        Returns:
            The stylized photo, of the same shape and type.

        Raises:
            UserError: `photo` has another type or shape.
        """
        from tinystyle.stylize import stylize_image

        pixels = np.asarray(photo)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise UserError(f"`photo` is {pixels.dtype} {pixels.shape}; give one photo, uint8 (height, width, 3)")
        return np.array(stylize_image(self._model, Image.fromarray(pixels)))

"""Pages in one HTML file, which embeds its images and loads nothing from any server. Imports no torch."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

__all__ = ["QUALITY", "data_uri", "jpeg_uri", "page"]

QUALITY = 80
"""Of JPEGs, small, because a page embeds many of them."""
_KINDS = {".jpg": "jpeg", ".png": "png", ".svg": "svg+xml"}


def page(package: str, **values: Any) -> str:
    """Return page.html of a package's templates/ with `values`, and `css`, the style sheet of all pages."""
    environment = Environment(
        loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    css = (Path(__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(css=css, **values)


def data_uri(file: Path) -> str:
    """Return a .jpg, .png or .svg file as a `data:` URI."""
    return _uri(_KINDS[file.suffix], file.read_bytes())


def jpeg_uri(image: Image.Image) -> str:
    """Return an RGB image as a `data:` URI of a JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=QUALITY, optimize=True)
    return _uri("jpeg", buffer.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

from __future__ import annotations

import numpy as np
import pytest
from cykooz_resizer import CpuExtensions, Resizer
from PIL import Image

from tests.support.badimages import encoded, photograph
from tinystyle.data import images
from tinystyle.data.resize import resize_rgb


@pytest.mark.parametrize("size", [(341, 256), (640, 300), (100, 480), (900, 700), (37, 23)])
def test_it_is_bicubic_as_pillow_has_it(size: tuple[int, int]) -> None:
    image = photograph(0, 640, 480)
    expected = np.asarray(image.resize(size, Image.Resampling.BICUBIC)).astype(int)
    difference = np.abs(resize_rgb(np.asarray(image), size) - expected)
    assert difference.shape == (size[1], size[0], 3)
    assert difference.mean() < 0.4


def test_an_image_of_the_size_stays_what_it_is() -> None:
    pixels = np.asarray(photograph(1, 64, 48))
    assert resize_rgb(pixels, (64, 48)) is pixels


def test_every_processor_gives_the_same_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.asarray(photograph(2, 640, 480))
    default = resize_rgb(pixels, (341, 256))

    class WithoutVectors(Resizer):
        def __init__(self) -> None:
            super().__init__()
            self.cpu_extensions = CpuExtensions.none

    monkeypatch.setattr("cykooz_resizer.Resizer", WithoutVectors)
    assert np.array_equal(resize_rgb(pixels, (341, 256)), default)


@pytest.mark.parametrize(
    ("side", "decoded_at"), [(300, 300), (510, 510), (512, 256), (513, 257), (1024, 256), (1025, 257), (3000, 375)]
)
def test_a_jpeg_is_decoded_at_an_eighth_a_quarter_or_a_half(
    side: int, decoded_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []

    def watched(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        seen.append(pixels.shape[:2])
        return resize_rgb(pixels, size)

    monkeypatch.setattr(images, "resize_rgb", watched)
    decoded = images.decode(encoded(photograph(3, side, side), "JPEG"), lambda _: (256, 256))
    assert (seen, decoded.size) == ([(decoded_at, decoded_at)], (256, 256))

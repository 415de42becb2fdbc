"""Videos through a network: size, times, sound, colors and rotation are the source's."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av")

from tests.support.videos import (  # noqa: E402
    moving_frames,
    packets,
    read_frames,
    times,
    write_video,
    ycbcr_of,
)
from tinystyle.errors import UserError  # noqa: E402
from tinystyle.model_file import LoadedModel, load_model  # noqa: E402
from tinystyle.stylize import stylize_image  # noqa: E402
from tinystyle.video import stylize_video  # noqa: E402


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    """A trained network: one that is not magnifies every rounding."""
    return load_model("pretrained:starry-night")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", options={"crf": "1"})


def shape(path: Path) -> tuple[int, int]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height


def test_every_frame_is_what_the_network_makes_of_it(model: LoadedModel, clip: Path, tmp_path: Path) -> None:
    counts: list[tuple[int, int | None]] = []
    out = stylize_video(model, clip, tmp_path / "out.mp4", smoothing=0, crf=1, progress=lambda *n: counts.append(n))
    before, after = read_frames(clip), read_frames(out)
    assert (len(after), after[0].shape) == (12, (48, 64, 3))
    for photo, frame in zip(before, after, strict=True):
        expected = np.asarray(stylize_image(model, Image.fromarray(photo)))
        # Colors have half the resolution, and the network paints fine ones.
        luma = np.abs((frame.astype(float) - expected) @ (0.299, 0.587, 0.114))
        assert luma.mean() < 3
        assert np.abs(frame.astype(float) - photo).mean() > 20
    assert counts == [(i, 12) for i in range(13)]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"], "parts are removed"


def test_times_and_sound_are_the_same(model: LoadedModel, clip: Path, tmp_path: Path) -> None:
    out = stylize_video(model, clip, tmp_path / "out.mp4")
    assert times(out) == times(clip)
    assert packets(out) == packets(clip)
    assert len(packets(out)) > 20


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_variable_frame_rates_stay_variable(model: LoadedModel, tmp_path: Path, suffix: str) -> None:
    shown = [0, 40, 50, 120, 121, 400]
    source = write_video(
        tmp_path / "in.mkv", moving_frames(6), times=shown, time_base=Fraction(1, 1000), audio="libopus"
    )
    out = stylize_video(model, source, tmp_path / f"out{suffix}")
    assert times(out) == pytest.approx([time / 1000 for time in shown], abs=1e-6)


@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "opus"), (".mp4", "aac")])
def test_sound_that_the_file_cannot_hold_is_encoded_again(
    model: LoadedModel, tmp_path: Path, suffix: str, codec: str
) -> None:
    source = write_video(tmp_path / "in.mkv", audio="aac" if suffix == ".webm" else "pcm_s16le")
    out = stylize_video(model, source, tmp_path / f"out{suffix}")
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.name == codec
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)]).astype(float)
    spectrum = np.abs(np.fft.rfft(samples[2000:20000]))
    assert np.argmax(spectrum) * 48000 / 18000 == pytest.approx(440, abs=5)
    assert len(samples) == pytest.approx(0.48 * 48000, abs=2048)


def test_a_silent_video_will_do(model: LoadedModel, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", audio=None)
    out = stylize_video(model, source, tmp_path / "folder")
    assert out == tmp_path / "folder" / "in.mkv"
    with av.open(str(out)) as container:
        assert len(container.streams) == 1


@pytest.mark.parametrize(
    ("size", "suffix", "expected"),
    [
        ((65, 49), ".webm", (65, 49)),
        ((65, 49), ".mp4", (66, 50)),
        ((17, 16), ".mkv", (18, 16)),
    ],
)
def test_odd_sides(
    model: LoadedModel,
    tmp_path: Path,
    size: tuple[int, int],
    suffix: str,
    expected: tuple[int, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = write_video(tmp_path / "in.mkv", moving_frames(3, *size), codec="ffv1", pix_fmt="yuv444p", audio=None)
    out = stylize_video(model, source, tmp_path / f"out{suffix}", smoothing=0, crf=2)
    assert shape(out) == expected
    assert ("H.264 has even sides" in caplog.text) == (size != expected)
    frame, photo = read_frames(out)[0], read_frames(source)[0]
    luma = (frame[: size[1], : size[0]].astype(float) - np.asarray(stylize_image(model, Image.fromarray(photo)))) @ (
        0.299, 0.587, 0.114,
    )  # fmt: skip
    assert np.abs(luma).mean() < 4


def test_frames_are_scaled_to_even_sides(model: LoadedModel, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", moving_frames(2, 96, 62), audio=None)
    assert shape(stylize_video(model, source, tmp_path / "out.mp4", max_side=50)) == (50, 32)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_rotated_video_becomes_upright(model: LoadedModel, tmp_path: Path, degrees: int) -> None:
    source = write_video(tmp_path / "in.mp4", rotation=degrees, options={"crf": "1"})
    out = stylize_video(model, source, tmp_path / "out.mp4", strength=0, crf=1)
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 0
    expected = np.rot90(read_frames(source)[0], degrees // 90)
    assert shape(out) == expected.shape[1::-1]
    assert np.abs(read_frames(out)[0].astype(float) - expected).mean() < 3


@pytest.mark.parametrize(
    ("matrix", "full", "expected"),
    [
        # Y = 16 + 219 (Kr R + Kg G + Kb B), Cb = 128 + 112 (B - Y') / (1 - Kb), Cr likewise, for (200, 30, 60) / 255.
        (1, False, (75, 124, 201)),
        (5, False, (88, 116, 201)),
        (1, True, (75, 124, 201)),  # full range comes out in that of television, with the same colors
        (None, False, (88, 116, 201)),
    ],
)
def test_colors_keep_their_matrix(
    model: LoadedModel, tmp_path: Path, matrix: int | None, full: bool, expected: tuple[int, int, int]
) -> None:
    red = np.full((48, 64, 3), (200, 30, 60), np.uint8)
    source = write_video(
        tmp_path / "in.mp4", [red, red], matrix=matrix, full_range=full, audio=None, options={"crf": "1"}
    )
    out = stylize_video(model, source, tmp_path / "out.mp4", strength=0, crf=1)
    assert ycbcr_of(out) == pytest.approx(expected, abs=1)
    with av.open(str(out)) as container:
        context = container.streams.video[0].codec_context
        assert context.colorspace == (matrix or 6)
        assert context.color_range == 1
    assert np.abs(read_frames(out)[0][20, 20].astype(int) - (200, 30, 60)).max() <= 3


def test_an_undeclared_video_in_hd_is_of_bt709(model: LoadedModel, tmp_path: Path) -> None:
    red = np.full((720, 1280, 3), (200, 30, 60), np.uint8)
    source = write_video(tmp_path / "in.mp4", [red], audio=None)
    out = stylize_video(model, source, tmp_path / "out.mp4", max_side=64, strength=0)
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.colorspace == 1


def test_a_mask_keeps_a_part_of_every_frame(model: LoadedModel, clip: Path, tmp_path: Path) -> None:
    mask = Image.new("L", (32, 24))
    mask.paste(255, (0, 0, 16, 24))
    mask.save(tmp_path / "mask.png")
    out = stylize_video(model, clip, tmp_path / "out.mp4", mask=tmp_path / "mask.png", crf=1)
    for before, after in zip(read_frames(clip), read_frames(out), strict=True):
        difference = np.abs(after.astype(float) - before)
        assert difference[:, 40:].mean() < 5
        assert difference[:, :24].mean() > 40


@pytest.mark.parametrize(
    ("video", "out", "options", "sentence"),
    [
        ("absent.mp4", "out.mp4", {}, r"absent\.mp4: no such video"),
        ("text.mp4", "out.mp4", {}, r"text\.mp4: cannot be read as a video \(.*\); give a video file"),
        ("sound.m4a", "out.mp4", {}, r"sound\.m4a: has no video stream"),
        ("clip.mp4", "out.avi", {}, r"out\.avi: \.avi files are not written; give a name that ends in one of \.mp4"),
        ("clip.mp4", "clip.mp4", {}, r"clip\.mp4: would be overwritten"),
        ("clip.mp4", ".", {}, r"clip\.mp4: would be overwritten"),
        ("clip.mp4", "out.mp4", {"strength": 2}, r"`strength` 2: give a number from 0"),
        ("clip.mp4", "out.mp4", {"smoothing": 1}, r"`smoothing` 1: give a number from 0"),
        ("clip.mp4", "out.mp4", {"stroke_size": 99}, r"`stroke_size` 99"),
        ("clip.mp4", "out.mp4", {"crf": 52}, r"`crf` 52: give a number from 0 \(best\) to 51"),
        ("clip.mp4", "out.mp4", {"max_side": 0}, r"`max_side` 0"),
        ("clip.mp4", "out.mp4", {"device": "tpu"}, r"`device` tpu: choose one of auto, cpu, cuda"),
        ("clip.mp4", "out.mp4", {"mask": "absent.png"}, r"`mask` absent\.png: cannot be read"),
        ("clip.mp4", "out.mp4", {"invert_mask": True}, "`invert_mask` is for a mask"),
        ("s3://bucket/a.mp4", "out.mp4", {}, "VIDEO s3://bucket/a.mp4: is an address"),
    ],
)
def test_mistakes_are_found_before_any_work(
    model: LoadedModel, clip: Path, tmp_path: Path, video: str, out: str, options: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "text.mp4").write_text("no video")
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=48000)
        stream.codec_context.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
        frame.sample_rate = 48000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=sentence):
        stylize_video(model, video if "://" in video else tmp_path / video, tmp_path / out, **options)
    assert sorted(tmp_path.iterdir()) == before


def test_a_truncated_video_gives_what_there_is(model: LoadedModel, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", moving_frames(40), audio=None, options={"g": "5"})
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    out = stylize_video(model, source, tmp_path / "out.mp4")
    assert 10 < len(read_frames(out)) < 40

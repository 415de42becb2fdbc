"""What stylized pictures are written as: place, format, metadata, transparency."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from tests.support.photos import synthetic_photo
from tinystyle.config import NetworkConfig
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network
from tinystyle.stylize import stylize_photos
from tinystyle.stylize.formats import encode
from tinystyle.stylize.metadata import Metadata, read_metadata

CONFIG = NetworkConfig(alpha=0.05)
MODEL = LoadedModel(build_network(CONFIG.architecture, CONFIG.alpha), CONFIG, {})
TAGS, IFD = ExifTags.Base, ExifTags.IFD
KINDS = {"a.png": "PNG", "a.jpg": "JPEG", "a.JPEG": "JPEG", "a.webp": "WEBP", "a.tif": "TIFF", "a.tiff": "TIFF"}
XMP = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description tiff:Orientation="6" exif:PixelXDimension="9999"
 photoshop:ICCProfile='Display P3' GCamera:MotionPhoto="1" hdrgm:Version="1.0" xmpNote:HasExtendedXMP="0123"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><dc:title>Cat &amp; dog</dc:title><exif:ColorSpace>65535</exif:ColorSpace>
<xmp:Thumbnails><rdf:Alt><rdf:li><xmpGImg:image>/9j/4AAQ</xmpGImg:image></rdf:li></rdf:Alt></xmp:Thumbnails>
<Container:Directory><rdf:Seq/></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def stylized(photo: Path, out: Path, **options: Any) -> Image.Image:
    (written,) = stylize_photos(MODEL, [photo], out, **options)
    image = Image.open(written)
    image.load()
    return image


def display_p3() -> bytes:
    """A profile of RGB that is not sRGB: with its red and blue exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    offsets = {bytes(profile[i : i + 4]): i for i in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)}
    red, blue = offsets[b"rXYZ"], offsets[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be"))


def camera(orientation: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[TAGS.Orientation], exif[TAGS.Make], exif[TAGS.WhitePoint] = orientation, "Camera", (0.3, 0.3)
    exif[TAGS.XResolution], exif[TAGS.YResolution], exif[TAGS.ResolutionUnit] = 300.0, 150.0, 2
    exif.get_ifd(IFD.Exif).update(
        {
            TAGS.ExifImageWidth: 40,
            TAGS.ExifImageHeight: 24,
            TAGS.ColorSpace: 65535,
            TAGS.Gamma: 2.2,
            TAGS.ISOSpeedRatings: 100,
        }
    )
    exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: (52.0, 31.0, 12.0)})
    return exif


@pytest.mark.parametrize("name", KINDS)
def test_o4_o10_the_name_of_out_says_file_and_format(name: str, tmp_path: Path) -> None:
    synthetic_photo(1, 40, 24).save(tmp_path / "photo.png")
    image = stylized(tmp_path / "photo.png", tmp_path / "new" / name)
    assert image.format == KINDS[name]
    assert image.size == (40, 24)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]
    before = (tmp_path / "new" / name).read_bytes()
    assert stylized(tmp_path / "photo.png", tmp_path / "new" / name).size == (40, 24)  # a result is replaced
    assert (tmp_path / "new" / name).read_bytes() == before


def test_o4_what_is_a_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        synthetic_photo(1, 40, 24).save(tmp_path / f"{name}.png")
    both, one = [tmp_path / "a.png", tmp_path / "b.png"], [tmp_path / "a.png"]
    (tmp_path / "there.v2x").mkdir()
    for out in ("plain", "2024.10.12", "v1.2", "name.jpg/", "there.v2x", f"file://{tmp_path}/uri"):
        place = out if "://" in out else f"{tmp_path}/{out}"
        assert [path.name for path in stylize_photos(MODEL, both, place)] == ["a.png", "b.png"]
        assert [path.name for path in stylize_photos(MODEL, one, place, format="webp")] == ["a.webp"]
    assert (tmp_path / "uri" / "a.webp").is_file()
    assert (tmp_path / "name.jpg" / "b.png").is_file()


@pytest.mark.parametrize(
    ("out", "options", "sentence"),
    [
        ("x.bmp", {}, r"x\.bmp: \.bmp files are not written; use \.png, .* or \.tiff, or \S+x\.bmp/ for a folder"),
        ("x.jpgg", {}, r"\.jpgg files are not written"),
        ("x.heic", {}, r"\.heic files are not written"),
        ("x.safetensors", {}, r"\.safetensors files are not written"),
        ("x.jpg", {"format": "png"}, r"x\.jpg: is the name of a JPEG file; leave out `format`"),
        ("x", {"format": "gif"}, "`format` 'gif': choose one of png, jpeg, webp, tiff"),
        ("x.jpg", {"quality": 0}, "`quality` 0: give a number from 1"),
        ("x.webp", {"quality": 101}, "`quality` 101: give a number from 1"),
        ("x.png", {"quality": 90}, "`quality` is for JPEG and WebP; PNG keeps every pixel"),
        ("s3://bucket/x", {}, "`out` s3://bucket/x: is an address; give a path on this machine"),
        ("S3:/bucket/x.png", {}, "is an address"),
        ("memory://x.png", {}, "is an address"),
    ],
)
def test_o4_o10_what_cannot_be_is_refused_before_any_work(
    out: str, options: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    synthetic_photo(1, 40, 24).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=sentence):
        stylize_photos(MODEL, [tmp_path / "photo.png"], out if ":/" in out else tmp_path / out, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_o4_one_file_for_two_photos_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        synthetic_photo(1, 40, 24).save(tmp_path / f"{name}.png")
    with pytest.raises(UserError, match=r"x\.jpg: is one file, and there are 2 photos; give a folder"):
        stylize_photos(MODEL, [tmp_path], tmp_path / "x.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_o10_sides_that_a_format_does_not_have_are_refused(name: str, tmp_path: Path) -> None:
    Image.new("L", (70_000, 1)).save(tmp_path / "long.png")
    with pytest.raises(
        UserError, match=r"long\.png: 70000x1 pixels are too many for a (JPEG|WebP) file, whose sides are"
    ):
        stylize_photos(MODEL, [tmp_path / "long.png"], tmp_path / name)
    assert stylized(tmp_path / "long.png", tmp_path / name, max_side=200).size == (200, 1)


def test_o10_quality(tmp_path: Path) -> None:
    synthetic_photo(1, 64, 48).save(tmp_path / "photo.png")
    for kind in ("jpeg", "webp"):
        files = [
            stylize_photos(MODEL, [tmp_path / "photo.png"], tmp_path / str(quality), format=kind, quality=quality)[0]
            for quality in (20, None, 100)
        ]
        sizes = [path.stat().st_size for path in files]
        assert sizes == sorted(set(sizes))


def test_o10_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic_photo(1, 40, 24).save(tmp_path / "photo.png")
    for kind in ("png", "tiff", "jpeg"):
        pipe = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe))
        assert stylize_photos(MODEL, [tmp_path / "photo.png"], "-", format=kind) == []
        assert Image.open(pipe).format == kind.upper()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "L", "RGB"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_o5_transparency_is_kept(mode: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[TAGS.Orientation] = orientation
    photo, path = synthetic_photo(1, 40, 24), tmp_path / "photo.png"
    if mode in ("P", "L", "RGB"):  # one color is transparent
        photo = photo.quantize(16) if mode == "P" else photo.convert(mode)
        color = photo.getpixel((3, 4))
        photo.save(path, transparency=color, exif=exif)
    else:
        photo = photo.convert("LA" if mode == "LA" else "RGBA")
        photo.putalpha(Image.linear_gradient("L").resize(photo.size))
        if mode == "PA":
            path = tmp_path / "photo.webp"
            photo.save(path, lossless=True, exif=exif)
        else:
            photo.save(path, exif=exif)
    with Image.open(path) as read:
        alpha = np.asarray(read.convert("RGBA").getchannel("A"))
    alpha = np.rot90(alpha, -1) if orientation == 6 else alpha
    for name in ("x.png", "x.tif", "x.webp"):
        image = stylized(path, tmp_path / name)
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image.getchannel("A")), alpha)
    smaller = stylized(path, tmp_path / "x.png", max_side=20)
    assert smaller.mode == "RGBA"
    flat = stylized(path, tmp_path / "x.png", flatten=True)
    assert flat.mode == stylized(path, tmp_path / "x.jpg").mode == "RGB"
    assert (np.asarray(flat)[alpha == 0] == 255).all()


def test_o5_an_opaque_photo_stays_one(tmp_path: Path) -> None:
    synthetic_photo(1, 40, 24).save(tmp_path / "photo.png")
    assert stylized(tmp_path / "photo.png", tmp_path / "x.png").mode == "RGB"


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.webp", "x.tif"])
def test_o8_metadata_arrive_in_every_format(source: str, name: str, tmp_path: Path) -> None:
    own: dict[str, Any] = {"xmp": XMP, "comment": b"caf\xe9"}
    if source == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Comment", "café")
        texts.add_text("Author", "Me")
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        own = {"pnginfo": texts}
    exif = camera()
    if source == "TIFF":
        exif[700] = XMP
        own = {}
    photo = tmp_path / "photo"
    synthetic_photo(1, 40, 24).save(
        photo, format=source, dpi=(300, 150), exif=exif.tobytes(), icc_profile=display_p3(), **own
    )
    image = stylized(photo, tmp_path / name)
    assert image.size == (24, 40)
    if name != "x.webp":
        assert tuple(map(round, image.info["dpi"])) == (150, 300)  # turned with the picture
    read = image.getexif()
    assert read[TAGS.Make] == "Camera"
    assert read.get(TAGS.Orientation, 1) == 1
    assert TAGS.WhitePoint not in read
    assert [round(float(read[tag])) for tag in (TAGS.XResolution, TAGS.YResolution)] == [150, 300]
    details = read.get_ifd(IFD.Exif)
    assert details[TAGS.ISOSpeedRatings] == 100
    assert (details[TAGS.ExifImageWidth], details[TAGS.ExifImageHeight], details[TAGS.ColorSpace]) == (24, 40, 1)
    assert TAGS.Gamma not in details
    assert dict(read.get_ifd(IFD.GPSInfo)) == {1: "N", 2: (52.0, 31.0, 12.0)}
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    xmp = image.info["xmp"]
    assert b"Cat &amp; dog" in xmp
    for true in (b'tiff:Orientation="1"', b'PixelXDimension="24"', b"'sRGB IEC61966-2.1'", b"<exif:ColorSpace>1<"):
        assert true in xmp
    for untrue in (b"Thumbnails", b"/9j/", b"MotionPhoto", b"hdrgm:V", b"HasExtended", b"Container"):
        assert untrue not in xmp
    if source in ("JPEG", "PNG"):
        comments = {
            "x.png": image.info.get("Comment"),
            "x.jpg": image.info.get("comment", b"").decode(),
            "x.tif": read.get(TAGS.ImageDescription, "").encode("latin-1").decode(),
            "x.webp": "café",  # has no place for it
        }
        assert comments[name] == "café"
    if source == "PNG" and name == "x.png":
        assert image.info["Author"] == "Me"


def test_o8_a_profile_that_is_true_stays_and_none_is_made_up(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = synthetic_photo(1, 40, 24)
    for profile, expected in ((srgb, srgb), (b"no profile", None), (None, None)):
        photo.save(tmp_path / "photo.png", icc_profile=profile)
        assert stylized(tmp_path / "photo.png", tmp_path / "x.png").info.get("icc_profile") == expected
    photo.save(tmp_path / "photo.png", icc_profile=display_p3())
    converted = [
        stylized(tmp_path / "photo.png", tmp_path / name).info["icc_profile"] for name in ("x.png", "x.jpg", "x.tif")
    ]
    assert len(set(converted)) == 1
    assert converted[0] not in (srgb, display_p3())


def test_o8_adobe_rgb_by_exif_alone_is_said_no_more() -> None:
    exif = camera(1)
    exif.get_ifd(IFD.Exif)[IFD.Interop] = {1: "R03"}
    buffer = io.BytesIO()
    synthetic_photo(1, 40, 24).save(buffer, format="JPEG", exif=exif)
    read = Image.Exif()
    read.load(read_metadata(Image.open(buffer), (40, 24)).exif)
    assert read.get_ifd(IFD.Exif)[TAGS.ColorSpace] == 1
    assert read.get_ifd(IFD.Interop)[1] == "R98"


def test_o8_what_a_jpeg_cannot_hold_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    long = Metadata(xmp=b"<x>" + b" " * 70_000 + b"</x>", comment="c" * 66_000, exif=b"Exif\0\0" + bytes(66_000))
    image = Image.open(io.BytesIO(encode(synthetic_photo(1), "jpeg", long)))
    assert not {"xmp", "comment", "exif"} & image.info.keys()
    assert [message.split(" is ")[0] for message in caplog.messages] == [
        f"the photo's {n}" for n in ("EXIF", "XMP", "comment")
    ]


@pytest.mark.parametrize("dpi", [(0, 0), (float("nan"), 72), (72, float("inf")), (1e9, 1e9), "no", None])
def test_o8_a_resolution_that_makes_no_sense_is_left_out(dpi: Any) -> None:
    image = synthetic_photo(1, 9, 9)
    image.info["dpi"] = dpi
    assert read_metadata(image, (9, 9)).dpi is None

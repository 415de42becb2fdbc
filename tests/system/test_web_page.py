"""The page of `tinystyle web` in a real browser: it paints what `tinystyle stylize` does, on each of its three paths."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinystyle
from tests.support.browser import Browser, running
from tests.support.models import save_untrained, save_untrained_styles
from tests.support.photos import synthetic_photo
from tinystyle.web import build_page
from tinystyle.web.pack import EXACT

PATHS = ("javascript", "webgl", "webgpu")
SIZES = ((150, 101), (97, 64), (37, 45))
"""Sides of the photos; none is a multiple of what the network wants. Emulated GPUs are slow."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with as many styles as fit into 80,000 bytes to one gray level."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    built = build_page(["pretrained:starry-night", "pretrained:great-wave", "pretrained:shipwreck"])
    assert built.faithful
    assert built.levels != EXACT
    path.write_text(built.html)
    assert path.stat().st_size <= 80_000
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, paths = tmp_path_factory.mktemp("photos"), []
    for index, size in enumerate(SIZES):
        paths.append(folder / f"{index}.png")
        synthetic_photo(index).resize(size, Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def painted(browser: Browser, photo: Path) -> np.ndarray:
    """The page's picture of a photo, (height, width, 3), int."""
    browser.evaluate("delete document.documentElement.dataset.state")
    browser.choose_file(photo)
    browser.wait("done")
    return shown(browser)


def shown(browser: Browser, canvas: str = "#after") -> np.ndarray:
    width, height, data = browser.pixels(canvas)
    return np.frombuffer(data, np.uint8).reshape(height, width, 4)[..., :3].astype(int)


def difference(one: np.ndarray, other: object) -> int:
    expected = np.asarray(other).astype(int)
    assert one.shape == expected.shape
    return int(np.abs(one - expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_each_path_paints_what_stylize_does(path: str, browser: Browser, page: Path, photos: list[Path]) -> None:
    browser.open(page, f"?backend={path}&size=360")
    for photo in photos:
        picture = painted(browser, photo)
        assert browser.evaluate("document.documentElement.dataset.backend") == path
        assert difference(picture, tinystyle.load("pretrained:starry-night").stylize(photo)) <= 1
        assert picture.std() > 5
    assert browser.complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_networks_of_other_widths(path: str, browser: Browser, photos: list[Path], tmp_path: Path) -> None:
    import torch

    from tinystyle.config import NetworkConfig
    from tinystyle.model_file import save_model
    from tinystyle.nets import build_network

    torch.manual_seed(1)
    for architecture, alpha in (("johnson", 0.15), ("small", 0.6)):
        model = tmp_path / f"{architecture}.safetensors"
        config = NetworkConfig(architecture=architecture, alpha=alpha)
        save_model(build_network(architecture, alpha), model, config, {})
        page = tmp_path / "page.html"
        page.write_text(build_page([str(model)], 1_000_000).html)
        browser.open(page, f"?backend={path}&size=160")
        assert difference(painted(browser, photos[2]), tinystyle.load(model).stylize(photos[2])) <= 1


@pytest.mark.slow
def test_styles_strength_and_blending(browser: Browser, page: Path, photos: list[Path]) -> None:
    browser.open(page, "?backend=javascript&size=360")
    starry = tinystyle.load("pretrained:starry-night")
    painted(browser, photos[1])
    browser.change("#strength", 40)
    assert difference(shown(browser), starry.stylize(photos[1], strength=0.4)) <= 1
    browser.change("#strength", 100)
    browser.evaluate("delete document.documentElement.dataset.state")
    browser.click("#styles label:nth-child(2) input")
    browser.wait("done")
    wave = np.asarray(tinystyle.load("pretrained:great-wave").stylize(photos[1])).astype(int)
    assert difference(shown(browser), wave) <= 1
    browser.evaluate("delete document.documentElement.dataset.state")
    browser.change("#second", 0)
    browser.wait("done")
    browser.change("#mix", 25)
    both = np.rint(0.75 * wave + 0.25 * np.asarray(starry.stylize(photos[1])))
    assert difference(shown(browser), both) <= 1
    assert difference(shown(browser, "#before"), Image.open(photos[1])) == 0


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_styles_of_one_network_are_blended_in_it(
    path: str, browser: Browser, photos: list[Path], tmp_path: Path
) -> None:
    model = save_untrained_styles(tmp_path / "three.safetensors", "sea", "sky", "sun")
    (tmp_path / "page.html").write_text(build_page([str(model)]).html)
    browser.open(tmp_path / "page.html", f"?backend={path}&size=160")
    assert "The styles share one network" in browser.text("#facts")
    styles = {name: tinystyle.load(f"{model}#{name}") for name in ("sea", "sky", "sea=0.75,sky=0.25")}
    assert difference(painted(browser, photos[2]), styles["sea"].stylize(photos[2])) <= 1
    for change in (("#second", 1), ("#mix", 25)):
        browser.evaluate("delete document.documentElement.dataset.state")
        browser.change(*change)
        browser.wait("done")
    small = browser.evaluate(
        "(async () => { const canvases = [...document.querySelectorAll('#styles canvas')];"
        "const painted = (c) => new Set(c.getContext('2d').getImageData(0, 0, 96, 96).data).size > 9;"
        "for (let i = 0; i < 400 && !canvases.every(painted); i++) await new Promise((go) => setTimeout(go, 50));"
        "return canvases.map(painted); })()"
    )
    assert small == [True] * 3, "a style that is chosen while the small pictures are painted does not stop them"
    blended = shown(browser)
    assert difference(blended, styles["sea=0.75,sky=0.25"].stylize(photos[2])) <= 1
    pictures = [np.asarray(styles[name].stylize(photos[2])).astype(int) for name in ("sea", "sky")]
    assert difference(blended, np.rint(0.75 * pictures[0] + 0.25 * pictures[1])) > 3, "not two pictures mixed"
    browser.change("#strength", 40)
    assert difference(shown(browser), styles["sea=0.75,sky=0.25"].stylize(photos[2], strength=0.4)) <= 1
    browser.evaluate("delete document.documentElement.dataset.state")
    browser.change("#backend", "javascript")
    browser.wait("done")
    browser.change("#strength", 100)
    assert difference(shown(browser), blended) <= 1, "what a graphics path holds stays with it"


@pytest.mark.slow
def test_odd_photos(browser: Browser, page: Path, photos: list[Path], tmp_path: Path) -> None:
    browser.open(page, "?backend=javascript&size=360")
    model = tinystyle.load("pretrained:starry-night")
    for size in ((1, 1), (1, 40), (17, 5), (20, 19)):
        photo = tmp_path / f"{size}.png"
        Image.open(photos[0]).resize(size).save(photo)
        assert difference(painted(browser, photo), model.stylize(photo)) <= 1
    turned = Image.open(photos[0])
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    assert difference(painted(browser, tmp_path / "turned.png"), model.stylize(tmp_path / "turned.png")) <= 1
    clear = Image.new("RGBA", (30, 24), (200, 30, 60, 0))
    clear.save(tmp_path / "clear.png")
    assert (
        difference(painted(browser, tmp_path / "clear.png"), np.asarray(model.stylize(tmp_path / "clear.png"))[..., :3])
        <= 1
    )
    Image.new("RGB", (3000, 1500), "tan").save(tmp_path / "large.png")
    assert painted(browser, tmp_path / "large.png").shape == (180, 360, 3), "no larger than the control says"


@pytest.mark.slow
def test_what_is_no_image_is_said_and_changes_nothing(
    browser: Browser, page: Path, photos: list[Path], tmp_path: Path
) -> None:
    browser.open(page, "?backend=javascript&size=360")
    before = painted(browser, photos[0])
    for name, content in (("notes.txt", b"no picture"), ("cut.png", photos[0].read_bytes()[:30]), ("empty.jpg", b"")):
        (tmp_path / name).write_bytes(content)
        browser.evaluate("delete document.documentElement.dataset.state")
        browser.choose_file(tmp_path / name)
        browser.wait("error")
        assert browser.text("#error") == (
            f"{name} is not an image that this browser can open. Try a JPEG, PNG or WebP file."
        )
    assert difference(shown(browser), before) == 0
    painted(browser, photos[0])
    assert browser.evaluate("document.querySelector('#error').hidden")


@pytest.mark.slow
def test_the_camera_live(browser: Browser, page: Path) -> None:
    browser.open(page, "?backend=javascript&size=160")
    browser.click("#camera")
    browser.wait("live")
    first = shown(browser)
    browser.evaluate(
        "(async () => { const { dataset } = document.documentElement;"
        "while (!(dataset.frames > 4)) await new Promise(requestAnimationFrame); })()"
    )
    assert re.search(r"^[\d.]+ frames per second at 160 . 120 with JavaScript$", browser.text("#status"))
    assert difference(shown(browser), first) > 0, "the test camera's picture moves"
    browser.evaluate("delete document.documentElement.dataset.state")
    browser.click("#camera")
    browser.wait("done")
    assert browser.text("#camera") == "Camera"


@pytest.mark.slow
def test_a_path_that_is_not_there_is_said_and_by_itself_it_takes_one_that_is(browser: Browser, page: Path) -> None:
    browser.open(page, "?size=160")
    assert browser.evaluate("document.documentElement.dataset.backend") == "javascript", "SwiftShader is slower"
    browser.evaluate("Object.defineProperty(navigator, 'gpu', { value: undefined })")
    browser.change("#backend", "webgpu")
    browser.wait("error")
    assert browser.text("#error") == "That does not work here: there is no WebGPU. JavaScript goes on."


@pytest.mark.slow
def test_it_asks_nobody_for_anything(browser: Browser, page: Path, photos: list[Path]) -> None:
    browser.requests.clear()
    browser.open(page, "?backend=javascript&size=160")
    painted(browser, photos[0])
    browser.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")
    assert [address for address in browser.requests if not address.startswith(("blob:", "data:"))] == [
        page.as_uri() + "?backend=javascript&size=160"
    ]
    refused = "fetch('https://example.org').then(() => 'asked', () => 'refused')"
    assert browser.evaluate(refused) == "refused"
    assert any("Content Security Policy" in complaint for complaint in browser.complaints)
    browser.complaints.clear()


@pytest.mark.slow
def test_every_control_has_a_name_and_is_reached_by_the_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page, "?backend=javascript&size=160")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "slider", "combobox", "radio", "image")
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    controls = [(role, name) for role, name in named if role in roles]
    assert {role for role, _ in controls} == set(roles)
    assert all(name for _, name in controls), controls
    reached = set()
    for _ in range(14):
        browser.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        browser.call("Input.dispatchKeyEvent", type="keyUp", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.add(
            browser.evaluate(
                "document.activeElement.id || document.activeElement.name || document.activeElement.tagName"
            )
        )
    assert {"split", "file", "camera", "save", "style", "strength", "second", "SUMMARY"} <= reached


@pytest.mark.slow
def test_a_saved_picture_is_the_one_on_screen(browser: Browser, page: Path, photos: list[Path], tmp_path: Path) -> None:
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.open(page, "?backend=javascript&size=360")
    picture = painted(browser, photos[1])
    browser.change("#split", 60)
    browser.click("#save")
    for _ in range(100):
        browser.evaluate("new Promise((resolve) => setTimeout(resolve, 50))")
        if (tmp_path / "starry-night.png").exists():
            break
    assert difference(np.asarray(Image.open(tmp_path / "starry-night.png").convert("RGB")).astype(int), picture) == 0


def test_there_is_no_test_without_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(pytest.skip.Exception, match="no Chromium"), running():
        pass


def test_untrained_networks_make_pages_too(tmp_path: Path) -> None:
    assert build_page([save_untrained(tmp_path / "model.safetensors")]).faithful

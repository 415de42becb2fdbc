"""What the page of `tinystyle web` weighs, how true its pictures are, and how fast its three paths are in this Chromium.

For comparison, the same network in onnxruntime-web (WebAssembly with SIMD, one thread), installed from npm into a temporary
folder. That wants npm, and the packages `onnx` and `websockets`. The GPU paths run on SwiftShader where there is no GPU: they
say nothing of a GPU then.

    python benchmarks/web.py --photos PHOTOS
"""

from __future__ import annotations

import argparse
import copy
import io
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from interleaved import ratio
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # the browser is that of the tests
from tests.support.browser import Browser, running
from tinystyle.model_file import load_model
from tinystyle.styles import pretrained
from tinystyle.web import MAX_BYTES, build_page
from tinystyle.web.pack import EXACT, rounded_weights
from tinystyle.web.rounding import correlations

SIZE = (640, 480)
PATHS = ("javascript", "webgl", "webgpu")

ORT_PAGE = """<!doctype html><title>onnxruntime-web</title><script src="ort.wasm.min.js"></script><script>
(async () => {
  const { dataset } = document.documentElement;
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create("net.onnx", { executionProviders: ["wasm"] });
  const input = new Float32Array(await (await fetch("photo.raw")).arrayBuffer());
  window.once = async () => {
    const begin = performance.now();
    const { stylized } = await session.run({ image: new ort.Tensor("float32", input, [1, 3, HEIGHT, WIDTH]) });
    dataset.milliseconds = performance.now() - begin;
    return stylized.data;
  };
  await once();
  dataset.state = "done";
})().catch((error) => { document.documentElement.dataset.state = "error"; console.error(String(error)); });
</script>"""


def weights(photos: list[torch.Tensor]) -> None:
    """Print what pages with one to five styles weigh, and how far their pictures are from the networks'."""
    names = pretrained.names()
    print("| styles | maximum, bytes | bytes | bits per weight | worst PSNR, dB | largest difference, gray levels |")
    print("|---:|---:|---:|---:|---:|---:|")
    for count, most in [(count, MAX_BYTES) for count in range(1, len(names) + 1)] + [
        (len(names), 100_000),
        (5, 130_000),
    ]:
        sources = [pretrained.PREFIX + name for name in names[:count]]
        page = build_page(sources, most)
        squares, largest = 0.0, 0.0
        for source in sources:
            network = load_model(source).network
            rounded = copy.deepcopy(network)
            rounded.load_state_dict(rounded_weights(network, page.levels, correlations(network)))
            for photo in photos:
                with torch.inference_mode():
                    ours, theirs = (each(photo).round() for each in (rounded, network))
                squares = max(squares, float((ours - theirs).square().mean()))
                largest = max(largest, float((ours - theirs).abs().max()))
        bits = "16" if page.levels == EXACT else f"{np.log2(2 * page.levels + 1):.1f}"
        psnr = f"{10 * np.log10(255**2 / squares):.1f}" if squares else "equal"
        print(f"| {count} | {most:,} | {len(page.html.encode()):,} | {bits} | {psnr} | {largest:.0f} |", flush=True)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder on a server of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def prepare_ort(folder: Path, photo: Image.Image) -> int:
    """Put onnxruntime-web, the network as ONNX and a page that runs it into a folder; return the bytes of what it loads."""
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--silent", "onnxruntime-web"],
        cwd=folder,
        check=True,
        stderr=subprocess.DEVNULL,
    )
    files = [
        folder / "node_modules/onnxruntime-web/dist" / name
        for name in ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
    ]
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    network, data = load_model("pretrained:starry-night").network.eval(), io.BytesIO()
    pixels_13hw = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (pixels_13hw,),
            data,
            dynamo=False,
            opset_version=17,
            input_names=["image"],
            output_names=["stylized"],
        )
    (folder / "net.onnx").write_bytes(data.getvalue())
    (folder / "photo.raw").write_bytes(pixels_13hw.numpy().tobytes())
    (folder / "index.html").write_text(ORT_PAGE.replace("WIDTH", str(photo.width)).replace("HEIGHT", str(photo.height)))
    return sum(file.stat().st_size for file in files) + len(data.getvalue())


def once(browser: Browser, address: str, photo: Path) -> tuple[float, float]:
    """Open a page; return the seconds to its first picture, and those that its network takes for the photo after that."""
    began = perf_counter()
    browser.call("Page.navigate", url=address)
    browser.wait("done")
    first = perf_counter() - began
    if address.startswith("file:"):
        browser.evaluate("delete document.documentElement.dataset.state")
        browser.choose_file(photo)
        browser.wait("done")
    else:
        browser.evaluate("once().then(() => 0)")
    return first, float(browser.evaluate("document.documentElement.dataset.milliseconds")) / 1000


def speed(photo: Image.Image, rounds: int) -> None:
    """Print the times of the three paths and of onnxruntime-web, in turn."""
    with tempfile.TemporaryDirectory() as temporary, served(Path(temporary)) as server, running() as browser:
        folder = Path(temporary)
        size = prepare_ort(folder, photo)
        page = folder / "page.html"
        page.write_text(build_page(["pretrained:starry-night"]).html)
        photo.save(folder / "photo.png")
        version, bytes_ = browser.call("Browser.getVersion")["product"], page.stat().st_size
        print(f"\n{version}; onnxruntime-web loads {size:,} bytes, the page {bytes_:,}\n")
        addresses = {path: f"{page.as_uri()}?backend={path}&size=640" for path in PATHS}
        addresses["onnxruntime-web"] = f"{server}/index.html"
        firsts: dict[str, list[float]] = {name: [] for name in addresses}
        seconds: dict[str, list[float]] = {name: [] for name in addresses}
        for _ in range(rounds):
            for name, address in addresses.items():
                first, second = once(browser, address, folder / "photo.png")
                firsts[name].append(first)
                seconds[name].append(second)
    print("| path | first picture, s | a picture, s | a second | onnxruntime-web's time divided by it |")
    print("|---|---:|---:|---:|---|")
    for name, times in seconds.items():
        print(
            f"| {name} | {median(firsts[name]):.2f} | {median(times):.2f} | {1 / median(times):.2f} "
            f"| {ratio(seconds['onnxruntime-web'], times)} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    images = [Image.open(path).convert("RGB") for path in paths[:: max(1, len(paths) // 3)][:3]]
    weights([torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() for image in images])
    speed(images[0].resize(SIZE, Image.Resampling.LANCZOS), arguments.rounds)


if __name__ == "__main__":
    main()

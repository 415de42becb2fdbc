"""A headless Chromium, driven through the DevTools protocol over a websocket."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from websockets.sync.client import connect
from websockets.sync.connection import Connection

__all__ = ["Browser", "chromium", "running"]

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu-sandbox",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-default-browser-check",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)
"""WebGPU and WebGL 2 on SwiftShader, which computes on the processor; a camera that shows a test picture."""


def chromium() -> str | None:
    """Return the path of Chromium or Chrome; None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


class Browser:
    """One tab. What the page complains of, and each request that it makes, is recorded.

    Attributes:
        requests: addresses that pages asked for, besides their own file.
        complaints: uncaught errors, errors on the console, and violations of the content security policy.
    """

    def __init__(self, socket: Connection) -> None:
        self._socket, self._last = socket, 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Run a command of the protocol and return its result."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=240))
            if message.get("id") == self._last:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._note(message.get("method", ""), message.get("params", {}))

    def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(event["exceptionDetails"].get("exception", event))[:2000])
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.complaints.append(event["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and event["type"] == "error":
            self.complaints.append(json.dumps(event["args"]))

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, page: Path, query: str = "") -> None:
        """Open a file, and wait until it has painted its first picture."""
        self.call("Page.navigate", url=page.resolve().as_uri() + query)
        self.wait("done")

    def wait(self, *states: str, seconds: float = 200) -> str:
        """Wait until the page is in one of the states, and return it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = str(self.evaluate("document.documentElement?.dataset.state"))
            if state in states:
                return state
            if state == "error" and "error" not in states:
                break
            self.evaluate("new Promise((resolve) => setTimeout(resolve, 30))")
        raise AssertionError(f"{state}: {self.text('#error')} {self.complaints}")

    def text(self, selector: str) -> str:
        """Return the text of an element."""
        return str(self.evaluate(f"document.querySelector({selector!r}).textContent"))

    def change(self, selector: str, value: object) -> None:
        """Set the value of a control, as a visitor would, with its events."""
        self.evaluate(
            f"(() => {{ const each = document.querySelector({selector!r}); each.value = {str(value)!r};"
            "each.dispatchEvent(new Event('input')); each.dispatchEvent(new Event('change')); })()"
        )

    def click(self, selector: str) -> None:
        """Click an element."""
        self.evaluate(f"document.querySelector({selector!r}).click()")

    def choose_file(self, path: Path) -> None:
        """Give a file to the file picker."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def screen(self, width: int, height: int, scheme: str, *, scale: float = 1, mobile: bool = False) -> None:
        """Set the size of the screen, and whether the visitor prefers `light` or `dark`."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save what the screen shows, or the whole page, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))

    def pixels(self, canvas: str = "#after") -> tuple[int, int, bytes]:
        """Return (width, height, RGBA bytes) of a canvas."""
        width, height, data = self.evaluate(
            f"(() => {{ const each = document.querySelector({canvas!r}), size = [each.width, each.height];"
            "const { data } = each.getContext('2d').getImageData(0, 0, ...size); let text = '';"
            "for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));"
            "return [...size, btoa(text)]; })()"
        )
        return width, height, base64.b64decode(data)


@contextmanager
def running() -> Iterator[Browser]:
    """Run a browser of its own, with an empty profile; skip the test where there is none."""
    binary = chromium()
    if binary is None:
        pytest.skip("there is no Chromium here; Debian's package is called chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [binary, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        log = Path(profile) / "log"
        with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
            try:
                with connect(_address(Path(profile), process), max_size=None) as socket:
                    yield Browser(socket)
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Return the websocket of the first tab, once the browser has written which port it listens on."""
    ports, end = profile / "DevToolsActivePort", time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if ports.exists() and (lines := ports.read_text().split()):
            with urlopen(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise AssertionError(f"Chromium does not start: {(profile / 'log').read_text()[-2000:]}")

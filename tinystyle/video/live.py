"""A window that shows a camera's picture, stylized. OpenCV, an optional package, reads the camera and draws the window."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from tinystyle.data.addresses import local_only
from tinystyle.errors import UserError
from tinystyle.stylize.picture import scaled_size
from tinystyle.video.frames import FrameStylizer

__all__ = ["show_camera"]

_TITLE = "tinystyle (q ends)"
_KEYS_THAT_END = {ord("q"), ord("Q"), 27}
"""27 is Escape."""


def show_camera(
    stylizer: FrameStylizer,
    camera: str = "0",
    *,
    max_side: int | None = 640,
    mirror: bool = True,
) -> tuple[int, float]:
    """Show what a camera sees, stylized, until the window is closed, q or Escape is pressed, or the camera ends.

    Args:
        stylizer: stylizes the frames.
        camera: number of a camera, from 0; or the path of a video or a numbered sequence of images (name%03d.png).
        max_side: longer side, in pixels, to which larger frames are scaled down.
        mirror: exchange left and right, as a mirror does; a file is not.

    Returns:
        The number of frames that were shown, and how many a second at the end, averaged over about ten.

    Raises:
        UserError: OpenCV is not installed, there is no display, or no such camera.
    """
    cv2 = _opencv()
    _check_display()
    number = int(camera) if re.fullmatch(r"\d{1,3}", camera) else None
    reader = _opened(cv2, camera, number)
    count, rate, before = 0, 0.0, time.perf_counter()
    try:
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        while True:
            there, bgr_hw3 = reader.read()
            if not there:
                if count == 0:
                    raise UserError(f"`camera` {camera}: gives no picture; is another program using it?")
                return count, rate
            bgr_hw3 = bgr_hw3[:, ::-1] if mirror and number is not None else bgr_hw3
            picture = Image.fromarray(np.ascontiguousarray(bgr_hw3[..., ::-1]))
            size = scaled_size(picture.size, max_side)
            if size != picture.size:
                picture = picture.resize(size, Image.Resampling.BILINEAR)
            stylized = np.ascontiguousarray(np.asarray(stylizer(picture))[..., ::-1])
            if count == 0:
                cv2.resizeWindow(_TITLE, *size)
            cv2.imshow(_TITLE, stylized)
            key = cv2.waitKey(1) & 0xFF
            count += 1
            now = time.perf_counter()
            rate = 1 / (now - before) if rate == 0 else 0.9 * rate + 0.1 / (now - before)
            before = now
            if key in _KEYS_THAT_END or cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
                return count, rate
    finally:
        reader.release()
        with suppress(cv2.error):  # there is no window
            cv2.destroyAllWindows()


def _opened(cv2: ModuleType, camera: str, number: int | None) -> Any:
    if number is None:
        path = local_only(camera, "`camera`")
        if "%" not in path.name and not path.exists():
            raise UserError(f"`camera` {camera}: no such file; give the number of a camera, such as 0, or a video")
        reader = cv2.VideoCapture(str(path))
    else:
        if sys.platform == "linux" and not Path(f"/dev/video{number}").exists():
            raise UserError(f"`camera` {number}: there is no such camera; connect one, or give a video file")
        reader = cv2.VideoCapture(number)
    if not reader.isOpened():
        raise UserError(f"`camera` {camera}: cannot be opened; give the number of a camera, such as 0, or a video file")
    return reader


def _opencv() -> ModuleType:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")  # about fonts that the wheel does not have
    try:
        import cv2
    except ImportError as error:
        raise UserError("a camera needs OpenCV, which is not installed; install `tinystyle[live]`") from error
    if "GUI:                           NONE" in cv2.getBuildInformation():
        raise UserError("this OpenCV draws no windows; install `opencv-python` in place of `opencv-python-headless`")
    return cv2


def _check_display() -> None:
    """Raise UserError if no window can be shown: Qt ends the process where it finds no display."""
    if sys.platform != "linux":
        return
    display, wayland = os.environ.get("DISPLAY", ""), os.environ.get("WAYLAND_DISPLAY", "")
    if not display and not wayland:
        raise UserError("there is no display for a window; run it on a desktop, or `tinystyle video` for a file")
    if wayland and not display:
        return
    match = re.fullmatch(r"([^:]*):(\d+)(?:\.\d+)?", display)
    if match is None:
        raise UserError(f"DISPLAY is {display}, which names no display; set it to one such as :0")
    host, number = match[1], int(match[2])
    places: list[tuple[int, Any]] = (
        [(socket.AF_INET, (host, 6000 + number))]
        if host and host != "unix"
        else [(socket.AF_UNIX, f"\0/tmp/.X11-unix/X{number}"), (socket.AF_UNIX, f"/tmp/.X11-unix/X{number}")]
    )
    for family, place in places:
        with suppress(OSError), socket.socket(family) as probe:
            probe.settimeout(5)
            probe.connect(place)
            return
    raise UserError(f"the display {display} does not answer; set DISPLAY to one that is running")

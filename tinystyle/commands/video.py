"""`tinystyle video` and `live`: a network on videos and on a camera."""

from __future__ import annotations

from typing import Annotated

import typer

from tinystyle.commands.arguments import check_video
from tinystyle.commands.terminal import frame_progress, resumable, screen
from tinystyle.data.addresses import local_only

__all__ = ["live", "video"]

_MODEL = (
    "Trained network or Core ML file: the folder of a run, model.safetensors, a checkpoint, .mlmodel, .mlpackage, or "
    "pretrained:NAME."
)
_Strength = Annotated[float, typer.Option(help="Strength of the style, from 0 (the video) to 1 (the stylized image).")]
_KeepColors = Annotated[
    bool, typer.Option("--keep-colors", help="Stylize only the luminance and keep the video's colors.")
]
_StrokeSize = Annotated[
    float,
    typer.Option(
        help="Size of the strokes relative to training, from 0.25 to 16. Above 1, the video's edges are added back."
    ),
]
_Smoothing = Annotated[
    float,
    typer.Option(
        help="Weight of the past, from 0 (each frame by itself) to 0.99, in the statistics of the network's norms, for what "
        "enters the picture to change the rest of it slowly. For a trained network."
    ),
]
_Device = Annotated[str, typer.Option(help="Where to compute: auto (a GPU if there is one), cpu or cuda.")]


def video(
    model: Annotated[str, typer.Argument(help=_MODEL)],
    video: Annotated[str, typer.Argument(help="The video: a file that FFmpeg reads.")],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help="The file: .mp4, .m4v, .mov, .mkv (H.264) or .webm (VP9); or a folder for a file with the video's name.",
        ),
    ] = "stylized",
    max_side: Annotated[
        int | None, typer.Option(help="Maximum longer side, in pixels; larger frames are scaled down.")
    ] = None,
    keep_colors: _KeepColors = False,
    strength: _Strength = 1.0,
    stroke_size: _StrokeSize = 1.0,
    smoothing: _Smoothing = 0.0,
    mask: Annotated[
        str | None,
        typer.Option(
            help="Where to stylize every frame: an image of its shape. White is stylized, black keeps the video, gray blends."
        ),
    ] = None,
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="Stylize where the mask is black.")] = False,
    crf: Annotated[
        int | None,
        typer.Option(
            help="Constant rate factor of the encoder: lower is better and larger. From 0 to 51, .webm to 63. [default: 20, "
            ".webm 28]"
        ),
    ] = None,
    device: _Device = "auto",
) -> None:
    """Stylize a video with a trained network or a Core ML file.

    Size, the time of every frame, sound and color space are kept; frames are written upright. Memory does not grow with
    the length. If it is interrupted or killed, the same command continues after the last sixty frames that were
    complete. Needs PyAV: the extra tinystyle[video].
    """
    local_only(out, "`out`")
    check_video(model, video)
    from tinystyle.training.run_model import model_of

    model = model_of(model)  # before anything imports torch
    from tinystyle.stylize import open_model
    from tinystyle.video import stylize_video

    with resumable(), frame_progress() as progress:
        path = stylize_video(
            open_model(model),
            video,
            out,
            max_side=max_side,
            keep_colors=keep_colors,
            strength=strength,
            stroke_size=stroke_size,
            smoothing=smoothing,
            mask=mask,
            invert_mask=invert_mask,
            crf=crf,
            device=device,
            progress=progress,
        )
    screen.print(str(path), soft_wrap=True)


def live(
    model: Annotated[str, typer.Argument(help=_MODEL)],
    camera: Annotated[
        str,
        typer.Option(help="Number of the camera, or a video file, or a numbered sequence of images, name%03d.png."),
    ] = "0",
    max_side: Annotated[
        int, typer.Option(help="Maximum longer side, in pixels, at which frames are stylized.", min=32, max=4096)
    ] = 640,
    mirror: Annotated[bool, typer.Option(help="Exchange left and right of a camera, as a mirror does.")] = True,
    keep_colors: _KeepColors = False,
    strength: _Strength = 1.0,
    stroke_size: _StrokeSize = 1.0,
    smoothing: _Smoothing = 0.0,
    device: _Device = "auto",
) -> None:
    """Show a camera's picture in a window, stylized.

    q, Escape or closing the window end it. It prints how many frames there were, and how many a second at the end. Needs
    a display and OpenCV: the extra tinystyle[live].
    """
    from tinystyle.training.run_model import model_of

    model = model_of(model)  # before anything imports torch
    from tinystyle.stylize import open_model
    from tinystyle.video.frames import FrameStylizer
    from tinystyle.video.live import show_camera

    stylizer = FrameStylizer(
        open_model(model),
        smoothing=smoothing,
        device=device,
        keep_colors=keep_colors,
        strength=strength,
        stroke_size=stroke_size,
    )
    count, rate = show_camera(stylizer, camera, max_side=max_side, mirror=mirror)
    screen.print(f"{count} frames, {rate:.1f} a second at the end")

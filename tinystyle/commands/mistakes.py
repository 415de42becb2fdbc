"""What a command line that cannot be parsed is told, in the form of all other errors: one sentence, with the remedy.

Typer keeps the classes of its parser's errors to itself; they are told apart by their attributes.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from tinystyle.errors import complaint, lowered, nearest

__all__ = ["mistake"]

_MEANT = {  # what other tools call an option -> the option here
    "--lr": "--learning-rate",
    **dict.fromkeys(("--iterations", "--iters", "--max-steps", "--epochs", "--num-steps"), "--steps"),
    **dict.fromkeys(("--output", "--output-dir", "--outdir", "--output-file", "--destination", "--save-dir"), "--out"),
    **dict.fromkeys(("--gpus", "--gpu", "--num-gpus", "--nproc-per-node"), "--devices"),
    **dict.fromkeys(("--image-size", "--crop-size", "--crop", "--resolution", "--imgsz"), "--size"),
    **dict.fromkeys(("--dataset", "--data", "--images", "--input", "--content", "--content-image"), "--photos"),
    **dict.fromkeys(("--style-image", "--painting"), "--style"),
    **dict.fromkeys(("--batch", "--bs", "--train-batch-size"), "--batch-size"),
    **dict.fromkeys(("--warmup", "--warm-up"), "--warmup-steps"),
    **dict.fromkeys(("--fp16", "--bf16", "--amp", "--dtype"), "--precision"),
    **dict.fromkeys(("--network", "--arch"), "--architecture"),
    **dict.fromkeys(("--width", "--width-multiplier"), "--alpha"),
    **dict.fromkeys(("--vgg", "--loss-network", "--backbone"), "--perceptual"),
    **dict.fromkeys(("--workers", "--num-threads"), "--threads"),
    **dict.fromkeys(("--resume-from", "--resume-from-checkpoint"), "--resume"),
    **dict.fromkeys(("--init", "--checkpoint", "--pretrained", "--weights"), "--init-from"),
    **dict.fromkeys(("--quantize", "--nbits", "--quantization"), "--bits"),
    **dict.fromkeys(("--target", "--minimum-ios", "--deployment-target"), "--ios"),
    **dict.fromkeys(("--preserve-color", "--original-colors", "--preserve-colors"), "--keep-colors"),
    **dict.fromkeys(("--max-size", "--resize"), "--max-side"),
    **dict.fromkeys(("--model", "--reference"), "--against"),
}
_COMMANDS = {"convert": "export", "quantize": "export", "check": "verify", "list": "styles", "stylise": "stylize"}
_COMMANDS |= {"eval": "evaluate", "apply": "stylize", "run": "stylize", "prepare": "ingest", "import": "ingest"}


def mistake(error: Any) -> str:
    """Return the sentence for an error of Typer's parser: what is wrong, what may have been meant, and where to look."""
    context = getattr(error, "ctx", None)
    command = context.command if context else None
    path = context.command_path if context else "tinystyle"
    see = f"`{path} --help` shows"
    text = str(error.format_message())
    if name := getattr(error, "option_name", None):
        if not hasattr(error, "possibilities"):  # an option without a value, or a switch with one
            return f"{name} takes no value" if "not take" in text else f"{name} needs a value; give one after it"
        known = [option for each in command.params for option in (*each.opts, *each.secondary_opts)] if command else []
        meant = _MEANT.get(name) if _MEANT.get(name) in known else _closest(name, known)
        return f"{path} has no option {name}; " + (f"did you mean {meant}?" if meant else f"{see} those it has")
    parameter = getattr(error, "param", None)
    if parameter is None:
        if text.startswith("No such command") and command:
            name = text.split("'")[1]
            meant = _COMMANDS.get(name) if _COMMANDS.get(name) in command.commands else _closest(name, command.commands)
            return f"{path} has no command {name}; " + (f"did you mean {meant}?" if meant else f"{see} those it has")
        if "extra argument" in text:
            return f"{lowered(text)}; put quotes around names that contain spaces, {see} the arguments"
        return f"{lowered(text).rstrip('.')}; {see} how it is used"
    name = _spelled(parameter)
    if hasattr(error, "param_type"):
        help = " ".join((getattr(parameter, "help", None) or "").split()).partition(" [")[0]
        return f"{name} is missing: {help.rstrip('.')}" if help else f"{name} is missing; {see} what it is"
    if isinstance(error.__cause__, ValidationError):
        return f"{name} {complaint(error.__cause__)}"
    return f"{name}: {lowered(text.partition(': ')[2] or text).rstrip('.')}"


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return str(max(parameter.opts, key=len))


def _closest(name: str, known: Any) -> str | None:
    bare = {each.lstrip("-"): each for each in known}
    found = nearest(name.lstrip("-"), bare, cutoff=0.7)
    return bare[found] if found else None

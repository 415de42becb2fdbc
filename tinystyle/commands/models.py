"""`tinystyle stylize` and `networks`: what a network makes of photos, and costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tinystyle.commands.terminal import screen
from tinystyle.config import NetworkConfig

__all__ = ["networks", "stylize"]

def stylize(
    model: Annotated[str, typer.Argument(help="model.safetensors or a checkpoint.")],
    photos: Annotated[list[str], typer.Argument(help="Photographs.")],
    out: Annotated[Path, typer.Option(help="Folder for the PNGs, named like the photos.")],
) -> None:
    """Stylise photographs at their own size."""
    from tinystyle.model_file import load_model
    from tinystyle.storage import check_writable
    from tinystyle.stylize import stylize_photos

    check_writable(out)
    for path in stylize_photos(load_model(model), photos, out):
        screen.print(str(path), soft_wrap=True)


def networks(
    architecture: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Only this width multiplier.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="A row for every operation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Print what each network costs: weights, multiply-accumulates and activation bytes moved for a 640x480 image."""
    from tinystyle import nets

    names = [nets.check_architecture(architecture)] if architecture else list(nets.ARCHITECTURES)
    alphas = (1.0, 0.5, 0.3) if alpha is None else (alpha,)
    configs = [NetworkConfig(architecture=name, alpha=value) for name in names for value in alphas]
    from dataclasses import asdict

    from tinystyle.nets.cost import network_cost

    costs = [(config, network_cost(nets.build_network(config))) for config in configs]
    if as_json:
        rows: list[dict[str, Any]] = [{**config.model_dump(), **asdict(cost)} for config, cost in costs]
        screen.print_json(data=[row if layers else {k: v for k, v in row.items() if k != "layers"} for row in rows])
        return
    for config, cost in costs if layers else []:
        table = Table("layer", "output", title=f"{config.architecture} {config.alpha:g}")
        for name in ("weights", "MACs", "bytes moved"):
            table.add_column(name, justify="right")
        for layer in cost.layers:
            shape = "x".join(map(str, layer.output_shape))
            numbers = (f"{n:,}" for n in (layer.weights, layer.macs, layer.activation_bytes))
            table.add_row(f"{layer.module or 'network'} {layer.operation}", shape, *numbers)
        screen.print(table)
    table = Table("architecture", title="At 640x480, activations in float16")
    for name in ("alpha", "weights", "MACs", "activation bytes moved"):
        table.add_column(name, justify="right")
    for config, cost in costs:
        numbers = (f"{n:,}" for n in (cost.weights, cost.macs, cost.activation_bytes))
        table.add_row(config.architecture, f"{config.alpha:g}", *numbers)
    screen.print(table)

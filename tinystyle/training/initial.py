"""The network of step 0."""

from __future__ import annotations

import torch

from tinystyle.config import AUTO, RANDOM, NetworkConfig, RunConfig
from tinystyle.data.photos import photo_tensor
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, LoadedStyles, NamedStyle, load_any, load_model
from tinystyle.nets import build_network
from tinystyle.nets.blocks import InstanceNorm, StyleNetwork
from tinystyle.nets.styled import StyledNetwork
from tinystyle.styles import Style, selection
from tinystyle.training.style_list import StyleList

__all__ = ["check_initial", "initial_network", "initial_styles", "styles_before"]


def initial_network(config: RunConfig, style: Style) -> StyleNetwork:
    """Build the network of step 0, as `init_from` says: with random weights from the seed, or those of a model.

    Raises:
        UserError: `init_from` is not a model, or has another architecture or alpha.
    """
    network = _start(config)
    if config.freeze_trunk or config.init_from in (AUTO, RANDOM):
        # With the initial standard deviation of 1 before tanh, far too much contrast, the network learns within 200
        # steps to hide the excess in black areas.
        network.match_output(photo_tensor(style.at(config.style_side)))
    if config.freeze_trunk:
        _freeze(network)
    return network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def initial_styles(config: RunConfig, styles: StyleList) -> StyledNetwork:
    """Build the network of step 0 for several styles: each begins as `initial_network` does.

    Raises:
        UserError: as in `initial_network`.
    """
    networks = [initial_network(config, style) for style in styles.values()]
    network = StyledNetwork.of(networks)
    return network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def styles_before(config: RunConfig) -> LoadedStyles | None:
    """Return the network of the initial weights with the styles that it has, to which a frozen trunk adds others.

    Returns:
        A network of one style is one of many with a single row. None if the trunk is not frozen.

    Raises:
        UserError: as in `initial_network`; or the network's one style has no name.
    """
    if not config.freeze_trunk:
        return None
    found = load_any(str(config.initial_model)) if _selects_none(config) else load_model(str(config.initial_model))
    if isinstance(found, LoadedStyles):
        return found
    known = NamedStyle(found.lineage.get("style_name") or "first", found.lineage.get("style", ""))
    return LoadedStyles(StyledNetwork.of([found.network]), found.config, found.lineage, (known,))


def check_initial(config: RunConfig, styles: StyleList) -> None:
    """Raise UserError if the model of `init_from` cannot be read, does not fit, or has one of the new styles already."""
    initial_network(config, next(iter(styles.values())))
    before = styles_before(config)
    for name in styles if before else ():
        assert before is not None
        if name in before.names:
            raise UserError(f"{config.init_from} has a style {name} already; give the new one another name, NAME=IMAGE")


def _start(config: RunConfig) -> StyleNetwork:
    torch.manual_seed(config.seed)
    if not config.initial_model:
        return build_network(config.network.architecture, config.network.alpha)
    model: LoadedModel | LoadedStyles
    model = load_any(config.initial_model) if _selects_none(config) else load_model(config.initial_model)
    _check_network(config, model.config)
    if isinstance(model, LoadedModel):
        return model.network
    # A style that the trunk has not seen begins in the middle of those that it has.
    return model.network.plain(model.network.styles.detach().mean(0)).eval()


def _selects_none(config: RunConfig) -> bool:
    return selection.split(str(config.initial_model))[1] is None


def _check_network(config: RunConfig, found: NetworkConfig) -> None:
    if found != config.network:
        raise UserError(
            f"{config.init_from} is {found.architecture} at alpha {found.alpha}, this run is "
            f"{config.network.architecture} at alpha {config.network.alpha}; they must agree for `init_from`"
        )


def _freeze(network: StyleNetwork) -> None:
    """Let only the norms of a network learn."""
    network.requires_grad_(False)
    for module in network.modules():
        if isinstance(module, InstanceNorm):
            module.requires_grad_(True)

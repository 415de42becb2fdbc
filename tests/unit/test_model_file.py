import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tinystyle.config import NetworkConfig
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedStyles, NamedStyle, load_any, load_model, save_model, save_styles
from tinystyle.nets import build_network
from tinystyle.nets.styled import StyledNetwork, style_vector

CONFIG = NetworkConfig(alpha=0.1)
LINEAGE = {"style": "5" * 64, "photos": "night sky, été"}


def checkpoint(path: Path, **changes: Any) -> Path:
    weights = {
        f"network.{name}": tensor
        for name, tensor in build_network(CONFIG.architecture, CONFIG.alpha).state_dict().items()
    }
    content = {"state_dict": weights, "network_config": CONFIG.model_dump_json(), "global_step": 7}
    torch.save(content | changes, path)
    return path


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    network = build_network(CONFIG.architecture, CONFIG.alpha)
    save_model(network.to(memory_format=torch.channels_last), tmp_path / "m.safetensors", CONFIG, LINEAGE)
    loaded = load_model(tmp_path / "m.safetensors")
    assert (loaded.config, loaded.lineage) == (CONFIG, LINEAGE)
    assert not loaded.network.training
    assert loaded.network.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in loaded.network.state_dict().items())


def test_bfloat16_weights_are_saved_as_float32(tmp_path: Path) -> None:
    network = build_network(CONFIG.architecture, CONFIG.alpha).bfloat16()
    save_model(network, tmp_path / "m.safetensors", CONFIG, {})
    weight = load_model(tmp_path / "m.safetensors").network.out.conv.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, network.out.conv.weight.float())


def test_equal_models_are_equal_bytes(tmp_path: Path) -> None:
    network = build_network(CONFIG.architecture, CONFIG.alpha)
    save_model(network, tmp_path / "a.safetensors", CONFIG, {"a": "1", "b": "2"})
    save_model(network, tmp_path / "b.safetensors", CONFIG, {"b": "2", "a": "1"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_object_storage() -> None:
    network = build_network(CONFIG.architecture, CONFIG.alpha)
    save_model(network, "memory://models/m.safetensors", CONFIG, LINEAGE)
    assert torch.equal(load_model("memory://models/m.safetensors").network.out.conv.weight, network.out.conv.weight)


def test_checkpoint(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "last.ckpt", lineage=json.dumps(LINEAGE))
    loaded = load_model(path)
    stored = torch.load(path, weights_only=True)["state_dict"]["network.out.conv.weight"]
    assert torch.equal(loaded.network.out.conv.weight, stored)
    assert (loaded.config, loaded.lineage) == (CONFIG, LINEAGE)
    assert load_model(checkpoint(tmp_path / "bare.ckpt")).lineage == {}


class Malice:
    """Unpickled, it would leave a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    checkpoint(tmp_path / "evil.ckpt", extra=Malice(tmp_path / "executed"))
    with pytest.raises(UserError, match="not a checkpoint"):
        load_model(tmp_path / "evil.ckpt")
    assert not (tmp_path / "executed").exists()


def saved(path: Path, metadata: dict[str, str] | None, **changes: torch.Tensor | None) -> None:
    weights = build_network(CONFIG.architecture, CONFIG.alpha).state_dict() | changes
    path.write_bytes(safetensors.torch.save({k: v for k, v in weights.items() if v is not None}, metadata))


OURS = {"tinystyle": json.dumps({"lineage": {}, "network": CONFIG.model_dump(mode="json")})}


@pytest.mark.parametrize(
    ("metadata", "changes", "sentence"),
    [
        (None, {}, "not a model that tinystyle saved"),
        ({"format": "pt"}, {}, "not a model that tinystyle saved"),
        ({"tinystyle": "[]"}, {}, "not a model that tinystyle saved"),
        ({"tinystyle": '{"network": {"architecture": "x"}, "lineage": {}}'}, {}, "unknown architecture 'x'"),
        ({"tinystyle": '{"network": {"depth": 3}, "lineage": {}}'}, {}, "cannot be built"),
        ({"tinystyle": '{"network": {"alpha": 0.001}, "lineage": {}}'}, {}, "without filters"),
        (OURS, {"out.conv.weight": torch.zeros(3, 4, 9, 9)}, r"out\.conv\.weight does not have shape \(3, 3, 9, 9\)"),
        (OURS, {"out.conv.weight": None}, r"out\.conv\.weight is missing"),
        (OURS, {"head.weight": torch.zeros(1)}, r"head\.weight is unexpected"),
        (OURS, {"out.norm.bias": torch.full((3,), torch.nan)}, "not finite"),
    ],
)
def test_foreign_safetensors_are_refused(
    tmp_path: Path, metadata: dict[str, str] | None, changes: dict[str, torch.Tensor | None], sentence: str
) -> None:
    saved(tmp_path / "m.safetensors", metadata, **changes)
    with pytest.raises(UserError, match=sentence) as caught:
        load_model(tmp_path / "m.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["m.safetensors", "m.ckpt"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, b"PK\x03\x04 not a zip"])
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"that tinystyle saved|is an empty file"):
        load_model(tmp_path / name)


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="not a checkpoint"):
        load_model(tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=r"down\.0\.conv\.weight is missing"):
        load_model(checkpoint(tmp_path / "empty.ckpt", state_dict={}))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_model(tmp_path / "absent.safetensors")
    with pytest.raises(UserError, match="no such file"):
        load_model("memory://absent/m.ckpt")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        load_model(tmp_path)


STYLES = (NamedStyle("wave", "a" * 64), NamedStyle("mosaic", "b" * 64), NamedStyle("starry night", "c" * 64))


def styled_network() -> StyledNetwork:
    torch.manual_seed(2)
    network = build_network(CONFIG.architecture, CONFIG.alpha)
    vector = style_vector(network)
    return StyledNetwork(network, torch.stack([vector + 0.2 * torch.randn(vector.shape) for _ in STYLES]))


@pytest.fixture
def many(tmp_path: Path) -> Path:
    save_styles(styled_network(), tmp_path / "many.safetensors", CONFIG, LINEAGE, STYLES)
    return tmp_path / "many.safetensors"


def test_a_file_of_many_styles_is_loaded_style_by_style(many: Path) -> None:
    network = styled_network()
    loaded = load_any(many)
    assert isinstance(loaded, LoadedStyles)
    assert (loaded.config, loaded.lineage, loaded.styles) == (CONFIG, LINEAGE, STYLES)
    assert torch.equal(loaded.network.styles, network.styles)
    for row, style in enumerate(STYLES):
        one = load_model(f"{many}#{style.name}")
        expected = network.plain(network.styles[row]).state_dict()
        assert one.network.state_dict().keys() == expected.keys()
        assert all(torch.equal(weight, expected[name]) for name, weight in one.network.state_dict().items())
        assert not one.network.training
        assert one.lineage == {**LINEAGE, "style": style.sha256, "style_name": style.name}


def test_a_mixture_is_a_model_with_a_lineage_of_its_own(many: Path) -> None:
    table = styled_network().styles.detach()
    half = load_model(f"{many}#wave=0.5,mosaic=0.5")
    torch.testing.assert_close(style_vector(half.network), (table[0] + table[1]) / 2)
    assert half.lineage["style_name"] == "wave 50%, mosaic 50%"
    digests = {load_model(f"{many}#{text}").lineage["style"] for text in ("wave", "wave=1,mosaic=1", "wave=2,mosaic=1")}
    assert len(digests) == 3
    assert half.lineage["style"] == load_model(f"{many}#mosaic,wave").lineage["style"]


def test_a_style_has_to_be_chosen(many: Path) -> None:
    with pytest.raises(UserError, match=r"holds the styles wave, mosaic, starry night; choose one with `style`"):
        load_model(many)
    with pytest.raises(UserError, match=r"no style 'waves' in it \(did you mean wave\?\)"):
        load_model(f"{many}#waves")


def test_a_network_of_one_style_takes_none_but_its_own(tmp_path: Path) -> None:
    network = build_network(CONFIG.architecture, CONFIG.alpha)
    save_model(network, tmp_path / "m.safetensors", CONFIG, {"style_name": "wave"})
    assert load_model(f"{tmp_path}/m.safetensors#wave").config == CONFIG
    with pytest.raises(UserError, match="is a network of one style; leave out `style` mosaic"):
        load_model(f"{tmp_path}/m.safetensors#mosaic")


def test_the_trunk_of_a_file_of_many_styles_is_stored_once(many: Path) -> None:
    stored = safetensors.torch.load_file(many)
    assert not [name for name in stored if "norm" in name]
    assert stored["styles"].shape == (3, len(style_vector(build_network(CONFIG.architecture, CONFIG.alpha))))


@pytest.mark.parametrize("damage", ["missing", "short", "nan", "unexpected"])
def test_a_damaged_table_is_refused(many: Path, damage: str) -> None:
    stored = safetensors.torch.load_file(many)
    with safetensors.safe_open(many, "pt") as file:
        metadata = file.metadata()
    table = stored.pop("styles")
    if damage == "unexpected":
        stored["more"] = table.clone()
    if damage != "missing":
        stored["styles"] = {"short": table[:2], "nan": table * float("nan")}.get(damage, table)
    safetensors.torch.save_file(stored, many, metadata)
    with pytest.raises(UserError, match=r"styles (does not have shape|holds values)|more is unexpected"):
        load_model(f"{many}#wave")


def test_a_checkpoint_of_many_styles(tmp_path: Path) -> None:
    network = styled_network()
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    names = json.dumps([{"name": style.name, "sha256": style.sha256} for style in STYLES])
    path = checkpoint(tmp_path / "last.ckpt", state_dict=weights, styles=names)
    one = load_model(f"{path}#mosaic").network
    assert torch.equal(style_vector(one), network.styles[1])
    assert torch.equal(one.out.conv.weight, network.trunk.out.conv.weight)

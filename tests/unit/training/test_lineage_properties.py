"""A run's key changes with every parameter that decides its weights, and with no other."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.properties import examples
from tinystyle.config import PARAMETERS, flat, run_config
from tinystyle.training.lineage import lineage_of


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


NAMES = st.sampled_from(["a", "b", "s3://bucket/a", "folder/b.png"])
WEIGHTS = st.lists(numbers(0.5, 9), min_size=4, max_size=4)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "style": NAMES, "photos": NAMES, "architecture": st.sampled_from(["small", "johnson"]), "alpha": numbers(0.1, 4),
    "perceptual": st.sampled_from(["vgg16", "efficientnet-lite0"]), "perceptual_weights": st.none() | NAMES,
    "style_scale": numbers(0.1, 16), "style_size": st.none() | st.integers(32, 4096), "content_weight": numbers(0, 9),
    "style_weight": st.just("auto") | numbers(0, 99), "content_target": st.none() | numbers(0.01, 3),
    "style_layer_weights": st.none() | WEIGHTS, "sliced_share": numbers(0, 1), "tv_weight": numbers(0, 9),
    "saturation_weight": numbers(0, 99), "checkerboard_weight": numbers(0, 9), "size": st.integers(32, 2048),
    "zoom": numbers(1, 8), "batch_size": st.integers(1, 1024), "steps": st.integers(1, 99_999),
    "learning_rate": numbers(1e-6, 1), "warmup_steps": st.integers(0, 999), "final_rate": numbers(1e-3, 1),
    "clip_norm": numbers(0.01, 99), "devices": st.integers(1, 64), "nodes": st.just(1), "threads": st.none() | st.integers(1, 64),
    "rdzv_endpoint": st.none() | st.just("here:1"), "checkpoint_every": st.integers(1, 999), "checkpoints": st.none() | NAMES,
    "preview_every": st.integers(1, 999), "on_collapse": st.sampled_from(["stop", "rollback"]), "track": st.booleans(),
    "precision": st.sampled_from(["32", "bf16"]), "seed": st.integers(0, 2**63 - 1), "init_from": st.none() | NAMES,
    # A run has these or `style` alone; tests/unit/training/test_many_styles.py has the keys of such runs.
    "styles": st.just(()), "freeze_trunk": st.just(False),
    "teacher": st.none(), "teacher_share": st.just(0.5),  # tests/unit/training/test_teacher.py has the keys of such runs
}  # fmt: skip
PLACES = {"style", "photos", "perceptual_weights", "init_from"}
"""Where things lie; what they hold is in the key by its hash."""
DECIDING = {name for name, parameter in PARAMETERS.items() if parameter.section != "execution"} - PLACES


def key(values: dict[str, Any]) -> str:
    return lineage_of(run_config(values), "d" * 64, "s" * 64, "p" * 64, None)["key"]


def test_every_parameter_has_its_values() -> None:
    assert VALUES.keys() == PARAMETERS.keys()


@examples(300)
@given(
    st.fixed_dictionaries(VALUES),
    st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), VALUES[name])),
)
def test_one_change_changes_the_key_if_it_decides_the_result(values: dict[str, Any], change: tuple[str, Any]) -> None:
    name, value = change
    changed = {**values, name: value}
    same = flat(run_config(values)) == flat(run_config(changed))
    assert (key(values) == key(changed)) is (same or name not in DECIDING)


@examples(100)
@given(st.fixed_dictionaries(VALUES), st.fixed_dictionaries(VALUES))
def test_any_changes_change_the_key_if_one_of_them_decides(values: dict[str, Any], others: dict[str, Any]) -> None:
    execution = {**values, **{name: value for name, value in others.items() if name not in DECIDING}}
    assert key(execution) == key(values)
    first, second = flat(run_config(values)), flat(run_config(others))
    decided_alike = all(first[name] == second[name] for name in DECIDING)
    assert (key(values) == key(others)) is decided_alike

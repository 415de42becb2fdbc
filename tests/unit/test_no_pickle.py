"""Nothing that could run code on loading is loaded: the source is walked for the calls that could."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support.places import REPOSITORY

FORBIDDEN_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "shelve", "tarfile"}
FORBIDDEN_CALLS = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load",
    "torch.jit.load", "torch.package.PackageImporter", "torch.hub.load", "numpy.fromregex", "eval", "exec", "os.system",
    "shutil.unpack_archive", "pandas.read_pickle",
}  # fmt: skip
FORBIDDEN_METHODS = {"extract", "extractall", "load_from_checkpoint"}
SHORT = {"np": "numpy", "pd": "pandas"}


def faults(source: str) -> Iterator[str]:
    """What a source file does that it must not, with lines."""
    tree = ast.parse(source)
    names = dict(SHORT)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
            yield from (f"{node.lineno}: import {each.name}" for each in node.names if each.name in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            if node.module in FORBIDDEN_MODULES:
                yield f"{node.lineno}: from {node.module} import"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            head, dot, rest = called.partition(".")
            called = names.get(head, head) + dot + rest
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            if (
                called in FORBIDDEN_CALLS
                or called.rpartition(".")[2] in FORBIDDEN_METHODS
                or (called == "torch.load" and options.get("weights_only") != "True")
                or (
                    called in ("numpy.load", "numpy.lib.format.read_array")
                    and options.get("allow_pickle", "False") != "False"
                )
                or ("ckpt_path" in options and options.get("weights_only") != "True")
                or options.get("shell") == "True"
            ):
                yield f"{node.lineno}: {called}"


@pytest.mark.parametrize("folder", ["tinystyle", "flows", "infra", "scripts"])
def test_nothing_is_loaded_that_could_run_code(folder: str) -> None:
    files = sorted((REPOSITORY / folder).rglob("*.py"))
    assert files
    assert {str(file): found for file in files if (found := list(faults(file.read_text())))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import torch\ntorch.load(f)", "import torch\ntorch.load(f, weights_only=False)", "from torch import load\nload(f)",
        "import pickle as p\np.loads(b)", "from pickle import loads as l\nl(b)", "import yaml\nyaml.load(f, yaml.Loader)",
        "import numpy as np\nnp.load(f, allow_pickle=True)", "import joblib", "from dill import load", "eval(text)",
        "import zipfile\nzipfile.ZipFile(f).extractall()", "Module.load_from_checkpoint(f)", "run(text, shell=True)",
    ],
)  # fmt: skip
def test_the_walk_finds_it(line: str) -> None:
    assert list(faults(line))
    assert not list(
        faults("import torch, yaml, pickle\ntorch.load(f, weights_only=True)\nyaml.safe_load(f)\nnet.eval()")
    )

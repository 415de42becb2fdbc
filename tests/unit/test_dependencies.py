"""Dependencies: locks with checksums for every way to install, and no version with a known advisory."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.places import REPOSITORY

REQUIREMENTS = REPOSITORY / "requirements"
PINNED = [
    REPOSITORY / "constraints.txt", *sorted(REQUIREMENTS.glob("*.txt")),
    *sorted((REPOSITORY / "docker" / "requirements").glob("*.txt")),
]  # fmt: skip
ADVISORIES: list[dict[str, str]] = json.loads((REQUIREMENTS / "advisories.json").read_text())
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
CUDA = re.compile(r"nvidia-(?!ml-py)|cuda-|triton")


def pins(path: Path) -> dict[str, str]:
    """Canonical name to version, without a local part such as +cpu."""
    lines = re.findall(r"^([\w.-]+)==([\w.!]+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def declared() -> list[Requirement]:
    """Every requirement of pyproject.toml, extras and build included."""
    project = PROJECT["project"]
    lists = [project["dependencies"], PROJECT["build-system"]["requires"], *project["optional-dependencies"].values()]
    return [Requirement(text) for each in lists for text in each]


def both(one: SpecifierSet, other: SpecifierSet) -> Version | None:
    """Return a version that both allow, if there is one: a bound of either, or the next one after it."""
    bounds = {Version("0"), *(Version(each.version) for each in (*one, *other))}
    for bound in sorted(bounds | {Version(f"{bound}.0.0.1") for bound in bounds if not bound.is_prerelease}):
        if bound in one and bound in other:
            return bound
    return None


@pytest.mark.parametrize("path", PINNED, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_pinned_version_has_a_known_advisory(path: Path) -> None:
    found = pins(path)
    assert found
    for each in ADVISORIES:
        version = found.get(each["package"])
        assert version is None or version not in SpecifierSet(each["affected"]), (version, each)


def test_no_version_that_is_allowed_has_a_known_advisory() -> None:
    always = {Requirement(text).name: Requirement(text).specifier for text in PROJECT["project"]["dependencies"]}
    for requirement in declared():
        allowed = requirement.specifier & always.get(requirement.name, SpecifierSet())  # an extra adds to these
        for each in ADVISORIES:
            if each["package"] == canonicalize_name(requirement.name):
                common = both(allowed, SpecifierSet(each["affected"]))
                assert common is None, f"{requirement} allows {common}: {each}"


def test_advisories_are_about_packages_in_use_and_say_which_versions() -> None:
    """An entry with a misspelled name, or an empty range, would never be found."""
    used = set.union(*(set(pins(path)) for path in PINNED)) | {"python-multipart"}
    assert [each for each in ADVISORIES if each["package"] not in used] == []
    for each in ADVISORIES:
        assert SpecifierSet(each["affected"]), each
        assert re.fullmatch(r"(CVE|PYSEC)-\d{4}-\d+|GHSA(-\w{4}){3}", each["id"]), each
    assert (
        sorted(ADVISORIES, key=lambda each: (each["package"], Version(re.split("[<=,]+", each["affected"])[-1])))
        == ADVISORIES
    )


@pytest.mark.parametrize(
    ("allowed", "affected", "common"),
    [
        (">=2.6,<3", ">=2.6.2,<=2.6.3", "2.6.2"),
        (">=2.6.4,<3", ">=2.6.2,<=2.6.3", None),
        (">=2.6.1,!=2.6.2", "==2.6.2", None),
        (">=4", ">=5,<5.29.5", "5"),
        (">2.6.2", "<2.6.4", "2.6.2.0.0.1"),
        ("", "<1", "0"),
    ],
)
def test_a_floor_below_an_advisory_is_found(allowed: str, affected: str, common: str | None) -> None:
    found = both(SpecifierSet(allowed), SpecifierSet(affected))
    assert found == (Version(common) if common else None)


@pytest.mark.parametrize("name", ["library", "dev", "cuda", "torch-cpu"])
def test_a_lock_has_the_pinned_versions_with_checksums(name: str) -> None:
    """`make lock` writes the locks again after a change of constraints.txt or pyproject.toml."""
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    found, pinned = pins(REQUIREMENTS / f"{name}.txt"), pins(REPOSITORY / "constraints.txt")
    entries = re.findall(r"^[\w.-]+==.* \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE)
    assert len(entries) == len(found) == len(re.findall(r"^[\w.-]+==", text, re.MULTILINE))
    assert "".join(entries) == text.split("\n", 1)[1], "nothing but packages with checksums"
    assert bool(CUDA.match(next(iter(found)))) == (name == "cuda"), "CUDA is a lock of its own"
    elsewhere = {"appnope", "pywin32", "waitress"}  # packages of other systems
    assert {package: pinned.get(package) for package in found if not CUDA.match(package)} == {
        package: version for package, version in found.items() if not CUDA.match(package)
    } | dict.fromkeys(elsewhere & set(found))


@pytest.mark.parametrize("name", ["library", "dev"])
def test_a_lock_has_what_pyproject_asks_for(name: str) -> None:
    found = pins(REQUIREMENTS / f"{name}.txt")
    wanted = PROJECT["project"]["dependencies"] + PROJECT["build-system"]["requires"]
    if name == "dev":
        wanted += [each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra]
    for requirement in map(Requirement, wanted):
        package = canonicalize_name(requirement.name)
        assert package == "tinystyle" or found[package] in requirement.specifier, requirement
    assert "editables" in found, "pip install --editable without isolation needs it"
    assert (set(found) - {"appnope", "pywin32", "waitress"}) <= set(pins(REPOSITORY / "constraints.txt"))


def test_what_makes_every_import_of_prefect_slow_is_in_no_lock() -> None:
    for lock in (*REQUIREMENTS.glob("*.txt"), *(REPOSITORY / "docker" / "requirements").glob("*.txt")):
        assert "rfc3987-syntax" not in pins(lock), lock


def test_the_cpu_build_of_torch_is_that_of_the_images() -> None:
    images = (REPOSITORY / "docker" / "requirements" / "trainer-cpu.txt").read_text()
    assert (REQUIREMENTS / "torch-cpu.txt").read_text().partition("\n")[2] in images
    assert pins(REQUIREMENTS / "torch-cpu.txt") == {"torch": pins(REPOSITORY / "constraints.txt")["torch"]}


def test_every_way_to_install_checks_files() -> None:
    """No command of the Makefile, the workflow or the README lets pip fetch what is not in a lock."""
    script = (REQUIREMENTS / "install.sh").read_text()
    assert "--require-hashes --no-deps --only-binary :all:" in script
    places = ["Makefile", "README.md", "CONTRIBUTING.md", ".ci/run", *map(str, (REPOSITORY / ".github").rglob("*.yml"))]
    for place in places:
        for line in (REPOSITORY / place).read_text().splitlines():
            if "pip install" in line and not line.lstrip().startswith("#"):
                assert "--require-hashes" in line or "--no-index" in line, (place, line)

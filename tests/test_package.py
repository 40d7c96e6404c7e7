"""The repository's root is the package `deephedge`: what that layout rests on."""

import importlib.metadata
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import deephedge

NOT_PACKAGES = {"tests", "typings", "benchmarks", "docs", "runs", "build", "dist"}

# Import names of what comes with the extras and of what only develops; no user needs them.
EXTRAS = {"arch", "pandas", "pyarrow", "statsmodels", "optuna", "ray", "onnx", "onnxscript"}
EXTRAS |= {"QuantLib", "hypothesis", "pytest", "mypy", "mkdocs", "mkdocstrings"}

CUDA = ("nvidia-", "cuda-", "triton")  # what PyPI's torch brings along and the CPU build does not


def packages_under(root: Path) -> set[str]:
    """Import names of the root and of every folder below it that has an __init__.py."""
    found = set()
    for folder, below, files in os.walk(root):
        below[:] = [
            name
            for name in below
            if not name.startswith(".")
            and name not in NOT_PACKAGES
            and not Path(folder, name, "pyvenv.cfg").exists()
        ]
        if "__init__.py" in files:
            found.add(".".join(["deephedge", *Path(folder).relative_to(root).parts]))
    return found


def test_every_package_is_declared(root: Path, project: dict[str, Any]) -> None:
    declared = project["tool"]["setuptools"]["packages"]
    assert packages_under(root) == set(declared)
    assert len(declared) == len(set(declared))


def test_a_package_that_nobody_declared_is_noticed(tmp_path: Path) -> None:
    for folder in (".", "envs", "envs/markets/deep", "tests", ".venv/lib", "notes"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        if folder != "notes":
            (tmp_path / folder / "__init__.py").touch()
    assert packages_under(tmp_path) == {
        "deephedge",
        "deephedge.envs",
        "deephedge.envs.markets.deep",
    }


def test_the_root_holds_no_module_but_the_public_face(root: Path) -> None:
    assert [path.name for path in root.glob("*.py")] == ["__init__.py"]


def test_type_checkers_see_the_layout(root: Path, project: dict[str, Any]) -> None:
    links = root / "typings" / "deephedge"
    folders = {name.split(".")[1] for name in project["tool"]["setuptools"]["packages"][1:]}
    assert {link.name for link in links.iterdir()} == folders | {"__init__.py"}
    for link in links.iterdir():
        assert not os.path.isabs(os.readlink(link)), link
        assert link.resolve(strict=True) == root / link.name


def test_tests_import_one_copy_of_the_package(root: Path, project: dict[str, Any]) -> None:
    """From the root a bare `envs` would import as a second copy, with a registry of its own."""
    folders = {name.split(".")[1] for name in project["tool"]["setuptools"]["packages"][1:]}
    assert deephedge.__file__ is not None
    assert Path(deephedge.__file__).resolve() == root / "__init__.py"
    assert not folders & set(sys.modules)
    # With an __init__.py in tests/, pytest would take the root for the tests' package.
    assert not list((root / "tests").rglob("__init__.py"))


def test_the_version_is_written_once(project: dict[str, Any]) -> None:
    assert project["project"]["dynamic"] == ["version"]
    assert importlib.metadata.version("deephedge") == deephedge.__version__


def closure(requirements: list[str]) -> set[str]:
    """Names of all that `requirements` bring with them here, as far as it is installed."""
    queue = [Requirement(line) for line in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        requirement = queue.pop()
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        for line in importlib.metadata.distribution(requirement.name).requires or []:
            child = Requirement(line)
            extras = requirement.extras | {""}
            if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in extras):
                queue.append(child)
    return {name for name, _ in seen}


def test_constraints_pin_everything(root: Path, project: dict[str, Any]) -> None:
    """An unpinned torch pulls gigabytes, and a pin that PyPI does not have installs nowhere."""
    lines = (root / "constraints.txt").read_text().splitlines()
    pins = {}
    for line in (line for line in lines if not line.startswith("#")):
        match = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)  # no local version, no path, no -e
        assert match, line
        pins[canonicalize_name(match[1])] = match[2]
    extras = project["project"]["optional-dependencies"]
    declared = [*project["project"]["dependencies"], *itertools.chain(*extras.values())]
    for requirement in map(Requirement, declared):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])
    brought = {name for name in closure(declared) if not name.startswith(CUDA)}
    assert brought == set(pins)


def python(code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in an interpreter of its own, outside the repository."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")


def loaded_by(code: str) -> set[str]:
    """Top-level names of the modules that are loaded after `code`."""
    run = python(f"{code}\nimport sys, json\nprint(json.dumps(list(sys.modules)))")
    assert run.returncode == 0, run.stderr
    return {name.partition(".")[0] for name in json.loads(run.stdout)}


@pytest.mark.slow
def test_the_package_never_loads_the_extras() -> None:
    assert not EXTRAS & loaded_by("import deephedge")


@pytest.mark.slow
def test_a_loaded_extra_is_noticed() -> None:
    assert "pandas" in EXTRAS & loaded_by("import deephedge, pandas")


WITHOUT_EXTRAS = f"import sys\nsys.modules |= dict.fromkeys({sorted(EXTRAS)!r})\n"
EVERY_MODULE = """
import importlib, pkgutil, deephedge
for module in pkgutil.walk_packages(deephedge.__path__, "deephedge."):
    importlib.import_module(module.name)
    print(module.name)
"""


def test_every_module_imports_without_the_extras(project: dict[str, Any]) -> None:
    run = python(WITHOUT_EXTRAS + EVERY_MODULE)
    assert run.returncode == 0, run.stderr
    assert {*project["tool"]["setuptools"]["packages"]} - {"deephedge"} <= {*run.stdout.split()}


@pytest.mark.parametrize("extra", ["pandas", "arch.data.sp500"])
def test_a_module_that_needs_an_extra_is_noticed(extra: str) -> None:
    run = python(f"{WITHOUT_EXTRAS}import {extra}")
    assert "ModuleNotFoundError" in run.stderr

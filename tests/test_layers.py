"""Imports go downward only: the contracts of import-linter, and that each of them bites."""

import ast
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def copy(root: Path, project: dict[str, Any], tmp_path: Path) -> Path:
    """The package's modules under their import name, to be spoiled; returns its root."""
    for package in project["tool"]["setuptools"]["packages"]:
        inside = Path(*package.split(".")[1:])
        folder = tmp_path / "deephedge" / inside
        folder.mkdir()
        for module in (root / inside).glob("*.py"):
            shutil.copy(module, folder)
    return tmp_path / "deephedge"


def lint_imports(root: Path, beside: Path) -> "subprocess.CompletedProcess[str]":
    """Check the contracts of the repository on the package that lies in `beside`."""
    # The working folder comes before the editable install, so it is the copy that is read.
    program = Path(sysconfig.get_path("scripts"), "lint-imports")
    command = [program, "--config", root / "pyproject.toml", "--no-cache"]
    return subprocess.run(command, cwd=beside, capture_output=True, text=True)


def test_the_layers_are_kept(root: Path, copy: Path) -> None:
    run = lint_imports(root, copy.parent)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("envs/ledger.py", "from ..experiments import statistics", "experiments -> agents"),
        ("baselines/__init__.py", "from .. import agents", "experiments -> agents"),
        ("envs/markets/gbm.py", "from ..instruments import Claim", "envs: downward only"),
        ("envs/ledger.py", "from .environment import HedgingEnv", "envs: downward only"),
        ("envs/unplaced.py", "import math", "envs: downward only"),
        ("envs/instruments/claim.py", "from ..markets import Market", "envs: downward only"),
        ("envs/costs.py", "from .instruments import Claim", "costs and objectives"),
        ("envs/objectives.py", "from .pricing import Greeks", "costs and objectives"),
        ("envs/environment.py", "from .markets import Market", "no finance"),
        ("envs/vector_environment.py", "from .pricing import Greeks", "no finance"),
    ],
)
def test_an_import_upward_is_noticed(
    root: Path, copy: Path, path: str, line: str, contract: str
) -> None:
    with (copy / path).open("a") as module:
        module.write(f"\n{line}\n")
    run = lint_imports(root, copy.parent)
    assert run.returncode == 1, run.stdout
    broken = [row for row in run.stdout.splitlines() if row.endswith("BROKEN")]
    assert any(contract in row for row in broken), run.stdout


def absolute_imports(source: str) -> Iterator[str]:
    """First names of a module's absolute imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def test_imports_inside_the_package_are_relative(root: Path, project: dict[str, Any]) -> None:
    packages = [package.split(".")[1:] for package in project["tool"]["setuptools"]["packages"]]
    own = {"deephedge", *(package[0] for package in packages if package)}
    for package in packages:
        for module in root.joinpath(*package).glob("*.py"):
            assert not own & set(absolute_imports(module.read_text())), module


def test_an_absolute_import_is_noticed() -> None:
    source = "import os\n\ndef f():\n    from deephedge.envs import part\n    from .. import x\n"
    assert set(absolute_imports(source)) == {"os", "deephedge"}

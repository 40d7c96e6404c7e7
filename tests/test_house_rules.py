"""The rules that keep the code readable: ceilings checked here, bans by ruff."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 60  # lines, its docstring not counted
WIDEST_CONSTRUCTOR = 8  # arguments; beyond that a frozen model

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(root: Path, project: dict[str, Any]) -> Iterator[Path]:
    """Every module of the package."""
    for package in project["tool"]["setuptools"]["packages"]:
        yield from root.joinpath(*package.split(".")[1:]).glob("*.py")


def offences(source: str) -> list[str]:
    """Where a module is above a ceiling."""
    found = []
    if (length := source.count("\n")) > LONGEST_FILE:
        found.append(f"{length} lines")
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, Function):
            continue
        if (length := body_length(node)) > LONGEST_FUNCTION:
            found.append(f"line {node.lineno}: {node.name} has {length} lines")
        if node.name == "__init__" and (width := arguments(node) - 1) > WIDEST_CONSTRUCTOR:
            found.append(f"line {node.lineno}: the constructor takes {width} arguments")
    return found


def body_length(function: Function) -> int:
    """Lines of a function without its docstring."""
    docstring = ast.get_docstring(function, clean=False)
    of_docstring = docstring.count("\n") + 1 if docstring else 0
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1 - of_docstring


def arguments(function: Function) -> int:
    """Number of a function's arguments, self included."""
    named = function.args
    return len(named.posonlyargs) + len(named.args) + len(named.kwonlyargs)


def test_files_functions_and_constructors_stay_small(root: Path, project: dict[str, Any]) -> None:
    rows = [
        f"{path.relative_to(root)}: {offence}"
        for path in modules(root, project)
        for offence in offences(path.read_text())
    ]
    assert not rows, "\n".join(rows)


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        ("x = 1\n" * LONGEST_FILE, "x = 1\n" * (LONGEST_FILE + 1)),
        (
            "def f():\n    '''Of\n\n    three.'''\n" + "    x = 1\n" * (LONGEST_FUNCTION - 1),
            "def f():\n    '''Of\n\n    three.'''\n" + "    x = 1\n" * LONGEST_FUNCTION,
        ),
        (
            "class A:\n    def __init__(self, a, b, c, d, e, /, f, *, g, h): ...\n",
            "class A:\n    def __init__(self, a, b, c, d, e, /, f, *, g, h, i): ...\n",
        ),
    ],
    ids=["file", "function", "constructor"],
)
def test_the_ceilings_are_where_they_are_said_to_be(within: str, beyond: str) -> None:
    assert offences(within) == []
    assert len(offences(beyond)) == 1


@pytest.mark.parametrize(
    ("path", "line", "rule"),
    [
        ("envs/ledger.py", "import envs", "TID251"),
        ("envs/ledger.py", "from envs.markets import Market", "TID251"),
        ("tests/test_ledger.py", "from agents import as_sb3_env", "TID251"),
        ("benchmarks/step.py", "import baselines", "TID251"),
        ("experiments/evaluate.py", "import experiments.report", "TID251"),
        ("envs/ledger.py", "print(1)", "T201"),
        ("experiments/evaluate.py", "print(1)", "T201"),
        ("experiments/commands/command_line.py", "print(1)", None),
        ("envs/ledger.py", "# TODO: later", "FIX002"),
        ("tests/test_ledger.py", "# FIXME: later", "FIX001"),
        ("envs/ledger.py", "np.random.seed(0)", "NPY002"),
    ],
)
def test_ruff_bans(root: Path, path: str, line: str, rule: str | None) -> None:
    """The bans live in pyproject.toml: each is shown to bite."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise"]
    source = f'"""A module."""\n\nimport numpy as np\n\n{line}\n'
    run = subprocess.run(
        [*command, f"--stdin-filename={path}", "-"],
        cwd=root,
        input=source,
        capture_output=True,
        text=True,
    )
    if rule is None:
        assert " T20" not in run.stdout
    else:
        assert f" {rule} " in run.stdout, run.stdout + run.stderr

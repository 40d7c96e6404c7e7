"""The code in README and docs runs, and published tables are those of the committed results."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/extending.md"])
def test_the_code_runs(root: Path, tmp_path: Path, page: str) -> None:
    # In a process of its own: the page registers kinds. All blocks of a page are one program.
    blocks = BLOCK.findall((root / page).read_text(encoding="utf-8"))
    assert blocks
    program = tmp_path / "page.py"
    program.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def make_figures(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_figures", root / "docs/make_figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readmes_tables_are_the_committed_results(root: Path) -> None:
    maker = make_figures(root)
    readme = (root / "README.md").read_text(encoding="utf-8")
    shown = readme.partition(maker.START)[2].partition(maker.END)[0]
    assert shown == f"\n{maker.results()}"


def test_every_figure_of_the_readme_is_there(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((docs/[^)#]+)\)", readme)
    assert linked
    assert [link for link in linked if not (root / link).is_file()] == []


def test_the_makefile_has_every_word_of_the_readme(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for word in re.findall(r"\bmake ([a-z-]+)\b", readme):
        assert re.search(rf"^{word}:", makefile, re.MULTILINE), word

"""Plugins: one of a name, and a study that was made with one goes on with no other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deephedge.experiments.plugins import load_plugin, loaded_plugins
from deephedge.experiments.questions import continued, made_with, versions


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "mine.py").write_text("SHARE = 1\n")
    yield tmp_path / "mine.py"
    sys.modules.pop("deephedge_plugin_mine", None)


def test_two_of_one_name_are_refused(file: Path) -> None:
    other = file.parent / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text("SHARE = 2\n")
    load_plugin(file)
    with pytest.raises(ValueError, match=f"--plugin {other}: named as {file}: rename one of them"):
        load_plugin(other)
    assert [plugin.code for plugin in loaded_plugins()] == [b"SHARE = 1\n"]
    load_plugin(file)  # the same again is no other


def test_a_file_is_the_same_from_another_folder(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a relative name means another one there."""
    monkeypatch.chdir(file.parent)
    load_plugin(Path(file.name))
    other = file.parent / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    load_plugin(file)
    (other / "mine.py").write_text("SHARE = 2\n")
    with pytest.raises(ValueError, match=f"--plugin mine.py: named as {file}: rename one of them"):
        load_plugin(Path("mine.py"))


def test_one_that_fails_leaves_the_one_before(file: Path) -> None:
    load_plugin(file)
    file.write_text("1 / 0\n")
    with pytest.raises(ValueError, match="ZeroDivisionError"):
        load_plugin(file)
    assert [plugin.code for plugin in loaded_plugins()] == [b"SHARE = 1\n"]


def test_a_study_goes_on_with_the_same_code_only(file: Path) -> None:
    study = file.parent / "study" / "question.json"
    load_plugin(file)
    with continued(study, made_with()):
        (study.parent / "result").touch()
    with continued(study, made_with()):
        pass
    file.write_text("SHARE = 3\n")
    load_plugin(file)
    with (
        pytest.raises(ValueError, match=r"is of other plugin mine\.py"),
        continued(study, made_with()),
    ):
        pass
    assert set(made_with()) - set(versions()) == {"plugin mine.py"}

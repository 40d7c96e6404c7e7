"""Files are whole or as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deephedge.experiments.whole_files import write_json, write_text


def test_json_files_are_strict_and_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1.5, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1.5, None]}
    document: dict[str, Any] = {"x": float("nan")}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", document)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_file_stays_where_another_cannot_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / "a.svg", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.svg", "\ud800")
    assert (tmp_path / "a.svg").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]

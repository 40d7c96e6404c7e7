"""``deephedge report``: what it writes, says and refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Deephedge = Callable[..., Any]


def test_runs_and_files_on_one_page(
    deephedge: Deephedge, finished_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    ran = deephedge("evaluate", "short-call-jumps", "--hedger", "static", "--paths", "50", "--json")
    (tmp_path / "jumps.json").write_text(ran.out)
    ran = deephedge(
        "report", "run", "jumps.json", "--paths", "300", "--out", "new/r.html", "--json"
    )
    assert (ran.code, ran.err) == (0, "report: new/r.html\n")
    run, jumps = ran.json
    assert (run["scenario"], run["paths"]) == ("short-call", 300)
    assert "run" in [each["name"] for each in run["hedgers"]]
    assert (jumps["scenario"], jumps["paths"]) == ("short-call-jumps", 50)
    assert (tmp_path / "new" / "r.html").exists()


def test_what_is_unfinished_is_left_out_and_named(
    deephedge: Deephedge, finished_run: Path, tmp_path: Path
) -> None:
    for name in ("done", "begun"):
        shutil.copytree(finished_run, tmp_path / "c" / name)
    shutil.rmtree(tmp_path / "c" / "begun" / "policy")
    (tmp_path / "c" / "begun" / "checkpoint").mkdir()
    (tmp_path / "c" / "begun" / "checkpoint" / "state.safetensors").touch()
    ran = deephedge("report", "c", "--paths", "300")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == (
        "left out: c/begun, an unfinished training; continue with: deephedge train --resume "
        "c/begun\nreport: report.html\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: there is no such folder or file"),
        (["bare"], "bare: not a run directory: it has no folder 'policy'"),
        (["text.txt"], "text.txt: not JSON"),
        (["other.json"], "other.json: no evaluation (it has no 'paths'): give the JSON of"),
        (["bare", "--out", "text.txt"], "text.txt exists: give another --out, or remove it"),
        (["bare", "--paths", "1"], "'--paths'"),
        ([], "Missing argument 'PATH...'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str], message: str, deephedge: Deephedge, tmp_path: Path
) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "other.json").write_text("{}")
    before = set(tmp_path.rglob("*"))
    ran = deephedge("report", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ") and message in ran.err and ran.err.count("\n") == 1
    assert set(tmp_path.rglob("*")) == before

"""The report in a browser: nothing is asked for, nothing complains, nothing is cut off."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deephedge.baselines import StaticHedge
from deephedge.envs import Scenario
from deephedge.experiments.commands import report as command
from deephedge.experiments.evaluation import evaluate
from deephedge.experiments.recorded import read_evaluations
from deephedge.experiments.reports.report import RecordedSection, write_report

LARGEST = 5_000_000  # bytes
# Texts of the page and its figures beyond an edge of the window, but for those that scroll.
CUT_OFF = """(right => [...document.querySelectorAll('svg text, h1, h2, p, dd, li, figcaption')]
  .filter((e) => !e.closest('.scroll, pre, details') && e.textContent.trim())
  .map((e) => [e.textContent.trim().slice(0, 40), e.getBoundingClientRect()])
  .filter(([_, box]) => box.width && (box.left < -1 || box.right > right))
  .map(([text, box]) => `${text}: ${Math.round(box.left)} to ${Math.round(box.right)}`)
)(document.documentElement.clientWidth + 1)"""


@pytest.fixture(scope="module")
def browser(root: Path) -> ModuleType:
    """``docs/browser.py``."""
    spec = importlib.util.spec_from_file_location("browser", root / "docs" / "browser.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def recorded(brief: Callable[..., Scenario], tmp_path: Path) -> Path:
    path = tmp_path / "jumps.json"
    path.write_text(
        json.dumps(evaluate(brief("short-call-jumps"), [StaticHedge()], 400).document())
    )
    return path


def test_a_recorded_evaluation_is_shown_without_its_paths(recorded: Path, tmp_path: Path) -> None:
    (evaluation,) = read_evaluations(recorded)
    out = tmp_path / "report.html"
    write_report(out, "Recorded", [RecordedSection(evaluation, ["From a file."])], "deephedge")
    text = out.read_text(encoding="utf-8")
    assert len(text) < LARGEST
    assert "<script" not in text and "://" not in text
    assert text.count("<figure>") == 1 and "Cost against risk" in text
    assert "P&amp;L of every hedger" not in text
    assert "From a file." in text and "400 evaluation paths, seed 0" in text
    assert "as YAML" not in text


@pytest.mark.slow
def test_the_report_reads_well_on_a_phone_and_on_a_desk(
    browser: ModuleType,
    deephedge: Callable[..., Any],
    finished_run: Path,
    recorded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executable = browser.find_chromium()
    if executable is None:
        pytest.skip("no Chromium is installed")
    for name in ("ppo-seed0", "ppo-with-a-long-name-seed1"):
        shutil.copytree(finished_run, tmp_path / "runs" / name)
    monkeypatch.setattr(command, "write_report", write_report)  # not the fixture's, which is none
    ran = deephedge("report", "runs", str(recorded), "--paths", "2000", "--out", "report.html")
    assert ran.code == 0, ran.err
    path = tmp_path / "report.html"
    assert path.stat().st_size < LARGEST
    with browser.chromium(executable) as page:
        for width, height in ((390, 844), (1440, 900)):
            page.open(path.as_uri(), width, height)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(CUT_OFF) == []
            assert page.evaluate("document.querySelectorAll('figure').length") > 10
        assert page.complaints == []
        outside = [url for url in page.requests if not url.startswith(("file:", "data:"))]
        assert outside == []


@pytest.mark.slow
def test_a_fault_would_be_seen(browser: ModuleType, tmp_path: Path) -> None:
    """What is asserted above fails where it should."""
    executable = browser.find_chromium()
    if executable is None:
        pytest.skip("no Chromium is installed")
    path = tmp_path / "faulty.html"
    path.write_text(
        "<meta name=viewport content='width=device-width'><p style='width:700px'>wide</p>"
        "<script>console.error('ouch')</script><img src='http://127.0.0.1:9/x.png'>"
    )
    with browser.chromium(executable) as page:
        page.open(path.as_uri(), 390, 844)
        assert page.evaluate("document.documentElement.scrollWidth") > 390
        assert any("wide" in each for each in page.evaluate(CUT_OFF))
        assert any("ouch" in each for each in page.complaints)
        assert any("x.png" in url for url in page.requests)
        with pytest.raises(RuntimeError, match="ERR_FILE_NOT_FOUND"):
            page.open((tmp_path / "none.html").as_uri(), 390, 844)

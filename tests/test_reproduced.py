"""Committed results of ``deephedge reproduce``: whole, of the papers' numbers, and as judged."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deephedge.experiments.reproductions import paper_names, read_paper, verdicts

CHECKS = ("<!-- checks -->", "<!-- /checks -->")


def result(root: Path, name: str) -> Any:
    path = root / f"docs/results/reproduce-{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", paper_names())
def test_a_committed_result_is_whole_and_judged_as_it_says(root: Path, name: str) -> None:
    paper, document = read_paper(name), result(root, name)
    assert list(document["cells"]) == [cell.name for cell in paper.cells]
    assert document["title"] == paper.title and document["source"] == paper.source
    for cell in paper.cells:
        found = document["cells"][cell.name]
        assert found["published"] == {n: row.model_dump() for n, row in cell.published.items()}
        assert found["must"] == cell.must
        assert found["paths"] >= 100_000 and found["command"].startswith("deephedge reproduce")
        assert {learner.name for learner in paper.learners} <= set(found["rows"])
        for row, entry in found["rows"].items():
            assert entry["verdict"] == verdicts(paper, row, entry["figures"], cell.published), row
            assert set(entry["figures"]) >= set(paper.measures)


@pytest.mark.parametrize("name", paper_names())
def test_the_musts_hold(root: Path, name: str) -> None:
    for cell in result(root, name)["cells"].values():
        for row, bounds in cell["must"].items():
            for measure, most in bounds.items():
                assert cell["rows"][row]["figures"][measure]["value"] <= most, (row, measure)


def test_the_market_makers_book_is_hedged_better_than_by_the_paper_or_one_ratio(root: Path) -> None:
    """In the judged risk by the policy trained on it, in CVaR 95 by the one trained on that."""
    cells = result(root, "cao-gamma-vega")["cells"]
    assert list(cells) == ["cost-0.5", "cost-1", "cost-2"]
    for name, cell in cells.items():
        rows, published = cell["rows"], cell["published"]
        for rule in ("delta", "delta-gamma"):
            assert rows[rule]["verdict"] == {rule: "reproduced"}, (name, rule)
        (ratio,) = (row for row in rows if row.startswith("delta-gamma:ratio="))
        for learner, measure in (("deep-hedging", "risk"), ("deep-hedging-cvar", "cvar_95")):
            others = [published[each]["figures"][measure] for each in ("rl-mean-std", "rl-cvar")]
            others.append(rows[ratio]["figures"][measure]["low"])
            assert rows[learner]["figures"][measure]["high"] < min(others), (name, learner)


def test_nonlinear_costs_are_hedged_better_than_by_the_reports_agents(root: Path) -> None:
    cells = result(root, "yasuda-nonlinear-costs")["cells"]
    assert list(cells) == ["alpha-1e-3", "alpha-4e-3", "alpha-8e-3"]
    for name, cell in cells.items():
        rows = cell["rows"]
        assert rows["delta"]["verdict"] == {"delta": "reproduced"}, name
        assert set(rows["deep-hedging"]["verdict"].values()) == {"beaten"}, name
        (band,) = (row for row in rows if row.startswith("band:width="))
        ours, rule = (rows[row]["figures"]["risk"] for row in ("deep-hedging", band))
        assert ours["high"] < rule["low"], name


def test_deltas_rows_are_reproduced_and_learners_beat_the_papers(root: Path) -> None:
    gbm = result(root, "cao-chen-hull-poulos")["cells"]
    assert len(gbm) == 8
    for name, cell in gbm.items():
        assert cell["rows"]["delta"]["verdict"] == {"delta": "reproduced"}, name
        for row in ("deep-hedging", "ppo"):
            assert cell["rows"][row]["verdict"]["rl"] == "beaten", (name, row)
    sabr = result(root, "cao-chen-hull-poulos-sabr")["cells"]
    assert len(sabr) == 8
    for name, cell in sabr.items():
        assert {"practitioner-delta", "minimum-variance"} <= set(cell["rows"])
        assert cell["rows"]["deep-hedging"]["verdict"]["rl"] == "beaten", name


def test_the_page_is_the_committed_results(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root / "docs")
    tables: ModuleType = importlib.import_module("reproduction_tables")
    page = (root / "docs/reproductions.md").read_text(encoding="utf-8")
    shown = page.partition(CHECKS[0])[2].partition(CHECKS[1])[0]
    assert shown == f"\n{tables.reproductions()}\n"
    for name in paper_names():
        assert f"## {name}\n" in page

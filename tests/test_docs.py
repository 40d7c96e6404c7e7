"""Published tables are those of the committed results; every kind has its page."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import math
import re
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deephedge.baselines import baseline_kinds
from deephedge.envs.instruments import Claim
from deephedge.envs.markets import Market
from deephedge.envs.objectives import Objective
from deephedge.envs.part import Kind
from deephedge.experiments.evaluation import HedgerResult


def script(root: Path, name: str) -> ModuleType:
    """A script of docs; its name may be that of a library too."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", root / f"docs/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # where dataclasses look for their own
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def maker(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``docs/make_figures.py``, which finds the scripts beside it."""
    monkeypatch.syspath_prepend(root / "docs")
    return script(root, "make_figures")


def test_the_readmes_tables_are_the_committed_results(root: Path, maker: ModuleType) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    shown = readme.partition(maker.START)[2].partition(maker.END)[0]
    assert shown == f"\n{maker.results()}"


@pytest.mark.parametrize(
    "folder",
    [
        "markets",
        "claims",
        "pricing",
        "baselines",
        "optimum",
        "agents",
        "reproductions",
        "sweep",
        "strategies",
        *("transfer", "frontier", "explain", "stress"),
        "scenarios",
        "results.md",
        "backtest.md",
    ],
)
def test_the_tables_of_the_pages_are_the_committed_results(folder: str, maker: ModuleType) -> None:
    tables: dict[Path, str] = maker.tables()
    chosen = {page: text for page, text in tables.items() if folder in str(page)}
    assert chosen
    for page, text in chosen.items():
        start, end = maker.CHECKS
        shown = page.read_text(encoding="utf-8").partition(start)[2].partition(end)[0]
        assert shown == f"\n{text}\n", page.name


def test_every_figure_and_page_that_is_linked_is_there(root: Path) -> None:
    for page in [root / "README.md", *(root / "docs").rglob("*.md")]:
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == [], page.name
        if page.parent.name in ("markets", "claims"):
            assert any(link.endswith(".svg") for link in links), page.name


@pytest.mark.parametrize(("family", "folder"), [(Market, "markets"), (Claim, "claims")])
def test_every_kind_has_a_page_and_a_line_in_the_readme(
    root: Path, family: type[Kind], folder: str
) -> None:
    pages = "".join(page.read_text("utf-8") for page in (root / "docs" / folder).glob("*.md"))
    readme = (root / "README.md").read_text(encoding="utf-8")
    for name, kind in family.kinds.items():
        if kind.__module__.startswith("deephedge."):
            assert f"`{name}`" in pages or f"kind: {name}" in pages, name
    if family is Market:
        for name, kind in family.kinds.items():
            if kind.__module__.startswith("deephedge."):
                assert f"`{name}`" in readme, name


def biased(kind: str, quantity: str) -> bool:
    """Whether a coarse step may show: the moments are exact, the prices of calls are not."""
    return kind in ("heston", "bates") and quantity.startswith("call")


def test_every_market_was_measured_and_is_right(root: Path) -> None:
    """Within 4 standard errors; a scheme's bias may show at coarse steps, never at the finest."""
    document = json.loads((root / "docs/results/markets.json").read_text(encoding="utf-8"))
    assert document["paths"] >= 1_000_000
    measured = set()
    for check in document["checks"].values():
        measured.add(check["market"]["kind"])
        *coarse, finest = check["steps"].values()
        assert len(coarse) == 2
        for row in [*finest, *itertools.chain(*coarse)]:
            if row in finest or not biased(check["market"]["kind"], row["of"]):
                assert abs(row["score"]) < 4, row
    ours = {n for n, kind in Market.kinds.items() if kind.__module__.startswith("deephedge.")}
    assert measured == ours - {"replay"}  # which returns what was recorded


def result(root: Path, name: str) -> Any:
    return json.loads((root / f"docs/results/{name}.json").read_text(encoding="utf-8"))


def test_every_interval_covers(root: Path) -> None:
    """Nominal is 95 %; every figure of an evaluation and every objective, on three laws."""
    document = result(root, "coverage")
    assert document["paths"] == 10_000 and document["repetitions"] >= 2_000
    for row in document["rows"]:
        assert row["given"] == 1.0 and 0.93 <= row["covered"] <= 0.97, row
    figures = {row["figure"].partition(", ")[0] for row in document["rows"]}
    estimates = {each.name for each in fields(HedgerResult) if "Estimate" in each.type}
    assert estimates <= figures
    kinds = {kind for kind in Objective.kinds.values() if kind.__module__.startswith("deephedge.")}
    assert len({figure for figure in figures if figure not in estimates}) >= len(kinds)
    endings = {row["figure"].partition(", ")[2].partition(" ")[0] for row in document["rows"]}
    assert endings == {"", "less", "over"}


@pytest.mark.parametrize(
    ("law", "paths", "repetitions"),
    [
        ("short-call", 1_000, 80),
        pytest.param("short-call-jumps", 10_000, 400, marks=pytest.mark.slow),
        pytest.param("portfolio-insurance", 10_000, 400, marks=pytest.mark.slow),
    ],
)
def test_intervals_cover_in_a_small_simulation(
    law: str,
    paths: int,
    repetitions: int,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same simulation as the published one, within 5 standard errors of its count."""
    coverage = script(root, "coverage")
    monkeypatch.setattr(coverage, "POPULATION", coverage.BLOCK)
    monkeypatch.setattr(coverage, "PATHS", paths)
    error = math.sqrt(0.95 * 0.05 / repetitions)
    rows = [row for row in coverage.coverage(law, repetitions) if row["given"] > 0.9]
    assert len(rows) > 60
    for row in rows:
        assert abs(row["covered"] - 0.95) < 5 * error, row


def test_the_optimum_agrees_with_its_simulation_and_nobody_beats_it(root: Path) -> None:
    """Within 4 standard errors plus its own error, in every case of the issue's matrix."""
    document = result(root, "optimum")
    cases = document["cases"]
    assert document["paths"] == 1_000_000
    keys = {(c["preset"], c["book"], c["basis_points"], c["aversion"]) for c in cases}
    assert len(keys) == len(cases) == 4 * (3 * 3 + 3 + 3 + 2)
    for case in cases:
        assert abs(case["risk"] - case["value"]) < 4 * case["standard_error"] + case["error"], case
        assert case["error"] < 0.001 * abs(case["price"])
        assert len(case["rivals"]) == 10
        assert min(rival["above"] for rival in case["rivals"].values()) > -4


def test_widths_and_prices_approach_their_powers_of_the_cost(root: Path, maker: ModuleType) -> None:
    """1/3 and 2/3, and the limits of continuous trading, nearer at every finer grid of dates."""
    tables, document = importlib.import_module("baseline_tables"), result(root, "cost-scaling")
    off = []
    for case in document["cases"]:
        rows = {row["basis_points"]: row for row in case["rows"]}
        widths = [row["half_width"] / row["half_width_limit"] for row in rows.values()]
        off.append(
            [
                abs(tables.slope(case["rows"], "half_width") - 1 / 3),
                abs(tables.slope(case["rows"], "premium") - 2 / 3),
                1 - max(widths),
                abs(1 - rows[0.5]["premium"] / rows[0.5]["premium_limit"]),
            ]
        )
    assert [case["dates"] for case in document["cases"]] == [30, 120, 480]
    for coarse, finer in itertools.pairwise(off):
        assert all(a > b for a, b in zip(coarse, finer, strict=True))
    assert max(off[-1]) < 0.035
    shares = [case["share"] for case in document["whalley_wilmott"]]
    assert shares == sorted(shares) and shares[0] < 0.05 < 0.2 < shares[2]


def test_every_rule_was_measured_on_four_markets(root: Path) -> None:
    document = result(root, "cost-sweep")
    assert list(document["markets"]) == ["gbm", "merton", "heston", "bates", "heston + call"]
    kinds = {
        name.partition(":")[0]
        for by_cost in document["markets"].values()
        for found in by_cost.values()
        for name in found
    }
    ours = {n for n, kind in baseline_kinds().items() if kind.__module__.startswith("deephedge.")}
    elsewhere = {  # they are for other books than a call: docs/strategies
        *("hoggard-whalley-wilmott", "cppi", "obpi", "stop-loss", "put-overlay", "kelly"),
        *("protective-put", "exchange-ratio", "over-hedge", "jump-to-default"),
    }
    assert kinds == ours - elsewhere
    heston = document["markets"]["heston"]["0 bp"]
    assert heston["minimum-variance"]["versus_delta"]["high"] < 0


def test_every_rule_has_a_line_in_the_docs(root: Path) -> None:
    page = (root / "docs/baselines.md").read_text(encoding="utf-8")
    for name, kind in baseline_kinds().items():
        if kind.__module__.startswith("deephedge."):
            assert f"`{name}`" in page or f"`{name}:" in page, name


def test_the_makefile_has_every_word_of_the_readme(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for word in re.findall(r"\bmake ([a-z-]+)\b", readme):
        assert re.search(rf"^{word}:", makefile, re.MULTILINE), word


def test_agents_come_as_near_to_the_optimum_as_they_must(root: Path) -> None:
    """Means over 5 seeds; and no seed is worse than delta."""
    runs = result(root, "agent-gaps")["runs"]
    least = {"deep-hedging": 0.99, "deep-hedging, feed-forward": 0.96, "ppo": 0.96}
    for problem in ("20 bp", "100 bp", "jumps", "straddle"):
        for agent, share in least.items():
            closed = [
                run["gap_closed"]
                for run in runs
                if run["problem"] == problem and run["agent"] == agent
            ]
            assert len(closed) == 5
            assert sum(closed) / 5 >= share, (problem, agent)
    for agent in ("sac", "td3", "tqc"):
        found = {(r["problem"], r["seed"]) for r in runs if r["agent"] == agent}
        assert found == {(p, s) for p in ("0 bp", "5 bp", "20 bp", "100 bp") for s in range(5)}
    for run in runs:
        cheap = run["problem"] in ("0 bp", "5 bp")
        allowed = 0.01 * 2.2871 if cheap else 0.0  # of the call's premium
        assert run["versus_delta"]["difference"] <= allowed, run

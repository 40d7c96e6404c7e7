"""Explain: the blotter is the ledger's, and where holdings differ is what was done to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.baselines import (
    BandHedge,
    DeltaHedge,
    OptimalHedge,
    StaticHedge,
    parse_baseline,
    solve,
)
from deephedge.baselines.optimum.bands import BandOptimum
from deephedge.envs import Known, Outcome, Scenario, load_scenario, rollout, simulate
from deephedge.experiments.differences import delta_holdings, differences
from deephedge.experiments.evaluation import evaluation_block
from deephedge.experiments.explanation import explain

Deephedge = Callable[..., Any]


def test_the_blotter_is_the_ledgers(brief: Callable[..., Scenario], few_paths: None) -> None:
    scenario = brief("gamma-hedge-jumps")
    found = explain(scenario, parse_baseline("delta-gamma"), paths=64, seed=2, path="median")
    pnl = np.asarray(found.attribution.outcome.pnl)
    assert pnl[found.path] == np.sort(pnl)[31]
    steps = found.blotter
    assert [step["day"] for step in steps] == pytest.approx([0, 6, 12, 18, 24])
    assert sum(step["pnl"] for step in steps) == pytest.approx(pnl[found.path], abs=1e-12)
    assert steps[-1]["wealth"] == pytest.approx(pnl[found.path])
    held = np.cumsum([step["trade"] for step in steps], axis=0)
    np.testing.assert_allclose(held, [step["holding"] for step in steps], atol=1e-12)
    for step in steps:
        assert sum(step["parts"].values()) == pytest.approx(step["pnl"], abs=1e-9)
        assert step["greeks"]["delta"] == pytest.approx(0.0, abs=1e-12)
        assert step["greeks"]["gamma"] == pytest.approx(0.0, abs=1e-12)
    costs = found.totals["cost"][0].value
    assert -costs == pytest.approx(np.asarray(found.attribution.outcome.cost).mean())


@pytest.mark.parametrize(("which", "rank"), [("worst", 0), ("best", -1)])
def test_which_path(which: str, rank: int, brief: Callable[..., Scenario], few_paths: None) -> None:
    found = explain(brief(), DeltaHedge(), paths=32, path=which)
    pnl = np.asarray(found.attribution.outcome.pnl)
    assert pnl[found.path] == np.sort(pnl)[rank]
    assert explain(brief(), DeltaHedge(), paths=32, path="7").path == 7
    with pytest.raises(ValueError, match="path '32'"):
        explain(brief(), DeltaHedge(), paths=32, path="32")


def recorded(scenario: Scenario, inertia: float, lean: float) -> tuple[Any, Outcome, Any]:
    """An outcome whose holdings keep a share of the old distance to delta and aim beside it."""
    episodes = simulate(scenario, 256, torch.Generator().manual_seed(0))
    outcome = rollout(scenario, episodes, DeltaHedge(), record=True)
    neutral = delta_holdings(scenario, episodes, outcome)
    held, rows = np.zeros_like(neutral[0]), []
    for target in neutral:
        held = target + lean + inertia * (held - target)
        rows.append(held)
    return episodes, replace(outcome, holding=np.stack(rows)[..., None]), neutral


def test_lean_and_inertia_are_found_again() -> None:
    scenario = load_scenario("short-call", {"calendar.steps": "12"})
    for inertia, lean in ((0.6, 0.0), (0.3, -0.1)):
        episodes, outcome, neutral = recorded(scenario, inertia, lean)
        found = differences(scenario, episodes, outcome, neutral)
        assert sum(each.share for each in found) == pytest.approx(1.0)
        assert [e.absolute for e in found] == sorted([e.absolute for e in found], reverse=True)
        for each in found:
            if each.share > 0.02 and each.time_left[0] < 0.6:
                assert each.inertia == pytest.approx(inertia, abs=1e-6)
                assert each.lean == pytest.approx(lean, abs=1e-6)


def test_delta_does_not_differ_from_delta_and_a_band_keeps_within_its_width() -> None:
    scenario = load_scenario("short-call", {"calendar.steps": "12"})
    episodes = simulate(scenario, 128, torch.Generator().manual_seed(0))
    for hedger, most in ((DeltaHedge(), 1e-12), (BandHedge(width=0.1), 0.1 + 1e-12)):
        outcome = rollout(scenario, episodes, hedger, record=True)
        neutral = delta_holdings(scenario, episodes, outcome)
        found = differences(scenario, episodes, outcome, neutral)
        assert max(each.absolute for each in found) <= most


class Half:
    """Goes half of the way that a rule goes, on every second date; else it trades 0.05 more."""

    name = "half"

    def __init__(self, rule: Any) -> None:
        self.rule = rule

    def start(self, n: int) -> None:
        """No memory."""

    def act(self, known: Known, state: None) -> tuple[Any, None]:
        """From where it stands."""
        asked, _ = self.rule.act(known, None)
        if known.t % 2:
            return known.holding + 0.05, None
        return (known.holding + asked) / 2, None


def test_the_optimum_is_asked_from_the_hedgers_own_holdings() -> None:
    """Its band from the start, by hand: needless and missed trades counted one by one."""
    scenario = load_scenario("short-call", {"calendar.steps": "6"})
    found = explain(scenario, Half(OptimalHedge()), paths=512)
    held = np.asarray(found.attribution.outcome.holding)[..., 0]
    before = np.concatenate([np.zeros_like(held[:1]), held[:-1]])
    optimum = solve(scenario)
    assert isinstance(optimum, BandOptimum)
    spot = evaluation_block(scenario, 0, 0).numpy().spot[:6, :512]
    lower, upper = (
        np.stack([np.interp(np.log(spot[t]), optimum.log_spot[t], edge[t]) for t in range(6)])
        for edge in (optimum.lower, optimum.upper)
    )
    goes = np.clip(before, lower, upper)
    buckets = found.against["optimal"]
    weights = [each.share for each in buckets]

    def overall(name: str) -> float:
        return float(np.dot(weights, [getattr(each, name) for each in buckets]))

    asked = np.abs(goes - before) > 1e-9
    assert overall("absolute") == pytest.approx(np.abs(held - goes).mean(), rel=1e-6)
    assert overall("needless") == pytest.approx((~asked & (held != before)).mean(), abs=1e-9)
    assert overall("needless") > 0.1
    assert overall("missed") == pytest.approx((asked & (held == before)).mean(), abs=1e-9)
    idle = explain(scenario, StaticHedge(), paths=512).against["optimal"]
    missed = sum(each.share * each.missed for each in idle)
    assert missed > 0.3 and sum(each.share * each.needless for each in idle) < 0.2


def test_the_command(deephedge: Deephedge) -> None:
    arguments = ["explain", "sp500-call", "--set", "calendar.steps=5", "--paths", "64"]
    document = deephedge(*arguments, "--hedger", "band", "--path", "best", "--json").json
    assert document["hedger"] == "band" and document["path"]["chosen"] == "best"
    assert len(document["path"]["steps"]) == 5 and len(document["ladder"]) == 55
    assert list(document["differences"]) == ["delta"]
    means = {each["part"]: each["mean"]["value"] for each in document["totals"]}
    assert sum(v for k, v in means.items() if k != "pnl") == pytest.approx(means["pnl"], abs=1e-9)
    shown = deephedge(*arguments, "--hedger", "band").out
    for heading in ("hedge effectiveness", "(worst)", "Greeks of the position", "stress grid"):
        assert heading in shown
    assert "differs most from that of delta" in shown
    refused = deephedge(*arguments, "--path", "nowhere")
    assert refused.code == 2 and "give worst, median, best or a number" in refused.err


@pytest.mark.slow
def test_a_run_is_compared_with_delta_and_the_optimum(
    deephedge: Deephedge, finished_run: Path
) -> None:
    run = ["explain", "short-call", "--set", "calendar.steps=5", "--paths", "64"]
    document = deephedge(*run, "--hedger", str(finished_run), "--json").json
    assert list(document["differences"]) == ["delta", "optimal"]

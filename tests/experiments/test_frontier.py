"""Frontiers: over a rule's own option, and over the size of the position."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deephedge.baselines import BandHedge, DeltaHedge
from deephedge.envs import load_scenario
from deephedge.experiments import evaluate
from deephedge.experiments.frontier import frontier, of_size, size_frontier
from deephedge.experiments.reports.frontier_figure import frontier_figure

PATHS = 2000
SHORT = {"calendar.steps": "6"}


def test_a_curve_is_what_evaluate_says_of_each_of_its_points() -> None:
    scenario = load_scenario("short-call", SHORT)
    found = frontier(scenario, [BandHedge(width=0.123)], PATHS)
    band = found.curves["band:width"]
    assert [point.value for point in band] == sorted(point.value for point in band)
    some = band[4]
    result = evaluate(scenario, [BandHedge(width=some.value)], PATHS).result(some.hedger)
    assert (some.cost, some.risk, some.std) == (result.cost, result.risk, result.std)
    (single,) = found.curves["band:width=0.123"]
    assert single.risk.value > 0
    assert {"delta:every", "whalley-wilmott:aversion", "optimal:aversion"} <= {*found.curves}


def test_the_optimum_of_the_objectives_own_aversion_is_the_lowest_of_all() -> None:
    scenario = load_scenario("short-call", SHORT)
    found = frontier(scenario, paths=PATHS)
    best = found.curves["optimal:aversion"]
    own = next(point for point in best if point.value == 0.1)
    lowest = min(p.risk.value for points in found.curves.values() for p in points)
    assert own.risk.value <= lowest + 0.003  # of 2,000 paths
    costs = [point.cost.value for point in best]
    assert costs == sorted(costs)  # the more averse, the more is traded


def test_a_unit_costs_the_same_at_any_size_under_proportional_costs() -> None:
    scenario = load_scenario("short-call", SHORT | {"objective": "{kind: cvar, level: 0.9}"})
    found = size_frontier(scenario, lambda s: [DeltaHedge()], [0.5, 1.0, 8.0], PATHS)
    (points,) = found.curves.values()
    for point in points:
        assert point.cost.value == pytest.approx(points[0].cost.value, rel=1e-9)
        assert point.risk.value == pytest.approx(points[0].risk.value, rel=1e-9)


def test_under_temporary_impact_the_cost_of_a_unit_grows_with_the_size() -> None:
    """A trade of s units costs s^2: a unit's cost is a line in s."""
    costs = "[{kind: proportional, rate: 0.002}, {kind: quadratic, rate: 0.001}]"
    scenario = load_scenario("short-call", SHORT | {"hedges.0.costs": costs})
    found = size_frontier(scenario, lambda s: [DeltaHedge()], [1.0, 2.0, 4.0], PATHS)
    one, two, four = (point.cost.value for point in found.curves["delta"])
    assert two > one
    assert four - one == pytest.approx(3 * (two - one), rel=1e-9)


def test_hedgers_tuned_for_a_size_are_one_curve() -> None:
    scenario = load_scenario("short-call", SHORT)

    def chosen(scaled: object) -> list[BandHedge]:
        return [BandHedge(width=0.1 / of_what(scaled))]

    def of_what(scaled: object) -> float:
        return abs(scaled.position.legs[0].quantity)  # type: ignore[attr-defined,no-any-return]

    found = size_frontier(scenario, chosen, [1.0, 2.0], PATHS)
    assert [*found.curves] == ["band:width"]
    assert [p.hedger for p in found.curves["band:width"]] == ["band:width=0.1", "band"]
    assert of_size(scenario, 3.0).position.legs[0].quantity == -3.0


def test_documents_are_json_and_both_kinds_are_drawn() -> None:
    scenario = load_scenario("short-call", SHORT)
    option = frontier(scenario, paths=200).document()
    size = size_frontier(scenario, lambda s: [DeltaHedge()], [1.0, 2.0], 200).document()
    for document in (option, size):
        again = json.loads(json.dumps(document, allow_nan=False))
        assert again["curves"]
        assert frontier_figure(again).axes


@pytest.mark.parametrize("sizes", [[], [1.0, 0.0], [-1.0]])
def test_sizes_are_above_0(sizes: list[float]) -> None:
    with pytest.raises(ValueError, match="give some, each above 0"):
        size_frontier(load_scenario("short-call"), lambda s: [DeltaHedge()], sizes, 100)


def test_at_the_command_line(tmp_path: Path, deephedge: Callable[..., Any]) -> None:
    """Writes both files once; a folder that is there is refused before any work."""
    out = tmp_path / "f"
    arguments = ["frontier", "short-call", "--set", "calendar.steps=3", "--paths", "100"]
    done = deephedge(*arguments, "--size", "1", "--size", "3", "--out", str(out), "--json")
    assert done.code == 0, done.err
    assert done.json["knob"] == "size"
    assert {path.name for path in out.iterdir()} == {"frontier.json", "frontier.svg"}
    again = deephedge(*arguments, "--out", str(out))
    assert again.code == 2
    assert "error:" in again.err

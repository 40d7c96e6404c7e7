"""Frontiers: over a rule's own option, and over the size of the position."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.baselines import BandHedge, Baseline, DeltaHedge
from deephedge.envs import load_scenario, rollout, simulate
from deephedge.envs.costs import Cost
from deephedge.envs.namespace import NUMPY
from deephedge.experiments import evaluate
from deephedge.experiments.frontier import (
    cost_frontier,
    frontier,
    of_cost,
    of_size,
    size_frontier,
)
from deephedge.experiments.hedgers import named_hedgers
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


COSTS = "[{kind: proportional, rate: 0.002}, {kind: fixed, fee: 0.3}, " + (
    "{kind: per-unit, fee: 0.1, minimum: 0.2}, {kind: quadratic, rate: 0.01}]"
)


def test_every_term_of_a_cost_is_multiplied() -> None:
    scenario = load_scenario("short-call", {"hedges.0.costs": COSTS})
    trade, price = np.array([0.0, 0.5, -3.0]), np.array([90.0, 100.0, 110.0])

    def charges(costs: tuple[Cost, ...]) -> list[Any]:
        return [cost.charge(trade, price, NUMPY) for cost in costs]

    own, tripled = charges(scenario.costs[0]), charges(of_cost(scenario, 3.0).costs[0])
    ours = {name for name, kind in Cost.kinds.items() if kind.__module__ == Cost.__module__}
    assert {cost.kind for cost in scenario.costs[0]} == ours  # type: ignore[attr-defined]
    np.testing.assert_allclose(tripled, 3.0 * np.array(own), rtol=1e-12)


def test_over_costs_each_place_has_its_own_best_option() -> None:
    scenario = load_scenario("short-call", SHORT)
    rules = ("delta:every=best", "band:width=best", "optimal")
    levels = [0.1, 4.0]
    found = cost_frontier(scenario, lambda s: named_hedgers(rules, s), levels, PATHS)
    assert [*found.curves] == ["delta:every", "band:width", "optimal"]
    for i, level in enumerate(levels):
        scaled = of_cost(scenario, level)
        result = evaluate(scaled, named_hedgers(rules, scaled), PATHS)
        for points in found.curves.values():
            assert points[i].risk == result.result(points[i].hedger).risk
    cheap, dear = found.curves["delta:every"]
    assert cheap.chosen == 1 and dear.chosen is not None and dear.chosen > 1
    assert cheap.hedger == "delta"  # by default it rebalances at every date
    narrow, wide = (point.chosen for point in found.curves["band:width"])
    assert narrow is not None and wide is not None and narrow < wide
    assert found.curves["optimal"][0].chosen is None


def law(scenario: Any, rules: list[Baseline], values: list[float], rates: list[float]) -> Any:
    """The value with the least E[cost] + aversion / 2 Var at each rate, by a cubic in its log.

    Holdings of these rules do not depend on the rate, and the gains have no mean.
    """
    episodes = simulate(scenario, 20_000, torch.Generator().manual_seed(5))
    free = [rollout(scenario, episodes, rule) for rule in rules]
    x, best = np.log(values), []
    for rate in rates:
        paid = [np.asarray(one.cost) * rate / 0.002 for one in free]
        pairs = zip(free, paid, strict=True)
        risk = np.array([c.mean() + 0.05 * np.var(o.pnl + o.cost - c) for o, c in pairs])
        near = np.abs(x - x[risk.argmin()]) < 1.0
        cubic = np.polynomial.Polynomial.fit(x[near], risk[near], 3)
        flat = [root.real for root in cubic.deriv().roots() if abs(root.imag) < 1e-9]
        best.append(np.exp(max(flat, key=lambda at: cubic.deriv(2)(at))))
    return np.array(best)


@pytest.mark.slow
def test_the_best_interval_and_band_scale_with_the_cost_as_theory_says() -> None:
    """Exponents 2/3 and 1/3 at small costs, and the interval itself, of a call at the money.

    An interval dt costs k sqrt(2 / pi) V dt^(-1/2), with the vega V, since S^2 gamma is a
    martingale (Leland, 1985), and leaves a variance pi / 4 (V sigma)^2 dt / T (Derman and Kamal,
    1999): the sum's least is at dt^(3/2) = 4 k sqrt(2 / pi) T / (pi a V sigma^2).
    """
    scenario = load_scenario("short-call", {"calendar.steps": "480"})
    rates = [0.00001, 0.00002, 0.00005]
    every = sorted({round(n) for n in np.geomspace(1, 80, 24)})
    years, vega = 30 / 365, 100 * (30 / 365 / (2 * np.pi)) ** 0.5
    found = law(scenario, [DeltaHedge(every=n) for n in every], every, rates) * years / 480
    theory = [
        (4 * k * (2 / np.pi) ** 0.5 * years / (np.pi * 0.1 * vega * 0.04)) ** (2 / 3) for k in rates
    ]
    assert np.polyfit(np.log(rates), np.log(found), 1)[0] == pytest.approx(2 / 3, abs=0.04)
    np.testing.assert_allclose(found, theory, rtol=0.1)
    rates = [0.0001, 0.0002, 0.0005, 0.001]
    widths = [float(w) for w in np.geomspace(0.02, 0.6, 18)]
    bands = law(scenario, [BandHedge(width=w) for w in widths], widths, rates)
    slopes = np.diff(np.log(bands)) / np.diff(np.log(rates))
    assert slopes[0] == pytest.approx(1 / 3, abs=0.05)
    assert list(slopes) == sorted(slopes)  # nearer to 1/3 the smaller the cost


def test_costs_are_above_0_and_not_beside_sizes(deephedge: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="give some, each above 0"):
        cost_frontier(load_scenario("short-call"), lambda s: [DeltaHedge()], [0.0], 100)
    both = deephedge("frontier", "short-call", "--cost", "1", "--size", "1")
    assert both.code == 2 and "--size beside --cost" in both.err


def test_documents_are_json_and_every_kind_is_drawn(few_paths: None) -> None:
    scenario = load_scenario("short-call", SHORT)
    rules = ("delta:every=best", "optimal")
    cost = cost_frontier(scenario, lambda s: named_hedgers(rules, s), [0.5, 2.0], 200).document()
    option = frontier(scenario, paths=200).document()
    size = size_frontier(scenario, lambda s: [DeltaHedge()], [1.0, 2.0], 200).document()
    for document in (option, size, cost):
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

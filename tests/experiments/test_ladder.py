"""The Greeks ladder and the stress grid: differences of marks, at the spots and vols they name."""

from __future__ import annotations

import pytest

from deephedge.envs import load_scenario
from deephedge.experiments.ladder import LADDER_SPOTS, LADDER_VOLS, Rung, ladder, stress_grid


def at(rungs: list[Rung], spot: float, vol: float = 0.0) -> Rung:
    return next(r for r in rungs if r.spot_move == spot and r.vol_move == vol)


@pytest.mark.parametrize(
    "name",
    [
        *("short-call", "book-jumps", "sp500-call"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("american-put", "heston-call")),
    ],
)
def test_greeks_are_differences_of_the_marks(name: str) -> None:
    """Whatever the marking: a constant vol, quotes, a model's variance."""
    scenario = load_scenario(name)
    h = 1e-3
    rungs = ladder(scenario, (-h, 0.0, h), (-h, 0.0, h))
    middle, spot = at(rungs, 0.0), scenario.market.spot
    up, down = at(rungs, h), at(rungs, -h)
    step = h * spot
    assert middle.delta == pytest.approx((up.value - down.value) / (2 * step), abs=2e-4)
    assert middle.gamma == pytest.approx((up.delta - down.delta) / (2 * step), rel=0.02)
    vega = (at(rungs, 0.0, h).value - at(rungs, 0.0, -h).value) / (2 * h)
    assert middle.vega == pytest.approx(vega, rel=5e-3, abs=0.02)
    assert middle.dollar_delta == pytest.approx(middle.delta * spot)
    assert middle.dollar_gamma == pytest.approx(middle.gamma * spot**2 / 100)
    assert middle.vega_point == pytest.approx(middle.vega / 100)
    assert middle.theta_day == pytest.approx(middle.theta / 365)


def test_the_ladder_has_the_moves_of_a_desk() -> None:
    assert {abs(move) for move in LADDER_SPOTS} == {0, 0.01, 0.02, 0.05, 0.1, 0.2}
    assert {abs(move) for move in LADDER_VOLS} == {0, 0.01, 0.05}


def test_another_rung_is_another_scenario() -> None:
    """Spot 110 and vol 0.25 are what they are when the scenario itself says so."""
    moved = at(ladder(load_scenario("short-call")), 0.1, 0.05)
    sets = {"market.spot": "110", "market.sigma": "0.25", "marking.vol": "0.25"}
    there = at(ladder(load_scenario("short-call", sets)), 0.0)
    for name in ("value", "delta", "gamma", "vega", "theta"):
        assert getattr(moved, name) == pytest.approx(getattr(there, name), rel=1e-12)


def test_several_assets_move_together() -> None:
    scenario = load_scenario("exchange-option")
    rungs = ladder(scenario, (0.0, 0.1), (0.0,))
    assert rungs[1].value == pytest.approx(1.1 * rungs[0].value)  # homogeneous in both
    assert rungs[0].dollar_delta == pytest.approx(rungs[0].value)  # Euler


def test_the_stress_grid_is_what_the_position_earns() -> None:
    cells = stress_grid(load_scenario("short-call"))
    grid = {(c["spot_move"], c["vol_move"]): c["pnl"] for c in cells}
    assert grid[0.0, 0.0] == 0.0
    rungs = ladder(load_scenario("short-call"), (0.0, -0.2), (0.0, 0.4))
    earned = at(rungs, -0.2, 0.4).value - at(rungs, 0.0).value
    assert grid[-0.2, 0.4] == pytest.approx(earned)
    assert grid[0.0, 0.1] < 0 < grid[-0.35, 0.0]  # short a call

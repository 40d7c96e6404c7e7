"""Impact: what a round trip costs, no dynamic arbitrage, and a market that answers trades."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.envs import Episodes, Known, Scenario, ScenarioError, load_scenario, rollout
from deephedge.envs import simulate as simulate_episodes
from deephedge.envs.desk import Desk
from deephedge.envs.namespace import TORCH
from deephedge.envs.terminal_wealth import terminal_wealth

STILL = {  # a price that does not move, no cost: what is left is impact
    "market.sigma": "0",
    "marking.vol": "0",
    "hedges.0.costs": "[]",
    "hedges.0.limits": "{lower: -100, upper: 100}",
    "liquidate": "true",
    "position.legs.0.claim.strike": "1000",
}


class Schedule:
    """Holds given units at each date, on every path; ``[T]`` or ``[T, N]``."""

    name = "schedule"

    def __init__(self, units: Any) -> None:
        self.units = units

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[Any, None]:
        row = np.broadcast_to(self.units[known.t], (len(known.holding),))
        return row[:, None].copy(), None


def problem(impact: str, **changes: str) -> Scenario:
    return load_scenario("short-call", STILL | {"hedges.0.impact": impact} | changes)


def simulate(scenario: Scenario, paths: int = 1, seed: int = 0) -> Episodes:
    return simulate_episodes(scenario, paths, torch.Generator().manual_seed(seed))


def test_a_round_trip_of_transient_impact_costs_what_its_formula_says() -> None:
    """Buy 2 at date 1, sell them at date 4: kappa u^2 S (1 - 2^(-3 / half-life))."""
    scenario = problem("{transient: 0.001, half_life: 2}")
    units = np.zeros(30)
    units[1:4] = 2.0
    outcome = rollout(scenario, simulate(scenario), Schedule(units))
    left = 2 ** (-3 / 2)
    assert outcome.cost[0] == pytest.approx(0.001 * 4 * 100 * (1 - left), rel=1e-12)
    assert outcome.pnl[0] == pytest.approx(-outcome.cost[0], abs=1e-12)


def test_infinitely_fast_decay_is_temporary_impact() -> None:
    fast = load_scenario("short-call", {"hedges.0.impact": "{transient: 0.01, half_life: 0}"})
    temporary = load_scenario(
        "short-call",
        {"hedges.0.costs": "[{kind: proportional, rate: 0.002}, {kind: quadratic, rate: 0.005}]"},
    )
    units = np.random.default_rng(0).uniform(-1, 1, (30, 50))
    costs = [rollout(s, simulate(s, 50), Schedule(units)).cost for s in (fast, temporary)]
    np.testing.assert_allclose(*costs, rtol=1e-12)


@pytest.mark.parametrize("half_life", [0.3, 2.0, 50.0])
def test_no_round_trip_of_transient_impact_earns(half_life: float) -> None:
    """The kernel is positive definite: any 300 schedules that end flat cost something."""
    scenario = problem(f"{{transient: 0.001, half_life: {half_life}}}")
    units = np.random.default_rng(1).normal(size=(30, 300)) * 5
    outcome = rollout(scenario, simulate(scenario, 300), Schedule(units))
    assert (outcome.pnl < 0).all()
    np.testing.assert_allclose(outcome.pnl, -outcome.cost, atol=1e-9)


def test_on_random_prices_no_round_trip_earns_on_average() -> None:
    scenario = problem("{transient: 0.001, permanent: 0.0005}", **{"market.sigma": "0.4"})
    rng = np.random.default_rng(2)
    units = np.repeat(rng.normal(size=(30, 8)) * 4, 500, axis=1)
    pnl = rollout(scenario, simulate(scenario, 4000), Schedule(units)).pnl.reshape(8, 500)
    error = pnl.std(axis=1) / math.sqrt(500)
    assert (pnl.mean(axis=1) < 4 * error).all()


def test_a_round_trip_of_permanent_impact_costs_nothing_and_leaves_the_price() -> None:
    scenario = problem("{permanent: 0.001}")
    units = np.random.default_rng(3).normal(size=(30, 100)) * 5
    outcome = rollout(scenario, simulate(scenario, 100), Schedule(units))
    np.testing.assert_allclose(outcome.pnl, 0.0, atol=1e-9)


def test_what_is_bought_is_paid_along_the_way_up() -> None:
    """``S (e^{lambda u} - 1) / lambda`` for u units; it is then worth ``u S e^{lambda u}``."""
    scenario = problem("{permanent: 0.01}", liquidate="false")
    outcome = rollout(scenario, simulate(scenario), Schedule(np.full(30, 3.0)), record=True)
    paid = 100 * math.expm1(0.03) / 0.01
    assert outcome.wealth is not None
    np.testing.assert_allclose(outcome.wealth[1:, 0], 3 * 100 * math.exp(0.03) - paid, rtol=1e-9)
    assert outcome.cost[0] == pytest.approx(paid - 300, rel=1e-9)


def test_marks_and_greeks_follow_the_moved_price() -> None:
    """What is known after a trade of 5 is what a market that starts there would show."""

    class Reads(Schedule):
        seen: dict[str, Any]

        def act(self, known: Known, state: None) -> tuple[Any, None]:
            if known.t == 1:
                names = ("spot", "delta", "gamma", "vega", "neutral")
                self.seen = {name: getattr(known, name).copy() for name in names}
                self.past = known.history("spot")[0].copy()
            return super().act(known, state)

    moving = load_scenario("short-call", {"hedges.0.impact": "{permanent: 0.01}"})
    reader = Reads(np.full(30, 1.5))
    rollout(moving, simulate(moving, 20, seed=5), reader)
    still = load_scenario("short-call", {"market.spot": f"{100 * math.exp(0.015)!r}"})
    there = simulate(still, 20, seed=5).numpy()
    np.testing.assert_allclose(reader.past, 100.0, rtol=1e-12)
    np.testing.assert_allclose(reader.seen["spot"], there.spot[1], rtol=1e-12)
    for name in ("delta", "gamma", "vega"):
        np.testing.assert_allclose(reader.seen[name], getattr(there, name)[1], rtol=1e-9)
    np.testing.assert_allclose(reader.seen["neutral"][:, 0], -there.delta[1], rtol=1e-9)


def test_the_gradient_knows_that_trades_move_the_market() -> None:
    """Against central differences of the risk-neutral holding that is scaled."""
    scenario = load_scenario("short-call", {"hedges.0.impact": "{permanent: 0.02}"})
    episodes = simulate(scenario, 20)

    class Scaled(Schedule):
        def act(self, known: Known, state: None) -> tuple[Any, None]:
            return self.units * (1.0 + 0.1 * known.t) + 0.0 * known.holding, None

    def wealth(factor: Any) -> torch.Tensor:
        return terminal_wealth(Desk(scenario, TORCH), episodes, Scaled(factor)).mean()

    factor = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    wealth(factor).backward()  # type: ignore[no-untyped-call]
    step = 1e-5
    up, down = (float(wealth(torch.tensor(0.3 + d, dtype=torch.float64))) for d in (step, -step))
    assert factor.grad is not None
    assert float(factor.grad) == pytest.approx((up - down) / (2 * step), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hedges.0.impact": "{}"}, "neither transient nor permanent: leave impact out"),
        ({"hedges.0.impact": "{transient: -1}"}, "greater than or equal to 0"),
        (
            {"hedges.0.impact": "{permanent: 0.1}"},
            "give it to its underlying or future",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_scenario("gamma-hedge-jumps", changes)

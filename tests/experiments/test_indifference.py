"""Indifference prices: the provable optimum's, closed forms, and their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deephedge.baselines import DeltaHedge, NoHedge, OptimalHedge, bid_ask, solve
from deephedge.envs import Scenario, load_scenario
from deephedge.experiments import indifference_price, without_position
from deephedge.experiments.statistics import Estimate

PATHS = 20_000


def short_call(**changes: str) -> Scenario:
    return load_scenario("short-call", {"calendar.steps": "5"} | changes)


def ends(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None and estimate.high is not None
    return estimate.low, estimate.high


def test_the_optimal_hedge_has_the_optimums_price() -> None:
    """Within two of its intervals, with a rate; a worse hedge asks for more."""
    scenario = short_call(**{"market.rate": "0.05", "market.drift": "0.05"})
    found = indifference_price(scenario, OptimalHedge(), paths=PATHS)
    low, high = ends(found)
    assert abs(found.value - solve(scenario).price) < high - low < 0.1
    assert indifference_price(scenario, DeltaHedge(), paths=PATHS).value > found.value


def test_sold_and_bought_enclose_the_fair_price() -> None:
    """Ask and bid of the optimum, either side of what is paid without costs."""
    scenario = short_call()
    legs = tuple(
        leg.model_copy(update={"quantity": -leg.quantity}) for leg in scenario.position.legs
    )
    position = scenario.position.model_copy(update={"legs": legs})
    bought = scenario.model_copy(update={"position": position})
    ask, minus_bid = (
        indifference_price(each, OptimalHedge(), paths=PATHS) for each in (scenario, bought)
    )
    bid, best_ask = bid_ask(scenario)
    assert -minus_bid.value < ask.value
    for found, price in ((ask, best_ask), (minus_bid, -bid)):
        low, high = ends(found)
        assert abs(found.value - price) < high - low


@pytest.mark.parametrize("premium", ["mark", "0", "7.5"])
@pytest.mark.parametrize("objective", ["{kind: quadratic}", "{kind: cvar, level: 0.9}"])
def test_the_premium_does_not_matter(premium: str, objective: str) -> None:
    """It is taken out before a price is asked for; with a rate it has earned interest."""
    changes = {"market.rate": "0.1", "market.drift": "0.1", "objective": objective}
    deals = [short_call(**changes, **{"position.premium": p}) for p in (premium, "1")]
    prices = [indifference_price(deal, DeltaHedge(), paths=999) for deal in deals]
    assert prices[0].value == pytest.approx(prices[1].value, rel=1e-12)


def test_unhedged_under_quadratic_risk_it_is_the_expected_payoff() -> None:
    scenario = short_call(
        objective="{kind: quadratic}", **{"market.rate": "0.2", "market.drift": "0.2"}
    )
    found = indifference_price(scenario, NoHedge(), paths=PATHS, seed=1)
    deviation, rate, years = 0.2 * math.sqrt(30 / 365), 0.2, 30 / 365
    d1 = (rate * years) / deviation + deviation / 2

    def normal(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    fair = 100 * normal(d1) - 100 * math.exp(-rate * years) * normal(d1 - deviation)
    low, high = ends(found)
    assert low < fair < high


class Bet:
    """Holds one share whatever happens."""

    name = "bet"

    def start(self, n: int) -> None:
        return None

    def act(self, known: object, state: None) -> tuple[object, None]:
        return np.ones((known.spot.shape[0], 1)), None  # type: ignore[attr-defined]


def test_what_trading_earns_by_itself_is_not_charged() -> None:
    """One and the same bet with and without the book: only the payoff is left to charge for."""
    changes = {
        "market.drift": "0.4",
        "hedges.0.costs": "[]",
        "objective": "{kind: mean-variance, aversion: 1e-9}",
    }
    scenario = short_call(**changes)
    with pytest.raises(ValueError, match="without_position"):
        indifference_price(scenario, Bet(), paths=PATHS)
    found = indifference_price(scenario, Bet(), alone=Bet(), paths=PATHS)
    plain = indifference_price(scenario, NoHedge(), alone=NoHedge(), paths=PATHS)
    assert found.value == pytest.approx(plain.value, abs=1e-4)


def test_without_the_position_nothing_is_owed() -> None:
    empty = without_position(short_call())
    assert empty.contract.size == short_call().contract.size
    found = indifference_price(empty, NoHedge(), paths=100)
    assert found.value == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("objective", ["{kind: semi-quadratic}", "{kind: var, level: 0.9}"])
def test_a_risk_without_a_price_is_refused(objective: str) -> None:
    with pytest.raises(ValueError, match="no indifference price"):
        indifference_price(short_call(objective=objective), DeltaHedge(), paths=10)

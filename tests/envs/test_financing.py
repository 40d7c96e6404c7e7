"""Financing: borrow fees, funding, margin, and a counterparty that may default."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deephedge.envs import (
    Episodes,
    Known,
    Scenario,
    ScenarioError,
    load_scenario,
    rollout,
    simulate,
)
from deephedge.envs.namespace import X


class Holds:
    """The same units of every instrument at every date."""

    name = "holds"

    def __init__(self, *units: float) -> None:
        self.units = units

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        return 0.0 * known.holding + np.array(self.units), None


class Noise(Holds):
    """Random units, up to so many of each instrument."""

    def act(self, known: Known, state: None) -> tuple[X, None]:
        rng = np.random.default_rng(known.t)
        return rng.uniform(-1, 1, known.holding.shape) * np.array(self.units), None


def drawn(scenario: Scenario, paths: int = 300) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(0))


def test_being_short_costs_the_borrow_fee_and_being_long_nothing() -> None:
    scenario = load_scenario("short-call", {"hedges.0.borrow_fee": "0.4"})
    episodes = drawn(scenario)
    fee = math.expm1(0.4 / 365)
    paid = rollout(scenario, episodes, Holds(-0.7)).carry
    np.testing.assert_allclose(paid, -0.7 * fee * episodes.numpy().spot[:-1].sum(axis=0))
    assert (rollout(scenario, episodes, Holds(0.7)).carry == 0).all()


def test_borrowed_cash_pays_the_funding_spread_beside_the_rate() -> None:
    """One share, bought at 100 with no cash of one's own: 100 is owed until the end."""
    changes = {
        "market.rate": "0.05",
        "hedges.0.costs": "[]",
        "position.premium": "0",
        "position.legs.0.claim.strike": "100000",
    }
    scenario = load_scenario("short-call", changes | {"financing.funding_spread": "0.1"})
    episodes = drawn(scenario, 5)
    owed = rollout(scenario, episodes, Holds(1.0)).interest
    np.testing.assert_allclose(owed, -100 * math.expm1(0.15 * 30 / 365), rtol=1e-9)
    earned = rollout(scenario, episodes, Holds(-1.0)).interest
    np.testing.assert_allclose(earned, 100 * math.expm1(0.05 * 30 / 365), rtol=1e-9)


def test_capital_of_ones_own_is_not_borrowed() -> None:
    scenario = load_scenario("short-call", {"financing.funding_spread": "0.1", "capital": "150"})
    assert (rollout(scenario, drawn(scenario), Holds(1.0)).interest == 0).all()


def test_holdings_stay_within_the_initial_margin() -> None:
    changes = {
        "capital": "40",
        "financing.margin": "{initial: 0.5, maintenance: 0.25}",
        "hedges.0.costs": "[]",
        "market.sigma": "0.6",
        "hedges.0.limits": "{lower: -5, upper: 5}",
    }
    scenario = load_scenario("short-call", changes)
    episodes = drawn(scenario)
    outcome = rollout(scenario, episodes, Noise(5.0), record=True)
    assert outcome.holding is not None and outcome.wealth is not None
    spot = episodes.numpy().spot
    exposure = np.abs(outcome.holding[..., 0]) * spot[:-1]
    equity = 40 + outcome.wealth[:-1]
    assert (0.5 * exposure <= np.maximum(equity, 0) + 1e-9).all()
    # It binds, and where it does not nothing is changed.
    assert (np.isclose(0.5 * exposure, equity)).any()
    asked = np.stack([Noise(5.0).act(_At(t, (300, 1)), None)[0][:, 0] for t in range(30)])  # type: ignore[arg-type]
    free = 0.5 * np.abs(asked) * spot[:-1] < equity
    called = 40 + outcome.wealth[1:] < 0.25 * np.abs(outcome.holding[..., 0]) * spot[1:]
    going = np.cumsum(called, axis=0) - called == 0
    np.testing.assert_allclose(outcome.holding[..., 0][free & going], asked[free & going])


class _At:
    """The shape and date that noise reads."""

    def __init__(self, t: int, shape: tuple[int, int]) -> None:
        self.t, self.holding = t, np.zeros(shape)


def test_a_margin_call_liquidates_before_cash_falls_below_what_is_due() -> None:
    """Without jumps or costs the equity left is never below the maintenance by more than a step."""
    changes = {
        "capital": "20",
        "financing.margin": "{initial: 0.3, maintenance: 0.28}",
        "hedges.0.costs": "[]",
        "market.sigma": "0.3",
        "liquidate": "true",
    }
    scenario = load_scenario("short-call", changes)
    episodes = drawn(scenario, 2000)
    outcome = rollout(scenario, episodes, Holds(0.66), record=True)
    assert outcome.wealth is not None and outcome.holding is not None
    spot, wealth = episodes.numpy().spot, outcome.wealth
    called = 20 + wealth[1:] < 0.28 * outcome.holding[..., 0] * spot[1:]
    first = np.where(called.any(axis=0), called.argmax(axis=0), 30)
    for j in range(2000):
        # Once called the account stands still; until then it had what was due.
        assert (wealth[first[j] + 1 :, j] == wealth[min(first[j] + 1, 30), j]).all()
        assert (outcome.holding[first[j] + 1 :, j] == 0).all()
    assert 0.05 < called.any(axis=0).mean() < 0.95
    assert (20 + outcome.pnl).min() > 0


def test_scaled_holdings_are_whole_lots() -> None:
    changes = {
        "capital": "40",
        "financing.margin": "{initial: 0.5}",
        "hedges.0.limits": "{lot: 0.25}",
    }
    scenario = load_scenario("short-call", changes)
    outcome = rollout(scenario, drawn(scenario), Holds(1.5), record=True)
    # 40 of equity carry 80 of shares: 0.8 of one, and so 0.75.
    assert outcome.holding is not None
    assert (outcome.holding[0] == 0.75).all()


def test_a_default_costs_its_loss_on_what_was_bought() -> None:
    scenario = load_scenario("gamma-hedge-jumps", {"counterparty": "{hazard: 6, recovery: 0.3}"})
    episodes = drawn(scenario, 4000)
    arrays = episodes.numpy()
    lost = arrays.frictions.lost
    assert set(np.unique(lost)) == {0.0, 0.7}
    assert (lost != 0).sum(axis=0).max() == 1
    gone = (lost != 0).any(axis=0).mean()
    chance = 1 - math.exp(-6 * 30 / 365)
    assert gone == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / 4000))
    bought = rollout(scenario, episodes, Holds(2.0, -1.0)).cash_flow
    plain = rollout(scenario, episodes, Holds(-2.0, -1.0)).cash_flow
    expected = -(lost[1:] * 2 * arrays.price[1:, :, 0]).sum(axis=0)
    np.testing.assert_allclose(bought - plain, expected, atol=1e-9)


def test_the_bought_legs_of_the_book_default_too() -> None:
    changes = {"counterparty": "{hazard: 6, recovery: 0}", "position.legs.0.quantity": "3"}
    scenario, plain = (
        load_scenario("short-call", changes),
        load_scenario("short-call", {"position.legs.0.quantity": "3"}),
    )
    with_default, without = drawn(scenario).numpy(), drawn(plain).numpy()
    lost = with_default.frictions.lost
    np.testing.assert_allclose(
        without.cash_flow[1:-1] - with_default.cash_flow[1:-1],
        lost[1:-1] * without.mark[1:-1],
        atol=1e-12,
    )
    sold = load_scenario("short-call", {"counterparty": "{hazard: 6}"})
    np.testing.assert_array_equal(
        drawn(sold).numpy().cash_flow, drawn(load_scenario("short-call")).numpy().cash_flow
    )


def test_time_outside_the_delta_range_is_counted() -> None:
    scenario = load_scenario("short-call", {"delta_range": "[-0.1, 0.2]"})
    episodes = drawn(scenario)
    net = 0.55 + episodes.numpy().delta[:-1]
    expected = ((net < -0.1) | (net > 0.2)).sum(axis=0)
    found = rollout(scenario, episodes, Holds(0.55)).breach
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.mean() < 30


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"financing.margin": "{initial: 0.5}"}, "nothing stands behind the deal: set capital"),
        (
            {"capital": "1", "financing.margin": "{initial: 0.2, maintenance: 0.3}"},
            "maintenance 0.3 is above initial 0.2",
        ),
        ({"capital": "0"}, "greater than 0"),
        ({"delta_range": "[0.2, -0.1]"}, "the lower end comes first"),
        ({"counterparty": "{hazard: 1, recovery: 2}"}, "less than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_scenario("short-call", changes)

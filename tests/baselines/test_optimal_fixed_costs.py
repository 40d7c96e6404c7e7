"""The optimum with a fixed fee for every trade: triggers, targets, limits and brute force."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from deephedge.baselines.optimal import OptimalHedge
from deephedge.baselines.optimum import solve
from deephedge.baselines.optimum.bands import BandOptimum, TriggerOptimum
from deephedge.envs import Scenario, load_scenario, rollout, simulate

Array = NDArray[np.float64]
Check = Callable[..., None]


def at_fee(fee: float, rate: float = 0.002, steps: int = 5, **changes: str) -> Scenario:
    costs = f"[{{kind: proportional, rate: {rate}}}, {{kind: fixed, fee: {fee}}}]"
    given = {key.replace("__", "."): text for key, text in changes.items()}
    return load_scenario(
        "short-call", {"hedges.0.costs": costs, "calendar.steps": str(steps), **given}
    )


@pytest.mark.parametrize(
    "scenario",
    [
        at_fee(0.05),
        at_fee(0.05, 0.0),
        at_fee(0.05, liquidate="true"),
        at_fee(0.3, liquidate="true", market__rate="0.4", market__drift="0.4"),
        at_fee(
            0.02,
            market="{kind: merton, sigma: 0.15, intensity: 1, jump_mean: -0.07, jump_std: 0.05}",
            position__legs="[{quantity: 1, claim: {kind: put, strike: 100}}]",
        ),
    ],
)
def test_simulated_risk_is_the_value(scenario: Scenario, agrees_and_is_unbeaten: Check) -> None:
    agrees_and_is_unbeaten(scenario, 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("liquidate", ["false", "true"])
@pytest.mark.parametrize("fee", [0.01, 0.1])
def test_the_same_on_a_million_paths(
    fee: float, liquidate: str, agrees_and_is_unbeaten: Check
) -> None:
    agrees_and_is_unbeaten(at_fee(fee, steps=30, liquidate=liquidate), 1_000_000)


@pytest.mark.parametrize("liquidate", [False, True])
def test_two_dates_by_brute_force(liquidate: bool) -> None:
    """A second programme: dense sums over the normal law, and every pair of dense holdings."""
    rate, fee, a, sd = 0.002, 0.1, 0.1, 0.2 * math.sqrt(15 / 365)
    z = np.linspace(-7, 7, 2001)
    weight = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    h = np.arange(-20, 421) / 400
    growth = np.exp(sd * z - sd**2 / 2)

    def certain(loss: Array, weights: Array) -> Array:
        top = loss.max(axis=0)
        return np.asarray(top + np.log(weights @ np.exp(a * (loss - top))) / a)

    trade = np.abs(h[:, None] - h)
    middle = 100 * growth[::10]
    cost_to_go = np.empty((len(middle), len(h)))
    for i, spot in enumerate(middle):
        end = spot * growth
        closing = (rate * end[:, None] * np.abs(h) + fee * (h != 0)) * liquidate
        gain = h * (end - spot)[:, None]
        G = certain(np.maximum(end - 100, 0)[:, None] - gain + closing, weight)
        cost_to_go[i] = (G[:, None] + rate * spot * trade + fee * (trade > 0)).min(axis=0)
    first = certain(cost_to_go - h * (middle - 100)[:, None], weight[::10] / weight[::10].sum())
    value = (first + rate * 100 * np.abs(h) + fee * (h != 0)).min()
    optimum = solve(at_fee(fee, steps=2, liquidate=str(liquidate).lower()))
    assert optimum.error < 5e-4
    assert optimum.price == pytest.approx(value, abs=optimum.error + 1e-5)


def test_a_fee_that_vanishes_leaves_the_band() -> None:
    none, tiny = solve(at_fee(0.0)), solve(at_fee(1e-7))
    assert type(none) is BandOptimum
    assert isinstance(tiny, TriggerOptimum)
    assert tiny.value == pytest.approx(none.value, abs=2e-6)
    near = np.abs(none.log_spot[1] - math.log(100)) < 0.1
    for one, other in ((none.lower, tiny.lower), (none.upper, tiny.upper)):
        assert np.abs(one - other)[1, near].max() < 2e-3
    assert (none.lower - tiny.buy_below)[1, near].max() < 0.02


def test_at_a_huge_fee_nothing_is_traded() -> None:
    scenario = at_fee(50, steps=30)
    episodes = simulate(scenario, 200, torch.Generator().manual_seed(1))
    assert not rollout(scenario, episodes, OptimalHedge()).trades.any()
    z = np.linspace(-7, 7, 20001)
    sd = 0.2 * math.sqrt(30 / 365)
    payoff = np.maximum(100 * np.exp(sd * z - sd**2 / 2) - 100, 0)
    naked = np.log(np.trapezoid(stats.norm.pdf(z) * np.exp(0.1 * payoff), z)) / 0.1
    assert solve(scenario).price == pytest.approx(naked, abs=1e-4)


def test_triggers_are_outside_the_targets_and_further_at_higher_fees() -> None:
    low, high = solve(at_fee(0.02, steps=30)), solve(at_fee(0.1, steps=30))
    assert isinstance(low, TriggerOptimum)
    assert isinstance(high, TriggerOptimum)
    for one in (low, high):
        assert (one.buy_below <= one.lower).all()
        assert (one.lower <= one.upper).all()
        assert (one.upper <= one.sell_above).all()
    near = np.abs(low.log_spot[15] - math.log(100)) < 0.03
    between = (one.sell_above - one.buy_below for one in (low, high))
    narrow, wide = (one[15, near].mean() for one in between)
    assert wide > 1.2 * narrow


def test_the_same_in_torch() -> None:
    scenario = at_fee(0.05, liquidate="true")
    episodes = simulate(scenario, 64, torch.Generator().manual_seed(0))
    exact = rollout(scenario, episodes, OptimalHedge())
    tensors = rollout(scenario, episodes, OptimalHedge(), differentiable=True)
    assert np.allclose(exact.pnl, tensors.pnl.numpy(), rtol=0, atol=1e-11)


def test_a_fee_is_paid_in_the_money_of_its_date() -> None:
    """With the forward kept, one trade now, whose fee is carried to the end at the rate."""
    growth = math.exp(3 * 30 / 365)
    carried = at_fee(
        0.1 / growth,
        steps=1,
        market__rate="3",
        market__drift="3",
        market__spot=str(100 / growth),
        position__premium="0",
    )
    flat = solve(at_fee(0.1, steps=1, position__premium="0"))
    assert solve(carried).value == pytest.approx(flat.value, abs=1e-9)
    assert solve(at_fee(0.0, steps=1, position__premium="0")).value < flat.value - 0.09

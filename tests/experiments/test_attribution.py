"""P&L attribution: the parts add up, and each is what its formula says."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import norm

from deephedge.baselines import (
    Baseline,
    DeltaGammaHedge,
    DeltaHedge,
    StaticHedge,
    baseline_kinds,
    parse_baseline,
)
from deephedge.envs import Scenario, load_scenario, preset_names
from deephedge.envs.episodes import market_paths
from deephedge.envs.presets import changed
from deephedge.experiments.attribution import Attribution, attribute

OUTLIVES = {"position.legs.0.claim.maturity": "0.25"}  # no kink at an expiry
QUOTED = {
    "market": "{kind: stochastic-implied-vol}",
    "marking": "{kind: market-vol}",
    **OUTLIVES,
}


def attributed(scenario: Scenario, hedger: Baseline, paths: int = 32, seed: int = 1) -> Attribution:
    drawn = market_paths(scenario, paths, torch.Generator().manual_seed(seed))
    return attribute(scenario, drawn, hedger)


def check_sums(found: Attribution) -> None:
    total = sum(part for part in found.parts.values())
    np.testing.assert_allclose(total, found.pnl, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.pnl.sum(axis=0), found.outcome.pnl, rtol=0, atol=1e-9)


def call(spot: float, strike: float, tau: float, vol: float) -> float:
    """Black-Scholes without rates, written out here."""
    root = vol * math.sqrt(tau)
    d1 = math.log(spot / strike) / root + root / 2
    return float(spot * norm.cdf(d1) - strike * norm.cdf(d1 - root))


@pytest.mark.parametrize(
    "name", ["short-call-jumps", "book-jumps", "gamma-hedge-jumps", "exchange-option"]
)
def test_the_parts_add_up_to_the_ledgers_pnl(name: str) -> None:
    scenario = load_scenario(name)
    rules = [DeltaHedge(), *([parse_baseline("delta-gamma")] if scenario.contract.options else [])]
    for rule in rules:
        found = attributed(scenario, rule)
        check_sums(found)
        assert found.totals["unexplained"].std() < 0.25  # of a P&L about 0.5 to 3 wide


@pytest.mark.slow
@pytest.mark.parametrize("name", preset_names())
def test_the_parts_add_up_for_every_preset_and_every_baseline(name: str) -> None:
    scenario = load_scenario(name)
    for kind in baseline_kinds().values():
        for rule in kind.variants(scenario):
            if rule.refusal(scenario) is None:
                check_sums(attributed(scenario, rule, paths=8))


def test_frictions_that_move_money_keep_the_sum() -> None:
    """Stopped paths, transient and permanent impact, fees, funding, slippage, a counterparty."""
    scenario = load_scenario(
        "gamma-hedge-jumps",
        {
            "loss_limit": "0.8",
            "counterparty": "{hazard: 5}",
            "hedges.1.impact": "{transient: 0.001, permanent: 0.001}",
            "hedges.1.borrow_fee": "0.05",
            "financing.funding_spread": "0.03",
            "execution.slippage": "0.001",
            "calendar.steps": "10",
        },
    )
    found = attributed(scenario, parse_baseline("delta-gamma"), paths=128)
    check_sums(found)
    going = np.asarray(found.outcome.going)
    assert not going.all()
    for name, part in found.parts.items():
        assert not part[~going].any(), name
    assert (found.parts["default"] <= 1e-12).all()
    assert found.parts["default"].min() < -0.5  # 60 % of an option
    assert abs(found.parts["unexplained"]).mean() < 0.05


@pytest.mark.parametrize(
    ("sets", "order"),
    [
        (OUTLIVES, (0.85, 1.15)),
        pytest.param(QUOTED, (0.85, 1.15), marks=pytest.mark.slow),
        pytest.param({}, (0.5, 0.9), marks=pytest.mark.slow),
    ],
    ids=["one vol", "moving quotes and skew", "expiring"],
)
def test_what_is_unexplained_falls_with_the_step(
    sets: dict[str, str], order: tuple[float, float]
) -> None:
    """Third-order terms: dt^1; at an expiry the kink leaves between dt^0.5 and dt^0.75."""
    left = []
    for steps in (10, 40, 160):
        scenario = load_scenario("short-call", {"calendar.steps": str(steps), **sets})
        found = attributed(scenario, DeltaHedge(), paths=384, seed=2)
        left.append(math.sqrt((found.totals["unexplained"] ** 2).mean()))
    slope = math.log(left[0] / left[-1]) / math.log(16)
    assert order[0] < slope < order[1], left
    assert left[0] > left[1] > left[2]


def test_each_part_is_its_formula() -> None:
    """Against central differences of the price written out here; the vol is quoted anew."""
    scenario = load_scenario("short-call", {"calendar.steps": "3", **QUOTED})
    paths = market_paths(scenario, 4, torch.Generator().manual_seed(3))
    flat = paths.__class__(**{**vars(paths), "skew": torch.zeros_like(paths.implied_vol)})
    found = attribute(scenario, flat, StaticHedge())
    held = float(np.asarray(found.outcome.holding)[0, 0, 0])
    times, spots = flat.times[:, 0].tolist(), flat.spot[:, 2].tolist()
    vols = flat.implied_vol[:, 2].tolist()
    h, k = 1e-2, 1e-4

    def value(spot: float, vol: float, time: float) -> float:
        return -call(spot, 100, 0.25 - time, vol)

    for t in range(3):
        s, v, now = spots[t], vols[t], times[t]
        ds, dv, dt = spots[t + 1] - s, vols[t + 1] - v, times[t + 1] - now
        delta = (value(s + h, v, now) - value(s - h, v, now)) / (2 * h)
        gamma = (value(s + h, v, now) - 2 * value(s, v, now) + value(s - h, v, now)) / h**2
        vega = (value(s, v + k, now) - value(s, v - k, now)) / (2 * k)
        volga = (value(s, v + k, now) - 2 * value(s, v, now) + value(s, v - k, now)) / k**2
        corner = [value(s + a * h, v + b * k, now) * a * b for a in (-1, 1) for b in (-1, 1)]
        vanna = sum(corner) / (4 * h * k)
        theta = (value(s, v, now + k) - value(s, v, now - k)) / (2 * k)
        expected = {
            "delta": (delta + held) * ds,
            "gamma": gamma * ds**2 / 2,
            "theta": theta * dt,
            "vega": vega * dv,
            "vanna": vanna * ds * dv,
            "volga": volga * dv**2 / 2,
        }
        for name, part in expected.items():
            assert found.parts[name][t, 2] == pytest.approx(part, rel=2e-4, abs=1e-7), name
        assert found.greeks["delta"][t, 2] == pytest.approx(delta + held, abs=1e-6)


def test_a_jump_is_revalued_in_full() -> None:
    """V(t+1, S) - V(t+1, S e^-J) and the holding's share of the move, and nothing elsewhere."""
    scenario = load_scenario("short-call-jumps", {"market.intensity": "30", **OUTLIVES})
    paths = market_paths(scenario, 6, torch.Generator().manual_seed(5))
    found = attribute(scenario, paths, DeltaHedge())
    jump = found.parts["jump"]
    assert paths.jump is not None
    drawn = paths.jump[1:].numpy()
    assert (np.count_nonzero(drawn, axis=0) > 2).any()  # several on a path: each on its own
    np.testing.assert_array_equal(jump != 0, drawn != 0)
    held = np.asarray(found.outcome.holding)[..., 0]
    for t, j in np.argwhere(drawn != 0):
        spot = float(paths.spot[t + 1, j])
        before = spot * math.exp(-drawn[t, j])
        tau = 0.25 - float(paths.times[t + 1, 0])
        moved = call(before, 100, tau, 0.17) - call(spot, 100, tau, 0.17)
        assert jump[t, j] == pytest.approx(moved + held[t, j] * (spot - before), rel=1e-9, abs=1e-9)


def test_a_clock_of_variance_decides_what_time_is_worth() -> None:
    """With no variance at night time value does not decay then: no P&L, and none is explained."""
    calendar = (
        "{kind: trading-hours, days: 5, per_day: 40, first_weekday: 0, overnight: 0, weekend: 0}"
    )
    scenario = load_scenario("short-call", {"calendar": calendar})
    found = attributed(scenario, DeltaHedge(), paths=64)
    nights = slice(39, None, 40)
    assert abs(found.pnl[nights] - found.parts["cost"][nights]).max() < 1e-9
    assert abs(found.parts["theta"][nights]).max() < 1e-9
    whole = found.totals
    assert whole["theta"].mean() == pytest.approx(-whole["gamma"].mean(), rel=0.15)


@pytest.mark.parametrize("broken", [1, 3])
def test_decisions_further_apart_than_the_markets_steps(
    broken: int, brief: Callable[..., Scenario]
) -> None:
    scenario = load_scenario(
        "short-call-jumps", {"calendar.decide_every": str(broken), "market.intensity": "40"}
    )
    found = attributed(scenario, DeltaHedge(), paths=32)
    check_sums(found)
    assert abs(found.parts["unexplained"]).mean() < 0.1 * abs(found.parts["jump"]).mean()


def test_client_orders_are_explained_and_their_spread_is_a_part() -> None:
    """The spread on what is dealt does not depend on the hedge, and the Greeks explain the rest."""
    scenario = load_scenario("market-maker-book", {"position.flow.spread": "0.02"})
    paths = market_paths(scenario, 200, torch.Generator().manual_seed(0))
    delta, gamma = (attribute(scenario, paths, rule) for rule in (DeltaHedge(), DeltaGammaHedge()))
    np.testing.assert_allclose(delta.totals["clients"], gamma.totals["clients"], atol=1e-9)
    fair = changed(scenario, {"position.flow.spread": 0.0})
    without = attribute(fair, paths, DeltaHedge())
    difference = delta.pnl.sum(axis=0) - without.pnl.sum(axis=0)
    np.testing.assert_allclose(difference, delta.totals["clients"], atol=1e-9)
    for found in (delta, gamma):
        np.testing.assert_allclose(sum(found.parts.values()), found.pnl, atol=1e-9)
        assert found.totals["unexplained"].std() < 0.1 * delta.totals["gamma"].std()

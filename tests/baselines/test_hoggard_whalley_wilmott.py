"""Hoggard, Whalley and Wilmott's equation: Leland's formula, a second scheme, bounds, its worth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_banded
from scipy.stats import norm

from deephedge.baselines import Baseline, DeltaHedge, LelandHedge
from deephedge.baselines.hoggard_whalley_wilmott import (
    HoggardWhalleyWilmottHedge,
    hoggard_whalley_wilmott,
    leland_number,
)
from deephedge.envs import Scenario, load_scenario, parse_scenario, rollout, simulate

Array = NDArray[np.float64]
Legs = list[tuple[float, float, float | None]]

BUTTERFLY: Legs = [(10, 95, None), (-20, 100, None), (10, 105, None)]
CALENDAR: Legs = [(-1, 100, 12 / 365), (1, 104, None), (-1, 96, 90 / 365)]
EXPIRY = 30 / 365


def scenario_of(legs: Legs, cost: float = 0.002, **market: float) -> Scenario:
    return parse_scenario(
        {
            "name": "mixed",
            "market": {"kind": "gbm", "spot": 100.0, "sigma": 0.2, **market},
            "calendar": {"kind": "uniform", "days": 30.0, "steps": 30},
            "position": {
                "legs": [
                    {"quantity": q, "claim": {"kind": "call", "strike": k, "maturity": m}}
                    for q, k, m in legs
                ]
            },
            "hedges": [
                {
                    "instrument": {"kind": "underlying"},
                    "costs": [{"kind": "proportional", "rate": cost}],
                }
            ],
            "marking": {"kind": "black-scholes", "vol": 0.2},
            "objective": {"kind": "entropic", "aversion": 0.1},
        }
    )


def held(scenario: Scenario, rule: Baseline) -> Array:
    episodes = simulate(scenario, 40, torch.Generator().manual_seed(0))
    holding: Array = rollout(scenario, episodes, rule, record=True).holding[..., -1]
    return holding


def call(spot: Array, strike: float, tau: float, vol: float, r: float, q: float) -> Array:
    """Black-Scholes, price and delta ``[2, n]``."""
    s = vol * math.sqrt(tau)
    d = (np.log(spot / strike) + (r - q) * tau) / s + s / 2
    delta = math.exp(-q * tau) * norm.cdf(d)
    return np.stack([spot * delta - strike * math.exp(-r * tau) * norm.cdf(d - s), delta])


@pytest.mark.parametrize("quantity", [-1.0, 1.0])
@pytest.mark.parametrize("rates", [{}, {"rate": 0.08, "dividend": 0.03}], ids=["flat", "carry"])
def test_for_one_sign_it_is_leland_to_the_second_order(
    quantity: float, rates: dict[str, float]
) -> None:
    scenario = scenario_of([(quantity, 100, None)], **rates)
    r, q = rates.get("rate", 0.0), rates.get("dividend", 0.0)
    hat = 0.2 * math.sqrt(1 - quantity * leland_number(scenario))
    assert leland_number(scenario) == pytest.approx(math.sqrt(8 / math.pi * 365) * 0.01)
    errors: list[list[float]] = []
    for nodes in (20, 40):
        table = hoggard_whalley_wilmott(scenario, nodes)
        errors.append([])
        for t in (0, 29):
            spot = np.exp(table.log_forward - table.carry[t])
            tau = EXPIRY * (30 - t) / 30
            change = call(spot, 100, tau, hat, r, q) - call(spot, 100, tau, 0.2, r, q)
            value = np.abs(table.value[t] - quantity * change[0]).max()
            errors[-1] += [value, np.abs(table.extra[t] - quantity * change[1]).max()]
    assert errors[1][0] < 1e-4 and errors[1][1] < 2e-5 and errors[1][3] < 1e-3
    for coarse, fine in zip(*errors, strict=True):
        assert 2.5 < coarse / fine < 7, errors


def implicit(scenario: Scenario, legs: Legs, spot: Array, cost: float) -> Array:
    """V and its delta at time 0 by a fully implicit scheme in log S, the signs found by iteration.

    Everything that differs can differ: the variable, the time step, the solver, the boundary.
    """
    r, q = scenario.market.rate, scenario.market.dividends[0]
    x = np.linspace(math.log(100) - 0.7, math.log(100) + 0.7, 1401)
    h, dt = x[1] - x[0], 1 / 365 / 12
    value = np.zeros_like(x)
    for strike_quantity, strike, maturity in legs:
        if maturity is None:
            value += strike_quantity * np.maximum(np.exp(x) - strike, 0)
        elif maturity > EXPIRY:
            value += strike_quantity * call(np.exp(x), strike, maturity - EXPIRY, 0.2, r, q)[0]
    for step in range(360, 0, -1):
        old, sign = value, np.zeros(len(x) - 2)
        for _ in range(30):
            curve = np.diff(value, 2) / h**2 - (value[2:] - value[:-2]) / (2 * h)
            if np.array_equal(np.sign(curve), sign):
                break
            sign = np.sign(curve)
            a = 0.02 * (1 - cost * sign)
            band = np.zeros((3, len(x)))
            band[1] = 1.0
            band[1, 1:-1] = 1 + dt * (2 * a / h**2 + r)
            band[0, 2:] = -dt * (a / h**2 + (r - q - a) / (2 * h))
            band[2, :-2] = -dt * (a / h**2 - (r - q - a) / (2 * h))
            value = solve_banded((1, 1), band, old)
        for strike_quantity, strike, maturity in legs:
            if maturity is not None and round(maturity * 365 * 12) == step - 1:
                value = value + strike_quantity * np.maximum(np.exp(x) - strike, 0)
    slope = np.gradient(value, x) / np.exp(x)
    return np.stack([np.interp(np.log(spot), x, y) for y in (value, slope)])


@pytest.mark.parametrize("legs", [BUTTERFLY, CALENDAR], ids=["butterfly", "calendar"])
def test_a_second_scheme_agrees(legs: Legs) -> None:
    """Also with legs that expire on the way or outlive the episode."""
    scenario = scenario_of(legs, cost=0.003, dividend=0.03)
    spot = np.linspace(85, 115, 61)
    number = leland_number(scenario)
    change = implicit(scenario, legs, spot, number) - implicit(scenario, legs, spot, 0.0)
    table = hoggard_whalley_wilmott(scenario)
    at = np.log(spot) + table.carry[0]
    value = np.interp(at, table.log_forward, table.value[0])
    extra = table.at(0, torch.tensor(np.log(spot))).numpy()
    scale = np.abs(change).max(axis=1)
    assert np.abs(value - change[0]).max() < 0.004 * scale[0]
    assert np.abs(extra - change[1]).max() < 0.01 * scale[1]


def test_the_value_lies_between_those_of_its_two_vols() -> None:
    """Costs only lower it; and it is the worst over all vols between Leland's two."""
    scenario = scenario_of(BUTTERFLY)
    table, number = hoggard_whalley_wilmott(scenario), leland_number(scenario)
    spot = np.exp(table.log_forward)
    assert (table.value <= 1e-12).all() and np.isfinite(table.extra).all()
    quoted = sum(q * call(spot, k, EXPIRY, 0.2, 0, 0)[0] for q, k, _ in BUTTERFLY)
    for sign in (-1, 1):
        hat = 0.2 * math.sqrt(1 + sign * number)
        constant = sum(q * call(spot, k, EXPIRY, hat, 0, 0)[0] for q, k, _ in BUTTERFLY)
        assert (table.value[0] <= constant - quoted + 1e-3).all()
    assert (table.value[0] + quoted >= -1e-3).all()  # a butterfly never pays less than nothing
    short = hoggard_whalley_wilmott(scenario_of([(-q, k, m) for q, k, m in BUTTERFLY]))
    assert (short.value[0] - quoted >= -50 - 1e-3).all()  # nor more than 10 x 5


@pytest.mark.parametrize("sign", [1, -1])
def test_it_replicates_a_butterfly_at_the_cost_it_says(sign: int) -> None:
    """3.78 of 3.95 long, 4.49 of 4.68 short at 20 bp; Leland's, of one sign at a time, costs more.

    Costs are of 29 rebalancings and one opening, dates are finite: so to a tenth.
    """
    scenario = scenario_of([(sign * q, k, m) for q, k, m in BUTTERFLY])
    episodes = simulate(scenario, 8000, torch.Generator().manual_seed(1))
    ours = rollout(scenario, episodes, HoggardWhalleyWilmottHedge())
    table, measure = hoggard_whalley_wilmott(scenario), scenario.objective
    said = -np.interp(math.log(100), table.log_forward, table.value[0])
    assert ours.cost.mean() == pytest.approx(said, rel=0.1)
    theirs = rollout(scenario, episodes, LelandHedge())
    difference = measure.influence(-theirs.pnl) - measure.influence(-ours.pnl)
    gain = measure.risk(-theirs.pnl) - measure.risk(-ours.pnl)
    assert gain > 4 * difference.std() / math.sqrt(len(difference))
    assert theirs.cost.mean() > 1.05 * ours.cost.mean()


def test_without_costs_it_is_delta() -> None:
    for legs in (BUTTERFLY, CALENDAR):
        scenario = scenario_of(legs, cost=0.0)
        ours, delta = held(scenario, HoggardWhalleyWilmottHedge()), held(scenario, DeltaHedge())
        assert np.allclose(ours, delta, rtol=0, atol=1e-12)


def test_the_hedge_is_delta_less_the_change() -> None:
    """In NumPy and torch, with a future, and with the spot far outside of the nodes."""
    scenario = scenario_of(CALENDAR, dividend=0.03)
    rule = HoggardWhalleyWilmottHedge()
    table = hoggard_whalley_wilmott(scenario)
    ours, delta = held(scenario, rule), held(scenario, DeltaHedge())
    spot = simulate(scenario, 40, torch.Generator().manual_seed(0)).spot.numpy()
    for t in (0, 11, 12, 29):
        at = np.log(spot[t]) + table.carry[t]
        change = np.interp(at, table.log_forward, table.extra[t])
        assert np.allclose(ours[t], delta[t] - change, rtol=0, atol=1e-12)
    assert np.abs(ours - delta).max() > 0.01
    single = simulate(scenario, 40, torch.Generator().manual_seed(0), torch.float32)
    tensors = rollout(scenario, single, rule, differentiable=True).pnl
    assert isinstance(tensors, torch.Tensor) and tensors.dtype == torch.float32
    assert np.allclose(rollout(scenario, single, rule).pnl, tensors.numpy(), rtol=0, atol=5e-3)
    tree = scenario.model_dump(mode="json")
    tree["hedges"][0]["instrument"] = {"kind": "future", "tenor": 0.5, "basis": 0.1}
    futures = parse_scenario(tree)
    episodes = simulate(futures, 40, torch.Generator().manual_seed(0))
    units = held(futures, rule) * episodes.hedge_delta[:-1, :, 0].numpy()
    assert np.allclose(units, ours, rtol=0, atol=1e-12)
    far = table.at(0, torch.tensor([-50.0, 50.0], dtype=torch.float64))
    assert np.abs(far.numpy()).max() < 1e-5


def changed(**parts: Any) -> Scenario:
    return parse_scenario(scenario_of(BUTTERFLY).model_dump(mode="json") | parts)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (scenario_of([(-1, 100, None)]), "has one sign everywhere, so that it is leland"),
        (scenario_of([(-2, 100, None), (1, 100, None)]), "has one sign everywhere"),
        (scenario_of(BUTTERFLY, cost=0.007), "Leland number is 1.07, and from 1 on"),
        (changed(marking={"kind": "black-scholes", "vol": 0.0}), "Leland number is inf"),
        (changed(calendar={"kind": "trading-days", "steps": 20}), "this calendar's differ"),
        (load_scenario("american-put"), "knows calls and puts, not AmericanPut"),
        (load_scenario("exchange-option"), "it is for one asset and the market has 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_refuses_where_it_says_nothing(scenario: Scenario, message: str) -> None:
    refusal = HoggardWhalleyWilmottHedge().refusal(scenario)
    assert refusal is not None and message in refusal and refusal[0].islower()


def test_it_refuses_other_dates() -> None:
    scenario = scenario_of(BUTTERFLY)
    other = changed(calendar={"kind": "uniform", "days": 30.0, "steps": 10})
    episodes = simulate(other, 4, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="10 decision dates and the scenario has 30"):
        rollout(scenario, episodes, HoggardWhalleyWilmottHedge())

"""Whalley and Wilmott's band with a fixed fee: a numerical optimum, by hand, and its worth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from deephedge.baselines import BandHedge, Baseline, DeltaHedge, WhalleyWilmottHedge
from deephedge.baselines.rule_inputs import to_edge
from deephedge.baselines.whalley_wilmott import band_of, whalley_wilmott_width
from deephedge.envs import Episodes, Known, Scenario, load_scenario, rollout, simulate
from deephedge.envs.namespace import NUMPY, X

Array = NDArray[np.float64]
FEE = "[{kind: fixed, fee: 0.02}]"
ALL = "[{kind: fixed, fee: 0.02}, {kind: proportional, rate: 0.001}, {kind: per-unit, fee: 0.05}]"
BOTH = "[{kind: fixed, fee: 0.02}, {kind: proportional, rate: 0.002}]"


def episodes_of(scenario: Scenario, paths: int = 30, seed: int = 0) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(seed))


def held(scenario: Scenario, episodes: Episodes, rule: Baseline) -> Array:
    holding: Array = rollout(scenario, episodes, rule, record=True).holding[..., -1]
    return holding


# --- the pair ----------------------------------------------------------------------------------


@pytest.mark.parametrize("aversion", [0.05, 3.0])
@pytest.mark.parametrize(
    ("unit", "fee"), [(0.2, 0.05), (0.2, 0.0004), (0.002, 0.05), (1.0, 1.0)], ids=str
)
def test_it_is_the_optimum_of_the_long_run(unit: float, fee: float, aversion: float) -> None:
    """A Brownian target of variance Gamma^2 a unit of time, losing aversion x^2 / 2 meanwhile.

    From b out to B it takes (B^2 - b^2) / Gamma^2 on average, and x^2 adds up to (B^4 - b^4) /
    (6 Gamma^2): by renewal, the loss a unit of time. No equation of the rule's is used.
    """
    gamma = 0.07
    width = (1.5 * unit * gamma**2 / aversion) ** (1 / 3)
    reach = (12 * fee * gamma**2 / aversion) ** 0.25
    [outer], [inner] = band_of(np.array([width]), np.array([reach]), NUMPY)

    def loss(logs: Array) -> float:
        b, d = np.exp(logs)
        meanwhile = aversion * (b**2 + (b + d) ** 2) / 12
        return float(meanwhile + gamma**2 * (fee + unit * d) / (2 * b * d + d**2))

    options = {"xatol": 1e-10, "fatol": 1e-18, "maxiter": 4000}
    best = minimize(loss, np.log([width, reach]), method="Nelder-Mead", options=options)
    b, d = np.exp(best.x)
    assert inner == pytest.approx(b, rel=1e-5) and outer == pytest.approx(b + d, rel=1e-5)
    assert loss(np.log([inner, outer - inner])) <= best.fun * (1 + 1e-12)


def test_it_solves_both_equations_at_any_scale() -> None:
    generator = np.random.default_rng(0)
    width, reach = 10 ** generator.uniform(-6, 2, (2, 5000))
    outer, inner = band_of(width, reach, NUMPY)
    assert (inner >= 0).all() and (inner <= outer).all()
    ours = inner * outer * (inner + outer)
    largest = np.maximum(2 * width**3, 1e-12 * outer**3)
    assert np.abs(ours - 2 * width**3).max() / largest.max() < 1e-12
    mixed = (reach < 100 * width) & (width < 100 * reach)
    assert np.allclose(ours[mixed], 2 * width[mixed] ** 3, rtol=1e-5, atol=0)
    fee = (inner + outer) * (outer - inner) ** 3
    assert np.allclose(fee[mixed], reach[mixed] ** 4, rtol=1e-6, atol=0)
    m, d = outer + inner, outer - inner
    first = m**3 - reach ** (8 / 3) * m ** (1 / 3)
    assert np.allclose(first, 8 * width**3, rtol=0, atol=1e-13 * (m**3).max())
    assert np.allclose(d**3 * m, reach**4, rtol=1e-3, atol=1e-13 * (m**4).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits_of_the_pair(dtype: type) -> None:
    nothing, one = np.zeros(1, dtype), np.ones(1, dtype)
    for width, reach, outer, inner in (
        (nothing, nothing, 0.0, 0.0),
        (one, nothing, 1.0, 1.0),
        (nothing, one, 1.0, 0.0),
        (one, 1e-6 * one, 1.0, 1.0),
        (1e-6 * one, one, 1.0, 0.0),
    ):
        got = band_of(width, reach, NUMPY)
        assert np.allclose(got, [[outer], [inner]], rtol=0, atol=2e-6)


# --- the rule ----------------------------------------------------------------------------------


def by_bisection(k: float, fee: float, beta: float) -> tuple[float, float]:
    """B and b: b from the first equation given B, B from the second."""

    def inner(outer: float) -> float:
        return (-outer + math.sqrt(outer**2 + 4 * k / beta / outer)) / 2

    low, high = (k / 2 / beta) ** (1 / 3), 1e3
    for _ in range(200):
        outer = (low + high) / 2
        b = inner(outer)
        small = beta / 4 * (outer + b) * (outer - b) ** 3 < fee
        low, high = (outer, high) if small else (low, outer)
    return outer, inner(outer)


@pytest.mark.parametrize("future", [False, True])
def test_holdings_are_the_formulas(future: bool) -> None:
    changes = {"hedges.0.costs": ALL, "market.rate": "0.1", "market.dividend": "0.02"}
    if future:
        changes["hedges.0.instrument"] = f"{{kind: future, tenor: {60 / 365}}}"
    scenario = load_scenario("short-call", changes)
    episodes = episodes_of(scenario, 6)
    rule = WhalleyWilmottHedge(aversion=0.4)
    holding = held(scenario, episodes, rule)
    arrays = episodes.numpy()
    own = arrays.hedge_delta[..., 0]
    assert (own.min() > 1) == future
    moved = 0
    for path in range(6):
        before = 0.0
        for t in range(episodes.steps):
            tau = (30 - t) / 365
            gamma, spot = arrays.gamma[t, path], arrays.spot[t, path]
            beta = 0.4 * math.exp(0.1 * tau) / (3 * gamma**2)
            k = 0.001 * spot + 0.05 / own[t, path]
            outer, inner = by_bisection(k, 0.02, beta)
            x = before * own[t, path] + arrays.delta[t, path]
            if abs(x) > outer:
                x, moved = math.copysign(inner, x), moved + 1
            before = (x - arrays.delta[t, path]) / own[t, path]
            assert holding[t, path] == pytest.approx(before, abs=1e-7)
    assert 10 < moved < 100


def test_a_fee_a_unit_is_a_proportional_cost_at_the_money() -> None:
    one = load_scenario("short-call", {"hedges.0.costs": "[{kind: per-unit, fee: 0.2}]"})
    two = load_scenario("short-call")
    rule = WhalleyWilmottHedge()
    first = held(one, episodes_of(one), rule)[0], held(two, episodes_of(two), rule)[0]
    assert np.allclose(*first, rtol=0, atol=1e-15)


class BlindToFees:
    """The band of the proportional cost alone."""

    name = "blind"

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        half = whalley_wilmott_width(known, 0.1)[:, None]
        return to_edge(known, known.neutral, half), None


@pytest.mark.parametrize("costs", [FEE, BOTH], ids=["fee", "both"])
def test_it_is_worth_it_on_short_call(costs: str) -> None:
    """0.102 and 0.289: below delta, the band blind to fees, and edge bands of any width."""
    scenario = load_scenario("short-call", {"hedges.0.costs": costs})
    episodes, measure = episodes_of(scenario, 8000, seed=1), scenario.objective
    ours = -rollout(scenario, episodes, WhalleyWilmottHedge()).pnl
    others = [DeltaHedge(), BlindToFees(), *(BandHedge(width=w) for w in (0.1, 0.2, 0.3, 0.4))]
    for other in others:
        theirs = -rollout(scenario, episodes, other).pnl
        difference = measure.influence(theirs) - measure.influence(ours)
        error = difference.std() / math.sqrt(len(difference))
        assert measure.risk(theirs) - measure.risk(ours) > 4 * error, other.name


@pytest.mark.slow
def test_with_small_fees_no_band_to_the_centre_is_better() -> None:
    """240 dates at a fee of 0.001: 0.0517, and the best of the widths 0.0517 too.

    With 30 dates and a fee of 0.02 the best width, 0.3, has 0.082 against 0.102: costs there are
    not small, and the dates are few.
    """
    changes = {
        "hedges.0.costs": "[{kind: fixed, fee: 0.001}]",
        "objective.aversion": "1",
        "calendar.steps": "240",
    }
    scenario = load_scenario("short-call", changes)
    episodes, measure = episodes_of(scenario, 20_000, seed=1), scenario.objective
    ours = -rollout(scenario, episodes, WhalleyWilmottHedge()).pnl
    for width in (0.03, 0.05, 0.07, 0.1, 0.13):
        theirs = -rollout(scenario, episodes, BandHedge(width=width, to="centre")).pnl
        difference = measure.influence(theirs) - measure.influence(ours)
        error = difference.std() / math.sqrt(len(difference))
        assert measure.risk(theirs) - measure.risk(ours) > -2 * error, width
        if width in (0.03, 0.13):
            assert measure.risk(theirs) - measure.risk(ours) > 4 * error, width


@pytest.mark.parametrize(
    "changes",
    [
        {"position.legs.0.claim.strike": "1.0e+7"},
        {"marking.vol": "0"},
        {"calendar.days": "1.0e-6"},
        {"hedges.0.costs": "[{kind: fixed, fee: 1.0e+6}]"},
        {"hedges.0.costs": "[{kind: fixed, fee: 1.0e-12}]"},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_finite_at_the_extremes(changes: dict[str, str], dtype: torch.dtype) -> None:
    scenario = load_scenario("short-call", {"hedges.0.costs": BOTH} | changes)
    episodes = simulate(scenario, 20, torch.Generator().manual_seed(0), dtype)
    tensors = rollout(scenario, episodes, WhalleyWilmottHedge(), differentiable=True)
    exact = rollout(scenario, episodes, WhalleyWilmottHedge())
    assert np.isfinite(exact.pnl).all()
    within = 1e-9 if dtype == torch.float64 else 0.05
    assert isinstance(tensors.pnl, torch.Tensor)
    assert np.allclose(exact.pnl, tensors.pnl.numpy(), rtol=1e-6, atol=within)

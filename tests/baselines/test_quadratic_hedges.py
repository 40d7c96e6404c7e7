"""The frictionless quadratic optimum, against transforms, sums and simulation."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from deephedge.baselines import Baseline, DeltaHedge, NoHedge, StaticHedge
from deephedge.baselines.local_risk import LocalRiskHedge
from deephedge.baselines.optimum import NoKnownOptimumError
from deephedge.baselines.optimum.problem import problem_of
from deephedge.baselines.optimum.quadratic import (
    QuadraticOptimum,
    least_squares,
    quadratic_optimum,
)
from deephedge.baselines.variance_optimal import VarianceOptimalHedge
from deephedge.envs import Scenario, load_scenario, rollout, simulate
from deephedge.envs.rollout import Outcome

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

HORIZON = 30 / 365
CALL = "[{quantity: -1, claim: {kind: call, strike: 100}}]"
GBM = "{kind: gbm, sigma: 0.2, drift: %s}"
MERTON = "{kind: merton, sigma: 0.15, intensity: 1.2, jump_mean: -0.07, jump_std: 0.05, drift: %s}"
KOU = "{kind: kou, sigma: 0.16, intensity: 1, up_probability: 0.4, up_rate: 20, down_rate: 15, "
KOU += "drift: %s}"
HOURS = "{kind: trading-hours, days: 5, per_day: 3, first_weekday: 2}"
DIGITAL = "[{quantity: -1, claim: {kind: digital-call, strike: 101, cash: 2}}]"
WIDE = {"hedges.0.limits": "{lower: -20, upper: 20}"}
OTHERS: list[Baseline] = [DeltaHedge(), DeltaHedge(every=5), StaticHedge(), NoHedge()]


def scenario_of(preset: str = "short-call", **changes: str) -> Scenario:
    """A preset without costs for quadratic risk."""
    plain = {"objective": "{kind: quadratic}", "hedges.0.costs": "[]", "calendar.steps": "6"}
    given = {key.replace("__", "."): text for key, text in changes.items()}
    return load_scenario(preset, plain | given)


@cache
def optimum_of(scenario: Scenario) -> QuadraticOptimum:
    return quadratic_optimum(scenario)


def played(scenario: Scenario, hedger: Baseline, paths: int, seed: int = 1, **more: Any) -> Outcome:
    episodes = simulate(scenario, paths, torch.Generator().manual_seed(seed))
    return rollout(scenario, episodes, hedger, **more)


# The optimum: what Hubalek, Kallsen and Krawczyk find by transforms


def moment(market: Any, years: float, z: Complex) -> Complex:
    """E[e^{zX}] of the log-increment over a step."""
    jump, rate = np.ones_like(z), 0.0
    mean_jump = 1.0
    if market.kind == "merton":
        rate = market.intensity

        def of(z: Any) -> Any:
            return np.exp(z * market.jump_mean + (z * market.jump_std) ** 2 / 2)

        jump, mean_jump = of(z), of(1.0)
    if market.kind == "kou":
        rate, p = market.intensity, market.up_probability

        def of(z: Any) -> Any:
            up, down = market.up_rate, market.down_rate
            return p * up / (up - z) + (1 - p) * down / (down + z)

        jump, mean_jump = of(z), of(1.0)
    drift = market.drift - market.sigma**2 / 2 - rate * (mean_jump - 1)
    return np.asarray(
        np.exp(years * (drift * z + (market.sigma * z) ** 2 / 2 + rate * (jump - 1))), complex
    )


def by_transforms(scenario: Scenario) -> tuple[float, float, float]:
    """V_0, J_0 and L_0 of a call without interest, by sums over a contour and over pairs of it.

    Hubalek, Kallsen and Krawczyk, "Variance-optimal hedging for processes with stationary
    independent increments", 2006, for discrete time (and Schweizer's L_0).
    """
    market: Any = scenario.market
    N, spot, strike, real = scenario.calendar.steps, market.spot, 100.0, 5.0
    m = partial(moment, market, HORIZON / N)
    m1, m2 = (float(m(np.array(k + 0j)).real) for k in (1.0, 2.0))
    variance, square = m2 - m1**2, m2 - 2 * m1 + 1
    wide, near = 1200, 200  # of a contour, and of the sum of two points on it
    z = real + 1j * np.arange(-wide - near, wide + near + 1)
    mz, mz1 = m(z), m(z + 1)
    h = mz - (m1 - 1) * (mz1 - m1 * mz) / variance
    density = strike ** (1 - z) * spot**z / (z * (z - 1)) / (2 * math.pi)
    V = float((density * h**N).sum().real)
    i = np.arange(near + wide, near + 2 * wide + 1)[:, None]  # u >= 0: else the conjugate
    pair = np.arange(-near, near + 1)[None]  # u + v, of which the integrand decays fast
    j = len(z) - 1 - i + pair
    j, inside = j.clip(0, len(z) - 1), (j >= 0) & (j < len(z))
    both = m(2 * real + 1j * pair.astype(float))
    products = m2 * mz[i] * mz[j] - m1 * (mz1[i] * mz[j] + mz[i] * mz1[j]) + mz1[i] * mz1[j]
    b = both - products / variance
    a = h[i] * h[j] * variance / square
    steps = np.ones_like(a)  # sum over n of a^(N - n) m(y + z)^(n - 1)
    for n in range(1, N):
        steps = a * steps + both**n
    once = np.where(z[i].imag > 0, 2.0, 1.0)
    J = float((once * density[i] * density[j] * b * steps * inside).sum().real)
    return V, J, (variance / square) ** N


@pytest.mark.parametrize(
    "market",
    [
        GBM % 0.4,
        MERTON % 0.4,
        *(pytest.param(market, marks=pytest.mark.slow) for market in (MERTON % 0, KOU % 0.4)),
    ],
    ids=["gbm drift", "merton drift", "merton", "kou drift"],
)
def test_it_is_the_formula_by_transforms(market: str) -> None:
    scenario = scenario_of(market=market, position__premium="1.7")
    optimum = optimum_of(scenario)
    V, J, L = by_transforms(scenario)
    value = math.sqrt(L * (1.7 - V) ** 2 + J)
    assert optimum.price == pytest.approx(V, rel=1e-5)
    assert optimum.value == pytest.approx(value, rel=1e-5)
    assert optimum.remaining[0] == pytest.approx(L, rel=1e-6)
    fair = scenario_of(market=market, position__premium=str(V))
    assert optimum_of(fair).value ** 2 == pytest.approx(J, rel=1e-4)


def test_without_drift_it_sums_what_each_step_leaves_of_black_scholes() -> None:
    """E of Var_t(V_{t+1} - xi dS), by sums over S_t and over the step."""
    sd, n = 0.2 * math.sqrt(HORIZON / 6), 2001
    z = np.linspace(-8, 8, n)
    weight = stats.norm.pdf(z) * (z[1] - z[0])

    def price(spot: Array, left: int) -> Array:
        total = sd * math.sqrt(left) if left else 1e-12
        d = np.log(spot / 100) / total + total / 2
        return np.asarray(spot * stats.norm.cdf(d) - 100 * stats.norm.cdf(d - total))

    step, total = np.exp(sd * z - sd**2 / 2), 0.0
    for t in range(6):
        s = np.linspace(-8, 8, 161) if t else np.zeros(1)
        chance = stats.norm.pdf(s) * 0.1 if t else np.ones(1)
        spot = 100 * np.exp(sd * math.sqrt(t) * s - sd**2 * t / 2)
        then = price(spot[:, None] * step, 5 - t)
        mean = then @ weight
        covariance = then @ (weight * (step - 1))
        left = then**2 @ weight - mean**2 - covariance**2 / ((step - 1) ** 2 @ weight)
        total += chance @ left
    V = float(price(np.array([100.0]), 6)[0])
    optimum = optimum_of(scenario_of(position__premium=str(V)))
    assert optimum.price == pytest.approx(V, abs=3e-6)
    assert optimum.value**2 == pytest.approx(total, rel=1e-4)


# The optimum: what simulation finds


def agrees_and_is_unbeaten(scenario: Scenario, paths: int) -> None:
    """Simulated risk within 4 s.e. plus the stated error of the value; no other hedger lower."""
    optimum, objective = optimum_of(scenario), scenario.objective
    episodes = simulate(scenario, paths, torch.Generator().manual_seed(11))
    outcome = rollout(scenario, episodes, VarianceOptimalHedge())
    assert (np.asarray(outcome.clipped) > 1e-9).mean() < 5e-4
    best = -np.asarray(outcome.pnl)
    influence, root = objective.influence(best), math.sqrt(paths)
    risk = objective.risk(best)
    assert abs(risk - optimum.value) < 4 * influence.std() / root + optimum.error
    for hedger in [*OTHERS, LocalRiskHedge()]:
        if hedger.refusal(scenario) is None:
            other = -np.asarray(rollout(scenario, episodes, hedger).pnl)
            paired = (objective.influence(other) - influence).std() / root
            assert objective.risk(other) - risk > -4 * paired, hedger.name


@pytest.mark.parametrize(
    "changes",
    [
        {"market": GBM % 0},
        {"market": MERTON % 0.3, "marking": "{kind: model}"},
        {"market.rate": "0.5", "market.dividend": "0.3", "market.drift": "0.4"},
        {"market.drift": "0.5", "calendar": HOURS, "position.premium": "3"} | WIDE,
    ],
    ids=lambda changes: "+".join(changes),
)
def test_simulated_risk_is_the_value_and_nobody_beats_it(changes: dict[str, str]) -> None:
    agrees_and_is_unbeaten(scenario_of(**changes), 20_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"market": KOU % 0.2, "marking": "{kind: market-vol}"},
        {"calendar.steps": "12", "calendar.decide_every": "5", "market.rate": "0.4"},
        {"position.legs": DIGITAL},
        {"position.premium": "-2", "market.drift": "-0.6", "market.dividend": "0.2"} | WIDE,
        {"liquidate": "true", "hedges.0.limits": "{lower: -0.5, upper: 1.2}"},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_the_same_of_every_other_part(changes: dict[str, str]) -> None:
    agrees_and_is_unbeaten(scenario_of(**changes), 100_000)


@pytest.mark.slow
@pytest.mark.parametrize("market", [GBM, MERTON], ids=["gbm", "merton"])
@pytest.mark.parametrize("drift", [0.0, 0.4])
def test_the_same_on_a_million_paths(market: str, drift: float) -> None:
    agrees_and_is_unbeaten(scenario_of(market=market % drift, calendar__steps="30"), 1_000_000)


def test_the_stated_error_is_honest() -> None:
    """Against a lattice three times as fine."""
    for changes in ({"market": MERTON % 0.2}, {"position__legs": DIGITAL}, {"market": GBM % 0.5}):
        scenario = scenario_of(position__premium="1", **changes)
        optimum = optimum_of(scenario)
        finer = least_squares(problem_of(scenario), 18)
        assert abs(optimum.value - finer.value) < optimum.error + 1e-9
        assert optimum.error < 1e-3 * optimum.value


def test_a_forward_is_hedged_to_the_penny() -> None:
    """Put-call parity: a long call and a short put are hedged with one share short."""
    legs = "[{quantity: 1, claim: {kind: call, strike: 90}}, "
    legs += "{quantity: -1, claim: {kind: put, strike: 90}}]"
    market = "{kind: merton, sigma: 0.15, drift: 0.3, rate: 0.1}"
    scenario = scenario_of(market=market, position__legs=legs)
    forward = -(100 - 90 * math.exp(-0.1 * HORIZON))
    assert optimum_of(scenario).price == pytest.approx(forward, abs=1e-4)
    outcome = played(scenario, VarianceOptimalHedge(), 500, record=True)
    assert np.asarray(outcome.holding)[0] == pytest.approx(-1, abs=1e-3)
    assert np.asarray(outcome.pnl).std() < 1e-3


def test_an_interest_rate_only_carries_money_to_the_end() -> None:
    """With the forward and the premium in money at the end kept, holdings and P&L are the same."""
    growth = math.exp(2 * HORIZON)
    flat = scenario_of(market=GBM % 0.4, position__premium="5")
    market = f"{{kind: gbm, sigma: 0.2, drift: 2.4, rate: 2, spot: {100 / growth}}}"
    carried = scenario_of(market=market, position__premium=str(5 / growth))
    assert optimum_of(carried).value == pytest.approx(optimum_of(flat).value, rel=1e-9)
    first, second = (played(s, VarianceOptimalHedge(), 50, record=True) for s in (flat, carried))
    assert first.holding == pytest.approx(second.holding, abs=1e-9)
    assert first.pnl == pytest.approx(second.pnl, abs=1e-8)


def test_nothing_is_bet_on_a_price_without_excess_drift() -> None:
    """Over nights and weekends too, where interest runs on dates and variance on its own clock."""
    market = "{kind: gbm, sigma: 0.2, drift: 0.5, rate: 0.7, dividend: 0.2}"
    optimum = optimum_of(scenario_of(market=market, calendar=HOURS))
    assert optimum.feedback == pytest.approx(0, abs=1e-4)
    assert optimum.remaining == pytest.approx(1, abs=1e-6)


def test_far_in_the_money_it_holds_a_share_and_far_out_none() -> None:
    """At the ends of the lattice too, from where a step leads beyond it."""
    for market in (GBM, KOU):
        units = optimum_of(scenario_of(market=market % 0)).units
        assert units[:, 0] == pytest.approx(0, abs=1e-4)
        assert units[:, -1] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "{kind: cvar, level: 0.9}"}, "objective cvar: the programme is for quad"),
        ({"market": "{kind: heston}"}, "market heston: its log-increments are not independent"),
        ({"market.sigma": "{low: 0.1, high: 0.3}"}, "market gbm: its log-increments"),
        ({"market": "{kind: kou, up_rate: 2.4}"}, "market.up_rate 2.4: the spot's variance is"),
        ({"hedges.0.costs": "[{kind: proportional, rate: 0.001}]"}, "without costs"),
        ({"loss_limit": "5"}, "a loss_limit makes wealth matter"),
        ({"calendar": "{kind: trading-days, steps: 20}"}, "dates differ from path to path"),
        (
            {"calendar": HOURS.replace("2}", "2, overnight: 0}")},
            "a step without variance: set its overnight",
        ),
        (
            {"hedges.0.limits": "{lower: -0.5, upper: 0.9}"},
            r"from .* to 1 units and hedges.0.limits allow -0.5 to 0.9: widen them",
        ),
        (
            {"position.legs": DIGITAL.replace("cash: 2", "cash: 40"), "position.premium": "1"},
            "hedges.0.limits allow -2 to 2: widen",
        ),
        ({"market.drift": "1", "position.premium": "-20"}, "hedges.0.limits allow -2 to 2: widen"),
    ],
)
def test_where_no_optimum_is_known(changes: dict[str, str], message: str) -> None:
    with pytest.raises(NoKnownOptimumError, match=message):
        quadratic_optimum(scenario_of(**changes))


# The rule variance-optimal


def test_costs_objective_and_bounds_do_not_move_the_rule() -> None:
    plain = scenario_of(market=MERTON % 0.2)
    costs = "[{kind: proportional, rate: 0.001}, {kind: fixed, fee: 0.1}]"
    limits = "{max_trade: 1.9}"
    other = scenario_of(
        market=MERTON % 0.2,
        objective="{kind: cvar, level: 0.9}",
        hedges__0__costs=costs,
        hedges__0__limits=limits,
    )
    first, second = (
        played(s, VarianceOptimalHedge(), 50, record=True).holding[0] for s in (plain, other)
    )
    assert np.array_equal(first, second)
    assert played(other, VarianceOptimalHedge(), 50).cost.min() > 0


def test_listed_options_are_left_alone() -> None:
    option = "{instrument: {kind: listed-option, option: {kind: call, strike: 100, maturity: 0.5}}}"
    scenario = scenario_of(hedges=f"[{option}, {{instrument: {{kind: underlying}}}}]")
    held = played(scenario, VarianceOptimalHedge(), 20, record=True).holding
    alone = played(scenario_of(), VarianceOptimalHedge(), 20, record=True).holding
    assert not held[..., 0].any()
    assert held[..., 1] == pytest.approx(alone[..., 0], abs=1e-12)


def test_the_same_in_torch() -> None:
    scenario = scenario_of(market=MERTON % 0.2)
    exact = played(scenario, VarianceOptimalHedge(), 40)
    tensors = played(scenario, VarianceOptimalHedge(), 40, differentiable=True)
    assert np.allclose(exact.pnl, tensors.pnl.numpy(), rtol=0, atol=1e-11)


def test_dates_other_than_the_scenarios_are_refused() -> None:
    six, ten = (scenario_of(market=MERTON % 0, calendar__steps=n) for n in ("6", "10"))
    episodes = simulate(ten, 4, torch.Generator())
    with pytest.raises(ValueError, match="10 decision dates and the scenario has 6"):
        rollout(six, episodes, VarianceOptimalHedge())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"market": "{kind: heston}"}, "market heston: its log"),
        (
            {"position.legs": "[{quantity: -1, claim: {kind: asian-call, strike: 100}}]"},
            "keep calls, puts and digitals",
        ),
        (
            {"hedges.0.instrument": "{kind: future, tenor: 0.25}"},
            "other than one underlying",
        ),
        (
            {"calendar": HOURS.replace("2}", "2, overnight: 0}")},
            "a step without variance",
        ),
    ],
)
def test_what_the_rule_refuses(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        played(scenario_of(**changes), VarianceOptimalHedge(), 4)

"""The exact optimum against simulation, other hedgers, limits and a programme of its own."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from deephedge.baselines.optimal import OptimalHedge
from deephedge.baselines.optimum import (
    NoKnownOptimumError,
    Optimum,
    bid_ask,
    known_optimum,
    solve,
)
from deephedge.baselines.optimum.bands import BandOptimum
from deephedge.baselines.optimum.exponential import Independent
from deephedge.baselines.optimum.one_step_law import centre, one_step_law
from deephedge.baselines.optimum.problem import problem_of
from deephedge.baselines.optimum.programme import backward, grid
from deephedge.baselines.optimum.quadratic import QuadraticOptimum
from deephedge.baselines.optimum.tail import TailOptimum
from deephedge.envs import Episodes, Scenario, load_scenario, rollout, simulate
from deephedge.envs.markets import GeometricBrownianMotion, Kou, Merton

Array = NDArray[np.float64]
Check = Callable[..., None]
# The package offers the function under the module's name.
solving = importlib.import_module("deephedge.baselines.optimum.solve")
BOOKS = {
    "short call": "[{quantity: -1, claim: {kind: call, strike: 100}}]",
    "long put": "[{quantity: 1, claim: {kind: put, strike: 100}}]",
    "short straddle": "[{quantity: -1, claim: {kind: call, strike: 100}}, "
    "{quantity: -1, claim: {kind: put, strike: 100}}]",
}
PRESETS = ["short-call", "short-call-jumps"]
KOU = "{kind: kou, sigma: 0.16, intensity: 1.0, up_probability: 0.4, up_rate: 10, down_rate: 5}"
FEW = {"calendar.steps": "2"}
TEN_DATES = {"calendar.steps": "10"}


def scenario_of(preset: str = "short-call", **changes: str) -> Scenario:
    return load_scenario(preset, {key.replace("__", "."): text for key, text in changes.items()})


def at_cost(
    bp: float, preset: str = "short-call", book: str = "short call", steps: int = 30
) -> Scenario:
    return scenario_of(
        preset,
        position__legs=BOOKS[book],
        hedges__0__costs=f"[{{kind: proportional, rate: {bp / 1e4}}}]",
        calendar__steps=str(steps),
    )


@cache
def drawn(preset: str, paths: int, seed: int) -> Episodes:
    """The book does not matter to the paths: marks are made anew for each."""
    return simulate(load_scenario(preset), paths, torch.Generator().manual_seed(seed))


def test_short_call(agrees_and_is_unbeaten: Check) -> None:
    """The issue's figure, found independently with Gauss-Hermite sums and cubic interpolation."""
    scenario = load_scenario("short-call")
    assert solve(scenario).value == pytest.approx(0.1848, abs=0.001)
    agrees_and_is_unbeaten(scenario, 100_000)


@pytest.mark.parametrize("book", list(BOOKS))
@pytest.mark.parametrize("bp", [0, 5, 20, 100])
@pytest.mark.parametrize("preset", PRESETS)
def test_simulated_risk_is_the_value_and_nobody_beats_it(
    preset: str, bp: float, book: str, agrees_and_is_unbeaten: Check
) -> None:
    agrees_and_is_unbeaten(at_cost(bp, preset, book, 4), 5_000, seed=int(bp) + len(book))


@pytest.mark.slow
@pytest.mark.parametrize("book", list(BOOKS))
@pytest.mark.parametrize("bp", [0, 5, 20, 100])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_on_a_million_paths(
    preset: str, bp: float, book: str, agrees_and_is_unbeaten: Check
) -> None:
    agrees_and_is_unbeaten(at_cost(bp, preset, book), 1_000_000, seed=int(bp) + len(book))


@pytest.mark.parametrize(
    "changes",
    [
        {"liquidate": "true"},
        {"market.rate": "0.5", "market.dividend": "0.3", "market.drift": "0.2"},
        {"market.drift": "0.1", "objective.aversion": "0.2"},
        {"hedges.0.limits": "{lower: -0.1, upper: 0.5}"},
        {"hedges.0.costs": "[{kind: per-unit, fee: 0.1}, {kind: proportional, rate: 0.001}]"},
        {"calendar": "{kind: trading-hours, days: 8, per_day: 3, first_weekday: 2}"},
        {"calendar.steps": "60", "calendar.decide_every": "4"},
        {"position.legs": "[{quantity: -1, claim: {kind: digital-call, strike: 101, cash: 5}}]"},
        {"position.premium": "1.5", "objective.aversion": "1.0"},
        {**FEW, "market": KOU, "position.legs": BOOKS["long put"]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_other_part_of_a_scenario(
    changes: dict[str, str], agrees_and_is_unbeaten: Check
) -> None:
    agrees_and_is_unbeaten(load_scenario("short-call", TEN_DATES | changes), 10_000)


def test_two_dates_by_brute_force() -> None:
    """A second programme: dense sums over the normal law, and every pair of dense holdings."""
    rate, a, sd = 0.002, 0.1, 0.2 * math.sqrt(15 / 365)
    z = np.linspace(-7, 7, 2001)
    weight = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    h = np.linspace(-0.05, 1.05, 441)
    growth = np.exp(sd * z - sd**2 / 2)

    def certain(loss: Array) -> Array:
        top = loss.max(axis=0)
        return np.asarray(top + np.log(weight @ np.exp(a * (loss - top))) / a)

    middle = 100 * growth[::10]
    cost_to_go = np.empty((len(middle), len(h)))
    for i, spot in enumerate(middle):
        end = spot * growth
        G = certain(np.maximum(end - 100, 0)[:, None] - h * (end - spot)[:, None])
        trade = rate * spot * np.abs(h[:, None] - h)
        cost_to_go[i] = (G[:, None] + trade).min(axis=0)
    ten = weight[::10] / weight[::10].sum()
    loss = cost_to_go - h * (middle - 100)[:, None]
    first = np.log(ten @ np.exp(a * loss)) / a
    value = (first + rate * 100 * np.abs(h)).min()
    scenario = scenario_of(calendar__steps="2")
    assert solve(scenario).price == pytest.approx(value, abs=1e-5)


@pytest.mark.slow
def test_the_stated_error_is_honest() -> None:
    """Against a lattice and holdings more than twice as fine."""
    for scenario in (
        scenario_of(calendar__steps="10"),
        scenario_of(liquidate="true", calendar__steps="10"),
        scenario_of(hedges__0__limits="{lower: -0.1, upper: 0.5}", calendar__steps="10"),
        scenario_of("short-call-jumps", calendar__steps="5"),
        scenario_of(
            position__legs="[{quantity: 1, claim: {kind: digital-put, strike: 99, cash: 9}}]",
            calendar__steps="10",
        ),
    ):
        optimum, problem = solve(scenario), problem_of(scenario)
        reach = 1.2 * max(-optimum.upper.min(), optimum.lower.max())
        holdings = grid(-reach, reach, problem.bounds, int(300 * reach) + 1)
        finer = backward(problem, Independent(problem, scenario.market), holdings, 13).value
        assert abs(optimum.price - finer) < optimum.error + 1e-7
        assert optimum.error < 0.001 * abs(optimum.price)


def test_without_costs_and_with_many_dates_it_is_the_delta() -> None:
    scenario = at_cost(0, steps=60)
    optimum = solve(scenario)
    assert optimum.value < 0.005  # the Black-Scholes price, nearly
    row, spot = 15, np.linspace(90, 110, 41)
    left = 0.2 * math.sqrt(30 / 365 * 0.75)
    delta = stats.norm.cdf(np.log(spot / 100) / left + left / 2)
    for edge in (optimum.lower, optimum.upper):
        held = np.interp(np.log(spot), optimum.log_spot[row], edge[row])
        assert np.abs(held - delta).max() < 0.02


def test_at_huge_costs_nothing_is_traded() -> None:
    scenario = at_cost(5000)
    episodes = simulate(scenario, 200, torch.Generator().manual_seed(1))
    assert not rollout(scenario, episodes, OptimalHedge()).trades.any()
    z = np.linspace(-7, 7, 20001)
    sd = 0.2 * math.sqrt(30 / 365)
    payoff = np.maximum(100 * np.exp(sd * z - sd**2 / 2) - 100, 0)
    naked = np.log(np.trapezoid(stats.norm.pdf(z) * np.exp(0.1 * payoff), z)) / 0.1
    assert solve(scenario).price == pytest.approx(naked, abs=1e-4)


def test_cash_moves_the_value_one_for_one() -> None:
    low, high = (solve(scenario_of(position__premium=str(p), **TEN)) for p in (1.0, 3.5))
    assert low.value - high.value == pytest.approx(2.5, abs=1e-12)
    assert low.price == high.price == pytest.approx(low.value + 1.0, abs=1e-12)


TEN = {"calendar__steps": "10"}


def test_twice_the_spot_and_half_the_aversion_is_twice_the_value() -> None:
    one = solve(scenario_of(**TEN))
    legs = "[{quantity: -1, claim: {kind: call, strike: 200}}]"
    two = solve(
        scenario_of(market__spot="200", position__legs=legs, objective__aversion="0.05", **TEN)
    )
    assert two.value == pytest.approx(2 * one.value, rel=1e-8)
    assert np.allclose(two.lower, one.lower, atol=1e-6)


def test_bid_and_ask_hold_the_frictionless_price_between_them() -> None:
    bid, ask = bid_ask(scenario_of(**TEN))
    assert bid < 2.28715 < ask
    cheap_bid, cheap_ask = bid_ask(at_cost(5, steps=10))
    assert bid < cheap_bid < cheap_ask < ask


def test_an_interest_rate_only_carries_money_to_the_end() -> None:
    """With the forward kept, everything in money at the end is the same, less the premium's."""
    flat = solve(scenario_of(position__premium="0", **TEN))
    growth = math.exp(0.3 * 30 / 365)
    scenario = scenario_of(
        market__rate="0.3",
        market__drift="0.3",
        market__spot=str(100 / growth),
        position__premium="0",
        **TEN,
    )
    assert solve(scenario).value == pytest.approx(flat.value, abs=1e-9)
    assert solve(scenario).price == pytest.approx(flat.price / growth, abs=1e-9)


def test_the_band() -> None:
    optimum = solve(load_scenario("short-call"))
    assert optimum.lower.shape == optimum.upper.shape == optimum.log_spot.shape
    assert (optimum.lower <= optimum.upper).all()
    near = np.abs(optimum.log_spot[0] - math.log(100)) < 0.1
    assert (np.diff(optimum.lower[0][near]) > 0).all()
    assert (np.diff(optimum.upper[0][near]) > 0).all()
    tight = solve(at_cost(5))
    wide, narrow = ((o.upper - o.lower)[0, near] for o in (optimum, tight))
    assert (narrow < 0.8 * wide).all()


def test_the_same_in_torch() -> None:
    scenario = load_scenario("short-call")
    episodes = drawn("short-call", 64, 0)
    exact = rollout(scenario, episodes, OptimalHedge())
    tensors = rollout(scenario, episodes, OptimalHedge(), differentiable=True)
    assert np.allclose(exact.pnl, tensors.pnl.numpy(), rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "market",
    [
        GeometricBrownianMotion(sigma=0.2),
        Merton(sigma=0.15, intensity=5.0, jump_mean=-0.07, jump_std=0.05),
        Kou(sigma=0.16, intensity=5.0, up_rate=20.0, down_rate=12.0),
    ],
)
def test_the_law_of_a_step_has_the_markets_moments(
    market: GeometricBrownianMotion | Merton | Kou,
) -> None:
    years = 1 / 52
    law = one_step_law(market, years, market.volatility * math.sqrt(years) / 24)
    step = market.volatility * math.sqrt(years) / 24
    x = (law.first + np.arange(len(law.weights))) * step
    assert law.weights.sum() == pytest.approx(1, abs=1e-14)
    gain = (law.weights * np.exp(x + centre(market) * years)).sum()
    assert gain == pytest.approx(1, abs=1e-9)
    variance = (law.weights * x**2).sum() - (law.weights * x).sum() ** 2
    assert variance == pytest.approx(market.volatility**2 * years, rel=1e-8)


def test_the_law_of_a_step_is_the_normal_and_mertons_mixture() -> None:
    years, step = 1 / 365, 0.2 / math.sqrt(365) / 4
    law = one_step_law(GeometricBrownianMotion(sigma=0.2), years, step)
    x = (law.first + np.arange(len(law.weights))) * step
    assert x[-1] / (4 * step) == pytest.approx(7, abs=0.3)
    normal = step * stats.norm.pdf(x, 0, 4 * step)
    assert np.allclose(law.weights, normal, rtol=1e-4, atol=1e-16)
    merton = Merton(sigma=0.2, intensity=3.0, jump_mean=-0.07, jump_std=0.05)
    law = one_step_law(merton, years, step)
    x = (law.first + np.arange(len(law.weights))) * step
    mixture = sum(
        stats.poisson.pmf(n, 3 / 365)
        * stats.norm.pdf(x, -0.07 * n, math.sqrt(0.04 / 365 + 0.0025 * n))
        for n in range(8)
    )
    assert np.allclose(law.weights, step * mixture, rtol=1e-3, atol=1e-16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"objective": "{kind: mean-variance, aversion: 0.1}"},
            "objective mean-variance: wealth matters",
        ),
        ({"market.sigma": "{low: 0.1, high: 0.3}"}, "market gbm: its log-increments"),
        ({"market.sigma": "0"}, "market gbm: its log-increments"),
        ({"market": "{kind: sabr}"}, "market sabr: its log-increments"),
        ({"market": "{kind: bates}"}, "market bates: its log-increments"),
        ({"calendar": "{kind: trading-days, steps: 20}"}, "dates differ from path to path"),
        ({"loss_limit": "5"}, "a loss_limit makes wealth matter"),
        (
            {"position.legs": "[{quantity: -1, claim: {kind: asian-call, strike: 100}}]"},
            r"position.legs.0: a asian-call|position.legs.0: an asian-call",
        ),
        (
            {"position.legs": "[{quantity: 1, claim: {kind: call, strike: 100, maturity: 0.5}}]"},
            "maturity 0.5 years is not the episode's end",
        ),
        ({"hedges.0.instrument": "{kind: future, tenor: 0.25}"}, "other than one underlying"),
        (
            {"hedges.0.costs": "[{kind: quadratic, rate: 0.1}]"},
            "a quadratic cost is not proportional",
        ),
        (
            {"hedges.0.costs": "[{kind: per-unit, fee: 0.1, minimum: 1}]"},
            "a per-unit cost is not proportional",
        ),
        ({"hedges.0.limits": "{lot: 0.1}"}, "max_trade and lot"),
        ({"hedges.0.limits": "{max_trade: 0.1}"}, "max_trade and lot"),
        ({**FEW, "market": KOU}, "decided by where the law of a step is cut"),
        ({**FEW, "objective.aversion": "200"}, "decided by where the law of a step is cut"),
    ],
)
def test_where_no_optimum_is_known(changes: dict[str, str], message: str) -> None:
    scenario = load_scenario("short-call", changes)
    assert known_optimum(scenario) is None
    with pytest.raises(NoKnownOptimumError, match=message):
        solve(scenario)


def test_dates_other_than_the_scenarios_are_refused() -> None:
    scenario = scenario_of(**TEN)
    with pytest.raises(ValueError, match="optimal: 30 decision dates and the scenario has 10"):
        rollout(scenario, drawn("short-call", 4, 0), OptimalHedge())


def test_it_is_solved_once() -> None:
    assert solve(load_scenario("short-call")) is solve(load_scenario("short-call"))
    assert known_optimum(load_scenario("short-call")) is solve(load_scenario("short-call"))
    assert replace(solve(load_scenario("short-call"))).error < 1e-4


def test_the_objective_chooses_the_programme() -> None:
    free = {"hedges.0.costs": "[]", "calendar.steps": "3"}
    for objective, kind in (
        ("{kind: entropic, aversion: 0.1}", BandOptimum),
        ("{kind: quadratic}", QuadraticOptimum),
        ("{kind: cvar, level: 0.5}", TailOptimum),
    ):
        scenario = load_scenario("short-call", free | {"objective": objective})
        assert isinstance(solve(scenario), kind)
        proven = known_optimum(scenario)
        assert (proven is None) == (kind is TailOptimum)
        assert OptimalHedge.variants(scenario) == (() if proven is None else (OptimalHedge(),))


def test_why_none_is_known_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def programme(scenario: Scenario) -> Optimum:
        asked.append(scenario)
        raise NoKnownOptimumError("no known optimum: today")

    monkeypatch.setattr(solving, "exponential_optimum", programme)
    scenario = scenario_of(name="asked twice")
    assert known_optimum(scenario) is known_optimum(scenario) is None
    assert OptimalHedge().refusal(scenario) == "no known optimum: today"
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"execution": "{delay: 1}"}, "execution"),
        ({"hedges.0.impact": "{transient: 0.1}"}, "hedges.0.impact"),
        ({"hedges.0.borrow_fee": "0.1"}, "hedges.0.borrow_fee"),
        (
            {"crowd": "{impact: 0.1, legs: [{quantity: 1, claim: {kind: call, strike: 9}}]}"},
            "crowd",
        ),
        ({"counterparty": "{hazard: 0.1}", "objective": "{kind: quadratic}"}, "counterparty"),
        ({"execution": "{outage: 0.1}", "objective": "{kind: cvar, level: 0.9}"}, "execution"),
    ],
)
def test_under_a_friction_no_optimum_is_known(changes: dict[str, str], word: str) -> None:
    scenario = load_scenario("short-call", changes)
    reason = OptimalHedge().refusal(scenario)
    assert reason is not None
    assert f"{word}: it is not in the programme: leave it out" in reason
    assert known_optimum(scenario) is None

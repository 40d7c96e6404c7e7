"""The optimum of tail risks against closed forms, brute force, simulation and other hedgers."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from deephedge.baselines import parse_baseline
from deephedge.baselines.optimum import NoKnownOptimumError
from deephedge.baselines.optimum import tail as module
from deephedge.baselines.optimum import tail_programme as programme
from deephedge.baselines.optimum.problem import problem_of
from deephedge.baselines.optimum.tail import TailOptimum, tail_optimum
from deephedge.envs import Scenario, load_scenario, rollout, simulate
from deephedge.envs.hedger import Known, stack

Array = NDArray[np.float64]
CVAR = "{kind: cvar, level: 0.95}"
MEDIAN = "{kind: cvar, level: 0.5}"
MEAN_STD = "{kind: mean-std, weight: 1.5}"
STRADDLE = (
    "[{quantity: -1, claim: {kind: call, strike: 100}}, "
    "{quantity: -1, claim: {kind: put, strike: 100}}]"
)
OTHERS = ["delta", "band:width=0.1", "none", "static"] + [
    f"{rule}:aversion={a}" for rule in ("whalley-wilmott", "zakamouline") for a in (1, 3, 10)
]
SIGMA, YEARS = 0.2, 30 / 365


def scenario_of(objective: str, steps: int, preset: str = "short-call", **sets: str) -> Scenario:
    changes = {key.replace("__", "."): text for key, text in sets.items()}
    return load_scenario(preset, {"objective": objective, "calendar.steps": str(steps), **changes})


solved = lru_cache(tail_optimum)


def coarsely(scenario: Scenario) -> TailOptimum:
    """For laws that hold on any grid."""
    return module._solved(problem_of(scenario), module._Sizes(3, 21, 101, 3.5))


class Attained:
    """The optimum as a hedger."""

    name = "tail optimum"

    def __init__(self, optimum: TailOptimum) -> None:
        self.optimum = optimum

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: Any) -> tuple[Any, None]:
        return stack((self.optimum.holding(known),)), None


def agrees_and_is_unbeaten(
    scenario: Scenario, others: list[str], blocks: int, paths: int, seed: int = 3
) -> None:
    """Simulated risk within 4 s.e. plus the stated error; no other hedger lower by more."""
    optimum, objective = solved(scenario), scenario.objective
    hedgers = [Attained(optimum), *map(parse_baseline, others)]
    samples: list[list[Array]] = [[] for _ in hedgers]
    for block in range(blocks):
        generator = torch.Generator().manual_seed(seed + block)
        episodes = simulate(scenario, paths, generator)
        for sample, hedger in zip(samples, hedgers, strict=True):
            sample.append(-np.asarray(rollout(scenario, episodes, hedger).pnl))
    best, *rest = map(np.concatenate, samples)
    influence, root = objective.influence(best), math.sqrt(len(best))
    risk = objective.risk(best)
    assert abs(risk - optimum.value) < optimum.error + 4 * influence.std() / root
    for name, losses in zip(others, rest, strict=True):
        paired = (objective.influence(losses) - influence).std() / root
        assert objective.risk(losses) - risk > -4 * paired - optimum.error, name


def test_simulated_risk_is_the_value_and_nobody_beats_it() -> None:
    agrees_and_is_unbeaten(scenario_of(CVAR, 3), OTHERS[:6], 1, 10_000)


@pytest.mark.parametrize(
    ("objective", "sets"),
    [
        (MEAN_STD, {"liquidate": "true"}),
        (
            MEDIAN,
            {
                "market": "{kind: gbm, sigma: 0.2, rate: 0.6, dividend: 0.4, drift: 0.2}",
                "hedges.0.costs": "[{kind: per-unit, fee: 0.1}]",
                "hedges.0.limits": "{upper: 0.6}",
            },
        ),
    ],
)
def test_every_other_part_of_a_scenario(objective: str, sets: dict[str, str]) -> None:
    agrees_and_is_unbeaten(scenario_of(objective, 2, **sets), OTHERS[:4], 1, 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["short-call", "short-call-jumps"])
@pytest.mark.parametrize("liquidate", ["false", "true"])
@pytest.mark.parametrize("objective", [CVAR, MEDIAN, MEAN_STD])
def test_the_same_at_five_dates(objective: str, liquidate: str, preset: str) -> None:
    scenario = scenario_of(objective, 5, preset, liquidate=liquidate, position__legs=STRADDLE)
    agrees_and_is_unbeaten(scenario, OTHERS, 1, 200_000)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["short-call", "short-call-jumps"])
@pytest.mark.parametrize("objective", [CVAR, MEDIAN, MEAN_STD])
def test_the_same_on_a_million_paths(objective: str, preset: str) -> None:
    agrees_and_is_unbeaten(scenario_of(objective, 30, preset), OTHERS, 5, 200_000)


def test_mean_std_without_costs_is_the_variance_optimal_hedge() -> None:
    """The spot is a martingale: what no hedge removes is E[V^2] less the sum of cov^2 / var."""
    steps, weight = 2, 1.5
    scenario = scenario_of(MEAN_STD, steps, hedges__0__costs="[]")
    dt = YEARS / steps
    z, w = np.polynomial.hermite_e.hermegauss(80)
    w = w / w.sum()

    def call(spot: Array, years: float) -> Array:
        sd = SIGMA * math.sqrt(years)
        d = np.log(spot / 100) / sd + sd / 2
        return np.asarray(spot * stats.norm.cdf(d) - 100 * stats.norm.cdf(d - sd))

    sd = SIGMA * math.sqrt(YEARS)
    grid = np.linspace(-8, 8, 20_001)
    payoff = np.maximum(100 * np.exp(sd * grid - sd**2 / 2) - 100, 0)
    second = np.trapezoid(stats.norm.pdf(grid) * payoff**2, grid)
    fair = float(call(np.array(100.0), YEARS))
    variance = second - fair**2
    for t in range(steps):
        spread = SIGMA * math.sqrt(t * dt)
        spot = 100 * np.exp(spread * z - spread**2 / 2)
        # E_t[S' V'] is S_t times the call's value with the spot carried by sigma^2 dt.
        left = YEARS - t * dt
        covariance = spot * (call(spot * math.exp(SIGMA**2 * dt), left) - call(spot, left))
        variance -= w @ (covariance**2 / (spot**2 * math.expm1(SIGMA**2 * dt)))
    optimum = solved(scenario)
    assert optimum.price - fair == pytest.approx(weight * math.sqrt(variance), abs=0.005)
    assert abs(optimum.price - fair - weight * math.sqrt(variance)) < optimum.error + 1e-4


def naked_cvar(level: float) -> float:
    """Of a short call that nobody hedges, before its premium."""
    sd = SIGMA * math.sqrt(YEARS)
    d = stats.norm.ppf(level)
    tail = 100 * stats.norm.cdf(sd - d) - 100 * stats.norm.cdf(-d)
    return float(tail / (1 - level))


def test_at_huge_costs_nothing_is_traded() -> None:
    scenario = scenario_of(CVAR, 3, hedges__0__costs="[{kind: proportional, rate: 0.9}]")
    optimum = coarsely(scenario)
    assert optimum.price == pytest.approx(naked_cvar(0.95), abs=0.03)
    episodes = simulate(scenario, 200, torch.Generator().manual_seed(1))
    assert not rollout(scenario, episodes, Attained(optimum)).trades.any()


@pytest.mark.parametrize("objective", [CVAR, MEAN_STD])
def test_two_dates_by_brute_force(objective: str) -> None:
    """Dense sums over the normal law, and every pair of dense holdings, at and about theta.

    Its holdings are multiples of 1/40 and not the best, which costs it up to 0.01.
    """
    rate, sd = 0.002, SIGMA * math.sqrt(YEARS / 2)
    scenario = scenario_of(objective, 2, position__premium="0")
    optimum, z = solved(scenario), np.linspace(-5, 5, 241)
    weight = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    growth = np.exp(sd * z - sd**2 / 2)
    h = np.linspace(0, 1, 41)
    some = slice(None, None, 8)
    middle, first_weight = 100 * growth[some], weight[some] / weight[some].sum()

    def least(theta: float) -> float:
        means = []
        for first in h[14:28]:
            risk = 0.0
            for spot, p in zip(middle, first_weight, strict=True):
                end = spot * growth
                paid = rate * (100 * first + spot * np.abs(h - first)) - first * (spot - 100)
                x = np.maximum(end - 100, 0) - h[:, None] * (end - spot) + paid[:, None] - theta
                loss = np.maximum(x, 0) if objective == CVAR else x * x
                risk += p * (loss @ weight).min()
            means.append(risk)
        best = min(means)
        return theta + best / 0.05 if objective == CVAR else theta + math.sqrt(3.25 * best)

    at = least(optimum.theta)
    assert abs(at - optimum.value) < optimum.error + 0.01
    assert min(least(optimum.theta - 0.2), least(optimum.theta + 0.2)) > at - 0.002


@pytest.mark.parametrize("objective", [CVAR, MEAN_STD])
def test_cash_moves_the_value_one_for_one(objective: str) -> None:
    low, high = (coarsely(scenario_of(objective, 2, position__premium=p)) for p in ("0", "2.5"))
    assert low.value - high.value == pytest.approx(2.5, abs=1e-12)
    assert low.price == pytest.approx(high.price, abs=1e-12)
    assert low.theta - high.theta == pytest.approx(2.5, abs=1e-12)


@pytest.mark.parametrize("objective", [CVAR, MEAN_STD])
def test_twice_the_book_is_twice_the_value(objective: str) -> None:
    one = coarsely(scenario_of(objective, 2, position__premium="0"))
    legs = "[{quantity: -2, claim: {kind: call, strike: 100}}]"
    two = coarsely(scenario_of(objective, 2, position__premium="0", position__legs=legs))
    assert two.value == pytest.approx(2 * one.value, rel=1e-9)


def test_a_rate_only_carries_money_to_the_end() -> None:
    """With the forward kept, everything in money at the end is the same."""
    growth = math.exp(0.3 * YEARS)
    flat = coarsely(scenario_of(CVAR, 2, position__premium="0"))
    carried = coarsely(
        scenario_of(
            CVAR,
            2,
            position__premium="0",
            market__rate="0.3",
            market__drift="0.3",
            market__spot=str(100 / growth),
        )
    )
    assert carried.value == pytest.approx(flat.value, abs=1e-6)
    assert carried.price == pytest.approx(flat.price / growth, abs=1e-6)


@pytest.mark.parametrize(
    "scenario",
    [
        scenario_of(CVAR, 2, position__premium="0"),
        *[
            pytest.param(scenario, marks=pytest.mark.slow)
            for scenario in (
                scenario_of(MEAN_STD, 3),
                scenario_of(CVAR, 10),
                scenario_of(MEAN_STD, 10, "short-call-jumps"),
                scenario_of(MEDIAN, 10, "short-call-jumps", liquidate="true"),
                scenario_of(CVAR, 5, position__legs=STRADDLE, liquidate="true"),
            )
        ],
    ],
)
def test_the_stated_error_is_honest(scenario: Scenario) -> None:
    """Against a grid finer by half in everything."""
    optimum = solved(scenario)
    sizes = module._Sizes(4.5, 61, 351, 4.0)
    assert abs(module._solved(problem_of(scenario), sizes).value - optimum.value) < optimum.error
    assert optimum.error < 0.02 * optimum.price


def test_a_higher_level_is_a_higher_risk() -> None:
    values = [coarsely(scenario_of(f"{{kind: cvar, level: {p}}}", 2)).value for p in (0.5, 0.95)]
    assert 0 < values[0] < values[1]


def test_the_same_in_torch() -> None:
    scenario = scenario_of(CVAR, 2)
    episodes = simulate(scenario, 64, torch.Generator().manual_seed(0))
    hedger = Attained(coarsely(scenario))
    exact = rollout(scenario, episodes, hedger)
    tensors = rollout(scenario, episodes, hedger, differentiable=True)
    assert np.allclose(exact.pnl, tensors.pnl.numpy(), rtol=0, atol=1e-11)


def test_the_shortfall_is_the_mean_of_its_kink_over_a_step() -> None:
    step, x = 0.3, np.linspace(-0.5, 0.5, 41)
    within = np.linspace(-step / 2, step / 2, 20_001)
    mean = np.maximum(x[:, None] + within, 0).mean(axis=1)
    assert np.allclose(module._shortfall(x, step), mean, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_lowest_is_exact_on_a_parabola_and_not_below_a_kink(sign: float) -> None:
    h = np.linspace(-0.1, 1.1, 13)
    smooth, kinked = (sign * h - sign * 0.33) ** 2, np.maximum(sign * (0.42 - h), 0)
    values = np.stack([smooth, kinked], axis=-1)[None]
    where, least = programme._lowest(values, h, sign)
    assert where[0, 0] == pytest.approx(0.33)
    assert least[0] == pytest.approx([0, 0], abs=1e-15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "{kind: entropic, aversion: 0.1}"}, "objective entropic: this programme"),
        ({"objective": "{kind: mean-std, weight: 0}"}, "mean-std of weight 0 is no risk"),
        ({"market": "{kind: heston}"}, "market heston: its log-increments"),
        ({"market.sigma": "0"}, "market gbm: its log-increments"),
        ({"calendar.steps": "61"}, "61 decision dates .at most 60. take too long"),
        ({"market.drift": "0.1"}, "market.drift is not rate - dividend"),
        ({"loss_limit": "5"}, "a loss_limit makes wealth matter"),
        ({"hedges.0.costs": "[{kind: fixed, fee: 0.1}]"}, "a fixed cost is not proportional"),
        ({"hedges.0.limits": "{lot: 0.1}"}, "max_trade and lot"),
        ({"hedges.0.instrument": "{kind: future, tenor: 0.25}"}, "other than one underlying"),
    ],
)
def test_where_no_optimum_is_known(changes: dict[str, str], message: str) -> None:
    scenario = load_scenario("short-call", {"objective": CVAR, **changes})
    with pytest.raises(NoKnownOptimumError, match=f"^no known optimum: .*{message}"):
        tail_optimum(scenario)


def test_a_level_whose_quantile_is_beyond_the_grid_is_refused() -> None:
    with pytest.raises(NoKnownOptimumError, match="its theta is beyond the grid of wealth"):
        coarsely(scenario_of("{kind: cvar, level: 0.9999999}", 2))

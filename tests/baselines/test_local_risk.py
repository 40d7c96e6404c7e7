"""The hedge of jumps: quadrature over Merton's series, limits, and what it leaves of P&L."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import special, stats

from deephedge.baselines import Baseline, DeltaHedge
from deephedge.baselines import local_risk as module
from deephedge.baselines.local_risk import LocalRiskHedge
from deephedge.baselines.variance_optimal import VarianceOptimalHedge
from deephedge.envs import Scenario, load_scenario, rollout, simulate
from deephedge.envs.markets import Kou, Merton
from deephedge.envs.rollout import Outcome

Array = NDArray[np.float64]

HORIZON = 30 / 365
MERTON = "{kind: merton, sigma: 0.15, intensity: 1.2, jump_mean: -0.07, jump_std: 0.05, drift: %s}"
KOU = "{kind: kou, sigma: 0.16, intensity: 1, up_probability: 0.4, up_rate: 20, down_rate: 15, "
KOU += "drift: %s}"


def scenario_of(preset: str = "short-call", **changes: str) -> Scenario:
    """A preset without costs."""
    given = {key.replace("__", "."): text for key, text in changes.items()}
    return load_scenario(preset, {"hedges.0.costs": "[]", "calendar.steps": "6"} | given)


def played(scenario: Scenario, hedger: Baseline, paths: int, seed: int = 1, **more: Any) -> Outcome:
    episodes = simulate(scenario, paths, torch.Generator().manual_seed(seed))
    return rollout(scenario, episodes, hedger, **more)


def first_holding(scenario: Scenario, hedger: Baseline) -> float:
    return float(played(scenario, hedger, 1, record=True).holding[0, 0, 0])


def merton_call(spot: Array, left: float, market: Any) -> tuple[Array, Array]:
    """Merton's series: price and delta of a call struck at 100."""
    growth = market.jump_mean + market.jump_std**2 / 2
    rate = market.rate - market.intensity * math.expm1(growth)
    price, delta = np.zeros_like(spot), np.zeros_like(spot)
    for n in range(20):
        total = math.sqrt(market.sigma**2 * left + n * market.jump_std**2)
        ratio = math.exp(rate * left + n * growth)
        d = np.log(spot * ratio / 100) / total + total / 2
        chance = math.exp(-market.rate * left) * stats.poisson.pmf(n, market.intensity * left)
        price += chance * (spot * ratio * special.ndtr(d) - 100 * special.ndtr(d - total))
        delta += chance * ratio * special.ndtr(d)
    return price, delta


def by_quadrature(spot: float, left: float, market: Any) -> float:
    """The formula of `LocalRiskHedge` for a short call, by Gauss and Legendre's sums."""
    (price,), (delta,) = merton_call(np.array([spot]), left, market)
    node, weight = np.polynomial.legendre.leggauss(400)
    y = market.jump_mean + 8 * market.jump_std * node
    measure = market.intensity * 8 * weight * stats.norm.pdf(8 * node)
    rise = merton_call(spot * np.exp(y), left, market)[0] - price
    jumped, variance = measure @ (np.expm1(y) * rise), measure @ np.expm1(y) ** 2
    return float((market.sigma**2 * delta + jumped / spot) / (market.sigma**2 + variance))


def test_it_is_the_formula_by_quadrature() -> None:
    market = "{kind: merton, sigma: 0.15, intensity: 2.0, jump_mean: -0.1, jump_std: 0.08, "
    market += "rate: 0.1, drift: 0.3, jump_premium: 0.5}"
    scenario = scenario_of(market=market, calendar__days="90")
    episodes = simulate(scenario, 5, torch.Generator().manual_seed(2))
    held = np.asarray(rollout(scenario, episodes, LocalRiskHedge(), record=True).holding)
    for t in (0, 3, 5):
        for n in range(5 if t else 1):
            spot, left = float(episodes.spot[t, n]), 90 / 365 * (1 - t / 6)
            expected = by_quadrature(spot, left, scenario.market)
            assert held[t, n, 0] == pytest.approx(expected, abs=3e-4)


@pytest.mark.parametrize(
    ("market", "mean", "square"),
    [
        (Merton(jump_mean=-0.07, jump_std=0.05), -0.07, 0.0074),
        (Merton(jump_mean=0.031, jump_std=0), 0.031, 0.031**2),
        (Kou(up_probability=0.4, up_rate=10, down_rate=5), -0.08, 0.8 / 100 + 1.2 / 25),
    ],
)
def test_the_law_of_a_jump_on_the_lattice(market: Merton | Kou, mean: float, square: float) -> None:
    step = 0.002
    jumps = module._jumps(market, step)
    size = step * (jumps.first + np.arange(len(jumps.weights)))
    assert jumps.weights.min() > -1e-12
    assert jumps.weights.sum() == pytest.approx(1, abs=1e-9)
    assert jumps.weights @ size == pytest.approx(mean, abs=1e-9)
    assert jumps.weights @ size**2 == pytest.approx(square, abs=0.26 * step**2)


def test_shares_and_jumps_of_one_size() -> None:
    """A call at strike 1 is a share, on a lattice as off it; all jumps of one size are fine too."""
    for market in (MERTON, KOU, MERTON.replace("jump_std: 0.05", "jump_std: 0")):
        share = "[{quantity: -3, claim: {kind: call, strike: 1}}]"
        scenario = scenario_of(market=market % 0, position__legs=share)
        held = np.asarray(played(scenario, LocalRiskHedge(), 20, record=True).holding)
        assert held == pytest.approx(3.0, abs=1e-4)
    model: Any = scenario_of(market=MERTON % 0).market
    one_size = model.model_copy(update={"jump_std": 1e-4})
    scenario = scenario_of(market=MERTON.replace("0.05", "0") % 0)
    y, variance = -0.07, one_size.sigma**2
    (price, delta), (after, _) = (
        merton_call(np.array(spot), HORIZON, one_size) for spot in (100.0, 100 * math.exp(y))
    )
    jump = one_size.intensity * math.expm1(y)
    expected = (variance * delta + jump * (after - price) / 100) / (variance + jump * math.expm1(y))
    assert first_holding(scenario, LocalRiskHedge()) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("market", [MERTON.replace("intensity: 1.2", "intensity: 1.0e-6"), KOU])
def test_with_ever_rarer_jumps_it_is_the_delta(market: str) -> None:
    rare = market.replace("intensity: 1,", "intensity: 1.0e-6,") % 0
    scenario = scenario_of(market=rare, marking="{kind: black-scholes, vol: 0.15}")
    if "kou" in market:
        scenario = scenario_of(market=rare, marking="{kind: black-scholes, vol: 0.16}")
    rule, delta = (
        played(scenario, h, 50, record=True).holding for h in (LocalRiskHedge(), DeltaHedge())
    )
    assert rule == pytest.approx(delta, abs=1e-3)


@pytest.mark.parametrize("market", [MERTON % 0, KOU % 0], ids=["merton", "kou"])
def test_with_more_dates_the_variance_optimal_hedge_comes_to_it(market: str) -> None:
    gaps = []
    for steps in ("1", "4", "16"):
        scenario = scenario_of(market=market, calendar__steps=steps)
        first = first_holding(scenario, VarianceOptimalHedge())
        gaps.append(abs(first - first_holding(scenario, LocalRiskHedge())))
    assert gaps[1] < gaps[0] / 3
    assert gaps[2] < gaps[1] / 3
    assert gaps[2] < 2e-3


def test_in_a_market_that_jumps_it_leaves_less_than_either_delta() -> None:
    """On the same paths; each difference of variances is over 4 standard errors."""
    scenario = scenario_of("short-call-jumps", calendar__steps="10")
    modelled = scenario.model_copy(update={"marking": scenario_of(marking="{kind: model}").marking})
    paths = 20_000
    squares = {
        name: (pnl - pnl.mean()) ** 2
        for name, pnl in {
            "quoted": played(scenario, DeltaHedge(), paths).pnl,
            "model": played(modelled, DeltaHedge(), paths).pnl,
            "local": played(scenario, LocalRiskHedge(), paths).pnl,
            "optimal": played(scenario, VarianceOptimalHedge(), paths).pnl,
        }.items()
    }
    for delta in ("quoted", "model"):
        saved = squares[delta] - squares["local"]
        assert saved.mean() > 4 * saved.std() / math.sqrt(paths)
    spread = squares["local"] - squares["optimal"]
    assert abs(spread.mean()) < 0.01 * squares["optimal"].mean()


def test_a_future_holds_as_much_delta() -> None:
    spot = scenario_of(market=MERTON.replace("drift", "rate: 0.3, drift") % 0)
    future = "[{instrument: {kind: future, tenor: 0.25}}]"
    other = scenario_of(market=MERTON.replace("drift", "rate: 0.3, drift") % 0, hedges=future)
    units = first_holding(other, LocalRiskHedge()) * math.exp(0.3 * 0.25)
    assert units == pytest.approx(first_holding(spot, LocalRiskHedge()), abs=1e-9)


def test_the_same_in_torch() -> None:
    scenario = scenario_of(market=MERTON % 0.2)
    exact = played(scenario, LocalRiskHedge(), 40)
    tensors = played(scenario, LocalRiskHedge(), 40, differentiable=True)
    assert np.allclose(exact.pnl, tensors.pnl.numpy(), rtol=0, atol=1e-11)


def test_dates_other_than_the_scenarios_are_refused() -> None:
    six, ten = (scenario_of(market=MERTON % 0, calendar__steps=n) for n in ("6", "10"))
    episodes = simulate(ten, 4, torch.Generator())
    with pytest.raises(ValueError, match="10 decision dates and the scenario has 6"):
        rollout(six, episodes, LocalRiskHedge())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "in gbm nothing jumps, so that it is delta"),
        ({"market": "{kind: heston}"}, "the jumps of heston with such"),
        ({"market": "{kind: kou, sigma: 0}"}, "the jumps of kou with such"),
        ({"market": "{kind: merton, intensity: 0}"}, "at intensity 0 nothing"),
        ({"market": "{kind: kou, up_rate: 1.5}"}, "jumps have no variance"),
        (
            {"market": MERTON % 0, "calendar": "{kind: trading-days, steps: 20}"},
            "dates differ from path to path",
        ),
        (
            {
                "market": MERTON % 0,
                "position.legs": "[{quantity: -1, claim: {kind: asian-call, strike: 100}}]",
            },
            "no model price of a",
        ),
    ],
)
def test_what_it_refuses(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        played(scenario_of(**changes), LocalRiskHedge(), 4)


def test_a_lattice_that_is_too_fine_is_a_refusal_and_no_error() -> None:
    scenario = load_scenario("short-call-jumps", {"market.sigma": "0.005"})
    reason = LocalRiskHedge().refusal(scenario)
    assert reason is not None and "lattice points" in reason and "optimum" not in reason

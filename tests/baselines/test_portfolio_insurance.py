"""CPPI, OBPI and stop-loss: closed forms, the gap risk of jumps, and what they refuse."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm, poisson

from deephedge.baselines import baseline_kinds, parse_baseline
from deephedge.envs import Scenario, load_scenario, rollout, simulate
from deephedge.envs.hedger import base_edges

Array = NDArray[np.float64]

# strategies.md 2.4 (4), one year.
V0, FLOOR, RATE, DRIFT, SIGMA = 100.0, 80.0, 0.02, 0.06, 0.2
C0 = V0 - FLOOR * math.exp(-RATE)
GBM = f"{{kind: gbm, spot: 100, drift: {DRIFT}, rate: {RATE}, sigma: {SIGMA}}}"
MERTON = (
    f"{{kind: merton, spot: 100, drift: {DRIFT}, rate: {RATE}, sigma: {SIGMA}, intensity: 0.5, "
    "jump_mean: -0.1, jump_std: 0.15}"
)


def insured(market: str, steps: int, **more: Any) -> Scenario:
    """The preset without costs or limits, in another market."""
    hedge = "[{instrument: {kind: underlying}, limits: {lower: -1000, upper: 1000}}]"
    changes = {"market": market, "calendar.steps": str(steps), "hedges": hedge}
    changes |= {"marking.vol": str(SIGMA)}
    return load_scenario("portfolio-insurance", changes | more)


def final_wealth(scenario: Scenario, rule: str, paths: int, seed: int = 1) -> tuple[Array, Array]:
    """V_T and S_T."""
    episodes = simulate(scenario, paths, torch.Generator().manual_seed(seed))
    outcome = rollout(scenario, episodes, parse_baseline(rule))
    years = scenario.calendar.horizon
    return V0 * math.exp(RATE * years) + outcome.pnl, episodes.spot[-1].numpy()


def near(sample: Array, expected: float) -> None:
    """Its mean is within 4 standard errors."""
    assert abs(sample.mean() - expected) < 4 * sample.std() / math.sqrt(len(sample))


def test_cppi_has_the_wealth_of_black_and_perold() -> None:
    steps, paths, m = 252, 4000, 4.0
    wealth, spot = final_wealth(insured(GBM, steps), "cppi", paths)
    brownian = (np.log(spot / 100) - (DRIFT - SIGMA**2 / 2)) / SIGMA
    growth = RATE + m * (DRIFT - RATE)
    continuous = FLOOR + C0 * np.exp(growth - m**2 * SIGMA**2 / 2 + m * SIGMA * brownian)
    mean = FLOOR + C0 * math.exp(growth)
    assert mean == pytest.approx(105.841, abs=5e-4)
    # The same with trades at 252 dates: each step multiplies the cushion's mean by a constant.
    step = 1 / steps
    once = math.exp(RATE * step) + m * (math.exp(DRIFT * step) - math.exp(RATE * step))
    discrete = FLOOR + C0 * once**steps
    near(wealth, discrete)
    near(wealth - continuous, discrete - mean)  # path by path: a twentieth of the error
    assert (wealth - continuous).std() < 0.05 * wealth.std()
    assert wealth.min() > FLOOR


def step_risk(m: float, drift: float, rate: float, sigma: float, step: float) -> float:
    """Balder, Brandl and Mahayni's chance that a step of GBM takes the cushion below 0."""
    d2 = (math.log(m / (m - 1)) + (drift - rate) * step - sigma**2 * step / 2) / (
        sigma * math.sqrt(step)
    )
    return float(norm.sf(d2))


def test_cppi_between_dates_breaks_the_floor_as_often_as_balder_brandl_and_mahayni() -> None:
    def chance(m: float, sigma: float, steps: int) -> float:
        return 1 - (1 - step_risk(m, DRIFT, RATE, sigma, 1 / steps)) ** steps

    assert chance(4.0, SIGMA, 12) == pytest.approx(3.2e-6, abs=5e-8)
    # Too rare to count: a wilder stock, and as many again in a quarter as in a year.
    m, sigma, paths = 6.0, 0.3, 20_000
    scenario = insured(GBM, 4, **{"market.sigma": str(sigma)})
    wealth, _ = final_wealth(scenario, f"cppi:multiplier={m}", paths)
    assert chance(m, sigma, 4) > 0.2
    near((wealth < FLOOR).astype(float), chance(m, sigma, 4))


def gap_risk(m: float, steps: int) -> float:
    """The chance of at least one step of `MERTON` that takes the cushion below 0, exactly."""
    step, counts = 1 / steps, np.arange(12)
    compensator = 0.5 * math.expm1(-0.1 + 0.15**2 / 2)
    mean = (DRIFT - RATE - compensator - SIGMA**2 / 2) * step - 0.1 * counts
    deviation = np.sqrt(SIGMA**2 * step + 0.15**2 * counts)
    falls = norm.cdf((math.log(1 - 1 / m) - mean) / deviation)
    return float(1 - (1 - (poisson.pmf(counts, 0.5 * step) * falls).sum()) ** steps)


def test_cppi_has_the_gap_risk_of_cont_and_tankov() -> None:
    m, steps = 4.0, 126
    continuous = 1 - math.exp(-0.5 * norm.cdf((math.log(1 - 1 / m) + 0.1) / 0.15))
    assert continuous == pytest.approx(0.05135, abs=5e-6)
    assert gap_risk(m, 1_000_000) == pytest.approx(continuous, abs=1e-5)
    wealth, _ = final_wealth(insured(MERTON, steps), "cppi", 20_000)
    below = wealth < FLOOR
    near(below.astype(float), gap_risk(m, steps))
    near(below.astype(float), continuous)


def test_cppi_stays_within_the_limits_and_is_never_short() -> None:
    scenario = load_scenario("portfolio-insurance")
    episodes = simulate(scenario, 2000, torch.Generator().manual_seed(2))
    outcome = rollout(scenario, episodes, parse_baseline("cppi:multiplier=8"), record=True)
    held = outcome.holding[..., 0]
    assert held.min() == -1.0 and held.max() == 0.5
    assert (outcome.clipped > 0).any()


def obpi_by_hand(floor: float, dividend: float = 0.0) -> tuple[float, float]:
    """K and lambda, by bisection on a share and the put itself."""

    def protected(strike: float) -> float:
        share = 100 * math.exp(-dividend)
        d1 = (math.log(share / strike) + RATE + SIGMA**2 / 2) / SIGMA
        put = strike * math.exp(-RATE) * norm.cdf(SIGMA - d1) - share * norm.cdf(-d1)
        return share + float(put)

    strike = float(brentq(lambda k: V0 / protected(k) * k - floor, 20, 300))
    return strike, V0 / protected(strike)


def test_obpi_is_a_share_and_a_put_that_the_capital_pays_for() -> None:
    strike, shares = obpi_by_hand(FLOOR)
    assert strike == pytest.approx(80.860, abs=5e-4) and shares == pytest.approx(0.98936, abs=5e-6)
    d1 = (math.log(100 / strike) + DRIFT + SIGMA**2 / 2) / SIGMA
    call = 100 * math.exp(DRIFT) * norm.cdf(d1) - strike * norm.cdf(d1 - SIGMA)
    mean = shares * (strike + call)
    assert mean == pytest.approx(105.782, abs=5e-4)
    steps = 252
    wealth, spot = final_wealth(insured(GBM, steps), "obpi", 2000)
    payoff = shares * np.maximum(spot, strike)
    near(wealth, mean)
    near(wealth - payoff, 0.0)
    # Derman and Kamal's error of a discrete hedge, with room for a strike far from the spot.
    vega = shares * 100 * norm.pdf((math.log(100 / strike) + RATE + SIGMA**2 / 2) / SIGMA)
    error = math.sqrt(math.pi / 4) * vega * SIGMA / math.sqrt(steps)
    assert 0.8 * error < (wealth - payoff).std() < 1.25 * error


def test_obpi_counts_the_dividends_that_it_earns() -> None:
    strike, shares = obpi_by_hand(85.0, dividend=0.03)
    scenario = insured(GBM, 126, **{"market.dividend": "0.03", "market.drift": str(RATE - 0.03)})
    wealth, spot = final_wealth(scenario, "obpi:floor=85", 1000)
    error = wealth - shares * np.maximum(spot, strike)
    near(error, 0.0)
    assert error.std() < 0.5


def test_stop_loss_sells_for_good_at_the_discounted_floor() -> None:
    scenario = insured(MERTON, 52)
    episodes = simulate(scenario, 500, torch.Generator().manual_seed(3))
    outcome = rollout(scenario, episodes, parse_baseline("stop-loss"), record=True)
    times = np.arange(53) / 52
    spot = episodes.spot.numpy()  # V as long as the holding is kept
    below = spot[:-1] <= FLOOR * np.exp(-RATE * (1 - times[:-1, None]))
    out = np.logical_or.accumulate(below, axis=0)
    np.testing.assert_array_equal(outcome.holding[..., 0], np.where(out, -1.0, 0.0))
    assert 0.1 < out[-1].mean() < 0.5
    first = below.argmax(axis=0)
    sold = spot[first, np.arange(500)] * np.exp(RATE * (1 - times[first]))
    expected = np.where(out[-1], sold, spot[-1]) - V0 * math.exp(RATE)
    np.testing.assert_allclose(outcome.pnl, expected, atol=1e-9)


def test_the_floor_is_the_objectives_unless_one_is_given() -> None:
    scenario = load_scenario("portfolio-insurance")
    episodes = simulate(scenario, 50, torch.Generator().manual_seed(4))

    def pnl(rule: str) -> Array:
        return np.asarray(rollout(scenario, episodes, parse_baseline(rule)).pnl)

    for kind in ("cppi", "obpi", "stop-loss"):
        np.testing.assert_allclose(pnl(kind), pnl(f"{kind}:floor=80"), atol=1e-9)
        assert np.abs(pnl(kind) - pnl(f"{kind}:floor=90")).max() > 1.0


@pytest.mark.parametrize("rule", ["cppi", "obpi", "stop-loss"])
def test_torch_agrees_with_numpy(rule: str) -> None:
    scenario = load_scenario("portfolio-insurance")
    episodes = simulate(scenario, 40, torch.Generator().manual_seed(5))
    hedger = parse_baseline(rule)
    tensors = rollout(scenario, episodes, hedger, differentiable=True).pnl
    np.testing.assert_allclose(tensors.numpy(), rollout(scenario, episodes, hedger).pnl, rtol=1e-9)


@pytest.mark.parametrize("rule", ["cppi", "obpi", "stop-loss"])
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"capital": "null"}, "give the scenario a capital"),
        ({"objective": "{kind: cvar, level: 0.95}"}, "floor=80, or take the objective shortfall"),
        ({"objective.threshold": "0"}, r"floor 102\.02 is not between 0 and 102\.02"),
        ({"objective.threshold": "200"}, "floor -97"),
        ({"position.legs.0.quantity": "-1"}, "protects a holding"),
        ({"position.legs.0.claim": "{kind: call, strike: 100}"}, "protects a holding"),
    ],
)
def test_what_it_does_not_fit_is_refused(rule: str, changes: dict[str, str], match: str) -> None:
    scenario = load_scenario("portfolio-insurance", changes)
    reason = parse_baseline(rule).refusal(scenario)
    assert reason is not None
    assert re.search(match, reason)


def test_a_rule_that_sees_the_pnl_is_no_base() -> None:
    scenario = load_scenario("portfolio-insurance")
    episodes = simulate(scenario, 4, torch.Generator().manual_seed(6))
    with pytest.raises(ValueError, match="a base is not shown"):
        base_edges(parse_baseline("cppi"), scenario, episodes)
    base_edges(parse_baseline("obpi"), scenario, episodes)


def test_the_rules_that_fit_the_preset() -> None:
    scenario = load_scenario("portfolio-insurance")
    fit = [
        rule.name
        for kind in baseline_kinds().values()
        for rule in kind.variants(scenario)
        if rule.refusal(scenario) is None
    ]
    assert sorted(fit) == sorted(["none", "static", "delta", "band", "cppi", "obpi", "stop-loss"])
    assert scenario.features == ("time_left", "log_spot", "holding", "gap", "pnl")

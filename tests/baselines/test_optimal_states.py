"""The optimum of a hedger who knows the regime, or Heston's variance."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import linalg

from deephedge.baselines import OptimalHedge
from deephedge.baselines.optimum import NoKnownOptimumError, solve
from deephedge.baselines.optimum.heston_law import Volatility
from deephedge.baselines.optimum.problem import problem_of
from deephedge.baselines.optimum.programme import backward, grid
from deephedge.baselines.optimum.regime_law import Regimes, exponential
from deephedge.envs import Scenario, load_scenario, rollout, simulate
from deephedge.envs.markets import Heston, RegimeSwitching

Check = Callable[..., None]
JUMPY = (
    "{kind: regime-switching, start: 1, regimes: [{sigma: 0.12}, {sigma: 0.25, intensity: 2, "
    "jump_mean: -0.07, jump_std: 0.05, drift: 0.1}]}"
)
FIXED = "[{kind: proportional, rate: 0.002}, {kind: fixed, fee: 0.03}]"


def heston(vol_of_vol: float = 0.5, **more: float) -> str:
    given = {"kappa": 2, "theta": 0.04, "variance": 0.04, "rho": -0.7} | more
    text = ", ".join(f"{key}: {value}" for key, value in given.items())
    return f"{{kind: heston, vol_of_vol: {vol_of_vol}, {text}}}"


def on(market: str, steps: int = 30, **changes: str) -> Scenario:
    given = {key.replace("__", "."): text for key, text in changes.items()}
    return load_scenario("short-call", {"market": market, "calendar.steps": str(steps), **given})


def two(rates: str = "[[-3, 3], [5, -5]]", second: float = 0.3, first: float = 0.12) -> str:
    regimes = f"[{{sigma: {first}}}, {{sigma: {second}}}]"
    return f"{{kind: regime-switching, regimes: {regimes}, rates: {rates}}}"


@pytest.mark.parametrize(
    "scenario",
    [on(two(), 4), on(JUMPY, 3, liquidate="true"), on(two(), 3, hedges__0__costs=FIXED)],
    ids=["regimes", "jumps", "fixed"],
)
def test_regimes(scenario: Scenario, agrees_and_is_unbeaten: Check) -> None:
    agrees_and_is_unbeaten(scenario, 10_000)


@pytest.mark.slow
def test_heston(agrees_and_is_unbeaten: Check) -> None:
    agrees_and_is_unbeaten(on(heston(), 2), 10_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario",
    [
        on(heston(substeps=2, variance=0.01), 4, calendar__decide_every="2"),
        on(heston(), 3, hedges__0__costs=FIXED, market__drift="0.2"),
    ],
    ids=["substeps", "fixed"],
)
def test_more_of_heston(scenario: Scenario, agrees_and_is_unbeaten: Check) -> None:
    agrees_and_is_unbeaten(scenario, 100_000)


@pytest.mark.slow
@pytest.mark.parametrize("market", [two(), JUMPY, heston()], ids=["regimes", "jumps", "heston"])
def test_the_same_on_a_million_paths(market: str, agrees_and_is_unbeaten: Check) -> None:
    scenario = on(market)
    assert solve(scenario).error < 0.001 * solve(scenario).price
    agrees_and_is_unbeaten(scenario, 1_000_000)


@pytest.mark.parametrize("market", [two(first=0.2, second=0.2), heston(0, kappa=0.1)])
def test_without_a_state_that_matters_it_is_the_optimum_of_gbm(market: str) -> None:
    """Reversion is slow: the scheme's variance of the log-price is off by (kappa dt)^2."""
    gbm, other = solve(load_scenario("short-call", {"calendar.steps": "4"})), solve(on(market, 4))
    assert other.value == pytest.approx(gbm.value, abs=gbm.error + other.error + 1e-5)


def test_two_regimes_that_are_alike_count_as_one() -> None:
    three = (
        "{kind: regime-switching, regimes: [{sigma: 0.12}, {sigma: 0.3}, {sigma: 0.3}], "
        "rates: [[-3, 1, 2], [5, -7, 2], [5, 4, -9]]}"
    )
    assert solve(on(three, 3)).value == pytest.approx(solve(on(two(), 3)).value, abs=1e-8)


def test_a_drawn_start_is_the_mixture_of_the_regimes() -> None:
    mixed = solve(on(two(), 3)).price
    each = [solve(on(two()[:-1] + f", start: {i}}}", 3)).price for i in (0, 1)]
    mean = np.log(np.array([5, 3]) / 8 @ np.exp(0.1 * np.array(each))) / 0.1
    assert mixed == pytest.approx(mean, abs=1e-6)


def test_the_band_is_wider_in_the_calmer_regime() -> None:
    optimum = solve(on(two(), 4))
    assert optimum.lower.shape == optimum.upper.shape == (4, 2, optimum.log_spot.shape[1])
    assert (optimum.lower <= optimum.upper).all()


def test_the_law_of_a_step_has_the_moments_of_the_regimes() -> None:
    market = RegimeSwitching(rates=((-3.0, 3.0), (5.0, -5.0)))
    years = 1 / 52
    scenario = load_scenario("short-call").model_copy(update={"market": market})
    step = 0.12 * math.sqrt(years) / 6
    law = Regimes(problem_of(scenario), market).transition(years, step)
    chance = np.zeros((2, 2))
    growth, square = np.zeros(2), np.zeros(2)
    for before, after, (first, weights), _ in law.arcs:
        x = (first + np.arange(len(weights))) * step
        chance[before, after] = weights.sum()
        growth[before] += weights @ np.exp(x)
        square[before] += weights @ (np.exp(x) - 1) ** 2
    rates = np.array(market.rates)
    assert np.allclose(chance, linalg.expm(rates * years), atol=1e-10)
    assert np.allclose(growth, 1, atol=1e-9)
    squared = linalg.expm((rates + np.diag([0.12**2, 0.3**2])) * years).sum(axis=1) - 1
    assert np.allclose(square, squared, rtol=1e-6)


def test_exponentials_of_matrices() -> None:
    generator = np.random.default_rng(0)
    matrices = generator.normal(size=(50, 3, 3, 2)) @ np.array([1, 1j])
    matrices *= 10.0 ** generator.uniform(-3, 0.5, (50, 1, 1))
    expected = np.array([linalg.expm(one) for one in matrices])
    assert np.allclose(exponential(matrices), expected, rtol=1e-9, atol=1e-12)


def test_the_law_of_a_step_has_the_moments_of_heston() -> None:
    """E[e^X] = 1, and the variance's mean and variance as Cox, Ingersoll and Ross (1985) have."""
    scenario = on(heston())
    market = scenario.market
    assert isinstance(market, Heston)
    dynamics, years = Volatility(problem_of(scenario), market), 1 / 365
    law, v = dynamics.transition(years, dynamics.deviation / 6), dynamics.grid**2
    sums = np.zeros((4, len(v)))
    for before, after, (first, weights), _ in law.arcs:
        growth = np.exp((first + np.arange(len(weights))) * dynamics.deviation / 6)
        total = weights.sum()
        sums[:, before] += total, weights @ growth, total * v[after], total * v[after] ** 2
    assert np.allclose(sums[0], 1, atol=1e-10)
    inside = slice(0, len(v) * 2 // 3)  # at the last nodes variance is cut
    assert np.allclose(sums[1, inside], 1, atol=2e-7)
    decay = math.exp(-2 * years)
    mean = 0.04 + (v - 0.04) * decay
    spread = 0.25 * (v * decay * (1 - decay) / 2 + 0.04 * (1 - decay) ** 2 / 4)
    assert np.allclose(sums[2, inside], mean[inside], atol=1e-6)
    assert np.allclose((sums[3] - sums[2] ** 2)[inside], spread[inside], rtol=1e-2, atol=1e-7)


@pytest.mark.slow
def test_the_stated_error_is_honest() -> None:
    scenario = on(heston(), 5)
    optimum, problem = solve(scenario), problem_of(scenario)
    assert isinstance(scenario.market, Heston)
    finer = Volatility(problem, scenario.market, 65)
    reach = 1.2 * max(-optimum.upper.min(), optimum.lower.max())
    value = backward(problem, finer, grid(-reach, reach, problem.bounds, 200), 9).value
    assert abs(optimum.price - value) < optimum.error


def test_the_same_in_torch() -> None:
    scenario = on(two(), 4)
    episodes = simulate(scenario, 64, torch.Generator().manual_seed(0))
    exact = rollout(scenario, episodes, OptimalHedge())
    tensors = rollout(scenario, episodes, OptimalHedge(), differentiable=True)
    assert np.allclose(exact.pnl, tensors.pnl.numpy(), rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (
            on(two(), objective="{kind: mean-variance, aversion: 0.1}"),
            "objective mean-variance: wealth",
        ),
        (on(two(first=0)), "a regime has sigma 0"),
        (on(heston(theta=0, variance=0)), "market heston: its state is no regime"),
        (on(heston(), loss_limit="5"), "a loss_limit makes wealth matter"),
        (on(two(), hedges__0__costs="[{kind: quadratic, rate: 1}]"), "a quadratic cost is not"),
        (on(two(first=0.001)), "too far apart for one lattice"),
        pytest.param(on(heston(), 120), "would take minutes", marks=pytest.mark.slow),
    ],
)
def test_where_no_optimum_is_known(scenario: Scenario, message: str) -> None:
    with pytest.raises(NoKnownOptimumError, match=message):
        solve(scenario)


def test_a_premium_that_depends_on_the_regime_at_the_start_is_refused() -> None:
    """One number is taken off the value; marked at a constant vol, or from one regime, it is."""
    drawn = on("{kind: regime-switching}", 3, marking="{kind: market-vol}")
    with pytest.raises(NoKnownOptimumError, match=r"the mark and that is from .* by what is drawn"):
        solve(drawn)
    for mend in ({"position__premium": "2"}, {"marking": "{kind: black-scholes, vol: 0.2}"}):
        assert solve(
            on("{kind: regime-switching}", 3, **({"marking": "{kind: market-vol}"} | mend))
        )
    assert solve(on("{kind: regime-switching, start: 1}", 3, marking="{kind: market-vol}"))

"""Estimates of a market from a past: paths of known parameters, and what is left alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deephedge.envs import Scenario, load_scenario
from deephedge.envs.markets import Garch, GeometricBrownianMotion, Heston, Market, Merton
from deephedge.experiments import PriceHistory
from deephedge.experiments.history.estimation import diffusion_limit, estimate, is_jump

Array = NDArray[np.float64]
DAYS = 5000  # twenty years of days: standard errors are small


def past(close: Array, vol: Array | None = None) -> PriceHistory:
    n = len(close)
    dates = np.datetime64("1980-01-01") + np.arange(n)
    marks = np.full(n, 0.2) if vol is None else vol
    return PriceHistory(dates, close, marks, np.full(n, "file"), "made up")


def simulated(market: Market, days: int = DAYS) -> Array:
    """Closes of one path, a step each 252nd of a year."""
    return paths(market, 1, days)[0]


def paths(market: Market, count: int, days: int = DAYS) -> list[Array]:
    """Closes of several."""
    times = torch.arange(days + 1, dtype=torch.float64)[:, None] / 252
    spot = market.simulate(times, count, torch.Generator().manual_seed(0)).spot
    return list(spot.numpy().T.copy())


def scenario_of(market: str) -> Scenario:
    return load_scenario("sp500-call", {"market": market})


def estimated(market: str, history: PriceHistory) -> Any:
    return estimate(scenario_of(market), history).scenario.market


def test_gbm() -> None:
    close = simulated(GeometricBrownianMotion(sigma=0.25))
    found = estimated("{kind: gbm, drift: 0.03, rate: 0.01}", past(close))
    assert found.sigma == pytest.approx(0.25, rel=4 / math.sqrt(2 * DAYS))
    assert (found.drift, found.rate, found.spot) == (0.03, 0.01, 100.0)  # the scenario's own
    assert found.sigma == math.sqrt(252 * np.mean(np.diff(np.log(close)) ** 2))


def test_merton_with_jumps_that_stand_out() -> None:
    true = Merton(sigma=0.15, intensity=4.0, jump_mean=-0.08, jump_std=0.01)
    close = simulated(true)
    found = estimated("{kind: merton, sigma: 0.2}", past(close))
    years = DAYS / 252
    count = 4 * years
    assert found.intensity == pytest.approx(4, abs=4 * math.sqrt(count) / years)
    assert found.jump_mean == pytest.approx(-0.08, abs=4 * 0.014 / math.sqrt(count))
    # A jump's day has its diffusion too, and a few calm days are taken for jumps.
    assert math.hypot(0.01, 0.15 / 252**0.5) < found.jump_std < 0.025
    assert found.sigma == pytest.approx(0.15, rel=0.04)


def test_small_jumps_count_as_diffusion() -> None:
    """The bias that is told: few of them stand out, and sigma takes their variance."""
    true = Merton(sigma=0.15, intensity=10.0, jump_mean=0.0, jump_std=0.015)
    found = estimated("{kind: merton, sigma: 0.2}", past(simulated(true)))
    assert found.intensity < 5
    whole = math.sqrt(found.sigma**2 + found.intensity * (found.jump_mean**2 + found.jump_std**2))
    assert whole == pytest.approx(true.volatility, rel=0.04)


def test_without_jumps_hardly_a_day_counts_as_one() -> None:
    returns = np.diff(np.log(simulated(GeometricBrownianMotion(sigma=0.2), days=20_000)))
    assert 0 < is_jump(returns).mean() < 0.1 / 252 * 2  # fewer than one in five years


def test_a_jump_is_told_from_the_past_alone_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    returns = 0.01 * rng.standard_normal(120)
    returns[[5, 60, 90]] = [0.2, -0.09, 0.06]
    found = is_jump(returns)
    assert found.tolist() == [
        i >= 21
        and abs(returns[i])
        > 4.5
        * math.sqrt(
            math.pi / 2 * np.mean([abs(returns[j] * returns[j - 1]) for j in range(i - 20, i)])
        )
        for i in range(120)
    ]
    assert found[[60, 90]].all() and not found[5]
    assert np.array_equal(is_jump(returns[:70]), found[:70])
    assert not is_jump(returns[:20]).any()


def test_drawn_vols_lie_between_quantiles_of_the_marks() -> None:
    vol = np.linspace(0.1, 0.5, 301)
    close = simulated(GeometricBrownianMotion(sigma=0.2), days=300)
    drawn = estimated("{kind: gbm, sigma: {low: 0.1, high: 0.2}}", past(close, vol)).sigma
    assert (drawn.low, drawn.high) == pytest.approx((0.12, 0.48), rel=1e-9)
    close[100:] *= 0.85  # one jump: 0.84 a year of 0.16^2
    found = estimated("{kind: merton, sigma: {low: 0.1, high: 0.2}}", past(close, vol))
    jumps = found.intensity * (found.jump_mean**2 + found.jump_std**2)
    assert found.sigma.high == pytest.approx(math.sqrt(0.48**2 - jumps), rel=1e-9)
    assert found.sigma.low == pytest.approx(0.06, rel=1e-9)  # half the mark at least
    flat = estimated("{kind: gbm, sigma: {low: 0.1, high: 0.2}}", past(close))
    assert isinstance(flat.sigma, float)


@pytest.mark.slow
def test_heston_from_returns_of_known_parameters() -> None:
    """Theta by its own error, vol of vol and rho nearly; kappa is told too slow, by about half.

    The noise of a GARCH grows with its variance, Heston's with the root: large moves look lasting.
    """
    true = Heston(kappa=6, theta=0.04, vol_of_vol=0.6, rho=-0.7, variance=0.04)
    count, names = 6, ("theta", "kappa", "vol_of_vol", "rho")
    found = [estimated("{kind: heston}", past(close)) for close in paths(true, count)]
    mean = {name: np.mean([getattr(m, name) for m in found]) for name in names}
    error = 0.6 / 6 * math.sqrt(0.04 * 252 / DAYS / count)
    assert mean["theta"] == pytest.approx(0.04, abs=4 * error)
    assert mean["vol_of_vol"] == pytest.approx(0.6, rel=0.15)
    assert mean["rho"] == pytest.approx(-0.62, abs=0.06)
    assert 2 < mean["kappa"] < 5
    assert all(m.variance == m.theta for m in found)


def test_the_diffusion_limit_has_the_moments_of_the_garch() -> None:
    """Noise of h and its correlation with the return, by simulation of one step."""
    garch = Garch(model="gjr", omega=2e-6, alpha=0.05, beta=0.8, gamma=0.2)
    z = np.random.default_rng(0).standard_normal(1_000_000)
    noise = (0.05 + 0.2 * (z < 0)) * z**2
    found = diffusion_limit(garch, theta=0.04)
    assert found["kappa"] == pytest.approx(252 * (1 - 0.8 - noise.mean()), rel=0.01)
    assert found["vol_of_vol"] == pytest.approx(noise.std() * math.sqrt(0.04 * 252), rel=0.01)
    assert found["rho"] == pytest.approx(np.corrcoef(noise, z)[0, 1], rel=0.01)
    still = Garch(model="garch", omega=1e-6, alpha=0.0, beta=0.9999, gamma=0.0)
    assert diffusion_limit(still, 0.04) == {"kappa": 0.2, "vol_of_vol": 0.0, "rho": 0.0}


def test_garch_and_bates_and_what_their_trainings_vary() -> None:
    true = Garch(model="gjr", omega=4e-6, alpha=0.03, beta=0.85, gamma=0.16)
    close = simulated(true)
    vol = np.linspace(0.1, 0.3, DAYS + 1)
    fitted = estimate(scenario_of("{kind: garch}"), past(close, vol))
    market = fitted.scenario.market
    assert isinstance(market, Garch)
    assert (market.beta, market.gamma) == pytest.approx((0.85, 0.16), abs=0.06)
    assert fitted.vary.uniform == {"market.variance": pytest.approx((0.11**2, 0.29**2))}
    close[::500] *= 0.9  # a bad print: down and up again
    bates = estimated("{kind: bates}", past(close, vol))
    assert bates.intensity == pytest.approx(2 * 9 / DAYS * 252, rel=0.15)
    assert bates.jump_std == pytest.approx(0.105, rel=0.1)
    assert bates.theta == pytest.approx(true.stationary * 252, rel=0.15)


def test_refusals() -> None:
    close = simulated(GeometricBrownianMotion(sigma=0.2), days=120)
    with pytest.raises(ValueError, match=r"99 log-returns up to .* fewer than 100"):
        estimate(scenario_of("{kind: gbm}"), past(close[:100]))
    with pytest.raises(ValueError, match=r"made up, 1980-01-01 to .*: Garch: 120 log-returns"):
        estimate(scenario_of("{kind: garch}"), past(close))
    with pytest.raises(ValueError, match="no estimator of Sabr: take a market of"):
        estimate(scenario_of("{kind: sabr}"), past(close))

"""Stochastic implied vol: the law of the quotes, exact on any dates, the spot and the premium."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from deephedge.envs.calendar import TradingDaysCalendar, TradingHoursCalendar
from deephedge.envs.markets import MarketPaths
from deephedge.envs.markets.stochastic_implied_vol import StochasticImpliedVol
from deephedge.envs.pricing import black_scholes

PATHS = 40_000
ALPHA = 1e-5
SIGMAS = 4.0

MARKET = StochasticImpliedVol(
    drift=0.1,
    vol=0.35,
    level=0.2,
    reversion=3.0,
    vol_of_vol=0.9,
    rho=-0.7,
    skew=-0.3,
    skew_reversion=6.0,
    skew_vol=0.4,
    premium=0.25,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def column(*dates: float) -> Tensor:
    return torch.tensor(dates, dtype=torch.float64)[:, None]


DATES: dict[str, Tensor] = {
    "one step": column(0.0, 1.0),
    "uneven": column(0.0, 0.001, 0.05, 0.3, 0.31, 1.0),
    "weekends by path": TradingDaysCalendar(steps=8).times(PATHS, generator(99)),
}
each_dates = pytest.mark.parametrize("times", DATES.values(), ids=list(DATES))


def z_scores(samples: NDArray[np.float64], expected: Any) -> NDArray[np.float64]:
    """How many standard errors the means over the last axis lie from the expectation."""
    error = samples.std(axis=-1) / samples.shape[-1] ** 0.5
    return np.abs(samples.mean(axis=-1) - expected) / error


def quotes(paths: MarketPaths) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log vol over its level and skew over its own, [T+1, N]."""
    assert paths.skew is not None
    return np.log(paths.implied_vol.numpy() / MARKET.level), paths.skew.numpy() - MARKET.skew


@each_dates
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_the_expected_spot_grows_at_the_drift(times: Tensor, dtype: torch.dtype) -> None:
    paths = MARKET.simulate(times, PATHS, generator(1), dtype)
    assert paths.skew is not None
    for array in (paths.spot, paths.implied_vol, paths.skew, paths.latents["variance"]):
        assert array.dtype == dtype
        assert array.shape == (len(times), PATHS)
    relative = paths.spot.double() * torch.exp(-MARKET.drift * times) / MARKET.spot
    assert z_scores(relative[1:].numpy(), 1.0).max() < SIGMAS


def test_the_moves_are_fair_whatever_was_seen() -> None:
    fair = MARKET.model_copy(update={"drift": 0.0})
    paths = fair.simulate(DATES["uneven"], PATHS, generator(2))
    assert paths.skew is not None
    for signal in (paths.spot / 100 - 1, paths.implied_vol - 0.3, paths.skew + 0.3):
        gains = (paths.spot.diff(dim=0) * signal[:-1])[1:].numpy()
        assert z_scores(gains, 0.0).max() < SIGMAS


@each_dates
def test_the_quotes_have_the_law_of_their_process(times: Tensor) -> None:
    """Ornstein-Uhlenbeck: normal, with the mean and variance of the closed form at every date."""
    y, k = quotes(MARKET.simulate(times, PATHS, generator(3)))
    assert np.abs(y[0] - math.log(0.35 / 0.2)).max() < 1e-12
    assert np.abs(k[0]).max() < 1e-12
    t = times.numpy()[1:]
    for x, start, reversion, vol in (
        (y, math.log(0.35 / 0.2), 3.0, 0.9),
        (k, 0.0, 6.0, 0.4),
    ):
        mean = start * np.exp(-reversion * t)
        std = vol * np.sqrt((1 - np.exp(-2 * reversion * t)) / (2 * reversion))
        for z in (x[1:] - mean) / std:
            assert stats.kstest(z, "norm").pvalue > ALPHA
    assert abs(np.corrcoef(y[-1], k[-1])[0, 1]) < SIGMAS / PATHS**0.5


def test_long_after_the_quotes_are_stationary() -> None:
    y, k = quotes(MARKET.simulate(column(0, 4, 4.1), PATHS, generator(4)))
    for x, reversion, vol in ((y, 3.0, 0.9), (k, 6.0, 0.4)):
        variance = vol**2 / (2 * reversion)
        assert z_scores(x[-1], 0.0) < SIGMAS
        assert z_scores(x[-1] ** 2, variance) < SIGMAS
        assert z_scores(x[-1] * x[-2], variance * math.exp(-reversion * 0.1)) < SIGMAS


def drivers(paths: MarketPaths, drift: float) -> Tensor:
    """The spot's Brownian increments, [T, N], taken back from the paths."""
    variance, dt = paths.latents["variance"][:-1], paths.times.diff(dim=0)
    return (paths.log_spot.diff(dim=0) - (drift - variance / 2) * dt) / variance.sqrt()


@each_dates
def test_the_correlation_with_the_spot_is_exact_on_any_dates(times: Tensor) -> None:
    """E[W_T (y_T - E y_T)] = rho vol_of_vol (1 - e^{-reversion T}) / reversion."""
    paths = MARKET.simulate(times, PATHS, generator(5))
    w = drivers(paths, MARKET.drift).sum(dim=0).numpy()
    years = times[-1].numpy()
    assert stats.kstest(w / years**0.5, "norm").pvalue > ALPHA
    y = quotes(paths)[0][-1] - math.log(0.35 / 0.2) * np.exp(-3.0 * years)
    expected = -0.7 * 0.9 * (1 - np.exp(-3.0 * years)) / 3.0
    assert z_scores(w * y - expected, 0.0) < SIGMAS


def test_the_variance_is_of_the_quote_less_the_premium() -> None:
    paths = MARKET.simulate(DATES["uneven"], PATHS, generator(6))
    expected = (paths.implied_vol / 1.25) ** 2
    assert float((paths.latents["variance"] / expected - 1).abs().max()) < 1e-12
    dt = paths.times.diff(dim=0)
    moved = (drivers(paths, MARKET.drift) ** 2 / dt).numpy()
    assert z_scores(moved, 1.0).max() < SIGMAS
    assert MARKET.volatility == pytest.approx(0.16)


def test_the_spot_hardly_depends_on_the_dates_when_they_are_many() -> None:
    ends = [
        MARKET.simulate(
            torch.linspace(0, 0.25, steps + 1, dtype=torch.float64)[:, None], PATHS, generator(seed)
        ).log_spot[-1]
        for steps, seed in ((60, 7), (120, 8))
    ]
    assert stats.ks_2samp(*ends).pvalue > ALPHA


@pytest.mark.parametrize("rho", [-1.0, 1.0])
def test_nights_without_variance_leave_everything_where_it_was(rho: float) -> None:
    calendar = TradingHoursCalendar(days=7, per_day=3, overnight=0.0, weekend=0.0)
    times = calendar.times(200, generator(9))
    market = MARKET.model_copy(update={"rho": rho, "drift": 0.0})
    paths = market.simulate(times, 200, generator(10), clock=calendar.clock(times))
    assert paths.skew is not None
    for array in (paths.log_spot, paths.implied_vol, paths.skew):
        assert bool(array.isfinite().all())
        moves = array.diff(dim=0)
        assert (moves[2::3] == 0).all()
        assert (moves[:2] != 0).all()


def test_perfect_correlation_survives_rounding_on_short_steps() -> None:
    dt = torch.logspace(-9, -2, 2000, dtype=torch.float64)
    times = torch.cat([torch.zeros(1, dtype=torch.float64), dt.cumsum(dim=0)])[:, None]
    for reversion in (0.001, 4.0):
        market = MARKET.model_copy(update={"rho": -1.0, "reversion": reversion})
        assert bool(market.simulate(times, 3, generator(14)).implied_vol.isfinite().all())


def straddle_gains(market: StochasticImpliedVol, strike: float = 100.0) -> NDArray[np.float64]:
    """Of a long straddle of a month, hedged daily at the market's vol, [N]."""
    years, steps = 30 / 365, 60
    times = torch.linspace(0, years, steps + 1, dtype=torch.float64)[:, None]
    paths = market.simulate(times, PATHS, generator(11))
    call, put = (
        black_scholes(paths.log_spot, strike, years - times, paths.implied_vol, sign=sign)
        for sign in (1, -1)
    )
    delta = (call.delta + put.delta)[:-1]
    value = call.price + put.price
    return (value[-1] - value[0] - (delta * paths.spot.diff(dim=0)).sum(dim=0)).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("premium", [0.25, 0.0, -0.1])
def test_a_hedged_straddle_earns_the_premium(premium: float) -> None:
    """With a still quote: the integral of Gamma S^2 / 2 (realised^2 - quoted^2), by quadrature.

    E[Gamma S^2] under the realised vol r is that of a normal: at the money, with total variances
    a = r^2 t so far and b = q^2 (T - t) to come, S phi(d) / sqrt(b) has a closed expectation.
    """
    quoted, years = 0.2, 30 / 365
    realised = quoted / (1 + premium)
    market = StochasticImpliedVol(vol=quoted, level=quoted, vol_of_vol=0.0, premium=premium)
    expected = 0.0
    nodes, weights = np.polynomial.legendre.leggauss(200)
    for t, weight in zip((nodes + 1) / 2 * years, weights / 2 * years, strict=True):
        a, b = realised**2 * t, quoted**2 * (years - t)
        # S Gamma S with d1 = (x + b / 2) / sqrt(b) and, under the share measure, x ~ N(a / 2, a).
        density = stats.norm.pdf((a / 2 + b / 2) / math.sqrt(a + b)) / math.sqrt(a + b)
        expected += weight * 2 * 100.0 * density * (realised**2 - quoted**2) / 2
    assert z_scores(straddle_gains(market), expected) < SIGMAS
    # Moving quotes add noise and some convexity, but the premium is of the same size.
    moving = market.model_copy(update={"vol_of_vol": 0.3})
    gains = straddle_gains(moving)
    error = gains.std() / PATHS**0.5
    assert abs(gains.mean() - expected) < 0.05 * abs(expected) + SIGMAS * error + 0.02


def test_the_pricing_measure_takes_the_premium_off() -> None:
    fair = MARKET.model_copy(update={"rate": 0.05, "dividend": 0.02}).risk_neutral()
    assert (fair.premium, fair.drift) == (0.0, 0.05 - 0.02)
    assert fair.volatility == fair.level


def test_paths_are_a_function_of_the_generator_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (
        MARKET.simulate(DATES["uneven"], 50, generator(seed)).spot for seed in (12, 12, 13)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"vol": 0.0}, "vol"),
        ({"level": -0.2}, "level"),
        ({"reversion": 0.0}, "reversion"),
        ({"vol_of_vol": -0.1}, "vol_of_vol"),
        ({"rho": -1.1}, "rho"),
        ({"premium": -1.0}, "premium"),
        ({"skew_reversion": 0.0}, "skew_reversion"),
    ],
)
def test_impossible_values_are_refused(keys: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StochasticImpliedVol(**keys)

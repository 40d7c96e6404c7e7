"""Markets: their laws on any dates, their jumps, their drift, their randomness."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from deephedge.envs.calendar import TradingDaysCalendar
from deephedge.envs.markets import GeometricBrownianMotion, Market, MarketPaths, Merton, Uniform
from deephedge.envs.pricing import black_scholes

PATHS = 40_000
ALPHA = 1e-5  # of a distribution test
SIGMAS = 4.0  # standard errors of a moment

GBM = GeometricBrownianMotion(spot=80.0, drift=0.15, sigma=0.3)
GBM_RANGE = GeometricBrownianMotion(drift=-0.1, sigma=Uniform(low=0.1, high=0.5))
MERTON = Merton(drift=0.1, sigma=0.15, intensity=1.2, jump_mean=-0.07, jump_std=0.05)
MERTON_WILD = Merton(
    drift=-0.2, sigma=Uniform(low=0.05, high=0.3), intensity=8.0, jump_mean=0.1, jump_std=0.15
)
MARKETS: dict[str, Market] = {
    "gbm": GBM,
    "gbm-range": GBM_RANGE,
    "merton": MERTON,
    "merton-wild": MERTON_WILD,
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def column(*dates: float) -> Tensor:
    return torch.tensor(dates, dtype=torch.float64)[:, None]


DATES: dict[str, Tensor] = {
    "one step": column(0.0, 1.0),
    "steps alike": torch.linspace(0, 1, 13, dtype=torch.float64)[:, None],
    "uneven": column(0.0, 0.001, 0.05, 0.3, 0.31, 1.0),
    "weekends by path": TradingDaysCalendar(steps=8).times(PATHS, generator(99)),
}

each_market = pytest.mark.parametrize("market", MARKETS.values(), ids=list(MARKETS))
each_dates = pytest.mark.parametrize("times", DATES.values(), ids=list(DATES))
each_dtype = pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32], ids=["float64", "float32"]
)


def simulate(
    market: Market, times: Tensor, seed: int = 1, dtype: torch.dtype = torch.float64
) -> MarketPaths:
    return market.simulate(times, PATHS, generator(seed), dtype)


def z_scores(samples: NDArray[np.float64], expected: float) -> NDArray[np.float64]:
    """How many standard errors the means over the last axis lie from the expectation."""
    error = samples.std(axis=-1) / samples.shape[-1] ** 0.5
    return np.abs(samples.mean(axis=-1) - expected) / error


# Moments ----------------------------------------------------------------------------------------


@each_dtype
@each_dates
@each_market
def test_the_expected_spot_grows_at_the_drift(
    market: Market, times: Tensor, dtype: torch.dtype
) -> None:
    paths = simulate(market, times, dtype=dtype)
    assert paths.spot.shape == paths.log_spot.shape == (len(times), PATHS)
    assert paths.spot.dtype == paths.log_spot.dtype == dtype
    torch.testing.assert_close(paths.log_spot.exp(), paths.spot)
    assert (paths.spot[0] - market.spot).abs().max() <= 1e-4 * market.spot
    relative = paths.spot.double() * torch.exp(-market.drift * times) / market.spot
    assert z_scores(relative[1:].numpy(), 1.0).max() < SIGMAS


@each_dates
@each_market
def test_discounted_spot_with_dividends_is_a_martingale(market: Market, times: Tensor) -> None:
    """With drift = rate - dividend nobody gains by holding, whatever was seen before."""
    rate, dividend = 0.08, 0.03
    fair = market.model_copy(update={"drift": rate - dividend, "rate": rate, "dividend": dividend})
    spot = simulate(fair, times, seed=2).spot
    worth = spot * torch.exp((dividend - rate) * times)
    moves = worth.diff(dim=0)
    assert z_scores(moves.numpy(), 0.0).max() < SIGMAS
    for signal in ((spot > fair.spot).double(), spot / fair.spot - 1):
        gains = (moves * signal[:-1])[1:].numpy()  # at time 0 nothing has been seen
        assert z_scores(gains, 0.0).max(initial=0.0) < SIGMAS


def log_return_moments(market: Merton) -> tuple[float, float, float]:
    """Mean and second and third cumulant of the log-return of a year (Merton, 1976)."""
    assert isinstance(market.sigma, float)
    m, s = market.jump_mean, market.jump_std
    compensator = market.intensity * (math.exp(m + s * s / 2) - 1)
    mean = market.drift - compensator - market.sigma**2 / 2 + market.intensity * m
    variance = market.sigma**2 + market.intensity * (m * m + s * s)
    return mean, variance, market.intensity * (m**3 + 3 * m * s * s)


@each_dates
@pytest.mark.parametrize(
    "market",
    [MERTON, Merton(drift=0.3, sigma=0.1, intensity=3.0, jump_mean=0.05, jump_std=0.1)],
    ids=["presets", "upward"],
)
def test_merton_cumulants(market: Merton, times: Tensor) -> None:
    mean, variance, third = log_return_moments(market)
    years = times[-1].numpy()
    log_return = simulate(market, times, seed=3).log_spot[-1].numpy() - math.log(market.spot)
    centred = log_return - mean * years
    assert z_scores(centred, 0.0) < SIGMAS
    assert z_scores(centred**2 - variance * years, 0.0) < SIGMAS
    assert z_scores(centred**3 - third * years, 0.0) < SIGMAS
    assert market.volatility == pytest.approx(variance**0.5)


# Distributions ----------------------------------------------------------------------------------


@each_dtype
@each_dates
@pytest.mark.parametrize("market", [GBM, GBM_RANGE], ids=["gbm", "gbm-range"])
def test_gbm_log_returns_are_normal_and_independent(
    market: GeometricBrownianMotion, times: Tensor, dtype: torch.dtype
) -> None:
    paths = simulate(market, times, seed=4, dtype=dtype)
    sigma, dt = paths.implied_vol.double(), times.diff(dim=0)
    z = (
        (paths.log_spot.double().diff(dim=0) - (market.drift - sigma**2 / 2) * dt)
        / sigma
        / dt.sqrt()
    )
    for step in z:
        assert stats.kstest(step, "norm").pvalue > ALPHA
    whole = (z * (dt / dt.sum(dim=0)).sqrt()).sum(dim=0)
    assert stats.kstest(whole, "norm").pvalue > ALPHA
    for earlier, later in itertools.pairwise(z):
        assert abs(np.corrcoef(earlier, later)[0, 1]) < SIGMAS / PATHS**0.5
        assert abs(np.corrcoef(earlier**2, later**2)[0, 1]) < SIGMAS / PATHS**0.5


@each_market
def test_any_dates_give_the_same_law(market: Market) -> None:
    coarse = simulate(market, column(0, 0.3, 1), seed=5).log_spot
    fine = simulate(market, torch.linspace(0, 1, 41, dtype=torch.float64)[:, None], seed=6).log_spot
    for date, same_date in ((1, 12), (2, 40)):
        assert stats.ks_2samp(coarse[date], fine[same_date]).pvalue > ALPHA


def test_a_range_of_vols_is_drawn_uniformly_by_path() -> None:
    times = torch.linspace(0, 1, 25, dtype=torch.float64)[:, None]
    paths = simulate(GBM_RANGE, times, seed=7)
    sigma = paths.implied_vol
    assert sigma.shape == (1, PATHS)
    assert stats.kstest(sigma[0], "uniform", (0.1, 0.4)).pvalue > ALPHA
    # Each path moves by its own vol.
    moves = paths.log_spot.diff(dim=0) - (GBM_RANGE.drift - sigma**2 / 2) / 24
    realised = ((moves / sigma) ** 2).sum(dim=0)
    assert z_scores(realised.numpy(), 1.0) < SIGMAS
    assert float(realised.std()) == pytest.approx((2 / 24) ** 0.5, rel=0.05)
    assert GBM_RANGE.volatility == pytest.approx(0.3)


# Jumps ------------------------------------------------------------------------------------------


def counts(intensity: float, times: Tensor, seed: int) -> NDArray[np.int64]:
    """Jumps per step and path, [T, N]: with jumps of one size the sum tells their number."""
    market = Merton(sigma=0.1, intensity=intensity, jump_mean=-0.25, jump_std=0.0)
    jump = simulate(market, times, seed).jump
    assert jump is not None
    assert (jump[0] == 0).all()
    number = jump[1:].numpy() / -0.25
    np.testing.assert_allclose(number, np.rint(number), atol=1e-12)
    return np.rint(number).astype(np.int64)


def poisson_p_value(number: NDArray[np.int64], mean: float) -> float:
    """Chi-square over 0, 1, ... with the tail in one cell of at least 5 expected."""
    law = stats.poisson(mean)
    top = max(int(law.isf(5 / len(number))), 1)
    expected = np.append(law.pmf(np.arange(top)), law.sf(top - 1)) * len(number)
    observed = np.bincount(np.minimum(number, top), minlength=top + 1)
    return float(stats.chisquare(observed, expected).pvalue)


@pytest.mark.parametrize("intensity", [0.5, 12.0])
@pytest.mark.parametrize("dates", list(DATES)[:3])
def test_jump_counts_are_poisson_in_every_step(dates: str, intensity: float) -> None:
    times = DATES[dates]
    number = counts(intensity, times, seed=8)
    for step, dt in zip(number, times.diff(dim=0)[:, 0].tolist(), strict=True):
        assert poisson_p_value(step, intensity * dt) > ALPHA
    assert poisson_p_value(number.sum(axis=0), intensity * float(times[-1])) > ALPHA
    for earlier, later in itertools.pairwise(number):
        if min(earlier.std(), later.std()) > 0.1:
            assert abs(np.corrcoef(earlier, later)[0, 1]) < SIGMAS / PATHS**0.5


def test_jump_counts_follow_the_weekends_of_each_path() -> None:
    times, intensity = DATES["weekends by path"], 60.0
    number, days = counts(intensity, times, seed=9), np.rint(times.diff(dim=0).numpy() * 365)
    for length in (1, 3):
        for step, gap in zip(number, days, strict=True):
            here = step[gap == length]
            assert poisson_p_value(here, intensity * length / 365) > ALPHA


def test_the_number_of_jumps_of_a_whole_batch_is_random() -> None:
    """Paths of one batch are independent: a fixed number of jumps would tie them together."""
    market = Merton(intensity=2.0, jump_mean=1.0, jump_std=0.0)
    totals = [
        round(float(market.simulate(column(0, 1), 5, generator(seed)).jump.sum()))  # type: ignore[union-attr]
        for seed in range(2000)
    ]
    assert poisson_p_value(np.array(totals), 10.0) > ALPHA


def test_jump_sizes_are_normal_and_the_rest_is_diffusion() -> None:
    market = Merton(drift=0.1, sigma=0.2, intensity=3.0, jump_mean=-0.07, jump_std=0.05)
    times = torch.linspace(0, 1, 60, dtype=torch.float64)[:, None]
    paths = simulate(market, times, seed=10)
    assert paths.jump is not None
    jump = paths.jump[1:]
    # Moments of a compound Poisson sum over a step; jumps of one step add up.
    dt, (m, s) = 1 / 59, (market.jump_mean, market.jump_std)
    flat = jump.flatten().numpy()
    assert z_scores(flat, 3.0 * m * dt) < SIGMAS
    assert z_scores((flat - 3.0 * m * dt) ** 2, 3.0 * (m * m + s * s) * dt) < SIGMAS
    rare = Merton(intensity=0.02, jump_mean=m, jump_std=s)  # at most one a step
    sizes = simulate(rare, times * 10, seed=11).jump
    assert sizes is not None
    sizes = sizes[sizes != 0]
    assert len(sizes) == pytest.approx(0.2 * PATHS, rel=0.1)
    assert stats.kstest(sizes, "norm", (m, s)).pvalue > ALPHA
    compensated = market.drift - 3.0 * math.expm1(m + s * s / 2) - 0.02
    normal = (paths.log_spot.diff(dim=0) - jump - compensated * dt) / (0.2 * dt**0.5)
    assert stats.kstest(normal.flatten()[::10], "norm").pvalue > ALPHA
    assert abs(np.corrcoef(normal.flatten(), flat)[0, 1]) < SIGMAS / flat.size**0.5


def merton_call(market: Merton, strike: float, years: float) -> float:
    """Merton's series (1976, eq. 19): Black-Scholes at n jumps, weighted by their chance."""
    assert isinstance(market.sigma, float)
    growth = market.jump_mean + market.jump_std**2 / 2
    k = math.expm1(growth)
    mean = market.intensity * (1 + k) * years
    total = 0.0
    for n in range(60):
        vol = math.sqrt(market.sigma**2 + n * market.jump_std**2 / years)
        rate = market.rate - market.intensity * k + n * growth / years
        forward = market.spot * math.exp((rate - market.dividend) * years)
        d1 = math.log(forward / strike) / (vol * years**0.5) + vol * years**0.5 / 2
        d2 = d1 - vol * years**0.5
        price = forward * stats.norm.cdf(d1) - strike * stats.norm.cdf(d2)
        total += stats.poisson.pmf(n, mean) * math.exp(-rate * years) * price
    return total


@pytest.mark.parametrize("strike", [85.0, 100.0, 120.0])
@pytest.mark.parametrize("dates", list(DATES)[:3])
def test_merton_call_prices_by_simulation_are_the_series(dates: str, strike: float) -> None:
    market = Merton(
        drift=0.03,
        rate=0.05,
        dividend=0.02,
        sigma=0.15,
        intensity=2.0,
        jump_mean=-0.1,
        jump_std=0.08,
    )
    spot = simulate(market, DATES[dates], seed=12).spot[-1].numpy()
    payoff = math.exp(-0.05) * np.maximum(spot - strike, 0)
    assert z_scores(payoff, merton_call(market, strike, 1.0)) < SIGMAS


@pytest.mark.parametrize("dates", list(DATES)[:3])
def test_gbm_call_prices_by_simulation_are_black_scholes(dates: str) -> None:
    market = GeometricBrownianMotion(drift=0.03, rate=0.05, dividend=0.02, sigma=0.25)
    spot = simulate(market, DATES[dates], seed=13).spot[-1].numpy()
    year, vol = (torch.tensor(x, dtype=torch.float64) for x in (1.0, 0.25))
    for strike in (80.0, 105.0):
        start = torch.tensor(math.log(100.0), dtype=torch.float64)
        price = black_scholes(start, strike, year, vol, sign=1, rate=0.05, dividend=0.02).price
        payoff = math.exp(-0.05) * np.maximum(spot - strike, 0)
        assert z_scores(payoff, float(price)) < SIGMAS


# Limits, randomness, refusals -------------------------------------------------------------------


def test_without_vol_the_spot_is_its_expectation() -> None:
    times = DATES["uneven"]
    spot = GeometricBrownianMotion(drift=0.07, sigma=0.0).simulate(times, 3, generator()).spot
    torch.testing.assert_close(
        spot, (100 * torch.exp(0.07 * times)).expand(-1, 3), rtol=1e-14, atol=0
    )


def test_merton_without_jumps_is_gbm() -> None:
    times, keys = DATES["uneven"], {"drift": 0.07, "sigma": 0.3}
    still = Merton(**keys, intensity=0.0).simulate(times, 50, generator())
    assert torch.equal(
        still.log_spot, GeometricBrownianMotion(**keys).simulate(times, 50, generator()).log_spot
    )
    assert still.jump is not None
    assert (still.jump == 0).all()


def test_the_quoted_vol_is_the_total_one() -> None:
    assert float(simulate(GBM, DATES["one step"]).implied_vol) == GBM.volatility == 0.3
    assert float(simulate(MERTON, DATES["one step"]).implied_vol) == pytest.approx(
        MERTON.volatility
    )
    assert MERTON.volatility == pytest.approx((0.15**2 + 1.2 * (0.07**2 + 0.05**2)) ** 0.5)


@each_dates
@each_market
def test_paths_are_a_function_of_the_generator_alone(market: Market, times: Tensor) -> None:
    def draw(seed: int, noise: int) -> MarketPaths:
        random.seed(noise)
        np.random.seed(noise)  # noqa: NPY002 - the very thing that must not matter
        torch.manual_seed(noise)
        states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
        paths = simulate(market, times, seed)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
        assert random.getstate() == states[2]
        return paths

    first, second, other = draw(14, 0), draw(14, 1), draw(15, 0)
    for name in ("spot", "log_spot", "implied_vol", "jump"):
        a, b = getattr(first, name), getattr(second, name)
        assert (a is None and b is None) or torch.equal(a, b)
    assert (first.spot[1:] != other.spot[1:]).all()


def test_a_generator_never_repeats_itself() -> None:
    one = generator()
    first, second = (GBM.simulate(DATES["uneven"], 100, one).spot[1:] for _ in range(2))
    assert (first != second).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GeometricBrownianMotion(sigma=-0.1), "sigma"),
        (lambda: GeometricBrownianMotion(spot=0.0), "spot"),
        (lambda: GeometricBrownianMotion(drift=math.nan), "drift"),
        (lambda: GeometricBrownianMotion(sigma=math.inf), "sigma"),
        (lambda: GeometricBrownianMotion(volatilty=0.2), "volatilty"),
        (lambda: Merton(intensity=-1.0), "intensity"),
        (lambda: Merton(jump_std=-0.05), "jump_std"),
        (lambda: Uniform(low=0.3, high=0.3), "must be below"),
        (lambda: Uniform(low=0.0, high=0.3), "low"),
    ],
)
def test_impossible_markets_are_refused(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(ValidationError, match=message):
        build()

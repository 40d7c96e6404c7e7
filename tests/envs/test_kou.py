"""Kou's market: cumulants, the law of the jumps, the martingale, call prices by Fourier."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import integrate, stats
from torch import Tensor

from deephedge.envs.calendar import TradingDaysCalendar
from deephedge.envs.markets import Uniform
from deephedge.envs.markets.kou import Kou

PATHS = 40_000
ALPHA = 1e-5
SIGMAS = 4.0

KOU = Kou(
    drift=0.1,
    rate=0.05,
    dividend=0.02,
    sigma=0.16,
    intensity=3.0,
    up_probability=0.35,
    up_rate=12.0,
    down_rate=6.0,
)
PAPER = Kou(  # Kou (2002), section 5.1
    drift=0.05,
    rate=0.05,
    sigma=0.16,
    intensity=1.0,
    up_probability=0.4,
    up_rate=10.0,
    down_rate=5.0,
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


def moment(market: Kou, n: int) -> float:
    """E[J^n] of a jump, by quadrature of its density (Kou, 2002, equation 2)."""
    p, up, down = market.up_probability, market.up_rate, market.down_rate
    above = integrate.quad(lambda y: y**n * p * up * math.exp(-up * y), 0, np.inf)[0]
    below = integrate.quad(lambda y: (-y) ** n * (1 - p) * down * math.exp(-down * y), 0, np.inf)[0]
    return above + below


def growth(market: Kou) -> float:
    """E[e^J] - 1, by quadrature."""
    p, up, down = market.up_probability, market.up_rate, market.down_rate
    above = integrate.quad(lambda y: p * up * math.exp(y - up * y), 0, np.inf)[0]
    below = integrate.quad(lambda y: (1 - p) * down * math.exp(-y - down * y), 0, np.inf)[0]
    return above + below - 1


@each_dates
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_the_expected_spot_grows_at_the_drift(times: Tensor, dtype: torch.dtype) -> None:
    for market in (KOU, Kou(drift=-0.2, sigma=Uniform(low=0.1, high=0.3), intensity=5.0)):
        paths = market.simulate(times, PATHS, generator(1), dtype)
        assert paths.spot.dtype == dtype
        relative = paths.spot.double() * torch.exp(-market.drift * times) / market.spot
        assert z_scores(relative[1:].numpy(), 1.0).max() < SIGMAS


@each_dates
def test_the_moves_are_fair_whatever_was_seen(times: Tensor) -> None:
    spot = KOU.model_copy(update={"drift": 0.0}).simulate(times, PATHS, generator(2)).spot
    moves = spot.diff(dim=0)
    for signal in ((spot > 100).double(), spot / 100 - 1):
        gains = (moves * signal[:-1])[1:].numpy()
        assert z_scores(gains, 0.0).max(initial=0.0) < SIGMAS


@each_dates
def test_cumulants(times: Tensor) -> None:
    years = times[-1].numpy()
    paths = KOU.simulate(times, PATHS, generator(3))
    assert isinstance(KOU.sigma, float)
    mean = KOU.drift - KOU.sigma**2 / 2 - KOU.intensity * (growth(KOU) - moment(KOU, 1))
    variance = KOU.sigma**2 + KOU.intensity * moment(KOU, 2)
    centred = paths.log_spot[-1].numpy() - math.log(KOU.spot) - mean * years
    assert z_scores(centred, 0.0) < SIGMAS
    assert z_scores(centred**2 - variance * years, 0.0) < SIGMAS
    assert z_scores(centred**3 - KOU.intensity * moment(KOU, 3) * years, 0.0) < SIGMAS
    assert KOU.volatility == pytest.approx(variance**0.5)
    assert float(paths.implied_vol) == pytest.approx(variance**0.5)


def test_a_jump_is_exponential_on_either_side_and_the_rest_is_diffusion() -> None:
    rare = KOU.model_copy(update={"intensity": 0.02})  # at most one a step
    times = torch.linspace(0, 10, 60, dtype=torch.float64)[:, None]
    paths = rare.simulate(times, PATHS, generator(4))
    assert paths.jump is not None
    assert (paths.jump[0] == 0).all()
    sizes = paths.jump[paths.jump != 0].numpy()
    up = sizes > 0
    assert len(sizes) == pytest.approx(0.2 * PATHS, abs=SIGMAS * (0.2 * PATHS) ** 0.5)
    assert stats.binomtest(int(up.sum()), len(up), KOU.up_probability).pvalue > ALPHA
    assert stats.kstest(sizes[up], "expon", (0, 1 / KOU.up_rate)).pvalue > ALPHA
    assert stats.kstest(-sizes[~up], "expon", (0, 1 / KOU.down_rate)).pvalue > ALPHA
    dt = 10 / 59
    assert isinstance(rare.sigma, float)
    mean = (rare.drift - rare.sigma**2 / 2 - rare.intensity * growth(rare)) * dt
    z = (paths.log_spot.diff(dim=0) - paths.jump[1:] - mean) / (rare.sigma * dt**0.5)
    assert stats.kstest(z.flatten()[::20], "norm").pvalue > ALPHA


def test_any_dates_give_the_same_law() -> None:
    coarse = KOU.simulate(column(0, 0.3, 1), PATHS, generator(5)).log_spot
    fine = KOU.simulate(torch.linspace(0, 1, 41, dtype=torch.float64)[:, None], PATHS, generator(6))
    for date, same_date in ((1, 12), (2, 40)):
        assert stats.ks_2samp(coarse[date], fine.log_spot[same_date]).pvalue > ALPHA


def call(market: Kou, strike: float, years: float) -> float:
    """From the characteristic function (Gil-Pelaez), which is found by its own quadratures."""
    assert isinstance(market.sigma, float)
    sigma, p, up, down = market.sigma, market.up_probability, market.up_rate, market.down_rate
    carry = market.rate - market.dividend

    def exponent(u: complex) -> complex:
        jumps = p * up / (up - 1j * u) + (1 - p) * down / (down + 1j * u) - 1
        drift = carry - sigma**2 / 2 - market.intensity * growth(market)
        return years * (1j * u * drift - sigma**2 * u * u / 2 + market.intensity * jumps)

    k = math.log(strike / market.spot)
    scale = np.exp(exponent(-1j)).real

    def inner(u: float, share: bool) -> float:
        phi = np.exp(exponent(u - 1j)) / scale if share else np.exp(exponent(complex(u)))
        return float((np.exp(-1j * u * k) * phi / (1j * u)).real)

    above = [
        0.5 + integrate.quad(inner, 0, np.inf, args=(share,), limit=500)[0] / math.pi
        for share in (True, False)
    ]
    discount = math.exp(-market.rate * years)
    return discount * (market.spot * scale * above[0] - strike * above[1])


def test_the_fourier_price_is_the_one_of_the_paper() -> None:
    assert call(PAPER, 98.0, 0.5) == pytest.approx(9.14732, abs=5e-6)


@each_dates
@pytest.mark.parametrize("strike", [85.0, 100.0, 120.0])
def test_calls_by_simulation_cost_what_fourier_says(times: Tensor, strike: float) -> None:
    if times.shape[1] > 1:  # the formula has one maturity
        times = times[:, :1]
    fair = KOU.risk_neutral()
    years = float(times[-1, 0])
    spot = fair.simulate(times, PATHS, generator(7)).spot[-1].numpy()
    payoff = math.exp(-fair.rate * years) * np.maximum(spot - strike, 0)
    assert z_scores(payoff, call(fair, strike, years)) < SIGMAS


def test_the_paper_at_its_own_dates_by_simulation() -> None:
    spot = PAPER.simulate(column(0, 0.1, 0.5), PATHS, generator(8)).spot[-1].numpy()
    assert z_scores(math.exp(-0.025) * np.maximum(spot - 98.0, 0), 9.14732) < SIGMAS


def test_the_pricing_measure_takes_the_premium_off() -> None:
    fair = KOU.model_copy(update={"jump_premium": 0.5}).risk_neutral()
    assert (fair.drift, fair.intensity, fair.jump_premium) == (0.05 - 0.02, 4.5, 0.0)
    assert fair.model_copy(update={"drift": 0.1, "intensity": 3.0}) == KOU


def test_paths_are_a_function_of_the_generator_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (KOU.simulate(DATES["uneven"], 50, generator(s)).spot for s in (9, 9, 10))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"up_rate": 1.0}, "up_rate"),
        ({"down_rate": 0.0}, "down_rate"),
        ({"up_probability": 1.1}, "up_probability"),
        ({"intensity": -1.0}, "intensity"),
        ({"jump_premium": -1.1}, "jump_premium"),
    ],
)
def test_impossible_values_are_refused(keys: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Kou(**keys)

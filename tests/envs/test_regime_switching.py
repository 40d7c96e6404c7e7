"""Regime switching: its chain, its moments, its prices, on any dates."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import integrate, linalg, stats
from torch import Tensor

from deephedge.envs.calendar import TradingDaysCalendar
from deephedge.envs.markets import GeometricBrownianMotion, MarketPaths, Merton
from deephedge.envs.markets.regime_switching import Regime, RegimeSwitching

PATHS = 40_000
SIGMAS = 4.0
ALPHA = 1e-5
Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

TWO = RegimeSwitching(
    regimes=(Regime(sigma=0.1), Regime(sigma=0.4)), rates=((-3.0, 3.0), (7.0, -7.0))
)
JUMPY = RegimeSwitching(
    regimes=(
        Regime(sigma=0.1, intensity=1.0, jump_mean=0.02, jump_std=0.01),
        Regime(sigma=0.3, intensity=12.0, jump_mean=-0.06, jump_std=0.04),
        Regime(sigma=0.0),
    ),
    rates=((-4.0, 3.0, 1.0), (9.0, -10.0, 1.0), (6.0, 0.0, -6.0)),
    start=1,
)
DRIFTING = TWO.model_copy(
    update={
        "regimes": (
            Regime(drift=0.3, sigma=0.1),
            Regime(drift=-0.8, sigma=0.4, intensity=5.0, jump_mean=-0.05, jump_std=0.02),
        )
    }
)
MARKETS = {"two": TWO, "jumpy": JUMPY, "drifting": DRIFTING}
each_market = pytest.mark.parametrize("market", MARKETS.values(), ids=list(MARKETS))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def column(*dates: float) -> Tensor:
    return torch.tensor(dates, dtype=torch.float64)[:, None]


def even(years: float, steps: int) -> Tensor:
    return torch.linspace(0, years, steps + 1, dtype=torch.float64)[:, None]


DATES: dict[str, Tensor] = {
    "one step": column(0.0, 1.0),
    "steps alike": even(1.0, 13),
    "uneven": column(0.0, 0.001, 0.05, 0.05, 0.3, 0.31, 1.0),
    "weekends by path": TradingDaysCalendar(steps=8).times(PATHS, generator(99)),
}
each_dates = pytest.mark.parametrize("times", DATES.values(), ids=list(DATES))


def simulate(
    market: RegimeSwitching,
    times: Tensor,
    seed: int = 1,
    dtype: torch.dtype = torch.float64,
    paths: int = PATHS,
) -> MarketPaths:
    return market.simulate(times, paths, generator(seed), dtype)


def z_scores(samples: Floats, expected: float | Floats) -> Floats:
    error = samples.std(axis=-1) / samples.shape[-1] ** 0.5
    return np.abs(samples.mean(axis=-1) - expected) / np.maximum(error, 1e-300)


def first_law(market: RegimeSwitching) -> Floats:
    if market.start is not None:
        return np.eye(len(market.regimes))[market.start]
    Q = np.array(market.rates)
    return np.asarray(linalg.null_space(Q.T)[:, 0] / linalg.null_space(Q.T)[:, 0].sum())


def transform(market: RegimeSwitching, u: complex, years: float) -> complex:
    """E[exp(u log(S_t / S_0))]: the exponential of generator plus the regimes' exponents."""
    exponents = []
    for one in market.regimes:
        jump = np.exp(u * one.jump_mean + u * u * one.jump_std**2 / 2) - 1
        mean_jump = math.exp(one.jump_mean + one.jump_std**2 / 2) - 1
        drift = market.drift + one.drift - one.sigma**2 / 2 - one.intensity * mean_jump
        exponents.append(u * drift + u * u * one.sigma**2 / 2 + one.intensity * jump)
    matrix = linalg.expm((np.array(market.rates) + np.diag(exponents)) * years)
    return complex(first_law(market) @ matrix.sum(axis=1))


def cumulants(market: RegimeSwitching, years: float) -> tuple[float, float]:
    """Mean and variance of the log-return, by central differences of the log-transform."""
    h = 1e-3
    up, middle, down = (np.log(transform(market, u, years)).real for u in (h, 0.0, -h))
    return float(up - down) / (2 * h), float(up - 2 * middle + down) / h**2


def fourier_call(market: RegimeSwitching, strike: float, years: float) -> float:
    """Lewis (2001): F - sqrt(F K) / pi int Re[e^{iuk} phi(u - i/2)] / (u^2 + 1/4) du, no rates."""
    k = math.log(market.spot / strike)

    def integrand(u: float) -> float:
        value = np.exp(1j * u * k) * transform(market, 1j * u + 0.5, years)
        return float(value.real) / (u * u + 0.25)

    total, _ = integrate.quad(integrand, 0, 200, limit=400, epsabs=1e-8)
    return float(market.spot - math.sqrt(market.spot * strike) / math.pi * total)


# Chain ------------------------------------------------------------------------------------------


@each_dates
@each_market
def test_regimes_have_the_law_of_the_chain(market: RegimeSwitching, times: Tensor) -> None:
    regime = simulate(market, times).latents["regime"].numpy()
    start, Q = first_law(market), np.array(market.rates)
    np.testing.assert_allclose(market.occupancy @ Q, 0, atol=1e-12)
    for date in range(len(times)):
        law = start @ linalg.expm(Q * float(times[date].mean()))
        for k, chance in enumerate(law):
            share = (regime[date] == k).mean()
            error = math.sqrt(max(chance * (1 - chance), 1e-12) / PATHS)
            gap = 0.002 if times.shape[1] > 1 else 0.0  # the dates differ by path
            assert abs(share - chance) <= SIGMAS * error + gap
    if times.shape[1] == 1:  # and moves from one date to the next
        for t in range(1, len(times)):
            move = linalg.expm(Q * float(times[t] - times[t - 1]))
            for i, j in itertools.product(range(len(Q)), repeat=2):
                own = regime[t, regime[t - 1] == i] == j
                error = math.sqrt(max(move[i, j] * (1 - move[i, j]), 1e-12) / max(len(own), 1))
                assert len(own) == 0 or abs(own.mean() - move[i, j]) <= SIGMAS * error


@each_market
def test_any_dates_give_the_same_law(market: RegimeSwitching) -> None:
    coarse = simulate(market, column(0, 0.3, 1), seed=2)
    fine = simulate(market, even(1.0, 40), seed=3)
    for date, same_date in ((1, 12), (2, 40)):
        a, b = coarse.log_spot[date], fine.log_spot[same_date]
        assert stats.ks_2samp(a, b).pvalue > ALPHA
        # Together with the regime reached: what happened in the step led there.
        for k in range(len(market.regimes)):
            there = a[coarse.latents["regime"][date] == k]
            here = b[fine.latents["regime"][same_date] == k]
            assert stats.ks_2samp(there, here).pvalue > ALPHA


def test_one_regime_is_gbm_or_merton() -> None:
    """The same moments and law as the market it becomes."""
    still = RegimeSwitching(regimes=(Regime(sigma=0.25),), rates=((0.0,),))
    times = DATES["uneven"]
    a = simulate(still, times, seed=4)
    b = GeometricBrownianMotion(sigma=0.25).simulate(times, PATHS, generator(5))
    assert stats.ks_2samp(a.log_spot[-1], b.log_spot[-1]).pvalue > ALPHA
    jump = {"intensity": 9.0, "jump_mean": -0.07, "jump_std": 0.05}
    jumpy = RegimeSwitching(regimes=(Regime(sigma=0.15, **jump),), rates=((0.0,),))
    c = simulate(jumpy, times, seed=6)
    merton = Merton(sigma=0.15, **jump)
    d = merton.simulate(times, PATHS, generator(7))
    assert c.jump is not None
    assert d.jump is not None
    for t in (1, 4, 6):
        assert stats.ks_2samp(c.log_spot[t], d.log_spot[t]).pvalue > ALPHA
        assert stats.ks_2samp(c.jump[t], d.jump[t]).pvalue > ALPHA
    assert jumpy.volatility == pytest.approx(merton.volatility)
    assert float(c.implied_vol[0, 0]) == pytest.approx(merton.volatility)


# Moments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@each_dates
@each_market
def test_log_return_has_its_mean_and_variance(
    market: RegimeSwitching, times: Tensor, dtype: torch.dtype
) -> None:
    market = market.model_copy(update={"drift": 0.1})
    paths = simulate(market, times, seed=8, dtype=dtype)
    assert paths.jump is not None
    for array in (paths.spot, paths.jump, paths.implied_vol, paths.latents["regime"]):
        assert array.shape == (len(times), PATHS)
        assert array.dtype == dtype
    moves = paths.log_spot[-1].double().numpy() - math.log(market.spot)
    for years in np.unique(np.broadcast_to(times[-1].numpy(), moves.shape)):
        own = moves[np.broadcast_to(times[-1].numpy(), moves.shape) == years]
        mean, variance = cumulants(market, float(years))
        assert z_scores(own, mean) < SIGMAS
        assert z_scores((own - mean) ** 2, variance) < SIGMAS


@each_dates
@pytest.mark.parametrize("market", [TWO, JUMPY], ids=["two", "jumpy"])
def test_without_drifts_the_spot_is_a_martingale(market: RegimeSwitching, times: Tensor) -> None:
    paths = simulate(market, times, seed=9)
    assert paths.expected is None
    worth = paths.spot / market.spot
    assert z_scores(worth[1:].numpy(), 1.0).max() < SIGMAS
    for k in range(len(market.regimes)):
        signal = (paths.latents["regime"][:-1] == k).double()
        gains = (worth.diff(dim=0) * signal).numpy()
        assert z_scores(gains, 0.0).max() < SIGMAS


@each_dates
def test_the_expected_growth_is_that_of_the_regime(times: Tensor) -> None:
    market = DRIFTING.model_copy(update={"drift": 0.1})
    paths = simulate(market, times, seed=10)
    assert paths.expected is not None
    assert paths.expected.shape == (len(times) - 1, PATHS)
    surprise = paths.spot[1:] / paths.spot[:-1] - paths.expected
    for k in (0, 1):
        signal = (paths.latents["regime"][:-1] == k).double()
        assert z_scores((surprise * signal).numpy(), 0.0).max() < SIGMAS
    if len(times) == 2:  # against the transform at u = 1, from each start
        for k in (0, 1):
            one = market.model_copy(update={"start": k})
            growth = paths.expected[0, paths.latents["regime"][0] == k][0]
            assert float(growth) == pytest.approx(transform(one, 1.0, 1.0).real)


@each_market
def test_the_quoted_vol_expects_the_variance_to_come(market: RegimeSwitching) -> None:
    """Squares of fine log-returns, whose mean is negligible, given the regime at three dates."""
    times = even(0.5, 200)
    paths = simulate(market, times, seed=11, paths=8000)
    squares = paths.log_spot.diff(dim=0).square()
    for date in (0, 100, 190):
        realised = squares[date:].sum(dim=0) / (times[-1] - times[date])
        surprise = (realised - paths.implied_vol[date] ** 2).numpy()
        for k in range(len(market.regimes)):
            own = surprise[paths.latents["regime"][date] == k]
            if len(own):
                slack = 0.01 * float(realised.mean())  # the squares of the drifts
                error = own.std() / len(own) ** 0.5
                assert abs(own.mean()) < SIGMAS * error + slack
    at_end = [one.variance**0.5 for one in market.regimes]
    torch.testing.assert_close(
        paths.implied_vol[-1],
        torch.tensor(at_end, dtype=torch.float64)[paths.latents["regime"][-1].long()],
    )


def test_scale_is_the_stationary_vol() -> None:
    assert TWO.volatility == pytest.approx((0.7 * 0.01 + 0.3 * 0.16) ** 0.5)


# Prices and jumps -------------------------------------------------------------------------------


@pytest.mark.parametrize("market", [TWO, JUMPY], ids=["two", "jumpy"])
@pytest.mark.parametrize("years", [0.1, 0.5, 1.0])
def test_call_prices_are_those_of_the_transform(market: RegimeSwitching, years: float) -> None:
    spot = simulate(market, even(years, 3), seed=12).spot[-1].numpy()
    for strike in (80.0, 92.0, 100.0, 108.0, 125.0):
        payoff = np.maximum(spot - strike, 0)
        assert z_scores(payoff, fourier_call(market, strike, years)) < SIGMAS


def test_jumps_come_in_their_regime_alone() -> None:
    regimes = (Regime(sigma=0.1), Regime(sigma=0.1, intensity=20.0, jump_mean=1.0))
    market = RegimeSwitching(regimes=regimes, rates=((-2.0, 2.0), (2.0, -2.0)))
    paths = simulate(market, even(1.0, 100), seed=13, paths=10_000)
    assert paths.jump is not None
    number = paths.jump.numpy()
    np.testing.assert_allclose(number, np.rint(number), atol=1e-12)
    regime = paths.latents["regime"].numpy()
    calm = (regime[:-1] == 0) & (regime[1:] == 0)
    wild = (regime[:-1] == 1) & (regime[1:] == 1)
    assert number[1:][calm].mean() < 0.002  # only there and back within a step
    assert number[1:][wild].mean() == pytest.approx(0.2, rel=0.02)
    assert z_scores(number.sum(axis=0), 10.0) < SIGMAS
    none = simulate(TWO, DATES["uneven"], paths=100).jump
    assert none is not None
    assert (none == 0).all()


def test_the_pricing_form_has_no_drifts() -> None:
    market = DRIFTING.model_copy(update={"drift": 0.2, "rate": 0.05, "dividend": 0.01})
    fair = market.risk_neutral()
    assert [one.drift for one in fair.regimes] == [0.0, 0.0]
    assert fair.drift == pytest.approx(0.04)
    spot = simulate(fair, column(0.0, 1.0), seed=14).spot[-1].numpy()
    assert z_scores(spot * math.exp(-0.04), 100.0) < SIGMAS
    kept = {"regimes": market.regimes, "drift": 0.2}
    assert fair.model_copy(update=kept) == market


# Randomness, refusals ---------------------------------------------------------------------------


@each_market
def test_paths_are_a_function_of_the_generator_alone(market: RegimeSwitching) -> None:
    for times in DATES.values():
        torch.manual_seed(0)
        state = torch.get_rng_state()
        first, second, other = (simulate(market, times, seed) for seed in (15, 15, 16))
        assert torch.equal(torch.get_rng_state(), state)
        for name in ("spot", "jump", "implied_vol"):
            assert torch.equal(getattr(first, name), getattr(second, name))
        assert torch.equal(first.latents["regime"], second.latents["regime"])
        moving = first.spot.diff(dim=0).abs().sum(dim=0) > 0
        assert (first.spot[-1] != other.spot[-1])[moving].all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"regimes": []}, "regimes"),
        ({"regimes": [{"sigma": -0.1}]}, "sigma"),
        ({"regimes": [{"sigma": 0.1, "sigmma": 0.1}]}, "sigmma"),
        ({"rates": [[0.0]]}, "give 2 rows of 2"),
        ({"rates": [[-1.0, 1.0], [0.0]]}, "give 2 rows of 2"),
        ({"rates": [[1.0, -1.0], [1.0, -1.0]]}, r"rates\[0\] is .*may be negative"),
        ({"rates": [[-1.0, 2.0], [1.0, -1.0]]}, "sums to 1: set its entry 0 to -2"),
        ({"rates": [[0.0, 0.0], [0.0, 0.0]]}, "never reach each other"),
        ({"start": 2}, "only regimes 0 to 1"),
        ({"start": -1}, "start"),
    ],
)
def test_impossible_markets_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RegimeSwitching.model_validate(values)


def test_lists_as_yaml_gives_them() -> None:
    tree = JUMPY.model_dump(mode="json")
    assert isinstance(tree["rates"], list)
    assert RegimeSwitching.model_validate(tree) == JUMPY

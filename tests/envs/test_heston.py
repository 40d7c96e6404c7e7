"""Heston and Bates: moments, QuantLib's prices, a published price, the scheme's order, limits."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import integrate, linalg, stats
from torch import Tensor

from deephedge.envs.markets import Market, MarketPaths, Merton
from deephedge.envs.markets.bates import Bates
from deephedge.envs.markets.heston import Heston, quadratic_exponential

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's types have no __module__, which Python 3.12 reports
    import QuantLib as ql  # noqa: N813

PATHS = 40_000
ALPHA = 1e-5  # of a distribution test
SIGMAS = 4.0  # standard errors of a moment

MILD = Heston(drift=0.05, spot=80.0)
BUEHLER = Heston(kappa=1.0, theta=0.04, vol_of_vol=2.0, rho=-0.7, variance=0.04)
UPWARD = Heston(kappa=1.5, theta=0.09, vol_of_vol=1.0, rho=0.6, variance=0.02, drift=-0.1)
BATES = Bates(drift=0.1, intensity=3.0, jump_mean=-0.08, jump_std=0.1)
MARKETS: dict[str, Heston | Bates] = {
    "mild": MILD,
    "buehler": BUEHLER,
    "upward": UPWARD,
    "bates": BATES,
}
each_market = pytest.mark.parametrize("market", MARKETS.values(), ids=list(MARKETS))
each_dtype = pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32], ids=["float64", "float32"]
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grid(years: float, steps: int) -> Tensor:
    return torch.linspace(0, years, steps + 1, dtype=torch.float64)[:, None]


def clocks(steps: int = 12) -> Tensor:
    """Dates of each path's own, some steps of no length, [T+1, N]."""
    dt = torch.rand((steps, PATHS), generator=generator(99), dtype=torch.float64) * 0.1
    dt[3] = 0.0
    dt[7, ::2] = 0.0
    return torch.cat([torch.zeros((1, PATHS), dtype=torch.float64), dt.cumsum(dim=0)])


def simulate(
    market: Market, times: Tensor, seed: int = 1, dtype: torch.dtype = torch.float64
) -> MarketPaths:
    return market.simulate(times, PATHS, generator(seed), dtype)


def z_scores(samples: Tensor, expected: float | Tensor = 0.0) -> NDArray[np.float64]:
    """How many standard errors the means over the paths lie from the expectation."""
    off = (samples.double() - expected).numpy()
    error = off.std(axis=-1) / off.shape[-1] ** 0.5
    return np.asarray(np.abs(off.mean(axis=-1)) / np.maximum(error, 1e-15))


def moments(market: Heston | Bates, years: float) -> dict[str, float]:
    """Of x, the log-return before drift and without jumps, and of the variance v.

    Ito's formula makes the means of x, v, x^2, x v, v^2 a linear system.
    """
    k, th, xi, rho = market.kappa, market.theta, market.vol_of_vol, market.rho
    system = np.zeros((6, 6))  # of 1, x, v, x^2, x v, v^2
    system[1, 2] = -0.5
    system[2, [0, 2]] = k * th, -k
    system[3, [2, 4]] = 1.0, -1.0
    system[4, [1, 2, 4, 5]] = k * th, rho * xi, -k, -0.5
    system[5, [2, 5]] = 2 * k * th + xi**2, -2 * k
    v0 = market.variance
    _, x, v, xx, xv, vv = linalg.expm(system * years) @ np.array([1, 0, v0, 0, 0, v0**2])
    return {"x": x, "v": v, "var_x": xx - x * x, "cov": xv - x * v, "var_v": vv - v * v}


# Moments ----------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("steps", [3, 15, 90])
@each_market
def test_moments_of_log_return_and_variance(
    market: Heston | Bates, steps: int, dtype: torch.dtype
) -> None:
    """A quarter in steps of a month, six days, a day: means, variances and leverage."""
    years = 0.25
    paths = simulate(market, grid(years, steps), dtype=dtype)
    assert paths.log_spot.dtype == paths.latents["variance"].dtype == dtype
    x = paths.log_spot[-1].double() - math.log(market.spot) - market.drift * years
    v, law = paths.latents["variance"][-1].double(), moments(market, years)
    if isinstance(market, Bates):
        assert paths.jump is not None
        growth = math.expm1(market.jump_mean + market.jump_std**2 / 2)
        x += market.intensity * growth * years - paths.jump.double().sum(dim=0)
    assert z_scores(v, law["v"]) < SIGMAS
    assert z_scores((v - law["v"]) ** 2, law["var_v"]) < SIGMAS
    assert z_scores(x, law["x"]) < SIGMAS
    assert z_scores((x - law["x"]) ** 2, law["var_x"]) < SIGMAS
    assert z_scores((x - law["x"]) * (v - law["v"]), law["cov"]) < SIGMAS
    assert law["cov"] * market.rho > 0


@pytest.mark.parametrize(
    "times",
    [grid(2.0, 1), grid(1.0, 12), grid(0.25, 45), clocks()],
    ids=["2 years", "months", "days", "by path"],
)
@each_market
def test_the_discounted_spot_is_a_martingale_on_any_dates(market: Market, times: Tensor) -> None:
    paths = simulate(market, times, seed=2)
    worth = paths.spot * torch.exp(-market.drift * times) / market.spot
    assert z_scores(worth[1:], 1.0).max() < SIGMAS
    moves, variance = worth.diff(dim=0), paths.latents["variance"]
    for signal in (worth > 1, variance > variance.median()):
        gains = (moves * signal[:-1])[1:]
        assert z_scores(gains).max(initial=0.0) < SIGMAS


def test_paths_keep_their_own_clocks() -> None:
    times = clocks()
    paths = simulate(BUEHLER, times, seed=3)
    variance = paths.latents["variance"]
    decay = torch.exp(-BUEHLER.kappa * times)
    mean = BUEHLER.theta + (BUEHLER.variance - BUEHLER.theta) * decay
    assert z_scores(variance[1:] - mean[1:]).max() < SIGMAS
    spread = BUEHLER.vol_of_vol**2 / BUEHLER.kappa * (1 - decay)
    spread *= BUEHLER.variance * decay + BUEHLER.theta * (1 - decay) / 2
    assert z_scores((variance - mean)[1:] ** 2 - spread[1:]).max() < SIGMAS
    # Steps of no length change nothing.
    torch.testing.assert_close(paths.log_spot[4], paths.log_spot[3], atol=1e-12, rtol=0)
    torch.testing.assert_close(variance[8, ::2], variance[7, ::2], atol=1e-12, rtol=0)
    assert (paths.log_spot[8, 1::2] != paths.log_spot[7, 1::2]).all()


@pytest.mark.parametrize("rho", [-1.0, -0.7, 0.0, 0.5, 0.95])
@pytest.mark.parametrize("vol_of_vol", [0.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("dt", [0.0, 1 / 365, 1 / 12, 2.0])
def test_a_step_is_a_martingale_whatever_the_variance(
    dt: float, vol_of_vol: float, rho: float
) -> None:
    """E[S'] / S = 1 by quadrature over z, in both laws; steps that are too long are cut."""
    market = Heston(kappa=1.0, vol_of_vol=vol_of_vol, rho=rho)
    years = torch.tensor([[dt]], dtype=torch.float64)
    (scheme,), substeps = market.schemes(years, torch.float64)
    assert market.constants(years / substeps).excess() < 1
    uncut = market.constants(years).excess() < 1
    assert uncut == (substeps == 1)
    assert uncut or (rho > 0 and dt > 1)
    z = torch.linspace(-37, 37, 60_001, dtype=torch.float64)
    for variance in (0.0, 1e-8, 1e-3, 0.04, 1.0):
        v = torch.full_like(z, variance)
        move, after = quadratic_exponential(v, z, scheme)
        noise = (scheme.before * v + scheme.after * after) / 2
        weight = torch.exp(move + noise - z * z / 2) / math.sqrt(2 * math.pi)
        assert float(torch.trapezoid(weight, z)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("dt", [1e-6, 1 / 365, 0.5, 5.0])
def test_the_integral_of_variance_is_right_on_average(dt: float) -> None:
    """Without correlation the log-price's variance over a step is the expected integral of V."""
    market = Heston(kappa=1.7, theta=0.06, rho=0.0)
    c = market.constants(torch.tensor([dt], dtype=torch.float64))
    for variance in (0.0, 0.02, 0.3):
        law = market.model_copy(update={"variance": variance})
        integral = integrate.quad(lambda t, m=law: moments(m, t)["v"], 0, dt)[0]
        mean = c.mean + c.decay * variance
        assert float(c.before * variance + c.after * mean) == pytest.approx(integral, rel=1e-6)


# Prices -----------------------------------------------------------------------------------------


def quantlib_calls(
    market: Heston | Bates, strikes: tuple[float, ...], days: tuple[int, ...]
) -> NDArray[np.float64]:
    """Calls under the market's own parameters, [maturities, strikes]."""
    today, count = ql.Date(2, 1, 2024), ql.Actual365Fixed()
    settings = ql.Settings.instance()
    before, settings.evaluationDate = settings.evaluationDate, today
    rate, dividend = (
        ql.YieldTermStructureHandle(ql.FlatForward(today, r, count))
        for r in (market.rate, market.dividend)
    )
    heston = (market.variance, market.kappa, market.theta, market.vol_of_vol, market.rho)
    terms = (rate, dividend, ql.QuoteHandle(ql.SimpleQuote(market.spot)), *heston)
    if isinstance(market, Bates):
        jumps = (market.intensity, market.jump_mean, market.jump_std)
        engine = ql.BatesEngine(ql.BatesModel(ql.BatesProcess(*terms, *jumps)), 1e-10, 100_000)
    else:
        engine = ql.AnalyticHestonEngine(ql.HestonModel(ql.HestonProcess(*terms)), 1e-10, 100_000)

    def call(strike: float, n: int) -> float:
        option = ql.VanillaOption(
            ql.PlainVanillaPayoff(ql.Option.Call, strike), ql.EuropeanExercise(today + n)
        )
        option.setPricingEngine(engine)
        return float(option.NPV())

    prices = np.array([[call(strike, n) for strike in strikes] for n in days])
    settings.evaluationDate = before
    return prices


STRIKES = (80.0, 90.0, 100.0, 110.0, 120.0)
DAYS = (30, 90, 360)
PRICED: dict[str, Heston | Bates] = {
    "mild": Heston(rate=0.05, dividend=0.02),
    "buehler": BUEHLER,
    "upward": Heston(kappa=1.5, theta=0.09, rho=0.6, variance=0.02, rate=0.01, dividend=0.04),
    "bates": Bates(rate=0.03, intensity=2.0, jump_mean=-0.1, jump_std=0.08),
    "premia": Bates(variance_premium=-1.0, jump_premium=1.5, rate=0.02),
}


@pytest.mark.slow
@pytest.mark.parametrize("market", PRICED.values(), ids=list(PRICED))
def test_call_prices_by_simulation_are_quantlibs(market: Heston | Bates) -> None:
    fair = market.risk_neutral()
    times = grid(360 / 365, 120)
    spot = simulate(fair, times, seed=5).spot
    for n, row in zip(DAYS, quantlib_calls(fair, STRIKES, DAYS), strict=True):
        for strike, price in zip(STRIKES, row, strict=True):
            payoff = math.exp(-fair.rate * n / 365) * (spot[n // 3] - strike).clamp(min=0)
            assert z_scores(payoff, price) < SIGMAS, (n, strike)


def test_the_call_of_buehler_et_al_is_worth_1_69() -> None:
    """Buehler, Gonon, Teichmann and Wood, "Deep Hedging", 2019, section 5.2."""
    (exact,) = quantlib_calls(BUEHLER, (100.0,), (30,))[0]
    assert exact == pytest.approx(1.69, abs=0.005)
    payoff = (simulate(BUEHLER, grid(30 / 365, 30), seed=6).spot[-1] - 100).clamp(min=0)
    assert z_scores(payoff, exact) < SIGMAS


def biases(market: Heston, steps: tuple[int, ...], blocks: int) -> NDArray[np.float64]:
    """Error and standard error of a year's calls at 5 strikes, [2, steps, strikes]."""
    exact = quantlib_calls(market, STRIKES, (365,))[0]
    strikes, found = torch.tensor(STRIKES, dtype=torch.float64)[:, None], []
    for n in steps:
        payoffs = []
        for block in range(blocks):
            spot = market.simulate(grid(1.0, n), 250_000, generator(100 * n + block)).spot[-1]
            puts = (strikes - spot).clamp(min=0)  # fewer outliers; the parity is exact
            payoffs.append(puts + market.spot - strikes)
        paid = torch.cat(payoffs, dim=1).numpy()
        found.append((paid.mean(axis=1) - exact, paid.std(axis=1) / paid.shape[1] ** 0.5))
    return np.array(found).transpose(1, 0, 2)


@pytest.mark.slow
@pytest.mark.parametrize("market", [Heston(), BUEHLER], ids=["mild", "buehler"])
def test_the_bias_falls_with_the_step(market: Heston) -> None:
    """Its root mean square over strikes, as a slope in the number of steps."""
    steps = (1, 2, 4)
    error, noise = biases(market, steps, blocks=16)
    size = np.sqrt((error**2).mean(axis=1))
    assert size[0] > 20 * noise[0].mean()
    slope = np.polyfit(np.log(steps), np.log(size), 1)[0]
    assert slope < -1
    fine, fine_noise = biases(market, (48,), blocks=4)
    assert (np.abs(fine) < SIGMAS * fine_noise).all()


# Limits and quotes ------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("vol_of_vol", [0.0, 1e-9, 1e-4])
@pytest.mark.parametrize("rho", [-0.7, 0.0, 1.0])
def test_without_vol_of_vol_log_returns_are_normal(
    rho: float, vol_of_vol: float, dtype: torch.dtype
) -> None:
    market = Heston(kappa=3.0, theta=0.09, variance=0.01, rho=rho, vol_of_vol=vol_of_vol)
    times = grid(0.5, 50)
    paths = simulate(market, times, seed=7, dtype=dtype)
    path = 0.09 - 0.08 * torch.exp(-3 * times)
    away = (paths.latents["variance"].double() - path).abs().max()
    assert away < vol_of_vol + 1e-6
    total = 0.09 * 0.5 - 0.08 * -math.expm1(-1.5) / 3
    z = (paths.log_spot[-1].double() - math.log(100) + total / 2) / total**0.5
    assert stats.kstest(z.numpy(), "norm").pvalue > ALPHA


@each_dtype
@pytest.mark.parametrize(
    "market",
    [
        Heston(theta=0.0, variance=0.0),
        Heston(theta=0.0),
        Heston(variance=0.0, vol_of_vol=3.0, rho=1.0, kappa=0.1),
        Heston(kappa=1e-6, vol_of_vol=4.0, rho=-1.0),
        Heston(kappa=200.0, substeps=2),
        Heston(theta=0.0, variance=0.0, vol_of_vol=0.0, rho=0.5),
    ],
)
def test_extremes_stay_finite(market: Heston, dtype: torch.dtype) -> None:
    paths = market.simulate(clocks()[:, :2000], 2000, generator(), dtype)
    for values in (paths.log_spot, paths.implied_vol, paths.latents["variance"]):
        assert values.isfinite().all()
    assert (paths.latents["variance"] >= 0).all()
    if market.theta == market.variance == 0:
        torch.testing.assert_close(paths.spot, torch.full_like(paths.spot, market.spot))


def test_bates_without_jumps_is_heston_and_without_variance_merton() -> None:
    keys = {"kappa": 1.0, "vol_of_vol": 0.8, "drift": 0.05}
    still = Bates(**keys, intensity=0.0).simulate(grid(1, 6), 50, generator())
    plain = Heston(**keys).simulate(grid(1, 6), 50, generator())
    torch.testing.assert_close(still.log_spot, plain.log_spot, rtol=0, atol=1e-12)
    jumps = {"intensity": 4.0, "jump_mean": -0.05, "jump_std": 0.1}
    calm = simulate(Bates(**jumps, theta=0.0, variance=0.0), grid(1, 4), seed=8).log_spot[-1]
    merton = simulate(Merton(**jumps, sigma=0.0), grid(1, 4), seed=9).log_spot[-1]
    # Rounded, for paths without a jump are all at one place.
    assert stats.ks_2samp(calm.numpy().round(9), merton.numpy().round(9)).pvalue > ALPHA


def test_the_quoted_vol_is_the_variance_swaps_under_pricing() -> None:
    market = Heston(kappa=2.0, theta=0.04, variance=0.09, variance_premium=-0.8)
    fair = market.risk_neutral()
    assert (fair.kappa, fair.variance_premium) == (1.2, 0.0)
    assert fair.kappa * fair.theta == pytest.approx(market.kappa * market.theta)
    assert fair.risk_neutral() == fair
    times = torch.tensor([0.0, 0.1, 0.5, 0.75], dtype=torch.float64)[:, None]
    paths = simulate(market, times)
    variance, quoted = paths.latents["variance"], paths.implied_vol
    for date in range(3):
        left = 0.75 - float(times[date])
        for path in range(3):
            start = fair.model_copy(update={"variance": float(variance[date, path])})
            swap = integrate.quad(lambda t, m=start: moments(m, t)["v"], 0, left)[0]
            assert float(quoted[date, path]) == pytest.approx((swap / left) ** 0.5, rel=1e-9)
    torch.testing.assert_close(quoted[-1], variance[-1].sqrt(), rtol=0, atol=1e-6)


def test_bates_quotes_its_jumps_under_pricing() -> None:
    market = Bates(intensity=2.0, jump_premium=0.5, jump_mean=-0.1, jump_std=0.05)
    quoted = float(simulate(market, grid(0.5, 2)).implied_vol[0, 0])
    assert quoted**2 == pytest.approx(0.04 + 3.0 * (0.01 + 0.0025))
    assert market.volatility**2 == pytest.approx(0.04 + 2.0 * (0.01 + 0.0025))
    assert market.risk_neutral().intensity == 3.0
    assert Heston(variance=0.09).volatility == pytest.approx(0.065**0.5)


# Randomness and refusals ------------------------------------------------------------------------


@each_market
def test_paths_are_a_function_of_the_generator_alone(market: Market) -> None:
    def draw(seed: int, noise: int) -> MarketPaths:
        random.seed(noise)
        np.random.seed(noise)  # noqa: NPY002 - the very thing that must not matter
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        paths = simulate(market, grid(0.25, 5), seed)
        assert torch.equal(torch.get_rng_state(), state)
        return paths

    first, second, other = draw(10, 0), draw(10, 1), draw(11, 0)
    assert torch.equal(first.log_spot, second.log_spot)
    assert torch.equal(first.latents["variance"], second.latents["variance"])
    assert (first.log_spot[1:] != other.log_spot[1:]).all()


def test_substeps_refine_the_same_dates() -> None:
    coarse = Heston(vol_of_vol=1.0, substeps=6)
    paths = simulate(coarse, grid(0.5, 2), seed=12)
    fine = simulate(Heston(vol_of_vol=1.0), grid(0.5, 12), seed=12)
    assert paths.log_spot.shape == (3, PATHS)
    torch.testing.assert_close(paths.log_spot[1:], fine.log_spot[[6, 12]])
    torch.testing.assert_close(paths.latents["variance"][1:], fine.latents["variance"][[6, 12]])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Heston(kappa=0.0), "kappa"),
        (lambda: Heston(rho=-1.01), "rho"),
        (lambda: Heston(variance=-0.01), "variance"),
        (lambda: Heston(vol_of_vol=-0.5), "vol_of_vol"),
        (lambda: Heston(substeps=0), "substeps"),
        (lambda: Heston(kappa=2.0, variance_premium=-2.0), r"raise variance_premium above -2\.0"),
        (lambda: Bates(jump_std=-0.1), "jump_std"),
        (lambda: Bates(jump_premium=-1.1), "jump_premium"),
    ],
)
def test_impossible_markets_are_refused(build: Callable[[], Market], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build()

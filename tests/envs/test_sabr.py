"""SABR: moments, the mixing formula, Hagan's formula, the order of the scheme, absorption."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import integrate, special, stats
from torch import Tensor

from deephedge.envs.markets import Market, MarketPaths
from deephedge.envs.markets.sabr import ABSORBED, Sabr

PATHS = 40_000
ALPHA = 1e-5  # of a distribution test
SIGMAS = 4.0  # standard errors of a moment

LOGNORMAL = Sabr(drift=0.05, spot=80.0)
UPWARD = Sabr(alpha=0.3, nu=0.6, rho=0.7)
ROOT = Sabr(alpha=2.0, beta=0.5, nu=0.8, rho=-0.3, drift=-0.1)
NORMAL = Sabr(alpha=20.0, beta=0.0, nu=0.5, rho=0.2)
MARKETS = {"lognormal": LOGNORMAL, "upward": UPWARD, "root": ROOT, "normal": NORMAL}
each_market = pytest.mark.parametrize("market", MARKETS.values(), ids=list(MARKETS))
each_dtype = pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32], ids=["float64", "float32"]
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grid(years: float, steps: int) -> Tensor:
    return torch.linspace(0, years, steps + 1, dtype=torch.float64)[:, None]


def clocks(steps: int = 8) -> Tensor:
    """Dates of each path's own, some steps of no length, [T+1, N]."""
    dt = torch.rand((steps, PATHS), generator=generator(99), dtype=torch.float64) * 0.1
    dt[3] = 0.0
    return torch.cat([torch.zeros((1, PATHS), dtype=torch.float64), dt.cumsum(dim=0)])


def simulate(
    market: Market, times: Tensor, seed: int = 1, dtype: torch.dtype = torch.float64
) -> MarketPaths:
    return market.simulate(times, PATHS, generator(seed), dtype)


def z_scores(samples: Tensor, expected: float = 0.0) -> NDArray[np.float64]:
    """How many standard errors the means over the paths lie from the expectation."""
    off = (samples.double() - expected).numpy()
    error = off.std(axis=-1) / off.shape[-1] ** 0.5
    # Steps of no length move float32 by a rounding.
    return np.asarray(np.abs(off.mean(axis=-1)) / np.maximum(error, 1e-7))


# Moments ----------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize(
    "times", [grid(0.5, 1), grid(0.5, 6), grid(0.5, 30), clocks()], ids=["1", "6", "30", "by path"]
)
@each_market
def test_the_discounted_spot_is_a_martingale_and_alpha_lognormal(
    market: Sabr, times: Tensor, dtype: torch.dtype
) -> None:
    paths = simulate(market, times, seed=2, dtype=dtype)
    alpha, worth = paths.latents["alpha"], paths.spot.double()
    assert paths.log_spot.dtype == alpha.dtype == dtype
    worth = worth * torch.exp(-market.drift * times) / market.spot
    assert z_scores(worth[1:], 1.0).max() < SIGMAS
    gains = (worth.diff(dim=0) * (alpha > market.alpha)[:-1])[1:]
    assert z_scores(gains).max(initial=0.0) < SIGMAS
    tau = times[-1]
    z = ((alpha[-1].double() / market.alpha).log() + market.nu**2 / 2 * tau) / market.nu
    assert stats.kstest((z / tau.sqrt()).numpy(), "norm").pvalue > ALPHA
    if times.shape[1] > 1:  # then the fourth step has no length
        assert torch.equal(alpha[4], alpha[3])
        torch.testing.assert_close(paths.log_spot[4], paths.log_spot[3])


def lognormal_moments(market: Sabr, years: float) -> dict[str, float]:
    """Of the log-return x and alpha where beta is 1, by Ito's formula and E[alpha^k]."""
    nu, rho = market.nu, market.rho

    def power(k: int, t: float) -> float:
        return float(market.alpha**k * math.exp(k * (k - 1) / 2 * nu**2 * t))

    def slopes(t: float, y: NDArray[np.float64]) -> list[float]:
        _, _, x_alpha2, _ = y
        return [
            -power(2, t) / 2,
            -power(3, t) / 2 + rho * nu * power(2, t),
            -power(4, t) / 2 + 2 * rho * nu * power(3, t) + nu**2 * x_alpha2,
            power(2, t) - x_alpha2,
        ]

    y = integrate.solve_ivp(slopes, (0, years), np.zeros(4), rtol=1e-10, atol=1e-12).y[:, -1]
    return dict(zip(("x", "x_alpha", "x_alpha2", "x2"), y.tolist(), strict=True))


@pytest.mark.parametrize("steps", [1, 5, 30])
@pytest.mark.parametrize("rho", [-0.9, 0.0, 0.7])
def test_lognormal_moments_of_the_log_return(rho: float, steps: int) -> None:
    """A month in 1, 5 and 30 steps: mean and variance of the log-return, and the leverage."""
    market, years = Sabr(alpha=0.3, nu=1.0, rho=rho), 1 / 12
    paths = simulate(market, grid(years, steps), seed=3)
    x, alpha = paths.log_spot[-1] - math.log(market.spot), paths.latents["alpha"][-1]
    law = lognormal_moments(market, years)
    assert z_scores(x, law["x"]) < SIGMAS
    assert z_scores(x**2, law["x2"]) < SIGMAS
    assert z_scores(x * alpha, law["x_alpha"]) < SIGMAS
    assert z_scores(x * alpha**2, law["x_alpha2"]) < SIGMAS
    assert (np.corrcoef(x, alpha)[0, 1] - rho) == pytest.approx(0, abs=0.05)


def one_step(market: Sabr, dt: float, log_f: float) -> tuple[Tensor, Tensor]:
    """Forwards after a step and their weights, by a product of Gauss-Hermite rules in z and w."""
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.hermite_e.hermegauss(60))
    z, w = (x.flatten() for x in torch.meshgrid(nodes, nodes, indexing="ij"))
    (scheme,) = market._schemes(torch.tensor([[dt]], dtype=torch.float64), torch.float64)
    x, alpha = torch.full_like(z, log_f), torch.full_like(z, market.alpha)
    after, _ = market._step(x, alpha, z, w, scheme)
    return after, torch.outer(weights, weights).flatten() / (2 * math.pi)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rho", [-0.9, 0.0, 0.7])
def test_a_step_is_a_martingale(rho: float, beta: float) -> None:
    market = Sabr(alpha=0.3 * 100 ** (1 - beta), beta=beta, rho=rho, nu=1.0)
    for dt, tolerance in ((0.0, 1e-12), (1 / 365, 1e-12), (1 / 12, 1e-9), (1.0, 1e-3)):
        after, weights = one_step(market, dt, math.log(100))
        assert float((after.exp() * weights).sum()) == pytest.approx(100, rel=tolerance)


@pytest.mark.parametrize("dt", [1 / 365, 1 / 12])
def test_the_integral_of_variance_is_right_on_average(dt: float) -> None:
    market = Sabr(alpha=0.3, rho=0.0, nu=0.8)
    after, weights = one_step(market, dt, math.log(100))
    total = market.alpha**2 * math.expm1(market.nu**2 * dt) / market.nu**2
    mean = float(((after - math.log(100)) * weights).sum())
    assert mean == pytest.approx(-total / 2, rel=1e-9)


@pytest.mark.parametrize("beta", [0.0, 0.5])
@pytest.mark.parametrize("log_f", [math.log(100), math.log(3)])
def test_the_variance_of_a_step_is_that_of_the_forward(log_f: float, beta: float) -> None:
    """The local vol is unbounded near 0, the variance of F' is not: alpha^2 F^(2 beta) dt."""
    market = Sabr(alpha=0.3 * 100 ** (1 - beta), beta=beta, nu=0.0)
    after, weights = one_step(market, 1 / 52, log_f)
    forward = math.exp(log_f)
    variance = float(((after.exp() - forward) ** 2 * weights).sum())
    assert variance == pytest.approx(market.alpha**2 * forward ** (2 * beta) / 52, rel=1e-5)


# Prices -----------------------------------------------------------------------------------------

STRIKES = np.array([80.0, 90.0, 100.0, 110.0, 120.0])


def black(
    forward: NDArray[np.float64], strike: float, std: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Undiscounted call."""
    d1 = np.log(forward / strike) / std + std / 2
    return np.asarray(forward * special.ndtr(d1) - strike * special.ndtr(d1 - std))


def mixed_calls(market: Sabr, years: float, paths: int, steps: int) -> NDArray[np.float64]:
    """Means and standard errors [2, strikes] where beta is 1, by a second method.

    Given the path of alpha the log-price is normal: the call is Black's, averaged over paths of
    alpha on a fine grid (Hull and White, 1987, as Willard, 1997, extends it to correlation).
    """
    z = np.random.default_rng(7).standard_normal((steps, paths // 2))
    z = np.concatenate([z, -z], axis=1)
    dt = years / steps
    log_alpha = np.cumsum(market.nu * dt**0.5 * z - market.nu**2 * dt / 2, axis=0)
    alpha = market.alpha * np.exp(np.vstack([np.zeros(paths), log_alpha]))
    total = integrate.simpson(alpha**2, dx=dt, axis=0)
    own = market.rho * (alpha[-1] - alpha[0]) / market.nu - market.rho**2 * total / 2
    std = np.sqrt((1 - market.rho**2) * total)
    calls = np.array([black(market.spot * np.exp(own), k, std) for k in STRIKES])
    calls = (calls[:, : paths // 2] + calls[:, paths // 2 :]) / 2
    return np.array([calls.mean(axis=1), calls.std(axis=1) / (paths / 2) ** 0.5])


@pytest.mark.parametrize("rho", [-0.7, 0.0])
@pytest.mark.parametrize("years", [1 / 12, 0.25, 1.0])
def test_lognormal_call_prices_are_the_mixing_formulas(years: float, rho: float) -> None:
    market = Sabr(alpha=0.25, nu=0.8, rho=rho)
    spot = simulate(market, grid(years, max(4, round(years * 24))), seed=4).spot[-1].numpy()
    exact, noise = mixed_calls(market, years, 20_000, 200)
    paid = np.maximum(spot - STRIKES[:, None], 0)
    error = np.hypot(paid.std(axis=1) / PATHS**0.5, noise)
    assert (np.abs(paid.mean(axis=1) - exact) < SIGMAS * error).all()


def hagan(market: Sabr, strike: float, tau: float) -> float:
    """The lognormal vol of Hagan et al. (2002), eq. 2.17, written from the paper."""
    f, a, b, r, n = market.spot, market.alpha, market.beta, market.rho, market.nu
    mid, log = (f * strike) ** ((1 - b) / 2), math.log(f / strike)
    z = n / a * mid * log
    x = math.log((math.sqrt(1 - 2 * r * z + z * z) + z - r) / (1 - r))
    below = 1 + ((1 - b) * log) ** 2 / 24 + ((1 - b) * log) ** 4 / 1920
    time = ((1 - b) * a / mid) ** 2 / 24 + r * b * n * a / mid / 4 + (2 - 3 * r * r) / 24 * n * n
    return a / mid / below * (z / x if z else 1.0) * (1 + time * tau)


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("days", [10, 30, 60])
def test_short_call_prices_are_hagans(days: int, beta: float) -> None:
    market = Sabr(alpha=0.2 * 100 ** (1 - beta), beta=beta, nu=0.4, rho=-0.4)
    years = days / 365
    spot = simulate(market, grid(years, 30), seed=5).spot[-1].numpy()
    for strike in (92.0, 96.0, 100.0001, 104.0, 108.0):
        std = np.array(hagan(market, strike, years) * years**0.5)
        paid = torch.from_numpy(np.maximum(spot - strike, 0))
        assert z_scores(paid, float(black(np.array(100.0), strike, std))) < SIGMAS, strike


def cev_calls(market: Sabr, years: float) -> NDArray[np.float64]:
    """Schroder (1989), absorbed at 0: SABR with nu = 0."""
    b = 1 / (1 - market.beta)
    scale = b**2 / (market.alpha**2 * years)
    a, c = (x ** (2 / b) * scale for x in (STRIKES, market.spot))
    up, down = stats.ncx2.sf(a, b + 2, c), stats.ncx2.cdf(c, b, a)
    return np.asarray(market.spot * up - STRIKES * down)


CEV = [
    Sabr(alpha=30.0, beta=0.0, nu=0.0),
    Sabr(alpha=4.0, beta=0.5, nu=0.0),
    Sabr(alpha=1.0, beta=0.8, nu=0.0),
]


@pytest.mark.parametrize("market", CEV, ids=lambda m: str(m.beta))
def test_without_vol_of_vol_calls_are_those_of_constant_elasticity(market: Sabr) -> None:
    spot = simulate(market, grid(1.0, 50), seed=6).spot[-1]
    for strike, price in zip(STRIKES, cev_calls(market, 1.0), strict=True):
        assert z_scores((spot - strike).clamp(min=0), price) < SIGMAS


def biases(
    market: Sabr, years: float, steps: tuple[int, ...], exact: NDArray[np.float64], blocks: int
) -> tuple[NDArray[np.float64], float]:
    """Root mean square over strikes of the error of the calls, and its noise."""
    sizes, noise = [], 0.0
    for n in steps:
        paid = np.concatenate(
            [
                np.maximum(STRIKES[:, None] - spot, 0)  # puts: fewer outliers
                for block in range(blocks)
                for spot in [
                    market.simulate(grid(years, n), 200_000, generator(100 * n + block))
                    .spot[-1]
                    .numpy()
                ]
            ],
            axis=1,
        )
        puts = exact - market.spot + STRIKES
        sizes.append(np.sqrt(((paid.mean(axis=1) - puts) ** 2).mean()))
        noise = max(noise, float((paid.std(axis=1) / paid.shape[1] ** 0.5).max()))
    return np.array(sizes), noise


@pytest.mark.slow
def test_the_lognormal_bias_falls_with_the_square_of_the_step() -> None:
    market, years = Sabr(alpha=0.4, nu=1.2, rho=-0.6), 1.0
    exact, noise = mixed_calls(market, years, 400_000, 200)
    sizes, own = biases(market, years, (1, 2, 4), exact, blocks=10)
    assert sizes[0] > 10 * (own + noise.max())
    assert np.polyfit(np.log((1, 2, 4)), np.log(sizes), 1)[0] < -1.5


@pytest.mark.slow
@pytest.mark.parametrize("market", CEV, ids=lambda m: str(m.beta))
def test_the_bias_of_general_beta_falls_with_the_step(market: Sabr) -> None:
    steps = (1, 2, 4, 8)
    sizes, noise = biases(market, 1.0, steps, cev_calls(market, 1.0), blocks=10)
    assert sizes[0] > 10 * noise
    assert np.polyfit(np.log(steps), np.log(sizes), 1)[0] < -0.8


# Limits and quotes ------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("nu", [0.0, 1e-9])
def test_without_vol_of_vol_lognormal_sabr_is_gbm(nu: float, dtype: torch.dtype) -> None:
    market = Sabr(alpha=0.3, nu=nu, rho=-0.8)
    paths = simulate(market, grid(0.5, 5), seed=8, dtype=dtype)
    std = 0.3 * 0.5**0.5
    z = ((paths.log_spot[-1].double() - math.log(100)) + std**2 / 2) / std
    assert stats.kstest(z.numpy(), "norm").pvalue > ALPHA
    assert (paths.latents["alpha"] - 0.3).abs().max() < 1e-5
    assert (paths.implied_vol - 0.3).abs().max() < 1e-5


@each_dtype
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_forward_is_absorbed_and_everything_finite(beta: float, dtype: torch.dtype) -> None:
    market = Sabr(alpha=100 ** (1 - beta), beta=beta, nu=1.5, rho=-0.6)
    paths = simulate(market, grid(5.0, 30), seed=9, dtype=dtype)
    for values in (paths.log_spot, paths.implied_vol, paths.latents["alpha"]):
        assert values.isfinite().all()
    assert (paths.implied_vol >= 0).all()
    floor = math.log(market.spot * ABSORBED)
    assert (paths.log_spot >= floor - 1e-5).all()
    gone = paths.log_spot < floor + 1e-5
    assert gone[-1].double().mean() > 0.05
    assert (gone[1:] >= gone[:-1]).all()
    assert z_scores(paths.spot[-1] / market.spot, 1.0) < SIGMAS


def test_a_normal_forward_dies_as_often_as_it_should() -> None:
    """With beta = 0 and nu = 0: 2 N(-F / (alpha sqrt T)), by reflection."""
    market = Sabr(alpha=70.0, beta=0.0, nu=0.0)
    spot = simulate(market, grid(1.0, 100), seed=10).spot[-1]
    exact = 2 * special.ndtr(-100 / 70)
    assert float((spot < 0.5).double().mean()) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_quoted_vol_is_hagans_at_the_money(beta: float) -> None:
    market = Sabr(alpha=0.25 * 100 ** (1 - beta), beta=beta, nu=0.7, rho=-0.3)
    times = grid(1.0, 4)
    paths = simulate(market, times, seed=11)
    for date in range(5):
        for path in range(3):
            now = market.model_copy(
                update={
                    "spot": float(paths.spot[date, path]),
                    "alpha": float(paths.latents["alpha"][date, path]),
                }
            )
            quoted = hagan(now, now.spot, 1 - float(times[date]))
            assert float(paths.implied_vol[date, path]) == pytest.approx(quoted, rel=1e-9)
    assert market.volatility == pytest.approx(0.25)


# Randomness and refusals ------------------------------------------------------------------------


@each_market
def test_paths_are_a_function_of_the_generator_alone(market: Market) -> None:
    def draw(seed: int, noise: int) -> MarketPaths:
        random.seed(noise)
        np.random.seed(noise)  # noqa: NPY002 - the very thing that must not matter
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        paths = simulate(market, grid(0.25, 3), seed)
        assert torch.equal(torch.get_rng_state(), state)
        return paths

    first, second, other = draw(12, 0), draw(12, 1), draw(13, 0)
    assert torch.equal(first.log_spot, second.log_spot)
    assert torch.equal(first.latents["alpha"], second.latents["alpha"])
    assert (first.log_spot[1:] != other.log_spot[1:]).all()


def test_substeps_refine_the_same_dates() -> None:
    paths = simulate(Sabr(beta=0.5, alpha=2.0, substeps=6), grid(0.5, 2), seed=14)
    fine = simulate(Sabr(beta=0.5, alpha=2.0), grid(0.5, 12), seed=14)
    torch.testing.assert_close(paths.log_spot[1:], fine.log_spot[[6, 12]])
    torch.testing.assert_close(paths.latents["alpha"][1:], fine.latents["alpha"][[6, 12]])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Sabr(alpha=0.0), "alpha"),
        (lambda: Sabr(beta=1.1), "beta"),
        (lambda: Sabr(rho=1.01), "rho"),
        (lambda: Sabr(nu=-0.1), "nu"),
        (lambda: Sabr(substeps=0), "substeps"),
    ],
)
def test_impossible_markets_are_refused(build: Callable[[], Market], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build()

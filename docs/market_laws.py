"""What every market implies, for `market_checks` to measure: closed forms and integrals of them.

Expectations are written here anew, from the models' equations; the prices of calls are those of
`deephedge.envs.pricing.model_price`, which tests/envs hold against QuantLib, and for regimes an
inversion.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import integrate, linalg
from torch import Tensor

from deephedge.envs.instruments import Call
from deephedge.envs.markets import (
    Bootstrap,
    Deal,
    Defaultable,
    Garch,
    Market,
    MarketPaths,
    RegimeSwitching,
    RoughBergomi,
    Sabr,
    StochasticImpliedVol,
)
from deephedge.envs.pricing import ModelMarking

BLOCK = 50_000  # paths of a batch
YEARS = 0.25

Statistic = Callable[[MarketPaths], Tensor]
Expected = dict[str, tuple[float, Statistic]]


@dataclass(frozen=True)
class Case:
    """A market with what is expected of it over `YEARS` in so many steps."""

    market: Market
    expected: Callable[[int], Expected]
    calls: Callable[[float, float], float] | None = None  # (strike, years)
    years: Callable[[int], float] = lambda steps: YEARS


# What is measured on a path ----------------------------------------------------------------------


def growth(market: Market) -> tuple[float, Statistic]:
    """E[S_T / S_0] e^{-drift T} = 1."""
    return 1.0, lambda p: p.spot[-1] / p.spot[0] * torch.exp(-market.drift * p.times[-1])


def log_return(p: MarketPaths) -> Tensor:
    """log(S_T / S_0)."""
    return p.log_spot[-1] - p.log_spot[0]


def moments(market: Market, mean: float, variance: float) -> Expected:
    """Mean and variance of the log-return, beside the mean of the price."""
    return {
        "mean of the price": growth(market),
        "mean of the log-return": (mean, log_return),
        "variance of the log-return": (variance, lambda p: (log_return(p) - mean) ** 2),
    }


def squared_moves(p: MarketPaths) -> Tensor:
    """The sum of squared log-returns."""
    return (p.log_spot.diff(dim=0) ** 2).sum(dim=0)


# Expectations ------------------------------------------------------------------------------------


def jump_diffusion(market: Any, mean_jump: float, square_jump: float, growth_jump: float) -> Case:
    """Cumulants: mu - sigma^2 / 2 - intensity (E[e^J] - 1 - E[J]); sigma^2 + intensity E[J^2]."""
    rate = getattr(market, "intensity", 0.0)
    mean = market.drift - market.sigma**2 / 2 - rate * (growth_jump - 1 - mean_jump)
    variance = market.sigma**2 + rate * square_jump
    return Case(market, lambda _: moments(market, mean * YEARS, variance * YEARS), model(market))


def double(f: Callable[[float, float], float]) -> float:
    """The integral of ``f(s, t)`` over 0 < s < t < YEARS."""
    value, _ = integrate.dblquad(f, 0, YEARS, 0, lambda t: t, epsabs=1e-12, epsrel=1e-9)
    return float(value)


def from_variance(
    market: Market,
    integrated: float,
    spread: float,
    leverage: float,
    more: Expected,
    jumps: tuple[float, float] = (0.0, 0.0),
) -> Expected:
    """Log-return -I / 2 + M: mean -E[I] / 2, variance E[I] + Var(I) / 4 - Cov(I, M); jumps add."""
    mean = market.drift * YEARS - integrated / 2 + jumps[0]
    return moments(market, mean, integrated + spread / 4 - leverage + jumps[1]) | more


def square_root(market: Any) -> Case:
    """Heston and Bates: Cov(V_s, V_t) = e^{-kappa (t - s)} Var(V_s); E[V M]' = rho xi E[V] - ..."""
    kappa, theta, xi, v0 = market.kappa, market.theta, market.vol_of_vol, market.variance

    def mean(t: float) -> float:
        return theta + (v0 - theta) * math.exp(-kappa * t)

    def variance(t: float) -> float:
        e = math.exp(-kappa * t)
        return v0 * xi**2 / kappa * e * (1 - e) + theta * xi**2 / (2 * kappa) * (1 - e) ** 2

    integrated = integrate.quad(mean, 0, YEARS, epsabs=1e-14)[0]
    spread = 2 * double(lambda s, t: math.exp(-kappa * (t - s)) * variance(s))
    leverage = double(lambda s, t: math.exp(-kappa * (t - s)) * market.rho * xi * mean(s))
    jumps = (0.0, 0.0)
    if market.jumps:
        m, d = market.jump_mean, market.jump_std
        excess = math.expm1(m + d * d / 2)
        jumps = (
            market.intensity * YEARS * (m - excess),
            market.intensity * YEARS * (m * m + d * d),
        )
    more: Expected = {
        "mean of the variance": (mean(YEARS), lambda p: p.latents["variance"][-1]),
        "variance of the variance": (
            variance(YEARS),
            lambda p: (p.latents["variance"][-1] - mean(YEARS)) ** 2,
        ),
    }
    expected = from_variance(market, integrated, spread, leverage, more, jumps)
    return Case(market, lambda _: expected, model(market))


def lognormal_sabr(market: Sabr) -> Case:
    """With beta = 1: alpha is lognormal, so all moments are integrals of exponentials."""
    a, n, rho = market.alpha, market.nu**2, market.rho
    integrated = a**2 * math.expm1(n * YEARS) / n
    second = 2 * double(lambda s, t: a**4 * math.exp(5 * n * s + n * t))
    leverage = double(lambda s, t: 2 * market.nu * rho * a**3 * math.exp(n * t + 2 * n * s))
    more: Expected = {
        "mean of alpha": (a, lambda p: p.latents["alpha"][-1]),
        "mean of alpha^2": (a**2 * math.exp(n * YEARS), lambda p: p.latents["alpha"][-1] ** 2),
    }
    expected = from_variance(market, integrated, second - integrated**2, leverage, more)
    return Case(market, lambda _: expected)


def rough(market: RoughBergomi) -> Case:
    """E[V] is exact at any step; Var(Y) is that of the kernel's averages (1 / 4 year: t^2H)."""
    xi, h = market.forward_variance, market.hurst

    def expected(steps: int) -> Expected:
        dt, k = YEARS / steps, np.arange(1, steps)
        averages = ((k + 1) ** (h + 0.5) - k ** (h + 0.5)) / (h + 0.5)
        y = dt ** (2 * h) * (1 + 2 * h * float((averages**2).sum()))
        middle = math.log(xi) - market.eta**2 * y / 2
        return {
            "mean of the price": growth(market),
            "mean of the log-return": (-xi * YEARS / 2, log_return),
            "mean of the variance": (xi, lambda p: p.latents["variance"][-1]),
            "mean of log variance": (middle, lambda p: p.latents["variance"][-1].log()),
            "variance of log variance": (
                market.eta**2 * y,
                lambda p: (p.latents["variance"][-1].log() - middle) ** 2,
            ),
        }

    return Case(market, expected)


def garch(market: Garch) -> Case:
    """E[h] and E[h^2] step by step; squared moves of r = -h / 2 + sqrt(h) z are h + h^2 / 4."""
    g, a, b = market.gamma, market.alpha, market.beta
    # h' = omega + k(z) h: moments of k(z)
    if market.model == "ngarch":
        first = b + a * (1 + g * g)
        second = b * b + 2 * a * b * (1 + g * g) + a * a * (3 + 6 * g * g + g**4)
    else:
        down = g if market.model == "gjr" else 0.0
        first = b + a + down / 2
        second = b * b + 2 * b * (a + down / 2) + 3 * (a * a + a * down + down * down / 2)
    period, omega = market.period, market.omega

    def expected(steps: int) -> Expected:
        scale = YEARS / steps / period
        h = omega / (1 - first) if market.variance is None else market.variance * period
        h2, mean, squares = h * h, 0.0, 0.0
        for _ in range(steps):
            mean -= h * scale / 2
            squares += h * scale + h2 * scale**2 / 4
            h, h2 = omega + first * h, omega**2 + 2 * omega * first * h + second * h2
        drift = market.drift * YEARS
        squares += 2 * mean * drift / steps + drift**2 / steps
        found: Expected = {
            "mean of the price": growth(market),
            "mean of the variance": (h / period, lambda p: p.latents["variance"][-1]),
        }
        if market.innovations == "normal":
            found["mean of the log-return"] = (mean + drift, log_return)
            found["mean of squared moves"] = (squares, squared_moves)
        return found

    return Case(market, expected)


def regimes(market: RegimeSwitching) -> Case:
    """Given the chain only jumps are not normal; the chain's moments are matrix exponentials."""
    q = np.array(market.rates)
    n = len(q)
    weights = np.linalg.lstsq(
        np.vstack([q.T, np.ones(n)]), np.array([*[0.0] * n, 1.0]), rcond=None
    )[0]
    start = weights if market.start is None else np.eye(n)[market.start]
    v = np.array(
        [r.sigma**2 + r.intensity * (r.jump_mean**2 + r.jump_std**2) for r in market.regimes]
    )
    jump = [
        r.intensity * (math.expm1(r.jump_mean + r.jump_std**2 / 2) - r.jump_mean)
        for r in market.regimes
    ]
    m = np.array([r.drift - r.sigma**2 / 2 for r in market.regimes]) - np.array(jump)

    def at(t: float) -> Any:
        return start @ linalg.expm(q * t)

    mean = integrate.quad(lambda t: at(t) @ m, 0, YEARS)[0]
    spread = 2 * double(lambda s, t: float((at(s) * m) @ linalg.expm(q * (t - s)) @ m)) - mean**2
    variance = integrate.quad(lambda t: at(t) @ v, 0, YEARS)[0] + spread

    def transform(u: complex, years: float) -> complex:
        exponents = [
            1j * u * (-(r.sigma**2) / 2 - r.intensity * math.expm1(r.jump_mean + r.jump_std**2 / 2))
            - u * u * r.sigma**2 / 2
            + r.intensity * (np.exp(1j * u * r.jump_mean - u * u * r.jump_std**2 / 2) - 1)
            for r in market.regimes
        ]
        return complex((start @ linalg.expm((q + np.diag(exponents)) * years)).sum())

    def call(strike: float, years: float) -> float:
        forward = market.spot * math.exp((market.rate - market.dividend) * years)
        k = math.log(forward / strike)

        def integrand(u: float) -> float:
            return float((np.exp(1j * u * k) * transform(u - 0.5j, years)).real) / (u * u + 0.25)

        area = integrate.quad(integrand, 0, 200, limit=400)[0]
        value = forward - math.sqrt(forward * strike) / math.pi * area
        return math.exp(-market.rate * years) * value

    expected = moments(market, mean + market.drift * YEARS, variance)
    if any(r.drift for r in market.regimes):
        del expected["mean of the price"]
    for i in range(n):
        expected[f"share of regime {i}"] = (
            float(at(YEARS)[i]),
            lambda p, i=i: (p.latents["regime"][-1] == i).to(p.spot.dtype),
        )
    return Case(market, lambda _: expected, call)


def several(market: Any) -> Case:
    """Every asset's price, and every pair's covariance."""
    vols, matrix = market.volatilities, market.correlation_matrix

    def expected(steps: int) -> Expected:
        found: Expected = {}
        for i in range(len(vols)):
            drift = market.drifts[i]
            found[f"mean of the price of asset {i}"] = (
                1.0,
                lambda p, i=i, drift=drift: (
                    p.assets[i].spot[-1] / p.assets[i].spot[0] * torch.exp(-drift * p.times[-1])
                ),
            )
            for j in range(i + 1):
                # Moves about their own mean: the sample's, whose error is of second order.
                found[f"covariance of assets {i} and {j}"] = (
                    matrix[i][j] * vols[i] * vols[j] * YEARS,
                    lambda p, i=i, j=j: _centred(p, i) * _centred(p, j) * (BLOCK / (BLOCK - 1)),
                )
        return found

    return Case(market, expected)


def _centred(p: MarketPaths, i: int) -> Tensor:
    move = p.assets[i].log_spot[-1] - p.assets[i].log_spot[0]
    return move - move.mean()


def implied(market: StochasticImpliedVol) -> Case:
    """The quoted vol is lognormal at every date; the spot takes its left-point variance."""

    def log_mean_variance(t: float) -> tuple[float, float]:
        e = math.exp(-market.reversion * t)
        mean = math.log(market.level) + (math.log(market.vol) - math.log(market.level)) * e
        return mean, market.vol_of_vol**2 * (1 - e * e) / (2 * market.reversion)

    def expected(steps: int) -> Expected:
        dt = YEARS / steps
        dates = [log_mean_variance(k * dt) for k in range(steps)]
        square = sum(math.exp(2 * m + 2 * s) for m, s in dates) * dt / (1 + market.premium) ** 2
        fourth = sum(math.exp(4 * m + 8 * s) for m, s in dates) * dt**2
        fourth /= (1 + market.premium) ** 4
        m, s = log_mean_variance(YEARS)
        e = math.exp(-market.skew_reversion * YEARS)
        noise = market.skew_vol**2 * (1 - e * e) / (2 * market.skew_reversion)
        return {
            "mean of the price": growth(market),
            "mean of the log-return": (-square / 2, log_return),
            "mean of squared moves": (square + fourth / 4, squared_moves),
            "mean of log quoted vol": (m, lambda p: p.implied_vol[-1].log()),
            "variance of log quoted vol": (s, lambda p: (p.implied_vol[-1].log() - m) ** 2),
            "mean of the skew": (market.skew, lambda p: _skew(p)[-1]),
            "variance of the skew": (noise, lambda p: (_skew(p)[-1] - market.skew) ** 2),
        }

    return Case(market, expected)


def _skew(p: MarketPaths) -> Tensor:
    assert p.skew is not None
    return p.skew


def bootstrap(market: Bootstrap, rows: np.ndarray) -> Case:
    """Autocovariances of the circular history, each lag kept with probability 1 - 1 / block."""
    keep, count = 1 - 1 / market.block, len(rows)
    centred = rows - rows.mean()

    def expected(steps: int) -> Expected:
        lags = [float(centred @ np.roll(centred, -k)) / count for k in range(steps)]
        variance = steps * lags[0] + 2 * sum(
            (steps - k) * keep**k * lags[k] for k in range(1, steps)
        )
        return {
            "mean of the price": (1.0, lambda p: p.spot[-1] / p.spot[0]),
            "variance of the log-return": (
                variance,
                lambda p: (log_return(p) - log_return(p).mean()) ** 2,
            ),
        }

    return Case(market, expected, years=lambda steps: steps * market.period)


def deal(market: Deal) -> Case:
    """A closing within `YEARS` pays the offer or leaves the fallback, which grows at the rate."""
    grown = math.exp(market.rate * YEARS)
    paid = market.offer * math.exp(market.rate * (YEARS - market.closing))
    left, p = market.fallback * grown, market.probability
    expected: Expected = {
        "mean of the price": (p * paid + (1 - p) * left, lambda p: p.spot[-1]),
        "deals that close": (p, lambda p: p.latents["probability"][-1]),
    }
    return Case(market, lambda _: expected)


def defaultable(market: Defaultable) -> Case:
    """With a constant hazard h the default's time U has E[min(U, T)] = (1 - e^{-h T}) / h."""
    defaults = -math.expm1(-market.hazard * YEARS)
    mean = (market.drift - market.sigma**2 / 2) * YEARS
    mean += defaults * (market.drop + math.log1p(-market.drop))
    expected: Expected = {
        "mean of the price": growth(market),
        "mean of the log-return": (mean, log_return),
        "defaults": (defaults, lambda p: p.default[-1].double()),
    }
    return Case(market, lambda _: expected, model(market))


def model(market: Market) -> Callable[[float, float], float]:
    """The model's own price of a call."""

    def call(strike: float, years: float) -> float:
        fair = market.risk_neutral()
        times = torch.tensor([[0.0], [years]], dtype=torch.float64)
        paths = fair.simulate(times, 1, torch.Generator().manual_seed(0))
        claim = Call(strike=strike)
        return float(ModelMarking().value(claim, times[-1], market, paths).price[0, 0])

    return call

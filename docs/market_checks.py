"""Checks every market against what its model implies, at 1,000,000 paths and three step sizes.

``python docs/market_checks.py`` writes ``docs/results/markets.json``: for every market, step size
and quantity the value expected, the sample's mean, its standard error and how many of these lie
between. Expectations are closed forms, or integrals of them by scipy; call prices are those of
`deephedge.envs.pricing.model_price`, which tests/envs hold against QuantLib, and for regimes an
inversion written here. With names of markets only these are checked, and printed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import integrate, linalg
from torch import Tensor

from deephedge.envs.instruments import Call
from deephedge.envs.markets import (
    Asset,
    Bates,
    Bootstrap,
    CorrelatedGBM,
    CorrelatedMerton,
    Garch,
    GeometricBrownianMotion,
    Heston,
    JumpingAsset,
    Kou,
    Market,
    MarketPaths,
    Merton,
    Regime,
    RegimeSwitching,
    RoughBergomi,
    Sabr,
    StochasticImpliedVol,
)
from deephedge.envs.pricing import ModelMarking

RESULTS = Path(__file__).resolve().parent / "results" / "markets.json"
PATHS, BLOCK = 1_000_000, 50_000
YEARS, STEPS = 0.25, (3, 13, 63)
MONEYNESS, MATURITIES = (0.8, 0.9, 1.0, 1.1, 1.2), (1 / 12, 1 / 4, 1.0)

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


def model(market: Market) -> Callable[[float, float], float]:
    """The model's own price of a call."""

    def call(strike: float, years: float) -> float:
        fair = market.risk_neutral()
        times = torch.tensor([[0.0], [years]], dtype=torch.float64)
        paths = fair.simulate(times, 1, torch.Generator().manual_seed(0))
        claim = Call(strike=strike)
        return float(ModelMarking().value(claim, times[-1], market, paths).price[0, 0])

    return call


# The cases ---------------------------------------------------------------------------------------


def cases() -> dict[str, Case]:
    """Every market by a name."""
    m, d, p, up, down = -0.1, 0.12, 0.4, 10.0, 5.0
    rates = {"drift": 0.05, "rate": 0.03, "dividend": 0.01}
    merton = Merton(sigma=0.15, intensity=1.2, jump_mean=m, jump_std=d, **rates)
    kou = Kou(sigma=0.16, intensity=1.0, up_probability=p, up_rate=up, down_rate=down, **rates)
    crisis = Regime(sigma=0.3, intensity=2.0, jump_mean=-0.05, jump_std=0.05)
    returns = np.random.default_rng(1).standard_t(5, size=1500) * 0.01
    returns[1:] += 0.2 * returns[:-1]  # so that blocks matter
    history = 100 * np.exp(np.cumsum(np.concatenate([[0.0], returns])))
    return {
        "gbm": jump_diffusion(GeometricBrownianMotion(sigma=0.2, **rates), 0.0, 0.0, 1.0),
        "merton": jump_diffusion(merton, m, m * m + d * d, math.exp(m + d * d / 2)),
        "kou": jump_diffusion(
            kou,
            p / up - (1 - p) / down,
            2 * p / up**2 + 2 * (1 - p) / down**2,
            p * up / (up - 1) + (1 - p) * down / (down + 1),
        ),
        "heston": square_root(Heston(**rates)),
        "heston (Feller violated)": square_root(
            Heston(kappa=1.0, theta=0.04, vol_of_vol=2.0, rho=-0.7, variance=0.04)
        ),
        "bates": square_root(Bates(**rates)),
        "sabr": lognormal_sabr(Sabr(alpha=0.2, nu=0.6, rho=-0.4)),
        "rough-bergomi": rough(RoughBergomi()),
        "garch": garch(Garch(model="garch", alpha=0.08, beta=0.9, gamma=0.0, drift=0.05)),
        "garch (gjr)": garch(Garch(drift=0.05)),
        "garch (student)": garch(Garch(innovations="student", degrees=5.0)),
        "garch (ngarch)": garch(
            Garch(model="ngarch", omega=4e-6, alpha=0.05, beta=0.85, gamma=0.9)
        ),
        "regime-switching": regimes(RegimeSwitching(regimes=(Regime(sigma=0.12), crisis), **rates)),
        "regime-switching (drifts)": regimes(
            RegimeSwitching(regimes=(Regime(drift=0.1, sigma=0.12), Regime(drift=-0.3, sigma=0.3)))
        ),
        "correlated-gbm": several(
            CorrelatedGBM(
                sigma=0.2,
                others=(Asset(sigma=0.3, drift=0.04), Asset(sigma=0.1)),
                correlation=((1.0, 0.5, -0.2), (0.5, 1.0, 0.3), (-0.2, 0.3, 1.0)),
            )
        ),
        "correlated-merton": several(
            CorrelatedMerton(sigma=0.2, others=(JumpingAsset(sigma=0.3, own_intensity=2.0),))
        ),
        "stochastic-implied-vol": implied(StochasticImpliedVol()),
        "bootstrap": bootstrap(Bootstrap(history=history), np.diff(np.log(history))),
    }


# The measurement ---------------------------------------------------------------------------------


def samples(case: Case, market: Market, years: float, steps: int) -> Iterator[MarketPaths]:
    """Blocks of paths, `PATHS` in all."""
    times = torch.linspace(0, years, steps + 1, dtype=torch.float64)[:, None]
    for block in range(PATHS // BLOCK):
        generator = torch.Generator().manual_seed(1_000 * steps + block)
        yield market.simulate(times, BLOCK, generator)


def measured(expected: Expected, blocks: Iterator[MarketPaths]) -> list[dict[str, Any]]:
    """Mean, standard error and distance from the expectation of every quantity."""
    sums = dict.fromkeys(expected, (0.0, 0.0))
    for paths in blocks:
        for name, (value, statistic) in expected.items():
            off = statistic(paths).double() - value
            first, second = sums[name]
            sums[name] = (first + float(off.sum()), second + float((off * off).sum()))
    rows = []
    for name, (value, _) in expected.items():
        off, square = (total / PATHS for total in sums[name])
        error = math.sqrt(max(square - off * off, 0.0) / PATHS)
        score = off / error if error else 0.0
        rows.append(
            {"of": name, "expected": value, "mean": value + off, "error": error, "score": score}
        )
    return rows


def call_checks(case: Case, market: Market, steps: int) -> list[dict[str, Any]]:
    """Calls at every strike and maturity, under the pricing measure."""
    assert case.calls is not None
    fair, rows = market.risk_neutral(), []
    for years in MATURITIES:
        discount, expected = math.exp(-market.rate * years), {}
        for moneyness in MONEYNESS:
            strike = moneyness * market.spot
            expected[f"call, strike {strike:g}, {years:.3g} years"] = (
                case.calls(strike, years),
                lambda p, k=strike, d=discount: (p.spot[-1] - k).clamp(min=0) * d,
            )
        rows += measured(expected, samples(case, fair, years, steps))
    return rows


def check(name: str, case: Case) -> dict[str, Any]:
    """All of a market's checks."""
    found: dict[str, Any] = {"market": json.loads(_described(case.market)), "steps": {}}
    for steps in STEPS:
        years = case.years(steps)
        blocks = samples(case, case.market, years, steps)
        found["steps"][str(steps)] = measured(case.expected(steps), blocks)
        if case.calls is not None:
            found["steps"][str(steps)] += call_checks(case, case.market, steps)
    return found


def _described(market: Market) -> str:
    return market.model_dump_json(exclude={"history"}, exclude_none=True)


def main() -> None:
    """Check all markets, or those named."""
    chosen = sys.argv[1:]
    checks = {}
    for name, case in cases().items():
        if chosen and name not in chosen:
            continue
        checks[name] = check(name, case)
        worst = max(
            (abs(r["score"]), r["of"], s) for s, rows in checks[name]["steps"].items() for r in rows
        )
        sys.stderr.write(f"{name}: worst {worst}\n")
    if chosen:
        sys.stdout.write(json.dumps(checks, indent=1) + "\n")
        return
    document = {
        "command": "python docs/market_checks.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "paths": PATHS,
        "years": YEARS,
        "checks": checks,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

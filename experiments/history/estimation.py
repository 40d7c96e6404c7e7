"""A scenario's market, estimated on the past of a price history."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs import Scenario, Variation
from ...envs.markets import (
    Bates,
    Garch,
    GeometricBrownianMotion,
    Heston,
    Market,
    Merton,
    Uniform,
)
from ...envs.presets import changed
from .price_history import TRADING_DAYS, WINDOW, Floats, PriceHistory

LEAST = 100  # log-returns that an estimate is made of
FAR = 4.5  # local vols from 0 at which a day counts as a jump
ENDS = (0.05, 0.95)  # quantiles of the marks between which vols of a training are drawn
LEAST_SHARE = 0.25  # of the marks' variance that is left to the diffusion, whatever jumped
LEFT_TAIL = math.sqrt(2 / math.pi)  # E[|z|^3; z < 0] of a standard normal z

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Estimated:
    """What a stretch of the past says of a scenario's market.

    Attributes:
        scenario: with the market's parameters estimated: what rules see.
        vary: what is drawn anew between the training paths of agents, beside.
    """

    scenario: Scenario
    vary: Variation


def estimate(scenario: Scenario, past: PriceHistory) -> Estimated:
    """The scenario with the parameters of its market that ``past`` implies.

    Drift, rate, dividend and premiums stay as the scenario has them: years of daily closes say
    next to nothing of a drift (Merton, "On estimating the expected return on the market", 1980).

    - ``gbm``: sigma, the root of 252 times the mean squared log-return; where sigma is drawn for
      every path, between the 5 % and 95 % quantiles of the past's marks.
    - ``merton``: `is_jump` parts the days. Jumps give intensity (a year), mean and std of the
      log-size; the others sigma, as above; the jumps' variance is taken off drawn sigmas.
    - ``garch``: maximum likelihood of the scenario's model and innovations (`Garch.fit`).
    - ``heston``: theta is the mean squared log-return a year; kappa, vol_of_vol and rho are those
      of the diffusion that a GJR-GARCH(1,1) fitted to the same returns tends to, see
      `diffusion_limit`; the variance starts at theta, in the trainings of agents between the
      squares of the 5 % and 95 % quantiles of the marks (of ``garch`` too).
    - ``bates``: jumps as ``merton``, the rest as ``heston`` from the days without one.

    Raises:
        ValueError: for another kind of market, or fewer than 100 log-returns (250 for those that
            need a GARCH fit, whose likelihood must have an inner maximum too).
        ImportError: for a fit that needs the extra ``data``.

    Evidence: tests/experiments/history/test_estimation.py (paths of known parameters).
    """
    kind = type(scenario.market)
    if kind not in _ESTIMATORS:
        known = ", ".join(each.__name__ for each in _ESTIMATORS)
        raise ValueError(
            f"scenario {scenario.name!r}: there is no estimator of {kind.__name__}: take a market "
            f"of {known}"
        )
    returns = np.diff(np.log(past.close))
    if len(returns) < LEAST:
        raise ValueError(
            f"{past.name}: {len(returns)} log-returns up to {past.dates[-1]} to estimate the "
            f"market on, fewer than {LEAST}: give more data or a longer window"
        )
    try:
        found = _ESTIMATORS[kind](scenario.market, returns, past)
    except ValueError as error:
        dates = f"{past.dates[0]} to {past.dates[-1]}"
        raise ValueError(
            f"{past.name}, {dates}: {kind.__name__}: {error}: try a longer window or another market"
        ) from error
    drawn: dict[str, tuple[float, float]] = {}
    if "variance" in kind.model_fields:
        low, high = (quantile**2 for quantile in _mark_quantiles(past))
        drawn = {"market.variance": (low, high)}
    changes = {f"market.{key}": value for key, value in found.items()}
    return Estimated(changed(scenario, changes), Variation(uniform=drawn))


def is_jump(returns: Floats) -> NDArray[np.bool_]:
    """Which log-returns [n] are further than 4.5 local vols from 0, [n]; false for the first 21.

    The local vol is that of the 21 returns before: the root of pi / 2 times the mean of |r_i|
    |r_{i-1}|, the bipower variation, which a jump hardly moves. Smaller jumps count as diffusion.
    Source: Lee and Mykland, "Jumps in Financial Markets: A New Nonparametric Test and Jump
    Dynamics", 2008, with a fixed threshold. Evidence: tests/experiments/history/test_estimation.py.
    """
    size = np.abs(returns)
    found = np.zeros(len(returns), dtype=bool)
    if len(returns) > WINDOW:
        products = size[1:] * size[:-1]
        windows = np.lib.stride_tricks.sliding_window_view(products, WINDOW - 1)[:-1]
        local = np.sqrt(math.pi / 2 * windows.mean(axis=1))
        found[WINDOW:] = (local > 0) & (size[WINDOW:] > FAR * local)
    return found


def diffusion_limit(garch: Garch, theta: float) -> Parameters:
    """Kappa, vol_of_vol and rho (Heston's, at variance ``theta`` a year) of a GJR-GARCH.

    h' - h = omega - (1 - phi) h + h (x - E x), x = (alpha + gamma 1{z < 0}) z^2. A step of a period
    p reverts by 1 - phi and adds noise of std h s, s^2 = Var x = 2 alpha^2 + 2 alpha gamma + 5/4
    gamma^2, whose correlation with z is Cov(x, z) / s = -gamma sqrt(2 / pi) / s. So kappa =
    (1 - phi) / p, vol_of_vol = s sqrt(theta / p) and that rho. Kappa is at least 0.2: no window of
    a few years can tell slower reversion from none. Fitted to the returns of a Heston market,
    vol_of_vol and rho come out nearly right and kappa at about half: the noise of a GARCH grows
    with its variance and not with the root of it, so that large moves look lasting.
    Source: Nelson, "ARCH models as diffusion approximations", 1990; the matching at theta is ours.
    Evidence: tests/experiments/history/test_estimation.py.
    """
    alpha, gamma = garch.alpha, garch.gamma
    noise = math.sqrt(max(2 * alpha**2 + 2 * alpha * gamma + 1.25 * gamma**2, 0.0))
    return {
        "kappa": max((1 - garch.persistence) / garch.period, 0.2),
        "vol_of_vol": noise * math.sqrt(theta / garch.period),
        "rho": -gamma * LEFT_TAIL / noise if noise > 0 else 0.0,
    }


def _gbm(market: Market, returns: Floats, past: PriceHistory) -> Parameters:
    assert isinstance(market, GeometricBrownianMotion)
    return _sigma(market.sigma, returns, past, 0.0)


def _merton(market: Market, returns: Floats, past: PriceHistory) -> Parameters:
    assert isinstance(market, Merton)
    found, calm = _jumps(returns)
    jumped = _jump_variance(found) * (1 + market.jump_premium)
    return found | _sigma(market.sigma, calm, past, jumped)


def _garch(market: Market, returns: Floats, past: PriceHistory) -> Parameters:
    assert isinstance(market, Garch)
    fitted = _fitted(returns, market.model, market.innovations)
    names = ("omega", "alpha", "beta", "gamma", "degrees", "period")
    return {name: getattr(fitted, name) for name in names} | {"variance": None}


def _heston(market: Market, returns: Floats, past: PriceHistory) -> Parameters:
    theta = _variance(returns)
    limit = diffusion_limit(_fitted(returns, "gjr", "normal"), theta)
    return limit | {"theta": theta, "variance": theta}


def _bates(market: Market, returns: Floats, past: PriceHistory) -> Parameters:
    found, calm = _jumps(returns)
    return found | _heston(market, calm, past)


_ESTIMATORS: dict[type[Market], Callable[[Market, Floats, PriceHistory], Parameters]] = {
    GeometricBrownianMotion: _gbm,
    Merton: _merton,
    Garch: _garch,
    Heston: _heston,
    Bates: _bates,
}


def _variance(returns: Floats) -> float:
    """Per year, the mean return taken as 0."""
    return float(TRADING_DAYS * np.mean(returns**2))


def _mark_quantiles(past: PriceHistory) -> tuple[float, float]:
    low, high = np.quantile(past.vol, ENDS).tolist()
    return low, high


def _sigma(
    sigma: float | Uniform, calm: Floats, past: PriceHistory, jump_variance: float
) -> Parameters:
    """One number, or the ends of what is drawn for every path."""
    low, high = (
        math.sqrt(max(quantile**2 - jump_variance, LEAST_SHARE * quantile**2))
        for quantile in _mark_quantiles(past)
    )
    if isinstance(sigma, Uniform) and low < high:
        return {"sigma": {"low": low, "high": high}}
    return {"sigma": math.sqrt(_variance(calm))}


def _jumps(returns: Floats) -> tuple[Parameters, Floats]:
    """Intensity, mean and std of the jumps, and the returns of the other days."""
    jumped = is_jump(returns)
    sizes = returns[jumped]
    if not len(sizes):
        return {"intensity": 0.0, "jump_mean": 0.0, "jump_std": 0.0}, returns
    found = {
        "intensity": len(sizes) * TRADING_DAYS / len(returns),
        "jump_mean": float(sizes.mean()),
        "jump_std": float(sizes.std()),
    }
    return found, returns[~jumped]


def _jump_variance(found: Parameters) -> float:
    variance: float = found["intensity"] * (found["jump_mean"] ** 2 + found["jump_std"] ** 2)
    return variance


def _fitted(returns: Floats, model: Any, innovations: Any) -> Garch:
    with np.errstate(invalid="ignore"):  # of a standard error at a bound, which is not used
        return Garch.fit(returns, 1 / TRADING_DAYS, model, innovations).market

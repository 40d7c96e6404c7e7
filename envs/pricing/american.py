"""American puts: price, Greeks and the exercise boundary, by spectral collocation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor

from .black_scholes import Greeks, black_scholes
from .terms import Terms

_DEGREE = 16  # of the boundary's polynomial in the root of time
_SOLVING, _PRICING = 32, 24  # points of the integrals
_SWEEPS = 60  # at most; the fixed point is reached to 1e-9 in 15 to 60
_LEAST_VOL = 1e-4
_LEAST_RATE = 1e-12
_FAR = 12.0  # normal deviates beyond this change nothing


def american_put(terms: Terms, strike: float) -> Greeks:
    """Value and Greeks of an American put, each ``[T+1, N]``, while it has not been exercised.

    The Black-Scholes put plus the early-exercise premium (Kim, 1990): with B(s) the boundary at s
    years left and d+- those of S / B(tau - u) over u,
    integral over u in (0, tau) of r K e^{-r u} N(-d-) - q S e^{-q u} N(-d+).
    At or below the boundary it is ``strike - S``, delta -1, and gamma, vega and theta are 0.
    Greeks are the integral's derivatives; vega moves the boundary too; theta follows from the
    Black-Scholes equation. Vega and theta are per unit of `Terms.vol`.

    Source: Andersen, Lake and Offengenden, "High Performance American Option Pricing", 2016.
    Evidence: tests/envs/test_american.py (QuantLib, central differences, bounds, stopped paths).

    Raises:
        ValueError: for a dividend below a negative rate, where exercise has two boundaries.
    """
    tau, vol = terms.tau, terms.vol.to(terms.spot.dtype)
    rate, dividend = terms.rate, terms.dividend
    boundary = _solve(tau, vol, rate, dividend)
    if boundary is None:
        x, spot = terms.log_spot, terms.spot
        return black_scholes(x, strike, tau, vol, sign=-1, rate=rate, dividend=dividend, spot=spot)
    vol = vol.clamp(min=_LEAST_VOL)
    edge = math.log(strike) + boundary.log_level(tau, vol)[0]
    log_spot = torch.maximum(terms.log_spot, edge)
    spot = log_spot.exp()
    european = black_scholes(
        log_spot, strike, tau, vol, sign=-1, rate=rate, dividend=dividend, spot=spot
    )
    premium = _premium(boundary, log_spot - math.log(strike), tau, vol, rate, dividend)
    price = european.price + strike * premium[0]
    delta = european.delta + premium[1]
    gamma = european.gamma + premium[2] / strike
    vega = european.vega + strike * premium[3]
    drift = (rate - dividend) * spot * delta
    theta = rate * price - drift - 0.5 * (vol * spot) ** 2 * gamma
    held = terms.log_spot > edge
    intrinsic = strike - terms.spot
    alive = held & (tau > 0)
    return Greeks(
        price=torch.where(held, torch.maximum(price, intrinsic), intrinsic),
        delta=torch.where(held, delta.clamp(-1, 0), -1.0),
        gamma=torch.where(alive, gamma, 0.0),
        vega=torch.where(alive, vega, 0.0),
        theta=torch.where(alive, theta, 0.0),
    )


def exercised(terms: Terms, strike: float) -> Tensor:
    """Whether the holder exercises, at every date, if not before: bool ``[T+1, N]``.

    Before maturity at or below the boundary, at maturity (and past it) when in the money.
    """
    edge = exercise_boundary(strike, terms.tau, terms.vol, terms.rate, terms.dividend)
    return torch.where(terms.tau > 0, terms.spot <= edge, terms.spot < strike)


def exercise_boundary(
    strike: float, tau: Tensor, vol: Tensor, rate: float, dividend: float
) -> Tensor:
    """The spot at or below which an American put is exercised, money; 0 where it never is.

    It falls with ``tau`` years left from ``min(strike, strike rate / dividend)`` (the limit, given
    at 0) to the perpetual put's boundary. ``tau`` and ``vol`` broadcast. It is never optimal to
    exercise when the rate is not positive and the dividend yield not below it.

    Raises:
        ValueError: as `american_put`.
    """
    boundary = _solve(tau, vol, rate, dividend)
    if boundary is None:
        return torch.zeros_like(tau + vol)
    return strike * boundary.log_level(tau, vol.clamp(min=_LEAST_VOL))[0].exp()


@dataclass(frozen=True)
class _Boundary:
    """The boundary for all times left up to a horizon and all vols of a range.

    The square of log(B / limit) over vol^2, a polynomial in the root of time and in log vol: both
    are what makes it smooth.

    Attributes:
        coefficients: of Chebyshev polynomials, ``[degree + 1, vols]``.
        horizon: years.
        low, high: the range of log vol.
        limit: the boundary over the strike when no time is left.
    """

    coefficients: Tensor
    horizon: float
    low: float
    high: float
    limit: float

    def log_level(self, tau: Tensor, vol: Tensor) -> tuple[Tensor, Tensor]:
        """Log(B / strike) and its derivative in vol, broadcast."""
        return self.log_level_at((tau / self.horizon).sqrt(), *self.in_vol(vol))

    def in_vol(self, vol: Tensor) -> tuple[Tensor, Tensor]:
        """The coefficients in time ``[degree + 1, ...]`` at each vol, and their slopes in vol."""
        width = self.high - self.low
        x = ((2 * vol.log() - (self.high + self.low)) / width).clamp(-1, 1)
        basis = _chebyshev(self.coefficients.shape[1], x)
        slopes = chebyshev.chebder(self.coefficients.numpy(), axis=1) * 2 / width
        rows = torch.einsum("km,m...->k...", self.coefficients.to(vol), basis)
        turns = torch.einsum("km,m...->k...", torch.from_numpy(slopes).to(vol), basis[:-1])
        return rows * vol**2, (turns + 2 * rows) * vol

    def log_level_at(self, root: Tensor, rows: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """The same from the root of tau / horizon and what `in_vol` gave."""
        basis = _chebyshev(len(rows), (2 * root - 1).clamp(-1, 1))
        least = torch.finfo(basis.dtype).tiny
        gap = torch.einsum("k...,k...->...", basis, rows).clamp(min=least).sqrt()
        slope = -torch.einsum("k...,k...->...", basis, turns) / (2 * gap)
        return math.log(self.limit) - gap, torch.where(root > 0, slope, 0.0)


def _chebyshev(count: int, x: Tensor) -> Tensor:
    """The first ``count`` Chebyshev polynomials of ``x``, ``[count, ...]``."""
    values = [torch.ones_like(x), x]
    for _ in range(count - 2):
        values.append(2 * x * values[-1] - values[-2])
    return torch.stack(values[:count])


def _premium(
    boundary: _Boundary, x: Tensor, tau: Tensor, vol: Tensor, rate: float, dividend: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The premium, its delta, gamma and vega over the strike, at ``x`` = log(S / strike).

    S e^{-q u} phi(d+) = B e^{-r u} phi(d-), so one density serves all.
    """
    spot = x.exp()
    root = (tau / boundary.horizon).sqrt()
    in_vol = boundary.in_vol(vol)
    price, delta, gamma, vega = (torch.zeros_like(x) for _ in range(4))
    for angle, weight in zip(*_angles(_PRICING), strict=True):
        u = tau * math.sin(angle) ** 2
        du = tau * (math.sin(2 * angle) * weight)
        edge, turn = boundary.log_level_at(root * math.cos(angle), *in_vol)
        s = (vol * u.sqrt()).clamp(min=1e-12)
        d = (x - (edge - (rate - dividend) * u)) / s
        plus, minus = (d + s / 2).clamp(-_FAR, _FAR), (d - s / 2).clamp(-_FAR, _FAR)
        cash, asset = rate * torch.exp(-rate * u) * du, dividend * torch.exp(-dividend * u) * du
        paid = dividend * edge.exp() * torch.exp(-rate * u) * du
        density = torch.exp(minus * minus * -0.5) * (1 / math.sqrt(2 * math.pi))
        flow = density * ((cash - paid) / s)
        price += cash * torch.special.ndtr(-minus)
        if dividend:
            tail = asset * torch.special.ndtr(-plus)
            price -= spot * tail
            delta -= tail
            gamma += density * (paid / s)
        delta -= flow / spot
        gamma += flow * (1 + minus / s)
        vega += density * (cash * plus - paid * minus) / vol + flow * turn
    return price, delta, gamma / spot**2, vega


def _solve(tau: Tensor, vol: Tensor, rate: float, dividend: float) -> _Boundary | None:
    """The boundary for these times and vols; null if the put is never exercised early."""
    if rate <= _LEAST_RATE and dividend >= min(rate, 0.0):
        return None
    if rate < 0:
        raise ValueError(
            f"rate {rate} and dividend {dividend}: below a negative rate the dividend gives an "
            "American put two exercise boundaries; raise the dividend yield to the rate"
        )
    alive = (tau > 0) & (vol >= 0)
    horizon = float(tau.max()) or 1.0
    used = vol.expand(alive.shape)[alive].clamp(min=_LEAST_VOL) if alive.any() else vol.new_ones(1)
    # A little wider than needed: there is then a slope in vol where there is but one.
    low, high = math.log(float(used.min())) - 0.01, math.log(float(used.max())) + 0.01
    count = 3 + math.ceil(5 * (high - low - 0.02))
    x = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    vols = np.exp((low + high) / 2 + (high - low) / 2 * x)
    limit = min(1.0, rate / dividend) if dividend > 0 else 1.0
    gap = _collocate(horizon, tuple(vols.tolist()), rate, dividend, limit)
    scaled = np.concatenate([gap**2 / vols[:, None] ** 2, np.zeros((count, 1))], axis=1)
    in_time = np.linalg.solve(chebyshev.chebvander(_nodes(), _DEGREE), scaled.T)
    both = np.linalg.solve(chebyshev.chebvander(x, count - 1), in_time.T).T
    return _Boundary(torch.from_numpy(both), horizon, low, high, limit)


@lru_cache(maxsize=64)  # every batch of a scenario asks for the same
def _collocate(
    horizon: float, vols: tuple[float, ...], rate: float, dividend: float, limit: float
) -> np.ndarray:
    """-log(B / limit) at the nodes ``[vols, degree]``: the fixed point B = K e^{-(r-q) tau} N / D.

    Equation FP-B of the source: the value at the boundary is what exercise pays.
    """
    root = (_nodes()[:-1] + 1) / 2
    tau = torch.from_numpy(horizon * root**2)
    angles, weights = (np.array(a) for a in _angles(_SOLVING))
    u = tau[:, None] * torch.from_numpy(np.sin(angles) ** 2)
    du = tau[:, None] * torch.from_numpy(np.sin(2 * angles) * weights)
    between = torch.from_numpy(_interpolation(_DEGREE, _SOLVING))
    vol = torch.tensor(vols, dtype=torch.float64)[:, None]
    m = rate - dividend - vol**2 / 2
    root_m = (m * m + 2 * rate * vol**2).sqrt()
    power = torch.where(m > 0, (m + root_m) / vol**2, 2 * rate / (root_m - m))
    perpetual = power / (1 + power)
    reach = (limit - perpetual).clamp(min=1e-12) / limit
    s, sq = vol * tau.sqrt(), vol[..., None] * u.sqrt()
    discount, carry = torch.exp(-rate * tau), torch.exp(-dividend * tau)
    cash, asset = rate * torch.exp(-rate * u) * du, dividend * torch.exp(-dividend * u) * du
    gap = -torch.log1p(reach * torch.expm1(-(2.0 if dividend <= rate else 0.64) * s / reach))
    floor = 1.2 * torch.log(limit / perpetual)
    normal = torch.special.ndtr
    for _ in range(_SWEEPS):
        inner = (gap**2 @ between.flatten(1)).view(len(vols), *u.shape).clamp(min=0).sqrt()
        plus = (math.log(limit) - gap + (rate - dividend) * tau) / s + s / 2
        plus_u = (inner - gap[..., None] + (rate - dividend) * u) / sq + sq / 2
        top = discount * normal(plus - s) + (cash * normal(plus_u - sq)).sum(-1)
        bottom = carry * normal(plus) + (asset * normal(plus_u)).sum(-1)
        new = torch.minimum((math.log(limit) - torch.log(top / bottom)).clamp(min=1e-14), floor)
        new = torch.where(new.isfinite(), new, gap)
        moved, gap = ((new - gap).abs() / vol).max(), new
        if moved < 1e-9:
            break
    return gap.numpy()


@cache
def _nodes() -> np.ndarray:
    """Chebyshev's points, from 1 down to -1 (no time left)."""
    return np.cos(np.pi * np.arange(_DEGREE + 1) / _DEGREE)


@cache
def _angles(points: int) -> tuple[list[float], list[float]]:
    """Gauss-Legendre points and weights for a such that u = tau sin^2 a.

    The boundary is smooth in the root of tau - u, which is then that of tau times cos a; the
    square of the variable gathers points at u = 0, where the integrand turns fast.
    """
    x, w = np.polynomial.legendre.leggauss(points)
    y = (x + 1) / 2
    return (np.pi / 2 * y**2).tolist(), (np.pi / 2 * y * w).tolist()


@cache
def _interpolation(degree: int, points: int) -> np.ndarray:
    """From values at the nodes (0 at the last) to those at each node's points, ``[k, i, j]``."""
    root = (_nodes()[:-1] + 1) / 2
    x = 2 * root[:, None] * np.cos(_angles(points)[0]) - 1
    inverse = np.linalg.inv(chebyshev.chebvander(_nodes(), degree))
    weights: np.ndarray = chebyshev.chebvander(x, degree) @ inverse
    return np.ascontiguousarray(np.moveaxis(weights[..., :-1], -1, 0))

"""Marks and Greeks of any payoff, by regression on simulated paths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..instruments import Claim, Path
from ..markets import Market, MarketPaths
from .black_scholes import Greeks
from .fixings import until, until_maturity
from .terms import Terms

TRAINING_PATHS = 2**15
_SEED = 20240102
_DEGREE = 2  # a third degree overfits: the errors of marks and deltas double
_BUMP = 0.2  # of the standard deviation of what is left of the log-return
_VOL_BUMP = 0.01  # of sigma
_NODES = torch.special.ndtri((torch.arange(6, dtype=torch.float64) + 0.5) / 6).tolist()
_LEAST = 1e-9  # features that vary less than this are no features
_RIDGE = 1e-8


def regression(claim: Claim, terms: Terms, market: Market) -> Greeks:
    """Marks and Greeks ``[T+1, N]`` of any claim, under ``market.risk_neutral()``.

    On training paths, drawn once with a seed of their own, the discounted payoff less the gains of
    its own delta hedge is regressed at every date on the state: all polynomials of degree 2 in the
    logs of the spots, of the average, maximum and minimum so far, the root of the realised
    variance, the quoted vol where paths differ in it, and two features that know the payoff: its
    value, and its slope, if one normal factor drove what is left. At maturity the mark is the
    payoff and the Greeks are 0. Payoffs with jumps are allowed: slopes are differences.

    - delta and gamma regress the payoff's first and second difference when all prices after today
      are scaled; what has been fixed stays fixed;
    - vega regresses its difference in ``market.sigma``, same random numbers; 0 in a market
      without one number for it;
    - theta is what the Black-Scholes equation leaves at ``market.volatility``: rough elsewhere.

    Source: Longstaff and Schwartz, "Valuing American Options by Simulation", 2001; the hedge as
    control: Potters, Bouchaud and Sestovic, "Hedged Monte-Carlo", 2001. Evidence:
    tests/envs/test_regression.py (closed forms with the errors measured, unbiasedness).

    Args:
        claim: it matures on one of the dates.
        terms: the paths to mark; their dates must be the same for all.
        market: the model to value in: the scenario's, or a GBM at the quoted vol.

    Raises:
        TypeError: for a claim with early exercise, or a market without a pricing measure.
        ValueError: for dates that differ by path, or a maturity that is not among them.
    """
    if claim.exercisable:
        raise TypeError(f"{type(claim).__name__} is exercised early: price it by american_put")
    columns = terms.paths.times.shape[1]
    if columns != 1:
        raise ValueError(f"times have {columns} columns: give one, dates that paths share")
    greeks: Greeks = until_maturity(lambda claim, cut: _marks(claim, cut, market, terms.paths))(
        claim, terms
    )
    return greeks


class _Scaling(NamedTuple):
    """Standardises features; what is beyond the training paths is held at their edge."""

    kept: Tensor
    mean: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        kept = features[self.kept]
        return (kept.maximum(self.low).minimum(self.high) - self.mean) / self.spread


class _Fit(NamedTuple):
    """One date: coefficients ``[targets, K]`` for the mark, gamma, vega and each asset's delta."""

    scaling: _Scaling
    coefficients: Tensor


@dataclass(frozen=True)
class _World:
    """A claim in its market, as marking and training both see it.

    Attributes:
        claim, times: the dates end at its maturity, ``[T+1, 1]``.
        rate, drifts: under the pricing measure.
        loading: per date and asset, how far the log-returns to the later dates go with a standard
            normal factor that moves the one to the last date, ``[T - t, 1]``.
        vol: whether the quoted vol is part of the state.
    """

    claim: Claim
    times: Tensor
    rate: float
    drifts: tuple[float, ...]
    loading: list[list[Tensor]]
    vol: bool

    def pays(self, t: int, assets: list[Tensor], later: list[Tensor]) -> Tensor:
        """The payoff, discounted to t, if from t on the prices are ``S_t`` times ``later``."""
        spots = tuple(
            torch.cat([spot[: t + 1], spot[t] * ratio])
            for spot, ratio in zip(assets, later, strict=True)
        )
        paid = self.claim.payoff(Path(self.times, spots[self.claim.asset], spots))
        return paid.double() * math.exp(-self.rate * float(self.times[-1] - self.times[t]))

    def bump(self, t: int, asset: int) -> float:
        """The move of a log price that a difference takes."""
        return max(_BUMP * float(self.loading[t][asset][-1]), 1e-6)

    def features(self, t: int, assets: list[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
        """The state and what one factor would make of the payoff ``[F, N]``, and that value."""
        years = self.times[t + 1 :] - self.times[t]
        h = self.bump(t, self.claim.asset)
        low, high = (torch.zeros_like(assets[0][t]) for _ in range(2))
        for z in _NODES:
            for move, total in ((-h, low), (h, high)):
                later = [
                    torch.exp(drift * years + move - load**2 / 2 + z * load)
                    for drift, load in zip(self.drifts, self.loading[t], strict=True)
                ]
                total += self.pays(t, assets, later) / len(_NODES)
        value = (low + high) / 2
        return torch.cat([state, value[None], (high - low)[None] / (2 * h)]), value


def _marks(claim: Claim, terms: Terms, market: Market, whole: MarketPaths) -> Greeks:
    """On paths that end at the maturity; ``whole`` are those that the vol is quoted for."""
    paths, own = terms.paths, claim.asset
    clock = None if whole.clock is None else tuple(whole.clock[:, 0].tolist())
    dates = tuple(whole.times[:, 0].tolist())
    world, fits = _train(claim, market, dates, clock, len(paths.times))
    assets = [asset.spot.double() for asset in paths.assets]
    rows = []
    for t, state in enumerate(_states(paths, own, world.vol)[:-1]):
        features, value = world.features(t, assets, state)
        fitted = fits[t].coefficients @ _polynomials(fits[t].scaling(features))
        fitted[0] += value
        rows.append(fitted)
    paid = claim.payoff(Path(paths.times, assets[own], tuple(assets))).double()
    rows.append(torch.zeros_like(rows[0]))
    rows[-1][0] = paid
    price, curvature, vega, *slopes = torch.stack(rows, dim=1)
    deltas = [slope / spot for slope, spot in zip(slopes, assets, strict=True)]
    gamma = (curvature - slopes[own]) / assets[own] ** 2
    drift = (market.rate - market.dividends[own]) * slopes[own]
    theta = market.rate * price - drift
    theta = theta - 0.5 * market.volatility**2 * (curvature - slopes[own])
    theta[-1] = 0.0
    dtype = paths.log_spot.dtype
    price, delta, gamma, vega, theta = (
        values.to(dtype) for values in (price, deltas[own], gamma, vega, theta)
    )
    others = tuple((j, values.to(dtype)) for j, values in enumerate(deltas) if j != own)
    return Greeks(price, delta, gamma, vega, theta, others)


@lru_cache(maxsize=8)
def _train(
    claim: Claim,
    market: Market,
    dates: tuple[float, ...],
    clock: tuple[float, ...] | None,
    rows: int,
) -> tuple[_World, list[_Fit]]:
    """The fits of the first ``rows`` dates but the last, which is the maturity."""
    pricing = market.risk_neutral()
    every = torch.tensor(dates, dtype=torch.float64)[:, None]
    times = every[:rows]
    variance = None if clock is None else torch.tensor(clock, dtype=torch.float64)[:, None]

    def draw(model: Market) -> MarketPaths:
        generator = torch.Generator().manual_seed(_SEED)
        drawn = model.simulate(every, TRAINING_PATHS, generator, torch.float64, variance)
        return until(drawn, rows)

    drawn = draw(pricing)
    assets = [asset.spot for asset in drawn.assets]
    loading = [[_loading(asset.log_spot[t:]) for asset in drawn.assets] for t in range(len(times))]
    vol = drawn.assets[claim.asset].implied_vol.shape[1] > 1
    world = _World(claim, times, market.rate, pricing.drifts, loading[:-1], vol)
    sigma = getattr(pricing, "sigma", None)
    width = _VOL_BUMP * sigma if isinstance(sigma, float) else 0.0
    bumped = (
        [
            [a.spot for a in draw(pricing.model_copy(update={"sigma": s})).assets]
            for s in (sigma - width, sigma + width)
        ]
        if isinstance(sigma, float) and width
        else []
    )
    states, kept = _states(drawn, claim.asset, vol), []
    for t in range(len(times) - 1):
        features, value = world.features(t, assets, states[t])
        scaling = _scaling(features)
        scaled = scaling(features)
        targets = _targets(world, t, assets, bumped, width)
        kept.append((scaling, scaled, value, _solve(_polynomials(scaled), targets)))
    return world, _without_hedge(world, drawn, kept)


def _without_hedge(
    world: _World, drawn: MarketPaths, kept: list[tuple[_Scaling, Tensor, Tensor, Tensor]]
) -> list[_Fit]:
    """Fit the marks to the payoff less the gains of the delta hedge from each date on."""
    assets = [asset.spot for asset in drawn.assets]
    paid = world.claim.payoff(Path(world.times, assets[world.claim.asset], tuple(assets))).double()
    gains = torch.zeros_like(paid)
    fits: list[_Fit] = []
    for t in reversed(range(len(kept))):
        scaling, scaled, value, coefficients = kept[t]
        basis = _polynomials(scaled)
        years = float(world.times[t + 1] - world.times[t])
        gains = gains * math.exp(-world.rate * years)
        slopes = coefficients[2:] @ basis
        for slope, asset, drift in zip(slopes, drawn.assets, world.drifts, strict=True):
            expected = math.exp(drift * years) if asset.expected is None else asset.expected[t]
            gains = gains + slope * (asset.spot[t + 1] / (asset.spot[t] * expected) - 1)
        left = float(world.times[-1] - world.times[t])
        mark = _solve(basis, (paid * math.exp(-world.rate * left) - gains - value)[None])
        fits.append(_Fit(scaling, torch.cat([mark, coefficients])))
    return fits[::-1]


def _targets(
    world: _World, t: int, assets: list[Tensor], bumped: list[list[Tensor]], width: float
) -> Tensor:
    """Per path, d2/dlog S^2 of the own asset, d/dsigma, and d/dlog S of every asset."""
    later = [spot[t + 1 :] / spot[t] for spot in assets]
    middle = world.pays(t, assets, later)
    curvature, slopes = torch.zeros_like(middle), []
    for j in range(len(assets)):
        h = world.bump(t, j)
        low, high = (
            world.pays(t, assets, [r * math.exp(s) if i == j else r for i, r in enumerate(later)])
            for s in (-h, h)
        )
        slopes.append((high - low) / (2 * h))
        if j == world.claim.asset:
            curvature = (high - 2 * middle + low) / h**2
    ends = [world.pays(t, assets, [s[t + 1 :] / s[t] for s in moved]) for moved in bumped]
    vega = (ends[1] - ends[0]) / (2 * width) if ends else torch.zeros_like(middle)
    return torch.stack([curvature, vega, *slopes])


def _states(paths: MarketPaths, own: int, vol: bool) -> list[Tensor]:
    """The state at every date, ``[F, N]`` each; sums leave time 0 out."""
    asset = paths.assets[own]
    logs, spot = asset.log_spot.double(), asset.spot.double()
    count = torch.arange(len(spot), dtype=spot.dtype, device=spot.device)[:, None]
    average = (spot.cumsum(dim=0) - spot[0]) / count.clamp(min=1)
    average[0] = spot[0]
    realised = torch.zeros_like(logs)
    realised[1:] = logs.diff(dim=0).square().cumsum(dim=0)
    columns = [logs, average.log(), logs.cummax(dim=0)[0], logs.cummin(dim=0)[0], realised.sqrt()]
    columns += [o.log_spot.double() for j, o in enumerate(paths.assets) if j != own]
    if vol:
        columns.append(asset.implied_vol.double().expand_as(logs))
    return list(torch.stack(columns, dim=1))


def _loading(logs: Tensor) -> Tensor:
    """Covariances of the log-returns ``[m, 1]`` with the last one, over its deviation."""
    returns = logs[1:] - logs[:1]
    if not len(returns):
        return returns[:, :1]
    centred = returns - returns.mean(dim=1, keepdim=True)
    last = centred[-1]
    size = (last.square().sum() * len(last)).sqrt().clamp(min=1e-12)
    return (centred @ last)[:, None] / size


def _scaling(features: Tensor) -> _Scaling:
    spread = features.std(dim=1)
    kept = (spread > _LEAST * (1 + features.mean(dim=1).abs())).nonzero()[:, 0]
    used = features[kept]
    low, high = used.amin(dim=1), used.amax(dim=1)
    columns = (x[:, None] for x in (used.mean(dim=1), spread[kept], low, high))
    return _Scaling(kept, *columns)


def _polynomials(z: Tensor) -> Tensor:
    """All monomials of ``z [F, N]`` up to the degree, ``[K, N]``."""
    rows = [z.new_ones((1, z.shape[1]))]
    last = [(0, rows[0][0])]  # each with the first feature it may still be multiplied by
    for _ in range(_DEGREE):
        last = [(f, value * z[f]) for first, value in last for f in range(first, len(z))]
        rows += [value[None] for _, value in last]
    return torch.cat(rows)


def _solve(basis: Tensor, targets: Tensor) -> Tensor:
    """Least squares: coefficients ``[targets, K]``."""
    gram = basis @ basis.T / basis.shape[1]
    gram += _RIDGE * torch.diag(gram.diagonal())
    solution: Tensor = torch.linalg.solve(gram, basis @ targets.T / basis.shape[1])
    return solution.T

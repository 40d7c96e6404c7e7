"""Monte Carlo prices with control variates and their standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..instruments import Call, Claim, EuropeanOption, Path, Put
from ..instruments.asian import Asian
from ..markets import GeometricBrownianMotion, Market, MarketPaths
from .closed_form import closed_form
from .terms import Terms

BLOCK = 4096  # paths; what is drawn does not depend on how many blocks follow


class Control(NamedTuple):
    """A claim on the same dates whose price under the same market is known exactly."""

    claim: Claim
    price: float


class Estimate(NamedTuple):
    """A Monte Carlo price.

    ``error`` is its standard error, both in money; ``paths`` how many were drawn; ``reduction``
    the variance of plain Monte Carlo over that of this estimate.
    """

    price: float
    error: float
    paths: int
    reduction: float


def monte_carlo_price(
    claim: Claim,
    market: Market,
    times: Tensor,
    generator: torch.Generator,
    paths: int = 2**16,
    controls: Sequence[Control] | None = None,
) -> Estimate:
    """The price at time 0 of any claim under ``market.risk_neutral()``.

    The mean of Y - beta' (X - E[X]) over independent paths: Y the discounted payoff, X the
    discounted underlyings and controls. A block's beta is the least-squares slope of all other
    blocks, so it is independent of the block and the mean has no bias, to any order.

    Source: Glasserman, "Monte Carlo Methods in Financial Engineering", 2003, section 4.1; the
    cross-fitting as in Avramidis and Wilson, "A Splitting Scheme for Control Variates", 1993.
    Evidence: tests/envs/test_monte_carlo.py (closed forms, coverage of the error).

    Args:
        claim: any that is not exercised early.
        market: whose pricing measure is used.
        times: the dates, years, ``[T+1, 1]``; the claim's maturity is one of them.
        generator: the only source of randomness; its device is used.
        paths: rounded up to whole blocks of `BLOCK`, two at least.
        controls: null: `default_controls`.

    Raises:
        TypeError: for a claim with early exercise, or a market without a pricing measure.
        ValueError: for dates that differ by path or miss the maturity.
    """
    if claim.exercisable:
        raise TypeError(f"{type(claim).__name__} is exercised early: price it by american_put")
    pricing = market.risk_neutral()
    last = _maturity(claim, times)
    if controls is None:
        controls = default_controls(claim, pricing, times[: last + 1])
    blocks = max(2, math.ceil(paths / BLOCK))
    moments = []
    for _ in range(blocks):
        drawn = pricing.simulate(times[: last + 1], BLOCK, generator)
        moments.append(_moments(claim, pricing, drawn, controls))
    means, products = (torch.stack(m) for m in zip(*moments, strict=True))
    return _regress(means, products)


def default_controls(claim: Claim, market: Market, times: Tensor) -> tuple[Control, ...]:
    """Controls beyond the underlyings that have a closed form, on dates up to the maturity.

    In geometric Brownian motion with one vol: the call or put at the claim's strike and, for an
    arithmetic Asian, the geometric one. In other markets none: give what the model can price.
    """
    strike = getattr(claim, "strike", None)
    gbm = isinstance(market, GeometricBrownianMotion) and isinstance(market.sigma, float)
    if not gbm or strike is None or isinstance(claim, EuropeanOption):
        return ()
    option = Put if getattr(claim, "sign", 1) < 0 else Call
    claims: list[Claim] = [option(strike=strike)]
    if isinstance(claim, Asian) and claim.average == "arithmetic":
        claims.append(claim.model_copy(update={"average": "geometric"}))
    return tuple(Control(known, _closed_form(known, market, times)) for known in claims)


def _closed_form(claim: Claim, market: Market, times: Tensor) -> float:
    """The price at time 0 in geometric Brownian motion."""
    spot = torch.full((len(times), 1), market.spot, dtype=torch.float64, device=times.device)
    vol = torch.full_like(spot[:1], market.volatility)
    paths = MarketPaths(times, spot, spot.log(), vol)
    terms = Terms(paths, times[-1], market.rate, market.dividends, (vol,))
    return float(closed_form(claim, terms).price[0, 0])


def _maturity(claim: Claim, times: Tensor) -> int:
    """The date of the maturity."""
    if times.shape[1] != 1:
        raise ValueError(f"times have {times.shape[1]} columns: give one, dates that paths share")
    if claim.maturity is None:
        return len(times) - 1
    last = int((times[:, 0] - claim.maturity).abs().argmin())
    if abs(float(times[last, 0]) - claim.maturity) > 1e-9:
        raise ValueError(f"maturity {claim.maturity:g} years is not among the dates: add it")
    return last


def _moments(
    claim: Claim, market: Market, drawn: MarketPaths, controls: Sequence[Control]
) -> tuple[Tensor, Tensor]:
    """Means ``[1 + X]`` of payoff and controls less their prices, and their central products."""
    assets = tuple(asset.spot for asset in drawn.assets)
    years = float(drawn.times[-1, 0] - drawn.times[0, 0])
    discount = math.exp(-market.rate * years)
    own = drawn.assets[claim.asset]
    path = Path(drawn.times, own.spot, assets, own.default)
    paid = discount * claim.payoff(path)
    if claim.pays_early:
        early = torch.exp(-market.rate * (drawn.times - drawn.times[:1]))
        paid = paid + (early.to(paid.dtype) * claim.cash_flows(path).paid).sum(dim=0)
    columns = [paid]
    for asset, spot, drift in zip(assets, market.spots, market.drifts, strict=True):
        columns.append(discount * (asset[-1] - spot * math.exp(drift * years)))
    for known in controls:
        path = Path(drawn.times, assets[known.claim.asset], assets)
        columns.append(discount * known.claim.payoff(path) - known.price)
    values = torch.stack(columns, dim=1).double()
    mean = values.mean(dim=0)
    centred = values - mean
    return mean, centred.T @ centred


def _regress(means: Tensor, products: Tensor) -> Estimate:
    """The estimate from each block's means and central products."""
    blocks, paths = len(means), len(means) * BLOCK
    estimates, squares = [], []
    for block in range(blocks):
        others = products.sum(dim=0) - products[block]
        beta = _slopes(others[1:, 1:], others[1:, 0])
        combine = torch.cat([beta.new_ones(1), -beta])
        estimates.append(float(combine @ means[block]))
        squares.append(float(combine @ products[block] @ combine))
    variance = max(sum(squares), 0.0) / (paths - blocks)
    plain = float(products[:, 0, 0].sum()) / (paths - blocks)
    return Estimate(
        price=sum(estimates) / blocks,
        error=math.sqrt(variance / paths),
        paths=paths,
        reduction=plain / variance if variance > 0 else math.inf,
    )


def _slopes(products: Tensor, with_payoff: Tensor) -> Tensor:
    """Least-squares slopes; controls that add nothing to the others get none.

    The pseudo-inverse is of correlations: products of money of different sizes have no scale.
    """
    size = products.diagonal().clamp(min=torch.finfo(products.dtype).tiny).sqrt()
    correlations = products / torch.outer(size, size)
    inverse: Tensor = torch.linalg.pinv(correlations, rtol=1e-10, hermitian=True)
    return (inverse @ (with_payoff / size)) / size

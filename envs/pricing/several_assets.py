"""Exchange and basket options."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from ..instruments.several_assets import Basket, Exchange
from .black_scholes import Greeks, black_scholes
from .differentiate import TINY, black, differentiate
from .terms import Terms


def exchange(claim: Exchange, terms: Terms) -> Greeks:
    """Margrabe's formula: a call on one asset struck at the other, whose yield is the rate.

    Its vol is that of the ratio, sqrt(a^2 + b^2 - 2 rho a b); vega is for a move of both vols.
    Source: Margrabe, "The Value of an Option to Exchange One Asset for Another", 1978. Evidence:
    tests/envs/test_claims_quantlib.py, tests/envs/test_several_assets_pricing.py.

    Raises:
        ValueError: without a correlation.
    """
    other = terms.on(claim.other)
    rho = float(_correlation(terms)[claim.asset, claim.other])
    a, b = terms.vol, other.vol
    vol = (a.square() + b.square() - 2 * rho * a * b).clamp(min=0).sqrt()
    delivered = math.log(claim.ratio) + other.log_spot
    yields = (terms.dividend, other.dividend)
    greeks = black_scholes(
        terms.log_spot,
        delivered.exp(),
        terms.tau,
        vol,
        sign=1,
        rate=yields[1],
        dividend=yields[0],
        spot=terms.spot,
    )
    # The same right seen from the other side: a put on what is delivered.
    seen = black_scholes(
        delivered, terms.spot, terms.tau, vol, sign=-1, rate=yields[0], dividend=yields[1]
    )
    together = (1 - rho) * (a + b) / vol.clamp(min=TINY)
    return greeks._replace(
        vega=greeks.vega * together, others=((claim.other, claim.ratio * seen.delta),)
    )


def basket(claim: Basket, terms: Terms) -> Greeks:
    """The basket as a lognormal of the same mean and variance.

    Exact for one asset and without vol; else an approximation that is best for assets alike and
    correlated (docs/claims/several-assets.md has the measured error). Vega is for a move of all
    vols. Source: Levy, "Pricing European Average Rate Currency Options", 1992, for sums of
    lognormals. Evidence: tests/envs/test_several_assets_pricing.py (quadrature, Monte Carlo,
    central differences).

    Raises:
        ValueError: for several assets without a correlation.
    """
    own = claim.asset
    order = [own, *(j for j in range(len(claim.weights)) if j != own)]
    views = [terms.on(j) for j in order]
    vols = [view.vol.double() for view in views]
    weights = [claim.weights[j] for j in order]
    rho = _correlation(terms)[order][:, order].double() if len(order) > 1 else torch.ones(1, 1)

    def price(tau: Tensor, vol: Tensor, *log_spots: Tensor) -> Tensor:
        moved = [v + (vol - vols[0]) for v in vols]
        forwards = [
            w * torch.exp(x + (terms.rate - view.dividend) * tau)
            for w, x, view in zip(weights, log_spots, views, strict=True)
        ]
        mean = torch.stack(forwards).sum(dim=0)
        shares = [f / mean for f in forwards]
        spread = torch.zeros_like(mean)  # the variance of basket / mean
        for i, j in itertools.product(range(len(order)), repeat=2):
            covariance = rho[i, j] * moved[i] * moved[j] * tau
            spread = spread + shares[i] * shares[j] * torch.expm1(covariance.clamp(max=300.0))
        s = torch.log1p(spread.clamp(min=TINY**2)).sqrt()
        discount = terms.rate * tau
        return black(mean.log() - discount, math.log(claim.strike) - discount, s, claim.sign)

    spots = [view.log_spot for view in views]
    return differentiate(price, terms.tau, terms.vol, *spots, indices=tuple(order[1:]))


def _correlation(terms: Terms) -> Tensor:
    if terms.correlation is None:
        raise ValueError(
            "a claim on several assets needs their correlation: choose a market that has one"
        )
    return terms.correlation

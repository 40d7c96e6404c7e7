"""Prices where the issuer may default: convertible bonds, calls and puts at a constant hazard."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..instruments.claim import EuropeanOption
from ..instruments.convertible_bond import ConvertibleBond
from ..markets.defaultable import SURVIVES, Defaultable
from .black_scholes import Greeks, black_scholes
from .terms import Terms

NODES = 16  # of a quadrature over the time of the default


def convertible_bond(
    claim: ConvertibleBond, terms: Terms, hazard: float = 0.0, drop: float = 1.0
) -> Greeks:
    """Price and Greeks ``[T+1, N]`` while the issuer lives; vol is the quoted one, flat.

    With tau years left, hazard h, drop eta, face F, k shares, recovery R, C(S, K, u; r, q) the
    Black-Scholes call, r' = r + h and q' = q + (1 - eta) h:

        V = F e^{-r' tau} + k C(S, F / k, tau; r', q') + sum of coupons c e^{-r' (t_i - t)}
            + int_0^tau h [R F e^{-r' u} + k' C(S, R F / k', u; r', q')] du,  k' = (1 - eta) k

    the last line what a default pays. Its call part is by Gauss-Legendre quadrature of 16 nodes in
    sqrt(u), the rest is exact. Without hazard it is a bond and calls. Source: Ayache, Forsyth and
    Vetzal, "Valuation of Convertible Bonds with Credit Risk", 2003, section 4 with conversion at
    maturity. Evidence: tests/envs/test_convertible_bond.py (Monte Carlo, scipy's quadrature,
    differences, the martingale of marks and cash flows).
    """
    tau, rate = terms.tau, terms.rate + hazard
    carry = terms.dividend + (1 - drop) * hazard

    def call(strike: float, years: Tensor) -> Greeks:
        return black_scholes(
            terms.log_spot,
            strike,
            years,
            terms.vol,
            sign=1,
            rate=rate,
            dividend=carry,
            spot=terms.spot,
        )

    total = _scaled(claim.shares, call(claim.strike, tau))
    left = claim.coupons_left(tau.double()).to(tau.dtype)
    bond = claim.face * torch.exp(-rate * tau)
    for k in range(int(left.max()) + 1):
        # The last coupon comes with the face; at maturity both are counted, as in the payoff.
        until = tau - k / claim.frequency
        bond = bond + claim.payment * torch.exp(-rate * until.clamp(min=0)) * (left >= k)
    fixed, kept = claim.recovery * claim.face, (1 - drop) * claim.shares
    density = hazard * torch.exp(-rate * tau)  # of defaults at maturity, discounted
    recovered = hazard * fixed * _annuity(rate, tau)
    theta = total.theta + rate * bond - density * fixed
    total = total._replace(price=total.price + bond + recovered, theta=theta)
    if not (hazard and kept):
        return total
    strike = max(fixed / kept, SURVIVES)
    for node, weight in _nodes():
        part = call(strike, tau * node**2)
        total = _sum(total, _scaled(2 * node * weight * hazard * kept * tau, part))
    # The nodes move with tau; the integral's slope is its integrand at the end.
    return total._replace(theta=theta - hazard * kept * call(strike, tau).price)


def defaultable_option(claim: EuropeanOption, market: Defaultable, terms: Terms) -> Greeks:
    """A call or put: Black-Scholes given when the issuer defaults, over the law of that time.

    Without default the price grows by drop h above the rate; a default u years from now leaves the
    forward ``(1 - drop) e^{drop h u}`` of its own. By Gauss-Legendre quadrature of 16 nodes in u.
    Evidence: tests/envs/test_defaultable.py (Monte Carlo, parity, drop 1 by Merton's formula).
    """
    hazard, tau = market.priced_hazard, terms.tau
    drop = min(market.drop, 1 - SURVIVES)
    vol = terms.log_spot.new_full((1, 1), market.sigma)

    def option(log_factor: float | Tensor = 0.0) -> Greeks:
        """With the spot multiplied by e^``log_factor``."""
        found = black_scholes(
            terms.log_spot + log_factor,
            claim.strike,
            tau,
            terms.effective(vol),
            sign=claim.sign,
            rate=terms.rate,
            dividend=terms.dividend,
        )
        factor = torch.as_tensor(log_factor).exp()
        return found._replace(delta=found.delta * factor, gamma=found.gamma * factor**2)

    after = option()
    alive = torch.exp(-hazard * tau)
    grown = drop * hazard * tau
    living = option(grown)
    at_end = option(grown + math.log1p(-drop))
    # The spot's factor falls with tau, and the chance to live too.
    by_factor = drop * hazard * terms.spot * living.delta
    theta = living.theta - by_factor + hazard * (living.price - at_end.price)
    total = _scaled(alive, living._replace(theta=theta))
    for node, weight in _nodes():
        part = option(grown * node + math.log1p(-drop))
        total = _sum(total, _scaled(weight * hazard * tau * torch.exp(-hazard * tau * node), part))
    default = terms.own.default
    if default is None:
        return total
    gone, alive = default.to(tau.dtype), (~default).to(tau.dtype)
    return _sum(_scaled(gone, after), _scaled(alive, total))


def credit_delta(claim: ConvertibleBond, market: Defaultable, terms: Terms) -> Tensor:
    """The slope in the hazard that is priced ``[T+1, N]``; by a central difference of 1 per mille.

    Evidence: tests/envs/test_convertible_bond.py (the slope of the closed form).
    """
    hazard = market.priced_hazard
    step = 1e-3 * max(hazard, 1e-3)
    up, down = (
        convertible_bond(claim, terms, max(hazard + s, 0.0), market.drop).price
        for s in (step, -step)
    )
    return (up - down) / (step + min(step, hazard))


def _annuity(rate: float, tau: Tensor) -> Tensor:
    """``int_0^tau e^{-rate u} du``."""
    return -torch.expm1(-rate * tau) / rate if rate else tau


def _nodes() -> Iterator[tuple[float, float]]:
    """Gauss-Legendre nodes on [0, 1] and their weights."""
    x, weight = np.polynomial.legendre.leggauss(NODES)
    return zip(((x + 1) / 2).tolist(), (weight / 2).tolist(), strict=True)


def _scaled(by: float | Tensor, g: Greeks) -> Greeks:
    return Greeks(by * g.price, by * g.delta, by * g.gamma, by * g.vega, by * g.theta)


def _sum(a: Greeks, b: Greeks) -> Greeks:
    return Greeks(
        a.price + b.price, a.delta + b.delta, a.gamma + b.gamma, a.vega + b.vega, a.theta + b.theta
    )

"""Black-Scholes prices and Greeks, vectorised and finite everywhere."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_TINY = 1e-12  # total vols below this are taken as expiry


class Greeks(NamedTuple):
    """A price and its derivatives, each ``[T+1, N]``.

    ``delta`` dV/dS, ``gamma`` d2V/dS2, ``vega`` dV/dsigma (for a move of 1.00 in vol), ``theta`` dV/dt
    per year of calendar time.
    """

    price: Tensor
    delta: Tensor
    gamma: Tensor
    vega: Tensor
    theta: Tensor


def black_scholes(
    log_spot: Tensor,
    strike: float,
    tau: Tensor,
    vol: Tensor,
    *,
    sign: int,
    rate: float = 0.0,
    dividend: float = 0.0,
) -> Greeks:
    """Price and Greeks of a European call (``sign`` +1) or put (-1).

    With x = log(S / strike), s = vol sqrt(tau), d1 = (x + (rate - dividend) tau) / s + s / 2,
    d2 = d1 - s: V = sign (S e^{-q tau} N(sign d1) - strike e^{-r tau} N(sign d2)). At expiry or zero
    vol the price is intrinsic, gamma, vega and theta's decay are 0 and delta is the limit (1/2 at the
    strike). Source: Black and Scholes, 1973; Merton, 1973. Evidence: tests/envs/test_black_scholes.py
    (QuantLib, central differences, parity, limits).

    Args:
        log_spot: ``[T+1, N]``, the logarithm of the spot.
        strike: money.
        tau: years to maturity, not negative, broadcastable to ``[T+1, N]``.
        vol: per sqrt(year), not negative, broadcastable to ``[T+1, N]``.
        sign: +1 for a call, -1 for a put.
        rate: continuously compounded.
        dividend: continuous yield.
    """
    spot = log_spot.exp()
    root = tau.clamp(min=_TINY**3).sqrt()  # the root of 0 has no derivative
    total = vol * root
    alive = total > _TINY
    s = total.clamp(min=_TINY)
    d1 = (log_spot + ((rate - dividend) * tau - math.log(strike))) / s + s / 2
    n1 = _normal(sign * d1)
    n2 = _normal(sign * (d1 - s))
    carry, discount = torch.exp(-dividend * tau), torch.exp(-rate * tau)
    asset, cash = (sign * carry) * n1, (sign * strike * discount) * n2
    # S phi(d1) is formed first: phi underflows to 0 long before S can overflow.
    density = spot * torch.exp(d1 * d1 * -0.5) * (alive * carry / math.sqrt(2 * math.pi))
    vega = density * root
    theta = density * (-0.5 * vol / root.clamp(min=_TINY))
    if rate or dividend:
        theta = theta + dividend * spot * asset - rate * cash
    return Greeks(
        price=(spot * asset - cash).clamp(min=0),
        delta=asset,
        gamma=density / (s * (spot * spot).clamp(min=_TINY)),
        vega=vega,
        theta=theta,
    )


def _normal(x: Tensor) -> Tensor:
    """The standard normal distribution function, accurate in the left tail."""
    return 0.5 * torch.erfc(x * (-1 / math.sqrt(2)))

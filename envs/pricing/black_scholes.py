"""Black-Scholes prices and Greeks, vectorised and finite everywhere."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import threshold

_TINY = 1e-12  # total vols below this are taken as expiry


class Greeks(NamedTuple):
    """A price and its derivatives, each ``[T+1, N]``.

    ``delta`` dV/dS, ``gamma`` d2V/dS2 (S the claim's own asset), ``vega`` dV/dsigma (for a move of
    1.00 in all vols), ``theta`` dV/dt per year of calendar time; ``others`` holds the deltas to
    further assets as (asset, delta).
    """

    price: Tensor
    delta: Tensor
    gamma: Tensor
    vega: Tensor
    theta: Tensor
    others: tuple[tuple[int, Tensor], ...] = ()


def black_scholes(
    log_spot: Tensor,
    strike: float | Tensor,
    tau: Tensor,
    vol: Tensor,
    *,
    sign: int,
    rate: float = 0.0,
    dividend: float = 0.0,
    spot: Tensor | None = None,
) -> Greeks:
    """Price and Greeks of a European call (``sign`` +1) or put (-1).

    With x = log(S / strike), s = vol sqrt(tau), d1 = (x + (rate - dividend) tau) / s + s / 2, d2 =
    d1 - s: V = sign (S e^{-q tau} N(sign d1) - strike e^{-r tau} N(sign d2)). At expiry or zero vol
    the price is intrinsic, gamma, vega and theta's decay are 0 and delta is the limit (1/2 at the
    strike). Source: Black and Scholes, 1973; Merton, 1973. Evidence:
    tests/envs/test_black_scholes.py (QuantLib, central differences, parity, limits).

    Args:
        log_spot: ``[T+1, N]``, the logarithm of the spot.
        strike: money; a tensor is broadcastable to ``[T+1, N]``.
        tau: years to maturity, not negative, broadcastable to ``[T+1, N]``.
        vol: per sqrt(year), not negative, broadcastable to ``[T+1, N]``.
        sign: +1 for a call, -1 for a put.
        rate: continuously compounded.
        dividend: continuous yield.
        spot: ``exp(log_spot)``, if it is at hand.
    """
    spot = log_spot.exp() if spot is None else spot
    root = tau.clamp(min=_TINY**3).sqrt()  # the root of 0 has no derivative
    total = vol * root
    alive = total > _TINY
    s = total.clamp(min=_TINY)
    log_strike = strike.log() if isinstance(strike, Tensor) else math.log(strike)
    d1 = (log_spot + ((rate - dividend) * tau - log_strike)) / s + s / 2
    carry, discount = torch.exp(-dividend * tau), torch.exp(-rate * tau)
    asset = _normal(d1, sign, sign * carry)
    cash = _normal(d1 - s, sign, sign * strike * discount)
    density = _bell(d1, alive * carry)
    # S phi(d1) is formed first: phi underflows to 0 long before S can overflow.
    scaled = spot * density
    vega = scaled * root
    theta = scaled * (-0.5 * vol / root.clamp(min=_TINY))
    if rate or dividend:
        theta = theta + dividend * spot * asset - rate * cash
    return Greeks(
        price=(spot * asset - cash).clamp(min=0),
        delta=asset,
        gamma=density / (s * spot.clamp(min=_TINY)),
        vega=vega,
        theta=theta,
    )


class HigherGreeks(NamedTuple):
    """What `Greeks` lacks: ``rho`` dV/dr, ``vanna`` d2V/dS dsigma, ``volga`` d2V/dsigma2."""

    rho: Tensor
    vanna: Tensor
    volga: Tensor


def higher_greeks(
    log_spot: Tensor,
    strike: float | Tensor,
    tau: Tensor,
    vol: Tensor,
    *,
    sign: int,
    rate: float = 0.0,
    dividend: float = 0.0,
) -> HigherGreeks:
    """Rho, vanna and volga of `black_scholes`, whose arguments these are.

    rho = sign strike tau e^{-r tau} N(sign d2), the dividend yield held; vanna = -e^{-q tau}
    phi(d1) sqrt(tau) d2 / s; volga = vega d1 d2 / vol. At expiry or zero vol vanna and volga are 0.
    Source: Haug, "The Complete Guide to Option Pricing Formulas", 2007, 2.2 to 2.9. Evidence:
    tests/envs/test_black_scholes.py (QuantLib, central differences, limits).
    """
    root = tau.clamp(min=_TINY**3).sqrt()
    total = vol * root
    s = total.clamp(min=_TINY)
    log_strike = strike.log() if isinstance(strike, Tensor) else math.log(strike)
    d1 = (log_spot + ((rate - dividend) * tau - log_strike)) / s + s / 2
    d2 = d1 - s
    density = _bell(d1, (total > _TINY) * torch.exp(-dividend * tau))
    # The density is 0 wherever d1 is large enough for its powers to overflow: it goes first.
    slope = density * root * d2
    return HigherGreeks(
        rho=_normal(d2, sign, sign * strike * tau * torch.exp(-rate * tau)),
        vanna=-slope / s,
        volga=log_spot.exp() * (slope * d1) / vol.clamp(min=_TINY),
    )


def _normal(x: Tensor, sign: int, times: Tensor) -> Tensor:
    """``times`` N(sign x), N the normal distribution function, accurate in the left tail."""
    reach, least = _reach(x.dtype)
    tail = torch.erfc((x * (-sign / math.sqrt(2))).clamp(max=math.sqrt(reach)))
    return threshold(tail, least, 0.0) * (0.5 * times)


def _bell(x: Tensor, times: Tensor) -> Tensor:
    """``times`` the standard normal density."""
    reach, least = _reach(x.dtype)
    bell = torch.exp((x * x * -0.5).clamp(min=-reach))
    return threshold(bell, least, 0.0) * (times / math.sqrt(2 * math.pi))


def _reach(dtype: torch.dtype) -> tuple[float, float]:
    """Where e^-x is small enough to be 0, and how small that is.

    Just short of where the results of exp(-x) and erfc(sqrt(x)) are no longer normal numbers: from
    there on both take up to thirty times as long.
    """
    reach = -math.log(torch.finfo(dtype).tiny) - 5.0
    return reach, 1.001 * math.exp(-reach)

"""Barrier options: the continuous formula by images, and its shift for dates that are watched."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..instruments.barrier import BarrierOption
from .black_scholes import Greeks
from .differentiate import TINY, black, differentiate, root, scaled_normal
from .fixings import dates_left
from .terms import Terms

SHIFT = 0.5825971579390106  # -zeta(1/2) / sqrt(2 pi)
SURE = 1e-6  # total vols below this are taken as none


def barrier(claim: BarrierOption, terms: Terms) -> Greeks:
    """A barrier that is watched on the market's dates, priced at every one of them.

    Untouched, it is the continuous formula with the barrier moved away by the factor e^{0.5826 vol
    sqrt(dt)}, dt the mean spacing of the dates left, and the payoff cut at the barrier itself. A
    knock-out is at most what the look at maturity alone would leave of it, which with one date left
    is exact. What is missing is of order dt, and worst within a step's move of the barrier
    (docs/claims/barrier.md has the measured error).
    Source: Broadie, Glasserman and Kou, "A Continuity Correction for
    Discrete Barrier Options", 1997, theorem 1.1. Evidence: tests/envs/test_claims_quantlib.py,
    tests/envs/test_claim_laws.py.
    """
    left = dates_left(terms)
    spacing = terms.tau.double() / left.clamp(min=1)
    touched = claim.touched(terms.spot).cumsum(dim=0) > 0
    log_barrier = math.log(claim.barrier)
    carry = (terms.rate, terms.dividend)

    def price(tau: Tensor, vol: Tensor, log_spot: Tensor) -> Tensor:
        s = vol * root(tau)
        shifted = log_barrier + claim.side * SHIFT * vol * spacing.sqrt()
        watched = knock_out(claim, tau, s, log_spot, shifted, *carry)
        at_end = _inside(claim, tau, s.clamp(min=TINY), log_spot, log_spot * 0, log_barrier, *carry)
        out = torch.where(left <= 1, at_end, torch.minimum(watched, at_end))
        return _knocked(claim, out * ~touched, tau, s, log_spot, *carry)

    return differentiate(price, terms.tau, terms.vol, terms.log_spot)


def continuous_barrier(
    claim: BarrierOption, log_spot: Tensor, tau: Tensor, vol: Tensor, rate: float, dividend: float
) -> Tensor:
    """The price of an untouched barrier option whose barrier is watched all the time.

    Source: Reiner and Rubinstein, "Breaking Down the Barriers", 1991, all eight kinds. Evidence:
    tests/envs/test_claims_quantlib.py.

    Args:
        claim: what is owed.
        log_spot: the spot's logarithm, on the barrier's safe side.
        tau: years to maturity, not negative, of the spot's shape.
        vol: per sqrt(year), not negative, of the spot's shape.
        rate: continuously compounded.
        dividend: continuous yield.
    """
    s = vol * root(tau)
    level = torch.full_like(log_spot, math.log(claim.barrier))
    out = knock_out(claim, tau, s, log_spot, level, rate, dividend)
    return _knocked(claim, out, tau, s, log_spot, rate, dividend)


def knock_out(
    claim: BarrierOption,
    tau: Tensor,
    total: Tensor,
    log_spot: Tensor,
    log_barrier: Tensor,
    rate: float,
    dividend: float,
) -> Tensor:
    """The knock-out option by the method of images: U(S) - (H / S)^p U(H^2 / S).

    U is the value of the payoff inside the claim's barrier, p = 2 (r - q) / vol^2 - 1, and H =
    e^log_barrier, where it may have been moved away; the value on H is 0. Without vol the path is
    known, and with it whether it meets the barrier.
    """
    s = total.clamp(min=SURE)
    power = 2 * (rate - dividend) * tau / s.square() - 1
    away = log_barrier - log_spot
    terms = (claim, tau, s)
    end = math.log(claim.barrier)  # the look at maturity is at the barrier itself
    straight = _inside(*terms, log_spot, torch.zeros_like(away), end, rate, dividend)
    image = _inside(*terms, log_barrier + away, power * away, end, rate, dividend)
    drift = (rate - dividend) * tau
    meets = claim.side * torch.where(claim.side * drift > 0, drift - away, -away) >= 0
    sure = black(log_spot - dividend * tau, _log_cash(claim, tau, rate), total * 0, claim.sign)
    return torch.where(total > SURE, straight - image, sure * ~meets)


def _inside(
    claim: BarrierOption,
    tau: Tensor,
    s: Tensor,
    log_spot: Tensor,
    log_scale: Tensor,
    log_barrier: Tensor | float,
    rate: float,
    dividend: float,
) -> Tensor:
    """The value of the payoff where the spot ends inside the barrier, times e^{log_scale}."""
    sign, log_strike = claim.sign, math.log(claim.strike)
    log_asset = log_spot - dividend * tau
    log_cash = _log_cash(claim, tau, rate)

    def beyond(log_trigger: Tensor) -> Tensor:
        """Of sign (S - strike) where sign (S - trigger) > 0."""
        d1 = (log_asset + rate * tau - log_trigger) / s + s / 2
        asset = scaled_normal(log_scale + log_asset, sign * d1)
        return sign * (asset - scaled_normal(log_scale + log_cash, sign * (d1 - s)))

    barrier = torch.as_tensor(log_barrier, dtype=s.dtype, device=s.device)
    if claim.side != sign:  # the payoff lies on the safe side
        return beyond(sign * (sign * barrier).clamp(min=sign * log_strike))
    return beyond(sign * (sign * barrier).clamp(max=sign * log_strike)) - beyond(barrier)


def _knocked(
    claim: BarrierOption,
    out: Tensor,
    tau: Tensor,
    total: Tensor,
    log_spot: Tensor,
    rate: float,
    dividend: float,
) -> Tensor:
    """The claim's own kind from the knock-out option: in + out is the option without a barrier."""
    plain = black(log_spot - dividend * tau, _log_cash(claim, tau, rate), total, claim.sign)
    out = torch.minimum(out.clamp(min=0), plain)
    return out if claim.knock == "out" else plain - out


def _log_cash(claim: BarrierOption, tau: Tensor, rate: float) -> Tensor:
    return math.log(claim.strike) - rate * tau

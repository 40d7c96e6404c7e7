"""Calls and puts on a company under offer."""

from __future__ import annotations

import torch

from ..instruments.claim import EuropeanOption
from ..markets.deal import Deal
from .black_scholes import Greeks, black_scholes
from .terms import Terms


def deal_option(claim: EuropeanOption, market: Deal, terms: Terms) -> Greeks:
    """Price and Greeks ``[T+1, N]`` of an option that lives to the closing of a cash deal.

        V = q (sign (B e^{-r (T - t)} - K e^{-r tau}))^+ + (1 - q) BS(D_t, K, tau, fallback_sigma)

    With the probability q the target is the offer B, else the fallback D. Delta is the change with
    the spot as the probability moves, D held: (V_B - V_D) / (B e^{-r (T - t)} - D) within the
    bounds of a delta, so that gamma is 0; once the deal is decided they are those of what is left.
    Vega is to ``fallback_sigma``. An option on the other asset is Black-Scholes.
    Source: Bester, Martinez and Rosu, "Cash mergers and the volatility smile", 2023, eq. 7.
    Evidence: tests/envs/test_deal.py (Monte Carlo, parity, differences).

    Raises:
        ValueError: for an option that matures before the deal closes.
    """
    if terms.asset:
        return _on(claim, terms, terms.own.implied_vol)
    maturity = float(terms.maturity.min())
    if maturity < market.closing * (1 - 1e-6):
        raise ValueError(
            f"an option that matures at {maturity:.6g} years, before the deal closes at "
            f"{market.closing:.6g}: list one that lives to the closing, or mark by black-scholes"
        )
    latents, times, rate = terms.paths.latents, terms.paths.times, terms.rate
    grown = torch.exp(rate * (times - times[:1])).to(terms.spot.dtype)
    q, offer, fallback = (latents[name] for name in ("probability", "offer", "fallback"))
    offer, fallback = offer * grown, fallback * grown
    discounted = claim.strike * torch.exp(-rate * terms.tau)
    closed = torch.clamp(claim.sign * (offer - discounted), min=0)
    vol = terms.log_spot.new_full((1, 1), market.fallback_sigma)
    broken = black_scholes(fallback.log(), claim.strike, terms.tau, vol, sign=claim.sign, rate=rate)
    width = offer - fallback
    slope = (closed - broken.price) / torch.where(width == 0, 1.0, width)
    slope = slope.clamp(min(claim.sign, 0), max(claim.sign, 0))
    exercised = claim.sign * (closed > 0).to(slope.dtype)
    delta = torch.where(q == 0, broken.delta, torch.where(q == 1, exercised, slope))
    return Greeks(
        price=q * closed + (1 - q) * broken.price,
        delta=delta,
        gamma=broken.gamma * (q == 0),
        vega=(1 - q) * broken.vega,
        theta=q * rate * closed + (1 - q) * broken.theta - delta * q * rate * offer,
    )


def _on(claim: EuropeanOption, terms: Terms, vol: torch.Tensor) -> Greeks:
    return black_scholes(
        terms.log_spot,
        claim.strike,
        terms.tau,
        terms.effective(vol),
        sign=claim.sign,
        rate=terms.rate,
        dividend=terms.dividend,
        spot=terms.spot,
    )

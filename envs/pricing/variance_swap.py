"""Variance swaps."""

from __future__ import annotations

import torch

from ..instruments.variance_swap import VarianceSwap
from .black_scholes import Greeks
from .differentiate import TINY
from .fixings import ahead, pace
from .terms import Terms


def variance_swap(claim: VarianceSwap, terms: Terms) -> Greeks:
    """What is realised so far plus what is expected of the dates left, at the quoted vol.

    A step of dt years adds vol^2 dt + m^2, m = (r - q - vol^2 / 2) dt its mean log-return: the
    second term, of order dt, is what the common formula drops. The next return starts from today's
    fixing, so delta is 2 m / S and gamma (2 - 2 m) / S^2 times notional e^{-r tau} / years. Source:
    Demeterfi, Derman, Kamal and Zou, "More Than You Ever Wanted to Know about Volatility Swaps",
    1999; the step is elementary. Evidence: tests/envs/test_claim_laws.py.
    """
    log_spot = terms.log_spot.double()
    tau, vol, carry = terms.tau.double(), terms.vol.double(), terms.rate - terms.dividend
    speed = pace(terms)
    dt = terms.paths.times.double().diff(dim=0)
    du = terms.paths.variance_time.double().diff(dim=0)
    squares = log_spot.diff(dim=0).square()
    realised = torch.cat([torch.zeros_like(log_spot[:1]), squares.cumsum(dim=0)])
    # The sum of m^2 = (carry dt - vol^2 du / 2)^2 over the steps left, by its powers of vol.
    mixed, slow = speed * ahead(dt * du), speed.square() * ahead(du.square())
    drift = carry**2 * ahead(dt.square()) - carry * vol.square() * mixed + vol**4 / 4 * slow
    expected = realised + vol.square() * tau + drift

    next_dt, next_du = (torch.cat([x, torch.zeros_like(x[:1])]) for x in (dt, du))
    mean = carry * next_dt - vol.square() / 2 * speed * next_du
    pending = (next_dt > 0).to(log_spot.dtype)
    years = terms.paths.times[-1] - terms.paths.times[0]
    scale = claim.notional * torch.exp(-terms.rate * tau) / years
    price = scale * (expected - claim.strike_vol**2 * years)
    spot = log_spot.exp().clamp(min=TINY)
    by_vol = 2 * vol * tau - 2 * carry * vol * mixed + vol**3 * slow
    decay = pending * (vol.square() + 2 * mean * (carry - vol.square() / 2))
    price, delta, gamma, vega, theta = (
        values.expand(log_spot.shape).to(terms.log_spot.dtype)
        for values in (
            price,
            scale * 2 * mean / spot,
            scale * 2 * (pending - mean) / spot.square(),
            scale * by_vol,
            terms.rate * price - scale * decay,
        )
    )
    return Greeks(price, delta, gamma, vega, theta)

"""Forward-start options."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..instruments.forward_start import ForwardStart
from .black_scholes import Greeks
from .differentiate import black, differentiate, root
from .fixings import pace
from .terms import Terms


def forward_start(claim: ForwardStart, terms: Terms) -> Greeks:
    """Until the start t0 e^{-q (t0 - t)} V(1, moneyness, T - t0) shares, a vanilla option then.

    The vol over (t0, T] is the one quoted today: a flat term structure. Source: Rubinstein, "Pay
    Now, Choose Later", 1991. Evidence: tests/envs/test_claims_quantlib.py,
    tests/envs/test_claim_laws.py.
    """
    rate, dividend = terms.rate, terms.dividend
    times, clock = terms.paths.times.double(), terms.paths.variance_time.double()
    rows, shape = claim.begins(times), terms.log_spot.shape
    dates = torch.arange(len(times), device=times.device)[:, None]
    before = dates < rows
    at_start = terms.log_spot.double().gather(0, rows.expand(1, shape[1]))
    lived = times[-1] - times.gather(0, rows)  # from the start to maturity, [1, 1 or N]
    lived_variance = (clock[-1] - clock.gather(0, rows)) * pace(terms)

    def price(tau: Tensor, vol: Tensor, log_spot: Tensor) -> Tensor:
        variance = vol.square() * torch.where(before, lived_variance, tau)
        struck = torch.where(before, log_spot, at_start) + math.log(claim.moneyness)
        wait = torch.where(before, tau - lived, 0.0)
        cash = struck - dividend * wait - rate * (tau - wait)
        return black(log_spot - dividend * tau, cash, root(variance), claim.sign)

    return differentiate(price, terms.tau, terms.vol, terms.log_spot)

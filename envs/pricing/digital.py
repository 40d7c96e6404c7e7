"""Digital options."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..instruments.digital import Digital
from .black_scholes import Greeks
from .differentiate import TINY, differentiate, normal, root
from .terms import Terms


def digital(claim: Digital, terms: Terms) -> Greeks:
    """Cash-or-nothing: V = cash e^{-r tau} N(sign d2).

    At expiry it is the payoff, half the cash at the strike itself. Source: Reiner and Rubinstein,
    "Unscrambling the Binary Code", 1991. Evidence: tests/envs/test_claims_quantlib.py,
    tests/envs/test_claim_laws.py.
    """
    carry = terms.rate - terms.dividend

    def price(tau: Tensor, vol: Tensor, log_spot: Tensor) -> Tensor:
        s = (vol * root(tau)).clamp(min=TINY)
        d2 = (log_spot - math.log(claim.strike) + carry * tau) / s - s / 2
        return claim.cash * torch.exp(-terms.rate * tau) * normal(claim.sign * d2)

    return differentiate(price, terms.tau, terms.vol, terms.log_spot)

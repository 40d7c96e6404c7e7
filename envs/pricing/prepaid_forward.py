"""The prepaid forward, in every model."""

from __future__ import annotations

import torch

from ..instruments.prepaid_forward import PrepaidForward
from .black_scholes import Greeks
from .terms import Terms


def prepaid_forward(claim: PrepaidForward, terms: Terms) -> Greeks:
    """``S e^{-q tau}``: no model changes it. Evidence: tests/envs/test_model_price.py."""
    price = terms.spot * torch.exp(-terms.dividend * terms.tau)
    zero = torch.zeros_like(price)
    return Greeks(price, price / terms.spot, zero, zero, terms.dividend * price)

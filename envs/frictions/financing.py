"""Financing: what borrowed cash costs, what must stand behind a holding, and who may not pay."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..part import Part

NonNegative = Annotated[float, Field(ge=0)]


class Margin(Part):
    """Equity that must stand behind the holdings, as fractions of ``E = sum |holding| price``.

    Equity is the scenario's capital plus the P&L so far. At every trade the holdings are scaled
    down until ``initial E <= equity``: a leverage limit of 1 / initial. Where equity has fallen
    below ``maintenance E`` at the next date everything is liquidated at its costs and the episode
    ends. Source: Regulation T of the Federal Reserve Board (initial 50 %), FINRA rule 4210
    (maintenance 25 %). Evidence: tests/envs/test_financing.py.
    """

    initial: Annotated[float, Field(gt=0)]
    maintenance: NonNegative = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> Margin:
        if self.maintenance > self.initial:
            raise ValueError(
                f"maintenance {self.maintenance:g} is above initial {self.initial:g}: what is "
                "bought would be called at once"
            )
        return self


class Financing(Part):
    """What borrowing costs.

    ``funding_spread``, per year and continuously compounded as the rate: paid beside the rate on
    cash below minus the capital. A share that is sold short costs its instrument's ``borrow_fee``.
    Evidence: tests/envs/test_financing.py.
    """

    funding_spread: NonNegative = 0.0
    margin: Margin | None = None


class Counterparty(Part):
    """Who sells the hedger his options, and defaults with ``hazard`` per year.

    At the default an option that was bought, listed or in the book, is worth only ``recovery`` of
    its price, and is replaced at its price by one of another counterparty: so ``(1 - recovery)
    price`` is lost, once. Source: Brigo and Masetti, "Risk neutral pricing of counterparty risk",
    2005 (the loss at default on the positive exposure). Evidence: tests/envs/test_financing.py.
    """

    hazard: Annotated[float, Field(gt=0)]
    recovery: Annotated[float, Field(ge=0, le=1)] = 0.4

    def lost(self, times: Tensor, like: Tensor, generator: torch.Generator) -> Tensor:
        """The fraction of what was bought that is lost at each date, ``[T+1, N]``."""
        uniform = torch.rand(
            like.shape[1], generator=generator, dtype=like.dtype, device=like.device
        )
        default = -torch.log1p(-uniform) / self.hazard
        gone = (times - times[:1]).to(like.dtype) >= default
        now = gone & ~torch.cat([torch.zeros_like(gone[:1]), gone[:-1]])
        return (1.0 - self.recovery) * now.to(like.dtype)

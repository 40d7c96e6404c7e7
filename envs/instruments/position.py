"""The position: what must be hedged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ..part import Part
from .claim import Claim
from .client_flow import ClientFlow


class Leg(Part):
    """``quantity`` units of a claim; negative is short."""

    quantity: float
    claim: Claim

    @field_validator("quantity")
    @classmethod
    def _nonzero(cls, quantity: float) -> float:
        if quantity == 0:
            raise ValueError("a leg of quantity 0 is no leg: remove it")
        return quantity


class Position(Part):
    """A book of legs, the ``premium`` (the cash received for it at time 0) and client flow.

    ``mark`` receives minus the position's mark, so that the deal starts at a P&L of 0. What clients
    trade later is paid for as it is dealt.
    """

    legs: Annotated[tuple[Leg, ...], Field(strict=False)]
    premium: float | Literal["mark"] = "mark"
    flow: ClientFlow | None = None

    @model_validator(mode="after")
    def _something(self) -> Position:
        if not self.legs and self.flow is None:
            raise ValueError("legs has no leg and there is no flow: list at least 1 leg, or a flow")
        return self

    @property
    def size(self) -> float:
        """Units of the underlying in the largest plausible delta: the sum of ``|quantity|``.

        Client flow adds what is plausibly open of it.
        """
        legs = sum(abs(leg.quantity) for leg in self.legs)
        return legs if self.flow is None else legs + self.flow.open_units

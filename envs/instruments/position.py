"""The position: what must be hedged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ..part import Part
from .claim import Claim


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
    """A book of legs and the ``premium``: the cash received for taking it on at time 0.

    ``mark`` receives minus the position's mark, so that the deal starts at a P&L of 0.
    """

    legs: Annotated[tuple[Leg, ...], Field(min_length=1, strict=False)]
    premium: float | Literal["mark"] = "mark"

    @property
    def size(self) -> float:
        """Units of the underlying in the largest plausible delta: the sum of ``|quantity|``."""
        return sum(abs(leg.quantity) for leg in self.legs)

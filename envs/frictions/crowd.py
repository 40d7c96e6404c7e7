"""Feedback: other delta hedgers, whose trades move the price the way it moved."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from torch import Tensor

from ..instruments import Leg
from ..part import Part

THINNEST = 0.2  # of the liquidity that a crowd leaves; at 0 the price would have no level


class Crowd(Part):
    """Other desks that hold ``legs`` and hedge their delta in the first asset, at every step.

    They hold ``phi = -Delta`` of it, and a unit that they trade moves the price by the fraction
    ``impact``: dS / S = dX + impact dphi, so that

        dS / S = dX / (1 - impact S dphi/dS) = dX / (1 + impact S Gamma),

    Gamma that of their legs, dX the move without them. To first order realised vol is sigma (1 -
    impact S Gamma): desks that are short gamma buy what rises and make it rise. At least a fifth of
    the liquidity is left to the market. Source: Frey and Stremme, "Market volatility and feedback
    effects from dynamic hedging", 1997, eq. 2.6; Platen and Schweizer, "On feedback effects from
    hedging derivatives", 1998. Evidence: tests/envs/test_feedback.py.
    """

    legs: Annotated[tuple[Leg, ...], Field(min_length=1, strict=False)]
    impact: Annotated[float, Field(gt=0)]

    @field_validator("legs")
    @classmethod
    def _european(cls, legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
        for i, leg in enumerate(legs):
            if leg.claim.reach or leg.claim.path_dependent or leg.claim.exercisable:
                raise ValueError(
                    f"legs.{i}: a {type(leg.claim).__name__} on asset {leg.claim.reach}: give the "
                    "crowd European claims on the first asset"
                )
        return legs

    def amplified(self, spot: Tensor, gamma: Tensor) -> Tensor:
        """What a move is multiplied by ``[N]``, from spot and the legs' gamma ``[N]``."""
        return 1.0 / (1.0 + self.impact * spot * gamma).clamp(min=THINNEST)

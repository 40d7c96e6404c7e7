"""American put: the holder may exercise on any date."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from .claim import Claim, Path


class AmericanPut(Claim):
    """Pays ``max(strike - S, 0)`` when its holder exercises, at the latest at maturity.

    The holder exercises at the optimal boundary of the model that prices it
    (`deephedge.envs.pricing.american.exercised`). Evidence: tests/envs/test_american.py.
    """

    exercisable: ClassVar[bool] = True

    kind: Literal["american-put"] = "american-put"
    strike: Annotated[float, Field(gt=0)]

    def payoff(self, path: Path) -> Tensor:
        """What it pays at maturity if it has not been exercised before."""
        return self.exercise_value(path.spot[-1])

    def exercise_value(self, spot: Tensor) -> Tensor:
        """``max(strike - S, 0)``, in ``spot``'s shape."""
        return torch.clamp(self.strike - spot, min=0)

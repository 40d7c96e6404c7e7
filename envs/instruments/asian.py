"""Asian options: on the average of the spot."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from .claim import Claim, Path


class Asian(Claim):
    """An average-price option: the average A stands in for the spot.

    The average is over all the market's dates after time 0, the maturity included; which they are
    is the calendar's matter. Evidence: tests/envs/test_claims.py.
    """

    path_dependent: ClassVar[bool] = True
    sign: ClassVar[int]  # +1 for a call, -1 for a put

    strike: Annotated[float, Field(gt=0)]
    average: Literal["arithmetic", "geometric"] = "arithmetic"

    def payoff(self, path: Path) -> Tensor:
        """``max(sign (A - strike), 0)``."""
        fixings = path.spot[1:]
        geometric = self.average == "geometric"
        average = fixings.log().mean(dim=0).exp() if geometric else fixings.mean(dim=0)
        return torch.clamp(self.sign * (average - self.strike), min=0)


class AsianCall(Asian):
    """Pays ``max(A - strike, 0)``."""

    kind: Literal["asian-call"] = "asian-call"
    sign: ClassVar[int] = 1


class AsianPut(Asian):
    """Pays ``max(strike - A, 0)``."""

    kind: Literal["asian-put"] = "asian-put"
    sign: ClassVar[int] = -1

"""Digital options: a fixed sum or nothing."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from .claim import Claim, Path


class Digital(Claim):
    """Pays ``cash`` if the spot ends beyond ``strike``. Evidence: tests/envs/test_claims.py."""

    sign: ClassVar[int]  # +1 for a call, -1 for a put

    strike: Annotated[float, Field(gt=0)]
    cash: Annotated[float, Field(gt=0)] = 1.0

    def payoff(self, path: Path) -> Tensor:
        """``cash`` where sign (S_T - strike) > 0."""
        spot = path.spot[-1]
        return self.cash * (self.sign * (spot - self.strike) > 0).to(spot.dtype)


class DigitalCall(Digital):
    """Pays ``cash`` if S_T > strike."""

    kind: Literal["digital-call"] = "digital-call"
    sign: ClassVar[int] = 1


class DigitalPut(Digital):
    """Pays ``cash`` if S_T < strike."""

    kind: Literal["digital-put"] = "digital-put"
    sign: ClassVar[int] = -1

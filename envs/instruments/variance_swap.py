"""Variance swaps: realised against agreed variance."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from .claim import Claim, Path


class VarianceSwap(Claim):
    """Pays ``notional`` for each unit (1.00) of realised above agreed variance per year.

    Realised variance is the sum of squared log-returns between the market's dates, no mean taken
    off, over the years from time 0 to maturity. ``strike_vol`` is the agreed vol per sqrt(year); a
    vega notional of v money per vol point is ``notional`` v / (0.02 strike_vol). Evidence:
    tests/envs/test_claims.py.
    """

    path_dependent: ClassVar[bool] = True

    kind: Literal["variance-swap"] = "variance-swap"
    strike_vol: Annotated[float, Field(ge=0)]
    notional: Annotated[float, Field(gt=0)]

    def payoff(self, path: Path) -> Tensor:
        """``notional (sum of squared log-returns / years - strike_vol^2)``."""
        squares = path.spot.log().diff(dim=0).square().sum(dim=0)
        years = (path.times[-1] - path.times[0]).to(squares.dtype)
        return self.notional * (squares / years - self.strike_vol**2)

"""Lookback options: on the highest or lowest spot."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from .claim import Claim, Path


class Lookback(Claim):
    """An option on the extremum of the spot over the market's dates, time 0 and maturity included.

    ``side`` tells which: +1 the maximum, -1 the minimum. Evidence: tests/envs/test_claims.py.
    """

    path_dependent: ClassVar[bool] = True
    side: ClassVar[int]

    def extremum(self, spot: Tensor) -> Tensor:
        """The running maximum or minimum of ``spot [m+1, N]``, of the same shape."""
        if self.side > 0:
            return torch.cummax(spot, dim=0).values
        return torch.cummin(spot, dim=0).values


class FixedLookback(Lookback):
    """A lookback struck at ``strike``: the extremum stands in for the spot."""

    strike: Annotated[float, Field(gt=0)]

    def payoff(self, path: Path) -> Tensor:
        """``max(max S - strike, 0)``, or ``max(strike - min S, 0)``."""
        return torch.clamp(self.side * (self.extremum(path.spot)[-1] - self.strike), min=0)


class LookbackCall(FixedLookback):
    """Pays ``max(max S - strike, 0)``."""

    kind: Literal["lookback-call"] = "lookback-call"
    side: ClassVar[int] = 1


class LookbackPut(FixedLookback):
    """Pays ``max(strike - min S, 0)``."""

    kind: Literal["lookback-put"] = "lookback-put"
    side: ClassVar[int] = -1


class FloatingLookback(Lookback):
    """A lookback whose strike is the extremum: buys at the lowest or sells at the highest spot."""

    def payoff(self, path: Path) -> Tensor:
        """``S_T - min S``, or ``max S - S_T``."""
        return self.side * (self.extremum(path.spot)[-1] - path.spot[-1])


class FloatingLookbackCall(FloatingLookback):
    """Pays ``S_T - min S``."""

    kind: Literal["floating-lookback-call"] = "floating-lookback-call"
    side: ClassVar[int] = -1


class FloatingLookbackPut(FloatingLookback):
    """Pays ``max S - S_T``."""

    kind: Literal["floating-lookback-put"] = "floating-lookback-put"
    side: ClassVar[int] = 1

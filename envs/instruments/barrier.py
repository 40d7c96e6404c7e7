"""Barrier options: a call or put that a barrier knocks in or out."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from .claim import Claim, Path


class BarrierOption(Claim):
    """A call or put that lives once (``in``) or as long as (``out``) the barrier is (un)touched.

    The barrier is watched on the market's dates, time 0 and the maturity included, and not between
    them: an ``up`` barrier is touched by a spot at or above it, a ``down`` one by a spot at or
    below. Evidence: tests/envs/test_claims.py.
    """

    path_dependent: ClassVar[bool] = True
    sign: ClassVar[int]  # +1 for a call, -1 for a put

    strike: Annotated[float, Field(gt=0)]
    barrier: Annotated[float, Field(gt=0)]
    direction: Literal["up", "down"]
    knock: Literal["in", "out"]

    @property
    def side(self) -> int:
        """+1 where the barrier lies above, -1 where it lies below."""
        return 1 if self.direction == "up" else -1

    def touched(self, spot: Tensor) -> Tensor:
        """Where the barrier is touched."""
        return self.side * (spot - self.barrier) >= 0

    def payoff(self, path: Path) -> Tensor:
        """``max(sign (S_T - strike), 0)`` where it lives, else 0."""
        lives = self.touched(path.spot).any(dim=0) == (self.knock == "in")
        return torch.clamp(self.sign * (path.spot[-1] - self.strike), min=0) * lives


class BarrierCall(BarrierOption):
    """A call with a barrier."""

    kind: Literal["barrier-call"] = "barrier-call"
    sign: ClassVar[int] = 1


class BarrierPut(BarrierOption):
    """A put with a barrier."""

    kind: Literal["barrier-put"] = "barrier-put"
    sign: ClassVar[int] = -1

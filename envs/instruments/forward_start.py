"""Forward-start options: the strike is set on a later date."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from .claim import Claim, Path


class ForwardStart(Claim):
    """A call or put struck at ``moneyness`` times the spot ``start`` years from time 0.

    A start between two dates is the earlier of them. Evidence: tests/envs/test_claims.py.
    """

    path_dependent: ClassVar[bool] = True
    sign: ClassVar[int]  # +1 for a call, -1 for a put

    start: Annotated[float, Field(ge=0)]
    moneyness: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _starts_before_maturity(self) -> ForwardStart:
        if self.maturity is not None and self.start >= self.maturity:
            raise ValueError(
                f"start {self.start:g} is not before maturity {self.maturity:g}: start earlier"
            )
        return self

    def begins(self, times: Tensor) -> Tensor:
        """The row of the start in ``times [m+1, 1 or N]``, ``[1, 1 or N]``."""
        return (times <= self.start + 1e-9).sum(dim=0, keepdim=True) - 1

    def payoff(self, path: Path) -> Tensor:
        """``max(sign (S_T - moneyness S_start), 0)``."""
        row = self.begins(path.times).expand(1, path.spot.shape[1])
        strike = self.moneyness * path.spot.gather(0, row)[0]
        return torch.clamp(self.sign * (path.spot[-1] - strike), min=0)


class ForwardStartCall(ForwardStart):
    """Pays ``max(S_T - moneyness S_start, 0)``."""

    kind: Literal["forward-start-call"] = "forward-start-call"
    sign: ClassVar[int] = 1


class ForwardStartPut(ForwardStart):
    """Pays ``max(moneyness S_start - S_T, 0)``."""

    kind: Literal["forward-start-put"] = "forward-start-put"
    sign: ClassVar[int] = -1

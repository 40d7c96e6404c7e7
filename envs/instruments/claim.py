"""Claims: what is owed, as a function of the path. A claim knows no model."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..part import Kind


class Claim(Kind):
    """A derivative that pays once, at ``maturity`` years (null: at the end of the episode)."""

    maturity: Annotated[float, Field(gt=0)] | None = None

    @abstractmethod
    def payoff(self, spot: Tensor) -> Tensor:
        """What it pays ``[N]`` on the path ``spot [m+1, N]`` up to and including its maturity."""


class EuropeanOption(Claim):
    """A European option struck at ``strike``."""

    strike: Annotated[float, Field(gt=0)]
    sign: ClassVar[int]  # +1 for a call, -1 for a put

    def payoff(self, spot: Tensor) -> Tensor:
        """``max(sign (S_T - strike), 0)``."""
        return torch.clamp(self.sign * (spot[-1] - self.strike), min=0)


class Call(EuropeanOption):
    """Pays ``max(S_T - strike, 0)``."""

    kind: Literal["call"] = "call"
    sign: ClassVar[int] = 1


class Put(EuropeanOption):
    """Pays ``max(strike - S_T, 0)``."""

    kind: Literal["put"] = "put"
    sign: ClassVar[int] = -1

"""Claims: what is owed, as a function of the path. A claim knows no model."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ..part import Kind


class Path(NamedTuple):
    """Prices on the market's dates, up to and including a claim's maturity.

    ``times`` are years ``[m+1, 1 or N]``, ``spot [m+1, N]`` is the claim's asset, ``assets`` are
    all of them, each ``[m+1, N]``; ``default [m+1, N]`` tells whether the asset's issuer has
    defaulted, null where none can.
    """

    times: Tensor
    spot: Tensor
    assets: tuple[Tensor, ...] = ()
    default: Tensor | None = None


class CashFlows(NamedTuple):
    """What a claim pays before its payoff: ``paid [m+1, N]``, and where it is ``over [m+1, N]``.

    From the first date on which it is over it pays no more; what that date pays is in ``paid``.
    """

    paid: Tensor
    over: Tensor


class Claim(Kind):
    """A derivative on ``asset`` that pays at ``maturity`` years (null: the episode's end).

    Before it one that `pays_early` pays its `cash_flows`.
    """

    path_dependent: ClassVar[bool] = False  # then it must mature within the episode
    exercisable: ClassVar[bool] = False  # then its holder may take the exercise value earlier
    pays_early: ClassVar[bool] = False  # then it has `cash_flows`

    maturity: Annotated[float, Field(gt=0)] | None = None
    asset: Annotated[int, Field(ge=0)] = 0

    @abstractmethod
    def payoff(self, path: Path) -> Tensor:
        """What it pays ``[N]`` at its maturity."""

    def exercise_value(self, spot: Tensor) -> Tensor:
        """What the holder of an exercisable claim gets ``[N]`` by exercising at ``spot [N]``."""
        raise TypeError(f"{type(self).__name__} cannot be exercised before its maturity")

    def cash_flows(self, path: Path) -> CashFlows:
        """What a claim that `pays_early` pays beside its payoff, and where that ends it."""
        raise TypeError(f"{type(self).__name__} pays at its maturity only")

    @property
    def reach(self) -> int:
        """The highest asset it depends on."""
        return self.asset


class EuropeanOption(Claim):
    """A European option struck at ``strike``."""

    strike: Annotated[float, Field(gt=0)]
    sign: ClassVar[int]  # +1 for a call, -1 for a put

    def payoff(self, path: Path) -> Tensor:
        """``max(sign (S_T - strike), 0)``."""
        return torch.clamp(self.sign * (path.spot[-1] - self.strike), min=0)


class Call(EuropeanOption):
    """Pays ``max(S_T - strike, 0)``."""

    kind: Literal["call"] = "call"
    sign: ClassVar[int] = 1


class Put(EuropeanOption):
    """Pays ``max(strike - S_T, 0)``."""

    kind: Literal["put"] = "put"
    sign: ClassVar[int] = -1

"""What an optimum is, whatever programme found it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ...envs.hedger import Known
from ...envs.namespace import X


class NoKnownOptimumError(ValueError):
    """The scenario is outside what `solve` solves exactly."""


@dataclass(frozen=True)
class Optimum(ABC):
    """The best that any hedger can do: its risk, its price and how to hedge.

    Attributes:
        value: the least risk, money at the end; what `evaluate` estimates for the hedger.
        error: its numerical error.
        price: the indifference premium, money now: with it the book neither raises nor lowers the
            least risk. Of a short claim the ask; `bid_ask` has both. For quadratic risk, where no
            premium makes the deal worth nothing, the one that leaves the least risk.
        dates: the number of decision dates, T.
    """

    value: float
    error: float
    price: float
    dates: int

    @abstractmethod
    def holding(self, known: Known) -> X:
        """The best holding of the underlying over (t, t+1], ``[N]``."""

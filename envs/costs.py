"""What a trade costs beyond its mid price: a sum of terms, never negative."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from .namespace import Namespace, X
from .part import Kind

NonNegative = Annotated[float, Field(ge=0)]


class Cost(Kind):
    """One term of a trade's cost."""

    @abstractmethod
    def charge(self, trade: X, price: X, ops: Namespace) -> X:
        """Money for trading ``trade`` units at mid ``price``; 0 for no trade."""


class ProportionalCost(Cost):
    """``rate |trade| price``: half the bid-ask spread, as a fraction (0.002 is 20 bp)."""

    kind: Literal["proportional"] = "proportional"
    rate: NonNegative

    def charge(self, trade: X, price: X, ops: Namespace) -> X:
        """``rate |trade| price``."""
        return self.rate * ops.abs(trade) * price


class FixedCost(Cost):
    """``fee`` money for every trade, whatever its size."""

    kind: Literal["fixed"] = "fixed"
    fee: NonNegative

    def charge(self, trade: X, price: X, ops: Namespace) -> X:
        """``fee`` if anything is traded."""
        return ops.where(trade != 0, self.fee + 0 * price, 0 * price)


class PerUnitCost(Cost):
    """``max(fee |trade|, minimum)`` for every trade: a broker's commission."""

    kind: Literal["per-unit"] = "per-unit"
    fee: NonNegative
    minimum: NonNegative = 0.0

    def charge(self, trade: X, price: X, ops: Namespace) -> X:
        """``max(fee |trade|, minimum)`` if anything is traded."""
        commission = ops.maximum(self.fee * ops.abs(trade), self.minimum)
        return ops.where(trade != 0, commission + 0 * price, 0 * price)


class QuadraticCost(Cost):
    """``rate trade^2 price``: temporary linear impact.

    Source: Almgren and Chriss, "Optimal Execution of Portfolio Transactions", 2001, eq. 7, with the
    impact of a unit trade as a fraction of the price.
    """

    kind: Literal["quadratic"] = "quadratic"
    rate: NonNegative

    def charge(self, trade: X, price: X, ops: Namespace) -> X:
        """``rate trade^2 price``."""
        return self.rate * (trade * trade) * price


def total_cost(costs: Sequence[Cost], trade: X, price: X, ops: Namespace) -> X:
    """The sum of all terms; evidence for each in tests/envs/test_costs.py."""
    if not costs:
        return 0 * price
    total = costs[0].charge(trade, price, ops)
    for cost in costs[1:]:
        total = total + cost.charge(trade, price, ops)
    return total

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

    def smoothed(self, trade: X, price: X, width: float, ops: Namespace) -> X:
        """The same with a jump at 0 spread over trades of about ``width`` units, to learn from.

        A kind that jumps and does not say how is not trained through (`DeepHedging`).
        """
        return self.charge(trade, price, ops)


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

    def smoothed(self, trade: X, price: X, width: float, ops: Namespace) -> X:
        """``fee |trade| / (|trade| + width)``: concave, so that a small trade is drawn to none."""
        return self.fee * _traded(trade, width, ops)


class PerUnitCost(Cost):
    """``max(fee |trade|, minimum)`` for every trade: a broker's commission."""

    kind: Literal["per-unit"] = "per-unit"
    fee: NonNegative
    minimum: NonNegative = 0.0

    def charge(self, trade: X, price: X, ops: Namespace) -> X:
        """``max(fee |trade|, minimum)`` if anything is traded."""
        commission = ops.maximum(self.fee * ops.abs(trade), self.minimum)
        return ops.where(trade != 0, commission + 0 * price, 0 * price)

    def smoothed(self, trade: X, price: X, width: float, ops: Namespace) -> X:
        """``max(fee |trade|, minimum |trade| / (|trade| + width))``."""
        size = ops.abs(trade)
        floor = self.minimum * _traded(trade, width, ops)
        return floor + ops.maximum(self.fee * size - floor, 0.0)


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


def _traded(trade: X, width: float, ops: Namespace) -> X:
    """1 for a trade and 0 for none, smooth between."""
    size = ops.abs(trade)
    return size / (size + width)


def total_cost(costs: Sequence[Cost], trade: X, price: X, ops: Namespace) -> X:
    """The sum of all terms; evidence for each in tests/envs/test_costs.py."""
    if not costs:
        return 0 * price
    total = costs[0].charge(trade, price, ops)
    for cost in costs[1:]:
        total = total + cost.charge(trade, price, ops)
    return total

"""What a holding must obey."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from .namespace import Namespace, X
from .part import Part

Positive = Annotated[float, Field(gt=0)]


class Limits(Part):
    """Limits on one instrument, in its units; null is no limit (holdings: set by the scenario).

    ``lower`` and ``upper`` bound the holding, ``max_trade`` the trade of a step; holdings are whole
    multiples of ``lot``.
    """

    lower: float | None = None
    upper: float | None = None
    max_trade: Positive | None = None
    lot: Positive | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Limits:
        lower = -math.inf if self.lower is None else self.lower
        upper = math.inf if self.upper is None else self.upper
        if lower >= upper:
            raise ValueError(f"lower {lower:g} must be below upper {upper:g}")
        if lower > 0 or upper < 0:
            raise ValueError(f"[{lower:g}, {upper:g}] must contain 0, the holding at the start")
        if self.lot is not None and self.max_trade is not None and self.max_trade < self.lot:
            raise ValueError(f"max_trade {self.max_trade:g} is below one lot of {self.lot:g}")
        return self

    def bounded(self, reach: float) -> Limits:
        """The same with finite bounds (``reach`` units either side where none were set) on the lot.

        Raises:
            ValueError: when no lot but 0 lies within the bounds.
        """
        lower = -reach if self.lower is None else self.lower
        upper = reach if self.upper is None else self.upper
        max_trade = self.max_trade
        if self.lot is not None:
            # A hair's breadth of tolerance: 0.3 / 0.1 is 2.9999999999999996.
            least, most = math.ceil(lower / self.lot - 1e-9), math.floor(upper / self.lot + 1e-9)
            if least == most:
                raise ValueError(
                    f"no lot of {self.lot:g} fits between {lower:g} and {upper:g}: lower the lot "
                    "or widen the bounds"
                )
            lower, upper = least * self.lot, most * self.lot
            if max_trade is not None:
                max_trade = math.floor(max_trade / self.lot + 1e-9) * self.lot
        return Limits(lower=lower, upper=upper, max_trade=max_trade, lot=self.lot)

    def towards_zero(self, units: X, ops: Namespace) -> X:
        """The whole lots in a holding; all of it without a lot."""
        if self.lot is None:
            return units
        # A hair above a whole number counts as it; one lot less than half is none.
        lots = ops.round(ops.abs(units) / self.lot - 0.5 + 1e-9)
        return ops.where(units < 0, -lots, lots) * self.lot

    def apply(self, target: X, holding: X, ops: Namespace) -> X:
        """The admissible holding nearest to ``target`` when ``holding`` is held now.

        Call it on `bounded` limits. Evidence: tests/envs/test_constraints.py.
        """
        if self.max_trade is not None:
            target = ops.minimum(
                ops.maximum(target, holding - self.max_trade), holding + self.max_trade
            )
        target = ops.clip(target, self.lower, self.upper)
        if self.lot is not None:
            # Last, so that equal holdings are equal floats and no crumb is traded: the bounds and
            # the largest trade are whole lots, and a holding within them is rounded into them.
            target = ops.round(target / self.lot) * self.lot
        return target

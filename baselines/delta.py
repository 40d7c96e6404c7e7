"""Black-Scholes delta hedging, at every date or inside a fixed band."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ..envs.hedger import Known
from ..envs.namespace import X
from .baseline import Baseline, delta_one_only


class DeltaHedge(Baseline):
    """Makes the position delta-neutral at every ``every``-th decision date.

    Delta is the position's at the marked vol. Source: Black and Scholes, 1973. Evidence:
    tests/baselines/test_baselines.py (hedging error falls as dt^0.5; Derman-Kamal).
    """

    kind: Literal["delta"] = "delta"
    every: Annotated[int, Field(ge=1)] = 1

    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = -Delta_t`` at dates 0, every, 2 every ...; the last target between them.

        So a future that expires between them is replaced at once.
        """
        target = state if known.t % self.every else delta_one_only(known, known.neutral)
        return target, target


class BandHedge(Baseline):
    """Lets the holding drift within ``width`` of delta; outside, trades to the nearest edge.

    The width is in position sizes (the sum of ``|quantity|``). Source: Davis, Panas and
    Zariphopoulou, 1993, for the form; the width is given, not derived.
    """

    kind: Literal["band"] = "band"
    width: Annotated[float, Field(ge=0)] = 0.05

    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = clip(h_{t-1}, -Delta_t - width, -Delta_t + width)``."""
        ops, half = known.ops, self.width * known.contract.size
        held = known.holding[:, known.contract.options :]
        raised = ops.maximum(held, known.neutral - half)
        return delta_one_only(known, ops.minimum(raised, known.neutral + half)), None

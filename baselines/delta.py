"""Black-Scholes delta hedging, at every date, after every move or inside a fixed band."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ..envs.hedger import Known
from ..envs.namespace import X
from ..envs.scenario import Scenario
from .baseline import Baseline, delta_one_only
from .rule_inputs import mean_step, several_assets, to_edge


class DeltaHedge(Baseline):
    """Makes the position delta-neutral at every ``every``-th decision date, or at every ``move``.

    Delta is the position's at the marked vol. ``move`` is a number of standard deviations of a
    step: the spot must have moved by move sigma sqrt(dt) S since the hedge was last set, S the spot
    then, sigma the quoted vol now, dt the mean step. Source: Black and Scholes, 1973; for moves
    Henrotte, "Transaction Costs and Duplication Strategies", 1993. Evidence:
    tests/baselines/test_baselines.py (hedging error falls as dt^0.5; Derman-Kamal) and
    test_cost_hedges.py.
    """

    kind: Literal["delta"] = "delta"
    every: Annotated[int, Field(ge=1)] = 1
    move: Annotated[float, Field(ge=0)] | None = None

    @field_validator("move")
    @classmethod
    def _one_of_them(cls, move: float | None, info: ValidationInfo) -> float | None:
        every = info.data.get("every", 1)
        if move is not None and every != 1:
            raise PydanticCustomError(
                "both", "with every {every} too: give one of them", {"every": every}
            )
        return move

    def refusal(self, scenario: Scenario) -> str | None:
        """``move`` is that of one asset."""
        return None if self.move is None else several_assets(scenario)

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = -Delta_t`` at dates 0, every, 2 every ... or after a move; else the last target.

        So a future that expires in between is replaced at once.
        """
        if self.move is not None:
            state = _after_move(self.move, known, state)
            return state[0], state
        target = state if known.t % self.every else delta_one_only(known, known.neutral)
        return target, target


class BandHedge(Baseline):
    """Lets the holding drift within ``width`` of delta; outside, trades to the edge or the centre.

    The width is in position sizes (the sum of ``|quantity|``). Source: Davis, Panas and
    Zariphopoulou, 1993, for the form with proportional costs, where the edge is right; the centre
    is where fixed costs dominate. The width is given, not derived.
    """

    kind: Literal["band"] = "band"
    width: Annotated[float, Field(ge=0)] = 0.05
    to: Literal["edge", "centre"] = "edge"

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = clip(h_{t-1}, -Delta_t - width, -Delta_t + width)``; or ``-Delta_t`` outside."""
        half, centre = self.width * known.contract.size, known.neutral
        if self.to == "edge":
            return delta_one_only(known, to_edge(known, centre, half)), None
        ops, held = known.ops, known.holding[:, known.contract.options :]
        outside = ops.abs(held - centre) > half
        return delta_one_only(known, ops.where(outside, centre, held)), None


def _after_move(move: float, known: Known, state: tuple[X, X] | None) -> tuple[X, X]:
    """The target, and the spot at which it was set."""
    neutral, spot, ops = delta_one_only(known, known.neutral), known.spot, known.ops
    if state is None:
        return neutral, spot
    target, since = state
    far = move * math.sqrt(mean_step(known)) * known.vol * since
    moved = ops.abs(spot - since) >= far
    return ops.where(moved[:, None], neutral, target), ops.where(moved, spot, since)

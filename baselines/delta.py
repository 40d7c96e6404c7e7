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
from .rule_inputs import (
    charges_a_fee,
    flat_neutral,
    holds_the_asset,
    in_instrument,
    mean_step,
    no_vanilla_book,
    several_assets,
    to_edge,
    vol_beside_marks,
)

Vol = Annotated[float, Field(gt=0, description="the quoted one")] | None


class DeltaHedge(Baseline):
    """Makes the position delta-neutral at every ``every``-th decision date, or at every ``move``.

    Delta is the position's as marked, or that of Black-Scholes at ``vol``. ``move`` is a number of
    standard deviations of a step: the spot must have moved by move sigma sqrt(dt) S since the hedge
    was last set, S the spot then, sigma that vol now, dt the mean step. ``target`` is the delta
    that position and hedge shall have together, in position sizes (the sum of ``|quantity|``), as
    a desk sets it. Source: Black and Scholes, 1973; for moves Henrotte, "Transaction Costs and
    Duplication Strategies", 1993; for another vol than the marks' Ahmad and Wilmott, "Which Free
    Lunch Would You Like Today, Sir?", 2005. Evidence: tests/baselines/test_baselines.py (hedging
    error falls as dt^0.5; Derman-Kamal), test_cost_hedges.py, test_vol_hedges.py (targets) and
    test_gamma_scalping.py (vol).
    """

    kind: Literal["delta"] = "delta"
    every: Annotated[int, Field(ge=1)] = 1
    move: Annotated[float, Field(ge=0)] | None = None
    target: float = 0.0
    vol: Vol = None

    @classmethod
    def variants(cls, scenario: Scenario) -> tuple[Baseline, ...]:
        """At the marks; where the market's vol is known to be another one, at that too."""
        vol = vol_beside_marks(scenario)
        return (cls(),) if vol is None else (cls(), cls(vol=vol))

    @field_validator("move")
    @classmethod
    def _one_of_them(cls, move: float | None, info: ValidationInfo) -> float | None:
        every = info.data.get("every", 1)
        if move is not None and every != 1:
            raise PydanticCustomError(
                "both", "with every {every} too: give one of them", {"every": every}
            )
        return move

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """Every n dates, or the move; of the asset itself the delta never changes."""
        if holds_the_asset(scenario):
            return {}
        return {"every": (1, len(scenario.calendar.decisions)), "move": (0.1, 10.0)}

    def refusal(self, scenario: Scenario) -> str | None:
        """``move`` is that of one asset, and so is ``target``; ``vol`` knows calls and puts."""
        if self.move is not None and (reason := several_assets(scenario)) is not None:
            return reason
        return _no_single_delta(scenario, self.target) or _no_other_vol(scenario, self.vol)

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = target - Delta_t`` at dates 0, every, 2 every ... or after a move; else the last.

        So a future that expires in between is replaced at once.
        """
        wanted = delta_one_only(known, _holding_for(known, self.target, self.vol))
        if self.move is not None:
            vol = known.vol if self.vol is None else self.vol
            state = _after_move(self.move, vol, known, wanted, state)
            return state[0], state
        chosen = state if known.t % self.every else wanted
        return chosen, chosen


class BandHedge(Baseline):
    """Lets the holding drift within ``width`` of delta; outside, trades to the edge or the centre.

    So the delta of position and hedge stays within ``target - width`` and ``target + width``; both
    are in position sizes (the sum of ``|quantity|``). Delta is the position's as marked, or that of
    Black-Scholes at ``vol``. Source: Davis, Panas and Zariphopoulou, 1993, for the form with
    proportional costs, where the edge is right; the centre is where fixed costs dominate. The width
    is given, not derived. Evidence: tests/baselines/test_baselines.py, test_cost_hedges.py,
    test_vol_hedges.py (target ranges) and test_gamma_scalping.py (vol).
    """

    kind: Literal["band"] = "band"
    width: Annotated[float, Field(ge=0)] = 0.05
    to: Literal["edge", "centre"] = "edge"
    target: float = 0.0
    vol: Vol = None

    def refusal(self, scenario: Scenario) -> str | None:
        """``target`` is the delta of one asset, and ``vol`` knows calls and puts."""
        return _no_single_delta(scenario, self.target) or _no_other_vol(scenario, self.vol)

    @classmethod
    def variants(cls, scenario: Scenario) -> tuple[Baseline, ...]:
        """To the edge; where a trade costs something whatever its size, to the centre too.

        Where the market's vol is known to be another than the marks', at that too.
        """
        vol = vol_beside_marks(scenario)
        vols = (None,) if vol is None else (None, vol)
        ends = ("edge", "centre") if charges_a_fee(scenario) else ("edge",)
        return tuple(cls.model_validate({"to": to, "vol": v}) for v in vols for to in ends)

    def waits(self, scenario: Scenario) -> bool:
        """To the centre: a trade then goes further than back into the band."""
        return self.to == "centre"

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """The width."""
        return {"width": (0.003, 2.0)}

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = clip(h_{t-1}, target - Delta_t -+ width)``; or ``target - Delta_t`` outside."""
        half = self.width * known.contract.size
        centre = _holding_for(known, self.target, self.vol)
        if self.to == "edge":
            return delta_one_only(known, to_edge(known, centre, half)), None
        ops, held = known.ops, known.holding[:, known.contract.options :]
        outside = ops.abs(held - centre) > half
        return delta_one_only(known, ops.where(outside, centre, held)), None


def _no_single_delta(scenario: Scenario, target: float) -> str | None:
    """The refusal of a target of several deltas."""
    count = len(scenario.market.spots)
    if count == 1 or not target:
        return None
    return f"target is the delta of one asset and the market has {count}: leave it out"


def _no_other_vol(scenario: Scenario, vol: float | None) -> str | None:
    """The refusal of deltas at another vol than the marks'."""
    return None if vol is None else several_assets(scenario) or no_vanilla_book(scenario)


def _holding_for(known: Known, target: float, vol: float | None) -> X:
    """The delta-one holdings ``[N, D]`` that make the delta ``target`` position sizes."""
    neutral = known.neutral
    if vol is not None:
        neutral = flat_neutral(known, vol + 0.0 * known.vol)
    if not target:
        return neutral
    units = target * known.contract.size + 0.0 * known.spot
    return neutral + in_instrument(known, units)


def _after_move(
    move: float, vol: X, known: Known, wanted: X, state: tuple[X, X] | None
) -> tuple[X, X]:
    """The holding, and the spot at which it was set."""
    spot, ops = known.spot, known.ops
    if state is None:
        return wanted, spot
    held, since = state
    far = move * math.sqrt(mean_step(known)) * vol * since
    moved = ops.abs(spot - since) >= far
    return ops.where(moved[:, None], wanted, held), ops.where(moved, spot, since)

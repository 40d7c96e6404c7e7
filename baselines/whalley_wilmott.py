"""The no-trade band of small costs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ..envs.hedger import Known
from ..envs.namespace import X
from ..envs.scenario import Scenario
from .baseline import Baseline, delta_one_only
from .rule_inputs import (
    aversion_of,
    in_instrument,
    no_aversion,
    proportional_rate,
    several_assets,
    time_left,
    to_edge,
)


class WhalleyWilmottHedge(Baseline):
    """Delta within H = (3/2 e^{-r tau} lambda S Gamma^2 / aversion)^{1/3}; outside, to the edge.

    Gamma is the position's as marked, lambda the proportional cost one way, tau the time to the
    episode's end whatever the legs' maturities, aversion 1 / money: null takes the objective's,
    entropic or mean-variance. Where gamma is 0 there is no band and the hedge is delta. Other cost
    terms are not seen. Source: Whalley and Wilmott, "An Asymptotic Analysis of an Optimal Hedging
    Model for Option Pricing with Transaction Costs", 1997: the first order of the optimum as costs
    vanish. Evidence: tests/baselines/test_cost_hedges.py (published widths, risk on short-call).
    """

    kind: Literal["whalley-wilmott"] = "whalley-wilmott"
    aversion: Annotated[float, Field(gt=0, description="1 / money")] | None = None

    def refusal(self, scenario: Scenario) -> str | None:
        """For one asset, with an aversion."""
        return several_assets(scenario) or no_aversion(scenario, self.aversion)

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = clip(h_{t-1}, -Delta_t - H_t, -Delta_t + H_t)``."""
        half = whalley_wilmott_width(known, aversion_of(known, self.aversion))
        edge = to_edge(known, known.neutral, in_instrument(known, half))
        return delta_one_only(known, edge), None


def whalley_wilmott_width(known: Known, aversion: float) -> X:
    """H ``[N]``, in units of the asset."""
    discount = known.ops.exp(-known.scenario.market.rate * time_left(known))
    price_of_move = 1.5 * discount * (proportional_rate(known) / aversion) * known.spot
    return (price_of_move * known.gamma * known.gamma) ** (1 / 3)

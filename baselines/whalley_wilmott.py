"""The no-trade band of small costs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ..envs.costs import FixedCost, PerUnitCost, ProportionalCost
from ..envs.hedger import Known
from ..envs.namespace import Namespace, X
from ..envs.scenario import Scenario
from .baseline import Baseline, delta_one_only
from .rule_inputs import (
    aversion_of,
    aversions,
    charges,
    fixed_fee,
    in_instrument,
    no_aversion,
    no_option_held,
    several_assets,
    time_left,
    to_edge,
    unit_cost,
)

TINY = 1e-30  # of the asset: keeps 0 / 0 out where gamma is 0; float32 holds it
NEWTON_STEPS = 6


class WhalleyWilmottHedge(Baseline):
    """Delta within B; outside, trades to b on the same side: the band of small costs.

    With x the deviation from delta, k = lambda S the cost of a unit one way (lambda proportional,
    plus a fee per unit), F the fixed fee of a trade and beta = aversion e^{r tau} / (3 Gamma^2):

        beta b B (B + b) = k,        beta (B + b) (B - b)^3 / 4 = F.

    Without a fixed fee B = b = H = (3/2 e^{-r tau} lambda S Gamma^2 / aversion)^{1/3}; with that
    alone b = 0 and B = (12 e^{-r tau} F Gamma^2 / aversion)^{1/4}. Gamma is the position's as
    marked, tau the time to the episode's end whatever the legs' maturities, aversion 1 / money:
    null takes the objective's, entropic or mean-variance. Where gamma is 0 there is no band and the
    hedge is delta. Quadratic terms and a commission's minimum are not seen.

    Source: Whalley and Wilmott, "An Asymptotic Analysis of an Optimal Hedging Model for Option
    Pricing with Transaction Costs", 1997, and "Optimal hedging of options with small but arbitrary
    transaction cost structure", 1999: the first order, as costs vanish, of the optimum of Davis,
    Panas and Zariphopoulou, 1993. The two equations are derived here: inside the band the loss
    is A x^2 - beta x^4 / 4 with slope k at b and at B, and falls by F + k (B - b) between them.
    Evidence: tests/baselines/test_cost_hedges.py (published widths, risk on short-call) and
    test_fixed_cost_band.py (a numerical optimum, risk with a fee).
    """

    kind: Literal["whalley-wilmott"] = "whalley-wilmott"
    aversion: Annotated[float, Field(gt=0, description="the objective's, 1 / money")] | None = None

    @classmethod
    def variants(cls, scenario: Scenario) -> tuple[Baseline, ...]:
        """Shown where trades have a cost that it sees: else it is delta."""
        seen = charges(scenario, ProportionalCost | PerUnitCost | FixedCost)
        return (cls(),) if seen else ()

    def refusal(self, scenario: Scenario) -> str | None:
        """For one asset, a position with gamma, and an aversion."""
        unfit = several_assets(scenario) or no_option_held(scenario)
        return unfit or no_aversion(scenario, self.aversion)

    def waits(self, scenario: Scenario) -> bool:
        """Under a fee: outside the band the holding goes to a narrower one."""
        costs = scenario.costs[scenario.contract.options]
        return any(isinstance(cost, FixedCost) for cost in costs)

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """The aversion."""
        return {"aversion": aversions(scenario)}

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = clip(h_{t-1}, -Delta_t - b, -Delta_t + b)`` where it is further off than B."""
        aversion = aversion_of(known, self.aversion)
        reach, back = whalley_wilmott_band(known, aversion)
        centre, ops = known.neutral, known.ops
        inner = to_edge(known, centre, in_instrument(known, back))
        if not fixed_fee(known):
            return delta_one_only(known, inner), None
        held = known.holding[:, known.contract.options :]
        outside = ops.abs(held - centre) > in_instrument(known, reach)
        return delta_one_only(known, ops.where(outside, inner, held)), None


def whalley_wilmott_band(known: Known, aversion: float) -> tuple[X, X]:
    """B and b, each ``[N]``, in units of the asset."""
    width, fixed = whalley_wilmott_width(known, aversion), fixed_fee(known)
    if not fixed:
        return width, width
    discount = known.ops.exp(-known.scenario.market.rate * time_left(known))
    price_of_move = 12.0 * discount * (fixed / aversion) * known.gamma
    return band_of(width, (price_of_move * known.gamma) ** 0.25, known.ops)


def whalley_wilmott_width(known: Known, aversion: float) -> X:
    """H ``[N]``, in units of the asset: the band without a fixed fee."""
    discount = known.ops.exp(-known.scenario.market.rate * time_left(known))
    price_of_move = 1.5 * discount * unit_cost(known) / aversion
    return (price_of_move * known.gamma * known.gamma) ** (1 / 3)


def band_of(width: X, reach: X, ops: Namespace) -> tuple[X, X]:
    """B and b ``[N]`` from H, the band of the unit cost alone, and E, that of the fee alone.

    With m = B + b and d = B - b the equations are m^3 - E^{8/3} m^{1/3} = (2 H)^3 and
    d = m (E / m)^{4/3}. The first is convex in u = m^{1/3} and has one positive root: Newton from
    above falls to it, from at most 9 % off.
    """
    start = ops.maximum(ops.maximum(2 ** (4 / 3) * width, 2 ** (3 / 8) * reach), TINY)
    p, q = (2 * width / start) ** 3, (reach / start) ** (8 / 3)
    u = 1.0 + 0.0 * start
    for _ in range(NEWTON_STEPS):
        u = u - (u**9 - q * u - p) / ops.maximum(9 * u**8 - q, 1.0)
    m = ops.maximum(start * u**3, TINY)
    d = ops.minimum(m * (reach / m) ** (4 / 3), m)
    return (m + d) / 2, (m - d) / 2

"""Delta at the vol that pays for its own trading."""

from __future__ import annotations

import math
from typing import Any, Literal

from ..envs.costs import ProportionalCost
from ..envs.hedger import Known
from ..envs.namespace import X
from ..envs.scenario import Scenario
from .baseline import Baseline, delta_one_only
from .rule_inputs import (
    charges,
    mean_step,
    neutral_at,
    no_vanilla_book,
    proportional_rate,
    several_assets,
)


class LelandHedge(Baseline):
    """Delta at every date, at the vol sigma^2 (1 -+ sqrt(8/pi) lambda / (sigma sqrt(dt))).

    With lambda the proportional cost one way, dt the mean step and sigma the quoted vol; plus for
    a short option, minus for a long one (no less than 0). Source: Leland, "Option Pricing and
    Replication with Transactions Costs", 1985, with k = 2 lambda there the cost of a round trip.
    A book is as long or short as its marked gamma is, path by path and date by date: Hoggard,
    Whalley and Wilmott, "Hedging Option Portfolios in the Presence of Transaction Costs", 1994,
    where gamma is that of their nonlinear equation; the two agree when it has one sign. All legs
    are revalued at the same vol. Other cost terms are not seen. Evidence:
    tests/baselines/test_cost_hedges.py (replication cost at 20 bp; limits).
    """

    kind: Literal["leland"] = "leland"

    @classmethod
    def variants(cls, scenario: Scenario) -> tuple[Baseline, ...]:
        """Shown where trades have a proportional cost: else it is delta."""
        return (cls(),) if charges(scenario, ProportionalCost) else ()

    def refusal(self, scenario: Scenario) -> str | None:
        """For one asset, and legs that are European options."""
        return several_assets(scenario) or no_vanilla_book(scenario)

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = -Delta_t(sigma_hat)``."""
        return delta_one_only(known, neutral_at(known, leland_vol(known))), None


def leland_vol(known: Known) -> X:
    """Leland's vol ``[N]``."""
    vol, gamma = known.vol, known.gamma
    short = 1.0 * (gamma < 0) - 1.0 * (gamma > 0)
    extra = math.sqrt(8 / math.pi / mean_step(known)) * proportional_rate(known)
    return known.ops.maximum(vol * vol + short * (extra * vol), 0.0) ** 0.5

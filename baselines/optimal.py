"""The hedge that no other can beat."""

from __future__ import annotations

from typing import Any, Literal

from ..envs.hedger import Known
from ..envs.namespace import X
from ..envs.scenario import Scenario
from .baseline import Baseline, delta_one_only
from .optimum import NoKnownOptimumError, known_optimum, solve
from .rule_inputs import need_dates


class OptimalHedge(Baseline):
    """The optimal hedge: to the nearest edge of the exact band; with a fixed fee, to a target.

    Sources: Hodges and Neuberger, "Optimal replication of contingent claims under transaction
    costs", 1989; Davis, Panas and Zariphopoulou, "European option pricing with transaction costs",
    1993. The programme and its assumptions: `solve`. Evidence: tests/baselines/test_optimal.py
    (its simulated risk is the programme's value, and no other hedger's is lower),
    test_optimal_fixed_costs.py and test_optimal_states.py (with regimes and Heston's variance,
    which it is told), test_quadratic_hedges.py (quadratic risk) and test_tail_optimum.py (CVaR,
    mean + c std).
    """

    kind: Literal["optimal"] = "optimal"

    @classmethod
    def variants(cls, scenario: Scenario) -> tuple[Baseline, ...]:
        """Shown where it is proven; else it is to be asked for."""
        return () if known_optimum(scenario) is None else (cls(),)

    def refusal(self, scenario: Scenario) -> str | None:
        """Where no optimum is known, as `solve` says."""
        try:
            solve(scenario)
        except NoKnownOptimumError as error:
            return str(error)
        return None

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """As the `Optimum` of the scenario holds.

        Raises:
            ValueError: on dates other than the scenario's.
        """
        optimum = solve(known.scenario)
        need_dates(known, optimum.dates, self.name)
        return delta_one_only(known, optimum.holding(known)[:, None]), None

"""The hedge of least squared error where log-increments are independent."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from ..envs.hedger import Known
from ..envs.namespace import X
from ..envs.scenario import Hedge, Scenario
from .baseline import Baseline, delta_one_only
from .optimum import NoKnownOptimumError
from .optimum.problem import problem_of
from .optimum.quadratic import QuadraticOptimum, least_squares, refusal_of_law
from .optimum.scope import refusal_of_problem
from .rule_inputs import need_dates


class VarianceOptimalHedge(Baseline):
    """The self-financing hedge that minimises E[L^2] given the premium, costs and bounds aside.

    h_t = xi_t(S) + feedback_t (V_t(S) - w_t) / F_t, with xi the regression of the mean value V of
    what is owed on the price over a step, and wealth w brought back towards V where the price has
    a drift. In GBM, Merton and Kou, for calls, puts and digitals at the end; the dates are the
    scenario's, so that it is right where they are few. It is exact for `Quadratic` without costs,
    where it is ``optimal``; listed options are left alone.

    Sources: Schweizer, "Variance-optimal hedging in discrete time", 1995; Hubalek, Kallsen and
    Krawczyk, "Variance-optimal hedging for processes with stationary independent increments", 2006.
    The programme: `least_squares`. Evidence: tests/baselines/test_quadratic_hedges.py.
    """

    kind: Literal["variance-optimal"] = "variance-optimal"

    def refusal(self, scenario: Scenario) -> str | None:
        """Where steps are not independent, or what is owed is not of the spot at the end alone."""
        reason = refusal_of_law(scenario) or refusal_of_problem(_bare(scenario))
        if reason is not None:
            return reason
        try:
            _table(scenario)
        except NoKnownOptimumError as error:
            return str(error)
        return None

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """As `QuadraticOptimum.holding`.

        Raises:
            ValueError: on dates other than the scenario's.
        """
        table = _table(known.scenario)
        need_dates(known, table.dates, self.name)
        return delta_one_only(known, table.holding(known)[:, None]), None


def _bare(scenario: Scenario) -> Scenario:
    """The scenario with its underlying alone, and without costs and limits."""
    hedge = Hedge(instrument=scenario.hedges[-1].instrument)
    return scenario.model_copy(update={"hedges": (hedge,), "loss_limit": None})


@lru_cache(maxsize=8)
def _table(scenario: Scenario) -> QuadraticOptimum:
    return least_squares(problem_of(_bare(scenario)))

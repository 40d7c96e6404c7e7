"""Exponential utility where log-increments are independent: GBM, Merton, Kou."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...envs.scenario import Scenario
from .bands import BandOptimum
from .dynamics import Dynamics
from .one_step_law import (
    NOISE,
    WIDEST_CUT,
    Law,
    Steady,
    centre,
    one_step_law,
    steady_sigma,
)
from .optimum import NoKnownOptimumError
from .problem import Problem, problem_of
from .programme import entropic_optimum
from .scope import kind_of, refusal_of_costs, refusal_of_objective, refusal_of_problem
from .transition import Arc, Transition

Floats = NDArray[np.float64]

COARSEST = 1.5  # points a deviation on which sums of a normal law's products are still integrals
WIDE = 30  # deviations that a law spans where its jumps are worth a sum of their own


class Independent(Dynamics):
    """Increments that do not depend on the past: one state."""

    def __init__(self, problem: Problem, market: Steady) -> None:
        years = problem.years
        self.market, self.years = market, years
        self.start = np.ones(1)
        self.shift = np.asarray(
            np.log(market.spot) + market.drift * problem.dates + centre(market) * problem.clock
        )
        self.deviation = steady_sigma(market) * float(np.sqrt(years[years > 0].min()))

    def steps(self, t: int) -> tuple[float, ...]:
        """One."""
        return (float(self.years[t]),)

    def transition(self, years: float, step: float, cut: float = WIDEST_CUT) -> Transition:
        """As `one_step_law`, a step with jumps apart from one without where that is cheaper."""
        whole = one_step_law(self.market, years, step, cut)
        sd = steady_sigma(self.market) * math.sqrt(years) / step
        every = int(sd / COARSEST)
        rarity = math.exp(-years * getattr(self.market, "intensity", 0.0))
        if rarity == 1 or every < 2 or len(whole.weights) < WIDE * sd:
            return Transition(1, (Arc(0, 0, whole),))
        points = whole.first + np.arange(len(whole.weights))
        normal = rarity * np.exp(-0.5 * (points / sd) ** 2) / (sd * math.sqrt(2 * math.pi))
        reach = np.flatnonzero(normal > NOISE * normal.max())
        core = Law(int(points[reach[0]]), normal[reach])
        jumps = np.maximum(whole.weights - normal, 0.0)[::every]
        jumps *= (1 - core.weights.sum()) / jumps.sum()
        return Transition(1, (Arc(0, 0, core), Arc(0, 0, Law(whole.first, jumps), every)))

    def ends(self, step: float, cut: float = WIDEST_CUT) -> tuple[int, int]:
        """Of the law over all steps, which is of the same family."""
        whole = one_step_law(self.market, float(self.years.sum()), step, cut)
        return whole.first, whole.first + len(whole.weights) - 1


def exponential_optimum(scenario: Scenario) -> BandOptimum:
    """`entropic_optimum` over all hedgers that know the past of a market without memory.

    Raises:
        NoKnownOptimumError: a ValueError naming why no optimum is known, and the mend.
    """
    reason = _refusal(scenario)
    if reason is not None:
        raise NoKnownOptimumError(f"no known optimum: {reason}")
    problem, market = problem_of(scenario), scenario.market
    assert isinstance(market, Steady)
    return entropic_optimum(problem, Independent(problem, market))


def _refusal(scenario: Scenario) -> str | None:
    """Why the programme does not solve the scenario, with the mend; null where it does."""
    if not isinstance(scenario.market, Steady) or not steady_sigma(scenario.market):
        return (
            f"market {kind_of(scenario.market)}: its log-increments are not independent with a "
            "constant law of positive sigma: choose gbm, merton or kou with such parameters"
        )
    return (
        refusal_of_objective(scenario) or refusal_of_problem(scenario) or refusal_of_costs(scenario)
    )

"""Which books and hedges the programmes know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...envs.costs import Cost, FixedCost, PerUnitCost, ProportionalCost
from ...envs.instruments import Call, DigitalCall, DigitalPut, Put, Underlying
from ...envs.objectives import Entropic
from ...envs.scenario import Scenario


def refusal_of_problem(scenario: Scenario) -> str | None:
    """Why `problem_of` cannot describe the scenario, with the mend; null where it can."""
    if not scenario.calendar.fixed:
        return "the calendar's dates differ from path to path: choose a uniform calendar"
    if scenario.loss_limit is not None:
        return "a loss_limit makes wealth matter: leave it out"
    if scenario.frictions or scenario.crowd is not None:
        what = [*scenario.frictions, "crowd"][0]
        return f"{what}: it is not in the programme: leave it out"
    return _refusal_of_book(scenario) or _refusal_of_hedge(scenario)


def _refusal_of_book(scenario: Scenario) -> str | None:
    """Why the book is none of European claims of the spot at the end; null where it is."""
    if scenario.position.flow is not None:
        return "position.flow: what clients will trade is not in the programme: set it to null"
    calendar = scenario.calendar
    near = 1e-6 * calendar.horizon / calendar.steps
    for i, leg in enumerate(scenario.position.legs):
        claim = leg.claim
        if type(claim) not in (Call, Put, DigitalCall, DigitalPut):
            return (
                f"position.legs.{i}: a {kind_of(claim)} is no European claim of the spot at the "
                "end: keep calls, puts and digitals"
            )
        if claim.maturity is not None and abs(claim.maturity - calendar.horizon) > near:
            return (
                f"position.legs.{i}: maturity {claim.maturity:g} years is not the episode's end, "
                f"{calendar.horizon:g}: leave maturity out"
            )
    return None


def _refusal_of_hedge(scenario: Scenario) -> str | None:
    """Why it is not hedged with one underlying with no limit but bounds; null where it is."""
    if len(scenario.hedges) > 1 or not isinstance(scenario.hedges[0].instrument, Underlying):
        return "it is hedged with more or other than one underlying: hedge with that alone"
    limits = scenario.limits[0]
    if limits.max_trade is not None or limits.lot is not None:
        return "hedges.0.limits: max_trade and lot are not in the programme: leave them out"
    return None


def refusal_of_objective(scenario: Scenario) -> str | None:
    """Why wealth matters, with the mend; null where it does not."""
    if isinstance(scenario.objective, Entropic):
        return None
    return (
        f"objective {kind_of(scenario.objective)}: wealth matters to it and is not in the "
        "programme: set objective to entropic, or to quadratic, cvar or mean-std"
    )


def refusal_of_linear_costs(scenario: Scenario) -> str | None:
    """Why the cost of a trade is not proportional to it, with the mend; null where it is."""
    return _refusal_of_costs(scenario.hedges[0].costs)


def refusal_of_costs(scenario: Scenario) -> str | None:
    """The same beside fixed fees, which the programme of `entropic_optimum` knows."""
    costs = scenario.hedges[0].costs
    return _refusal_of_costs([cost for cost in costs if not isinstance(cost, FixedCost)])


def _refusal_of_costs(costs: Sequence[Cost]) -> str | None:
    for cost in costs:
        linear = isinstance(cost, PerUnitCost) and not cost.minimum
        if not linear and not isinstance(cost, ProportionalCost):
            return (
                f"hedges.0.costs: a {kind_of(cost)} cost is not proportional to the trade: keep "
                "proportional costs, and per-unit costs without a minimum"
            )
    return None


def kind_of(part: Any) -> str:
    """The name of a scenario part's kind."""
    return str(part.kind)

"""The optimum of a scenario, by the programme that knows it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ...envs.markets import Heston, RegimeSwitching
from ...envs.objectives import CVaR, MeanStd, Quadratic
from ...envs.scenario import Scenario
from .exponential import exponential_optimum
from .optimum import NoKnownOptimumError, Optimum
from .quadratic import quadratic_optimum
from .state import state_optimum
from .tail import tail_optimum


def known_optimum(scenario: Scenario) -> Optimum | None:
    """The proven optimum, or null where none is known; never a guess.

    What `solve` attains for CVaR and mean + c std has an error of some percent of what there is to
    gain, and takes half a minute: it is asked for, not assumed.
    """
    if isinstance(scenario.objective, CVaR | MeanStd):
        return None
    found = _solved(scenario)
    return found if isinstance(found, Optimum) else None


def solve(scenario: Scenario) -> Optimum:
    """The optimum over all hedgers that know the past, on the scenario's dates and in its bounds.

    Raises:
        NoKnownOptimumError: a ValueError naming why no optimum is known, and the mend.
    """
    found = _solved(scenario)
    if isinstance(found, str):
        raise NoKnownOptimumError(found)
    return found


@lru_cache(maxsize=8)
def _solved(scenario: Scenario) -> Optimum | str:
    """The optimum, or why none is known: that too can take a while to find."""
    with np.errstate(all="ignore"):  # what overflows is refused
        try:
            optimum = _programme(scenario)(scenario)
        except NoKnownOptimumError as error:
            return str(error)
    if not np.isfinite([optimum.value, optimum.error, optimum.price]).all():
        return (
            "no known optimum: values are out of proportion: look at market, costs and quantities"
        )
    return optimum


def _programme(scenario: Scenario) -> Callable[[Scenario], Optimum]:
    if isinstance(scenario.objective, Quadratic):
        return quadratic_optimum
    if isinstance(scenario.objective, CVaR | MeanStd):
        return tail_optimum
    if isinstance(scenario.market, Heston | RegimeSwitching):
        return state_optimum
    return exponential_optimum


def bid_ask(scenario: Scenario) -> tuple[float, float]:
    """Indifference prices now for buying and for selling what the scenario's book owes.

    Raises:
        NoKnownOptimumError: as `solve`, for the book or for its opposite.
    """
    legs = tuple(
        leg.model_copy(update={"quantity": -leg.quantity}) for leg in scenario.position.legs
    )
    position = scenario.position.model_copy(update={"legs": legs})
    opposite = scenario.model_copy(update={"position": position})
    return -solve(opposite).price, solve(scenario).price

"""The optimum of a scenario, by the programme that knows it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...envs.markets import Heston, RegimeSwitching
from ...envs.scenario import Scenario
from .exponential import exponential_optimum
from .optimum import NoKnownOptimumError, Optimum
from .state import state_optimum


def known_optimum(scenario: Scenario) -> Optimum | None:
    """The optimum, or null where none is known; never a guess."""
    try:
        return solve(scenario)
    except NoKnownOptimumError:
        return None


@lru_cache(maxsize=32)
def solve(scenario: Scenario) -> Optimum:
    """The optimum over all hedgers that know the past, on the scenario's dates and in its bounds.

    Raises:
        NoKnownOptimumError: a ValueError naming why no optimum is known, and the mend.
    """
    stateful = isinstance(scenario.market, Heston | RegimeSwitching)
    programme = state_optimum if stateful else exponential_optimum
    with np.errstate(all="ignore"):  # what overflows is refused
        optimum = programme(scenario)
    if not np.isfinite([optimum.value, optimum.error, optimum.price]).all():
        raise NoKnownOptimumError(
            "no known optimum: values are out of proportion: look at market, costs and quantities"
        )
    return optimum


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

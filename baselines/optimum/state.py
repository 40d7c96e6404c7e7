"""Exponential utility where the market has a state that the hedger knows too."""

from __future__ import annotations

from ...envs.markets import Heston, RegimeSwitching
from ...envs.scenario import Scenario
from .bands import BandOptimum
from .dynamics import Dynamics
from .heston_law import Volatility
from .optimum import NoKnownOptimumError
from .problem import problem_of
from .programme import entropic_optimum
from .regime_law import Regimes
from .scope import kind_of, refusal_of_costs, refusal_of_objective, refusal_of_problem


def state_optimum(scenario: Scenario) -> BandOptimum:
    """`entropic_optimum` over all hedgers that know the past and the regime or the variance.

    It is what the simulated market allows, so that Heston's is of Andersen's scheme on the
    calendar's own steps. A hedger that must infer the state from prices can do no better: the value
    bounds its risk from below. Where the first regime is drawn, the risk is that of the mixture.

    Raises:
        NoKnownOptimumError: a ValueError naming why no optimum is known, and the mend.
    """
    reason = _refusal(scenario)
    if reason is not None:
        raise NoKnownOptimumError(f"no known optimum: {reason}")
    problem, market = problem_of(scenario), scenario.market
    dynamics: Dynamics
    if isinstance(market, RegimeSwitching):
        dynamics = Regimes(problem, market)
    else:
        assert isinstance(market, Heston)
        dynamics = Volatility(problem, market)
    return entropic_optimum(problem, dynamics)


def _refusal(scenario: Scenario) -> str | None:
    """Why the programme does not solve the scenario, with the mend; null where it does."""
    market = scenario.market
    if isinstance(market, RegimeSwitching):
        if not min(regime.sigma for regime in market.regimes):
            return "market regime-switching: a regime has sigma 0: give it a positive one"
    elif not isinstance(market, Heston) or not market.volatility:
        return (
            f"market {kind_of(market)}: its state is no regime and no variance of Heston's that is "
            "positive: choose regime-switching or heston with such parameters"
        )
    return (
        refusal_of_objective(scenario) or refusal_of_problem(scenario) or refusal_of_costs(scenario)
    )

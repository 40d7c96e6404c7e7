"""The frictionless quadratic optimum where log-increments are independent, exactly on the dates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...envs.hedger import Known
from ...envs.ledger import worth
from ...envs.markets import Kou
from ...envs.namespace import X
from ...envs.objectives import Quadratic
from ...envs.scenario import Scenario
from .log_spots import LogSpots, at_spot, log_spots, mean
from .one_step_law import WIDEST_CUT, Law, Steady, one_step_law, steady_sigma
from .optimum import NoKnownOptimumError, Optimum
from .problem import Problem, problem_of
from .scope import kind_of, refusal_of_problem

Floats = NDArray[np.float64]

PER_STANDARD_DEVIATION = 6  # lattice points of the shortest step
FINER_AT_THE_END = 16  # lattice points of the last step, per point, where the payoff has kinks
IN_A_CELL = 64  # points over which a payoff's kink or jump is averaged
LEAST_UP_RATE = 2.5  # of Kou: from there on the cut leaves out less than the stated error
TINY = 1e-12  # of a log-spot: rounding
SEEN = 4.0  # standard deviations of spot and of wealth within which the bounds may not bind


@dataclass(frozen=True)
class QuadraticOptimum(Optimum):
    """The least-squares hedge: xi_t(S) + feedback_t (V_t(S) - w) / F_t.

    Attributes:
        log_spot: the lattice at each decision date, ``[T, M]``.
        units: xi, units of the underlying, ``[T, M]``.
        worth: V, the mean value of what is owed, money at the end, ``[T, M]``.
        feedback: units of money in the underlying per money of shortfall, ``[T]``.
        growth: e^{r (T - t)}, ``[T]``: F_t = growth_t S_t.
        remaining: L, the part of a squared shortfall that no hedge removes, ``[T]``.
    """

    log_spot: Floats
    units: Floats
    worth: Floats
    feedback: Floats
    growth: Floats
    remaining: Floats

    def holding(self, known: Known) -> X:
        """``xi_t(S_t) + feedback_t (V_t(S_t) - w_t) / F_t``, xi and V linear between points.

        w_t is cash and holdings at mid, carried to the end: the book's mark is not in it.
        """
        t, growth = known.t, float(self.growth[known.t])
        prices = [known.price[:, k] for k in range(known.price.shape[1])]
        wealth = growth * (known.account.cash + worth(known.account.holding, prices))
        units, owed = (at_spot(known, self.log_spot[t], x[t]) for x in (self.units, self.worth))
        return units + float(self.feedback[t]) * (owed - wealth) / (growth * known.spot)


def quadratic_optimum(scenario: Scenario) -> QuadraticOptimum:
    """The optimum of sqrt(E[L^2]) over all hedgers that know the past, on the scenario's dates.

    `least_squares` with its error: the difference from a lattice of half the points, plus that from
    a law cut at 6 standard deviations and not at 7. There are no costs, and bounds hardly matter:
    nowhere within 4 standard deviations of the spot and of wealth does the hedge leave them (where
    prices jump and drift, it does on some 5 paths in 100,000: the value is that without bounds,
    and no hedger within them has a lower risk).

    Raises:
        NoKnownOptimumError: a ValueError naming why no optimum is known, and the mend.
    """
    reason = _refusal(scenario)
    if reason is not None:
        raise NoKnownOptimumError(f"no known optimum: {reason}")
    problem = problem_of(scenario)
    coarse = least_squares(problem, PER_STANDARD_DEVIATION / 2).value
    earlier = least_squares(problem, PER_STANDARD_DEVIATION / 2, WIDEST_CUT - 1).value
    tail = abs(coarse - earlier)
    optimum = least_squares(problem)
    _check_bounds(problem, optimum)
    return replace(optimum, error=abs(optimum.value - coarse) + tail)


def _refusal(scenario: Scenario) -> str | None:
    """Why the programme does not solve the scenario, with the mend; null where it does."""
    if not isinstance(scenario.objective, Quadratic):
        return (
            f"objective {kind_of(scenario.objective)}: the programme is for quadratic risk: set "
            "objective to quadratic"
        )
    reason = refusal_of_law(scenario) or refusal_of_problem(scenario)
    if reason is None and scenario.hedges[0].costs:
        return "hedges.0.costs: the programme is without costs: leave them out"
    return reason


def refusal_of_law(scenario: Scenario) -> str | None:
    """Why steps are not independent with one law of finite variance, with the mend; else null."""
    market = scenario.market
    if not isinstance(market, Steady) or not steady_sigma(market):
        return (
            f"market {kind_of(market)}: its log-increments are not independent with a constant law "
            "of positive sigma: choose gbm, merton or kou with such parameters"
        )
    if isinstance(market, Kou) and market.up_rate < LEAST_UP_RATE:
        return (
            f"market.up_rate {market.up_rate:g}: the spot's variance is infinite or of jumps too "
            f"rare for the law's cut: set it to {LEAST_UP_RATE:g} or more"
        )
    return None


def _check_bounds(problem: Problem, optimum: QuadraticOptimum) -> None:
    """Refuse where the hedge may leave the bounds.

    The root of E[(w_t - V_t)^2] is at most value / sqrt(L_t), as L_t times it is part of value^2.
    """
    market, dates = problem.scenario.market, problem.dates[:-1]
    middle = math.log(market.spot) + market.drifts[0] * dates
    width = SEEN * market.volatility * np.sqrt(problem.clock[:-1])
    near = np.abs(optimum.log_spot - middle[:, None]) <= width[:, None] + TINY
    shortfall = SEEN * optimum.value / np.sqrt(optimum.remaining)
    forward = optimum.growth[:, None] * np.exp(optimum.log_spot)
    swing = np.abs(optimum.feedback * shortfall)[:, None] / forward
    least = float((optimum.units - swing)[near].min())
    most = float((optimum.units + swing)[near].max())
    lower, upper = problem.bounds
    if least < lower or most > upper:
        raise NoKnownOptimumError(
            f"no known optimum: without bounds it holds from {least:.3g} to {most:.3g} units and "
            f"hedges.0.limits allow {lower:.3g} to {upper:.3g}: widen them"
        )


def least_squares(
    problem: Problem, fineness: float = PER_STANDARD_DEVIATION, cut: float = WIDEST_CUT
) -> QuadraticOptimum:
    """The optimum without costs and bounds; ``fineness`` lattice points a standard deviation.

    With w wealth in money at the end, F_t = S_t e^{r (T - t)}, R = e^{q dt} F_{t+1} / F_t and
    a = E[R - 1], the least E[(H - w_T)^2] to come is L_t (w - V_t(S))^2 + eps_t(S), where

        beta = Cov(V_{t+1}, R) / Var(R),   V_t = E[V_{t+1}] - beta a,   xi_t = beta / F_t,
        L_t = L_{t+1} Var(R) / (Var(R) + a^2),
        eps_t = E[eps_{t+1}] + L_{t+1} (Var(V_{t+1}) - beta Cov(V_{t+1}, R)),

    from V_T = H, L_T = 1, eps_T = 0; and the best holding is
    xi_t + a / (Var(R) + a^2) (V_t - w) / F_t. ``error`` is not set.

    Sources: Schweizer, "Variance-optimal hedging in discrete time", 1995 (the case of a
    deterministic mean-variance tradeoff); Cerny and Kallsen, "Hedging by sequential regressions
    revisited", 2009. Evidence: tests/baselines/test_quadratic_hedges.py (the formula of Hubalek,
    Kallsen and Krawczyk, 2006; simulation; no other hedger has a lower risk).

    Raises:
        NoKnownOptimumError: where a step has no variance, or the lattice is too large.
    """
    market = _steady(problem)
    lattice = log_spots(problem, market, fineness, cut)
    T, M = len(problem.years), len(lattice.points)
    log_spot, units, owed = np.empty((T, M)), np.empty((T, M)), np.empty((T, M))
    feedback, remaining = np.empty(T), np.empty(T)
    left, error = 1.0, np.zeros(M)
    laws = {dt: one_step_law(market, dt, lattice.step, cut) for dt in set(problem.years.tolist())}
    for t in reversed(range(T)):
        law, after = laws[float(problem.years[t])], None if t == T - 1 else owed[t + 1]
        if after is None:
            fine = lattice.step / FINER_AT_THE_END
            law = one_step_law(market, float(problem.years[t]), fine, cut)
        fit = _regression(problem, lattice, t, law, after)
        log_spot[t] = lattice.at(t)
        units[t] = fit.slope / (problem.growth[t] * np.exp(log_spot[t]))
        owed[t] = fit.level
        second = fit.variance + fit.gain**2
        feedback[t] = fit.gain / second
        inside = law.reached(lattice.points).clip(lattice.points[0], lattice.points[-1])
        later = 0.0 if after is None else mean(law, error[inside + lattice.start])
        error = later + left * fit.residual
        left *= fit.variance / second
        remaining[t] = left
    V = float(owed[0, lattice.start])
    shortfall = problem.premium * float(problem.growth[0]) - V
    return QuadraticOptimum(
        value=math.sqrt(left * shortfall**2 + float(error[lattice.start])),
        error=math.nan,
        price=V / float(problem.growth[0]),
        dates=T,
        log_spot=log_spot,
        units=units,
        worth=owed,
        feedback=feedback,
        growth=problem.growth[:-1],
        remaining=remaining,
    )


def _steady(problem: Problem) -> Steady:
    """The market, which `refusal_of_law` has checked, where every step has variance."""
    if problem.years.min() <= 0:
        raise NoKnownOptimumError(
            "no known optimum: the calendar has a step without variance: set its overnight and "
            "weekend above 0"
        )
    market = problem.scenario.market
    assert isinstance(market, Steady)
    return market


class _Fit(NamedTuple):
    """The regression of V_{t+1} on R - 1: ``[M]``, and of R its ``gain`` E[R - 1] and variance."""

    level: Floats
    slope: Floats
    residual: Floats
    gain: float
    variance: float


def _regression(
    problem: Problem, lattice: LogSpots, t: int, law: Law, after: Floats | None
) -> _Fit:
    """Of ``after`` (V_{t+1} on the lattice; null: of what is owed) on the gain of the step.

    In the last step probability lies evenly in a cell, so that a payoff's kink or jump counts by
    where in the cell it is: all moments are means over cells.
    """
    stride = FINER_AT_THE_END if after is None else 1
    nodes = law.reached(lattice.points, stride)
    step = lattice.step / stride
    log_next = lattice.shift[t + 1] + nodes * step
    if after is None:
        within = ((np.arange(IN_A_CELL) + 0.5) / IN_A_CELL - 0.5) * step
        values = problem.owed(np.exp(log_next[:, None] + within))
    else:
        within = np.zeros(1)
        values = _beyond(problem, lattice, t + 1, nodes, after)[:, None]
    growth = np.exp(within)
    spots = np.exp(log_next)
    gross = problem.growth[t + 1] * problem.reinvested[t] / problem.growth[t]
    x = lattice.shift[t + 1] - lattice.shift[t] + (law.first + np.arange(len(law.weights))) * step
    R = gross * np.exp(x)
    first = float(law.weights @ R) * float(growth.mean())
    variance = float(law.weights @ R**2) * float((growth**2).mean()) - first**2
    level = mean(law, values.mean(axis=1), stride)
    square = mean(law, (values**2).mean(axis=1), stride)
    product = mean(law, (values * growth).mean(axis=1) * spots, stride)
    covariance = gross * product / np.exp(lattice.at(t)) - level * first
    slope = covariance / variance
    residual = np.maximum(square - level**2 - slope * covariance, 0.0)
    return _Fit(level - slope * (first - 1), slope, residual, first - 1, variance)


def _beyond(
    problem: Problem, lattice: LogSpots, t: int, nodes: NDArray[np.int64], values: Floats
) -> Floats:
    """V_t at ``nodes``.

    Beyond the lattice, where paths get with a probability of about 1e-12, it differs from what is
    owed by as much as at the lattice's end.
    """
    inside = np.clip(nodes, lattice.points[0], lattice.points[-1])
    owed = problem.owed(problem.growth[t] * np.exp(lattice.shift[t] + nodes * lattice.step))
    extra = owed - owed[inside - nodes[0]]
    return np.asarray(values[inside + lattice.start] + extra, np.float64)

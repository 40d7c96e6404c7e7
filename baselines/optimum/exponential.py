"""Exponential utility where log-increments are independent, exactly on the scenario's dates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

from ...envs.hedger import Known
from ...envs.namespace import X
from ...envs.objectives import Entropic
from ...envs.scenario import Scenario
from .one_step_law import WIDEST_CUT, Steady, centre, one_step_law, steady_sigma
from .optimum import NoKnownOptimumError, Optimum
from .problem import Problem, problem_of
from .scope import kind_of, refusal_of_linear_costs, refusal_of_problem

Floats = NDArray[np.float64]

PER_STANDARD_DEVIATION = 6  # lattice points of the shortest step
HOLDINGS = 97
SCOUTING = 41  # holdings of the first pass, which finds those that the hedge can reach
FINER_AT_THE_END = 16  # lattice points of the last step, per point, where the payoff has kinks
IN_A_CELL = 64  # points over which a payoff's kink or jump is averaged
MOST_POINTS = 20_000  # of the lattice
LOOSEST_TAIL = 0.001  # of two position sizes' standard deviation: how far the cut may matter


@dataclass(frozen=True)
class BandOptimum(Optimum):
    """The optimum under linear costs: trades to the nearest edge of the exact no-trade band.

    Attributes:
        log_spot: the lattice at each decision date, ``[T, M]``.
        lower, upper: the band, units of the underlying, ``[T, M]``: below ``lower`` buy up to it,
            above ``upper`` sell down to it, trade nothing between. Edges beyond every holding that
            the optimal hedge reaches are cut there.
    """

    log_spot: Floats
    lower: Floats
    upper: Floats

    def holding(self, known: Known) -> X:
        """``clip(h_{t-1}, lower_t(S_t), upper_t(S_t))``, edges linear between points."""
        lower, upper = (
            _edge(known, self.log_spot[known.t], edge[known.t]) for edge in (self.lower, self.upper)
        )
        return known.ops.minimum(known.ops.maximum(known.holding[:, -1], lower), upper)


def _edge(known: Known, log_spot: Floats, edge: Floats) -> X:
    spot = known.spot
    if isinstance(spot, torch.Tensor):
        values = np.interp(np.log(spot.detach().cpu().numpy()), log_spot, edge)
        return torch.as_tensor(values, dtype=spot.dtype, device=spot.device)
    return np.interp(np.log(spot), log_spot, edge)


def exponential_optimum(scenario: Scenario) -> BandOptimum:
    """The optimum over all hedgers that know the past, on the scenario's dates and in its bounds.

    With a the aversion, F_t = S_t e^{r (T - t)} (money at the end), k_t = sum of rates F_t + sum of
    fees e^{r (T - t)} and q the dividend yield, the least certainty-equivalent loss to come is

        J_t(S, h) = min over h' of k_t |h' - h| + G_t(S, h'),
        G_t(S, h') = log E[exp(a (J_{t+1}(S', h') - h' (e^{q dt} F_{t+1} - F_t)))] / a,

    with J_T what the book owes, plus k_T |h| if the end liquidates. Wealth does not enter: it is a
    factor of exponential utility. G is convex in h', so that the best trade is to the nearest edge
    of the interval on which |dG/dh'| <= k. The expectation is a sum over the lattice law of
    `one_step_law`, cut at 7 standard deviations: uncut, the risk of a short call is infinite.
    The error is the difference from a lattice of half the points either way, plus that from a cut
    at 6. Sources and evidence: see `deephedge.baselines.OptimalHedge`.

    Raises:
        NoKnownOptimumError: a ValueError naming why no optimum is known, and the mend.
    """
    reason = _refusal(scenario)
    if reason is not None:
        raise NoKnownOptimumError(f"no known optimum: {reason}")
    problem = problem_of(scenario)
    book = _certified(problem)
    alone = 0.0
    if not problem.martingale:
        alone = _certified(replace(problem, owed=np.zeros_like)).value
    growth = float(problem.growth[0])
    value = book.value - problem.premium * growth
    return replace(book, value=value, price=(book.value - alone) / growth)


def _refusal(scenario: Scenario) -> str | None:
    """Why the programme does not solve the scenario, with the mend; null where it does."""
    if not isinstance(scenario.objective, Entropic):
        return (
            f"objective {kind_of(scenario.objective)}: wealth matters to it and is not in the "
            "programme: set objective to entropic"
        )
    if not isinstance(scenario.market, Steady) or not steady_sigma(scenario.market):
        return (
            f"market {kind_of(scenario.market)}: its log-increments are not independent with a "
            "constant law of positive sigma: choose gbm, merton or kou with such parameters"
        )
    return refusal_of_problem(scenario) or refusal_of_linear_costs(scenario)


def _certified(problem: Problem) -> BandOptimum:
    """The optimum with its error; ``value`` before any premium, ``price`` not yet set."""
    reach, farthest = problem.reach, max(-problem.bounds[0], problem.bounds[1])
    while True:
        wide = _grid(-reach, reach, problem.bounds, SCOUTING)
        scout = _backward(problem, wide, PER_STANDARD_DEVIATION / 2)
        least, most = min(0.0, scout.upper.min()), max(0.0, scout.lower.max())
        if reach >= farthest or (wide[0] < least and most < wide[-1]):
            break
        reach *= 2
    least, most = least - (wide[1] - wide[0]), most + (wide[1] - wide[0])
    halved = _grid(least, most, problem.bounds, HOLDINGS // 2 + 1)
    coarse = _backward(problem, halved, PER_STANDARD_DEVIATION / 2).value
    earlier = _backward(problem, halved, PER_STANDARD_DEVIATION / 2, WIDEST_CUT - 1).value
    tail = abs(coarse - earlier)
    scale = (
        problem.scenario.market.volatility
        * np.sqrt(problem.years.sum())
        * problem.scenario.market.spot
    )
    if tail > LOOSEST_TAIL * problem.reach * scale:
        raise NoKnownOptimumError(
            f"no known optimum: the risk is decided by where the law of a step is cut ({coarse:g} "
            f"at 7 standard deviations, {earlier:g} at 6): lower the aversion, or cap the loss"
        )
    fine = _backward(problem, _grid(least, most, problem.bounds, HOLDINGS), PER_STANDARD_DEVIATION)
    return replace(fine, error=abs(fine.value - coarse) + tail)


def _grid(least: float, most: float, bounds: tuple[float, float], count: int) -> Floats:
    """About ``count`` equal steps within the bounds, with 0 and the farther end among them."""
    least, most = max(least, bounds[0]), min(most, bounds[1])
    farther = max(-least, most)
    step = farther / math.ceil(farther / (most - least) * (count - 1))
    first, last = math.ceil(least / step - 1e-9), math.floor(most / step + 1e-9)
    return step * np.arange(first, last + 1, dtype=np.float64)


def _backward(
    problem: Problem, holdings: Floats, fineness: float, cut: float = WIDEST_CUT
) -> BandOptimum:
    """The programme from the end to the start; ``fineness`` lattice points a standard deviation."""
    years, market, a = problem.years, _steady(problem), _aversion(problem)
    shift = np.log(market.spot) + market.drift * problem.dates + centre(market) * problem.clock
    step = steady_sigma(market) * float(np.sqrt(years[years > 0].min())) / fineness
    whole = one_step_law(market, float(years.sum()), step, cut)
    points = np.arange(whole.first, whole.first + len(whole.weights))
    if len(points) > MOST_POINTS:
        raise NoKnownOptimumError(
            f"no known optimum: {len(points)} lattice points (at most {MOST_POINTS}) are needed "
            "for the shortest step and the whole law: take fewer dates, or more even ones"
        )
    laws = {dt: one_step_law(market, dt, step, cut) for dt in set(years.tolist())}
    T = len(years)
    log_spot = np.empty((T, len(points)))
    lower, upper = np.empty_like(log_spot), np.empty_like(log_spot)
    cost_to_go = np.empty(0)
    for t in reversed(range(T)):
        if t == T - 1:
            fine = step / FINER_AT_THE_END
            law = one_step_law(market, float(years[t]), fine, cut)
            nodes = law.reached(points, FINER_AT_THE_END)
            following, log_next = _final(problem, holdings, nodes, fine, shift[T])
            stride = FINER_AT_THE_END
        else:
            law, stride = laws[float(years[t])], 1
            nodes = law.reached(points, 1)
            log_next = shift[t + 1] + nodes * step
            # Beyond the lattice, where paths get with a probability of about 1e-12, J differs
            # from what is owed by as much as at its end.
            inside = np.clip(nodes, points[0], points[-1])
            owed = problem.owed(problem.growth[t + 1] * np.exp(log_next))
            beyond = owed - owed[inside - nodes[0]]
            following = cost_to_go[inside - points[0]] + beyond[:, None]
        forward = problem.growth[t + 1] * problem.reinvested[t] * np.exp(log_next)
        exponent = a * (following - forward[:, None] * holdings)
        log_spot[t] = shift[t] + points * step
        now = problem.growth[t] * np.exp(log_spot[t])[:, None]
        G = law.log_mean(exponent, len(points), stride) / a + now * holdings
        k = problem.rate * now + problem.fee * problem.growth[t]
        lower[t], bought = _lowest(G + k * holdings, holdings)
        upper[t], sold = _lowest(G - k * holdings, holdings)
        upper[t] = np.maximum(lower[t], upper[t])
        cost_to_go = np.where(holdings < lower[t][:, None], bought[:, None] - k * holdings, G)
        above = holdings > upper[t][:, None]
        cost_to_go = np.where(above, sold[:, None] + k * holdings, cost_to_go)
    value = float(cost_to_go[-whole.first, np.abs(holdings).argmin()])
    return BandOptimum(value, np.nan, np.nan, T, log_spot, lower, upper)


def _final(
    problem: Problem, holdings: Floats, nodes: NDArray[np.int64], step: float, shift: float
) -> tuple[Floats, Floats]:
    """J_T ``[n, H]`` and the log-spots ``[n]``: what is owed, as the mean of its exp over a cell.

    The mean makes a kink or jump inside a cell count by where in the cell it is.
    """
    a, log_spot = _aversion(problem), np.asarray(shift + nodes * step, np.float64)
    within = ((np.arange(IN_A_CELL) + 0.5) / IN_A_CELL - 0.5) * step
    owed = a * problem.owed(np.exp(log_spot[:, None] + within))
    closing = (problem.rate * np.exp(log_spot) + problem.fee) * float(problem.liquidate)
    mean = np.asarray(special.logsumexp(owed, axis=1) - math.log(IN_A_CELL), np.float64)
    return (mean / a)[:, None] + closing[:, None] * np.abs(holdings), log_spot


def _lowest(values: Floats, holdings: Floats) -> tuple[Floats, Floats]:
    """Where each row of ``values [M, H]`` is least, and the least value, by a parabola."""
    lowest = values.argmin(axis=1)
    middle = np.clip(lowest, 1, len(holdings) - 2)
    left, centre, right = (
        np.take_along_axis(values, (middle + i)[:, None], axis=1)[:, 0] for i in (-1, 0, 1)
    )
    bend, slope = left - 2 * centre + right, (right - left) / 2
    curved = bend > 0
    vertex = -slope / np.where(curved, bend, 1.0)
    place = np.clip(np.where(curved, vertex, lowest - middle), -1.0, 1.0)
    least = centre + slope * place + bend * place**2 / 2
    where = holdings[middle] + place * (holdings[1] - holdings[0])
    return np.asarray(where, np.float64), np.asarray(least, np.float64)


def _steady(problem: Problem) -> Steady:
    """The market, which `_refusal` has checked."""
    market = problem.scenario.market
    assert isinstance(market, Steady)
    return market


def _aversion(problem: Problem) -> float:
    """Entropic risk's aversion, 1 / money, which `_refusal` has checked."""
    objective = problem.scenario.objective
    assert isinstance(objective, Entropic)
    return objective.aversion

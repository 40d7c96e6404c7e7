"""Exponential utility by dynamic programming, exactly on the scenario's dates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ...envs.objectives import Entropic
from .bands import BandOptimum, TriggerOptimum
from .dynamics import Dynamics
from .one_step_law import WIDEST_CUT
from .optimum import NoKnownOptimumError
from .problem import Problem
from .trade import Trade, fixed_trade, linear_trade

Floats = NDArray[np.float64]

PER_STANDARD_DEVIATION = 6  # lattice points of the shortest step
HOLDINGS = 97
SCOUTING = 41  # holdings of the first pass, which finds those that the hedge can reach
FINER_AT_THE_END = 16  # lattice points of the last step, per point, where the payoff has kinks
IN_A_CELL = 64  # points over which a payoff's kink or jump is averaged
MOST_POINTS = 20_000  # of the lattice
MOST_WORK = 3e9  # products of a weight and a value, per holding: minutes
LOOSEST_TAIL = 0.001  # of two position sizes' standard deviation: how far the cut may matter


def entropic_optimum(problem: Problem, dynamics: Dynamics) -> BandOptimum:
    """The optimum over all hedgers that know the past and the state, with its error.

    With a the aversion, F_t = S_t e^{r (T - t)} (money at the end), k_t = sum of rates F_t + sum of
    fees e^{r (T - t)}, f_t = sum of fixed fees e^{r (T - t)}, q the dividend yield and Y the state,
    the least certainty-equivalent loss to come is

        J_t(Y, S, h) = min(G_t(Y, S, h), f_t + min over h' of k_t |h' - h| + G_t(Y, S, h')),
        G_t(Y, S, h) = log E[exp(a (J_{t+1}(Y', S', h) - h (e^{q dt} F_{t+1} - F_t)))] / a,

    with J_T what the book owes, plus k_T |h| + f_T if the end liquidates h other than 0. Wealth
    does not enter: it is a factor of exponential utility. Without a fixed fee G is convex in h, so
    that the best trade is to the nearest edge of the interval on which |dG/dh| <= k; with one it is
    to a target once it is worth the fee. The expectation is a sum over the lattice law of the
    market, cut at 7 standard deviations: uncut, the risk of a short call is infinite. The error is
    the difference from a lattice of half the points each way, plus that from a cut at 6.
    Sources and evidence: see `deephedge.baselines.OptimalHedge`.

    Raises:
        NoKnownOptimumError: where the cut decides, or the work would take minutes.
    """
    _refuse_minutes(problem, dynamics)
    book = _certified(problem, dynamics)
    alone = 0.0
    if not problem.martingale:
        alone = _certified(replace(problem, owed=np.zeros_like), dynamics).value
    growth = float(problem.growth[0])
    value = book.value - problem.premium * growth
    return replace(book, value=value, price=(book.value - alone) / growth)


def _certified(problem: Problem, dynamics: Dynamics) -> BandOptimum:
    """The optimum with its error; ``value`` before any premium, ``price`` not yet set."""
    reach, farthest = problem.reach, max(-problem.bounds[0], problem.bounds[1])
    rough, half = dynamics.halved(), PER_STANDARD_DEVIATION / 2
    while True:
        wide = grid(-reach, reach, problem.bounds, SCOUTING)
        scout = backward(problem, rough, wide, half)
        least, most = min(0.0, scout.upper.min()), max(0.0, scout.lower.max())
        if reach >= farthest or (wide[0] < least and most < wide[-1]):
            break
        reach *= 2
    least, most = least - (wide[1] - wide[0]), most + (wide[1] - wide[0])
    halved = grid(least, most, problem.bounds, HOLDINGS // 2 + 1)
    coarse = backward(problem, rough, halved, half).value
    earlier = backward(problem, rough, halved, half, WIDEST_CUT - 1).value
    tail = abs(coarse - earlier)
    market = problem.scenario.market
    scale = market.volatility * np.sqrt(problem.years.sum()) * market.spot
    if not tail <= LOOSEST_TAIL * problem.reach * scale:
        raise NoKnownOptimumError(
            f"no known optimum: the risk is decided by where the law of a step is cut ({coarse:g} "
            f"at 7 standard deviations, {earlier:g} at 6): lower the aversion, or cap the loss"
        )
    finest = grid(least, most, problem.bounds, HOLDINGS)
    fine = backward(problem, dynamics, finest, PER_STANDARD_DEVIATION)
    return replace(fine, error=abs(fine.value - coarse) + tail)


def grid(least: float, most: float, bounds: tuple[float, float], count: int) -> Floats:
    """About ``count`` equal steps within the bounds, with 0 and the farther end among them."""
    least, most = max(least, bounds[0]), min(most, bounds[1])
    farther = max(-least, most)
    step = farther / math.ceil(farther / (most - least) * (count - 1))
    first, last = math.ceil(least / step - 1e-9), math.floor(most / step + 1e-9)
    return step * np.arange(first, last + 1, dtype=np.float64)


@dataclass(frozen=True)
class _Lattice:
    """Points of the log-price, ``step`` apart, counted from ``shift [T+1]``."""

    problem: Problem
    holdings: Floats
    points: NDArray[np.int64]
    step: float
    shift: Floats

    def log_spot(self, t: int, nodes: NDArray[np.int64], finer: int = 1) -> Floats:
        return np.asarray(self.shift[t] + nodes * (self.step / finer), np.float64)

    def gain(self, t: int, log_spot: Floats) -> Floats:
        """Money at the end that the holdings are worth with dividends, ``[n, H]``."""
        forward = self.problem.growth[t] * self.problem.reinvested[t - 1] * np.exp(log_spot)
        return np.asarray(forward[:, None] * self.holdings, np.float64)

    def final(self, nodes: NDArray[np.int64]) -> Floats:
        """``a (J_T - h F_T) [1, n, H]``: what is owed counts as the mean of its exp over a cell.

        The mean makes a kink or jump inside a cell count by where in the cell it is.
        """
        problem, step, T = self.problem, self.step / FINER_AT_THE_END, len(self.shift) - 1
        a, log_spot = aversion(problem), self.log_spot(T, nodes, FINER_AT_THE_END)
        within = ((np.arange(IN_A_CELL) + 0.5) / IN_A_CELL - 0.5) * step
        owed = a * problem.owed(np.exp(log_spot[:, None] + within))
        mean = np.asarray(special.logsumexp(owed, axis=1) - math.log(IN_A_CELL), np.float64)
        rates = (problem.rate * np.exp(log_spot) + problem.fee)[:, None] * np.abs(self.holdings)
        due = np.full(len(self.holdings), problem.fixed)
        if problem.fixed:
            due[-1] = 0.0
        closing = (rates + due) * float(problem.liquidate)
        return np.asarray(mean[:, None] + a * (closing - self.gain(T, log_spot)))[None]

    def extended(self, exponent: Floats, t: int, nodes: NDArray[np.int64]) -> Floats:
        """``exponent [R, M, H]`` at ``nodes`` beyond the lattice too, ``[R, n, H]``.

        Paths get there with a probability of about 1e-12; J differs there from what is owed by as
        much as at the lattice's end.
        """
        problem, points = self.problem, self.points
        outside = np.concatenate([nodes[nodes < points[0]], nodes[nodes > points[-1]]])
        ends = np.clip(outside, points[0], points[-1])

        def alone(at: NDArray[np.int64]) -> Floats:
            log_spot = self.log_spot(t, at)
            owed = problem.owed(problem.growth[t] * np.exp(log_spot))
            return np.asarray(owed[:, None] - self.gain(t, log_spot), np.float64)

        beyond = exponent[:, ends - points[0]] + aversion(problem) * (alone(outside) - alone(ends))
        left = int((outside < points[0]).sum())
        inside = exponent[:, nodes[0] - points[0] + left :][:, : len(nodes) - len(outside)]
        return np.concatenate([beyond[:, :left], inside, beyond[:, left:]], axis=1)


def backward(
    problem: Problem,
    dynamics: Dynamics,
    holdings: Floats,
    fineness: float,
    cut: float = WIDEST_CUT,
) -> BandOptimum:
    """The programme from the end to the start; ``fineness`` lattice points a deviation."""
    if problem.fixed:
        holdings = np.append(holdings, 0.0)
    a, T, R = aversion(problem), len(problem.years), dynamics.states
    step = dynamics.deviation / fineness
    first, last = dynamics.ends(step, cut)
    lattice = _Lattice(problem, holdings, np.arange(first, last + 1), step, dynamics.shift)
    M, steps = len(lattice.points), [dynamics.steps(t) for t in range(T)]
    laws = {dt: dynamics.transition(dt, step, cut) for dt in {dt for some in steps for dt in some}}
    log_spot = np.array([lattice.log_spot(t, lattice.points) for t in range(T)])
    surfaces = {name: np.empty((T, R, M)) for name in Trade._fields[1:]}
    cost_to_go = np.empty(0)
    for t in reversed(range(T)):
        if t == T - 1:
            *before, years = steps[t]
            law = dynamics.transition(years, step / FINER_AT_THE_END, cut).forgetting()
            exponent = lattice.final(law.reached(lattice.points, FINER_AT_THE_END))
            exponent = law.log_mean(exponent, M, FINER_AT_THE_END)
        else:
            before = list(steps[t])
            exponent = a * (cost_to_go - lattice.gain(t + 1, log_spot[t + 1]))
        for years in reversed(before):
            nodes = laws[years].reached(lattice.points)
            exponent = laws[years].log_mean(lattice.extended(exponent, t + 1, nodes), M)
        now = problem.growth[t] * np.exp(log_spot[t])
        G = exponent / a + now[:, None] * holdings
        k = problem.rate * now + problem.fee * problem.growth[t]
        cost_to_go, *found = _traded(problem, t, G, holdings, k)
        for surface, values in zip(surfaces.values(), found, strict=True):
            surface[t] = values
    nothing = cost_to_go[:, -first, np.flatnonzero(holdings == 0)[-1]]
    value = float(special.logsumexp(a * nothing, b=dynamics.start)) / a
    return _hedge(problem, dynamics, value, log_spot, surfaces)


def _traded(problem: Problem, t: int, G: Floats, holdings: Floats, k: Floats) -> tuple[Floats, ...]:
    """J ``[R, M, H]`` and the policy's surfaces ``[R, M]`` at date t."""
    R, M, H = G.shape
    rows, k = G.reshape(R * M, H), np.tile(k, R)
    if problem.fixed:
        trade = fixed_trade(rows, holdings, k, problem.fixed * float(problem.growth[t]))
    else:
        trade = linear_trade(rows, holdings, k)
    return trade.cost_to_go.reshape(G.shape), *(one.reshape(R, M) for one in trade[1:])


def _hedge(
    problem: Problem,
    dynamics: Dynamics,
    value: float,
    log_spot: Floats,
    surfaces: dict[str, Floats],
) -> BandOptimum:
    place = None
    if dynamics.states == 1:
        surfaces = {name: surface[:, 0] for name, surface in surfaces.items()}
    else:
        place = dynamics.place
    common = (value, np.nan, np.nan, len(log_spot), log_spot)
    edges = surfaces["lower"], surfaces["upper"], place
    if not problem.fixed:
        return BandOptimum(*common, *edges)
    triggers = surfaces["buy_below"], surfaces["sell_above"], surfaces["idle"]
    return TriggerOptimum(*common, *edges, *triggers)


def _refuse_minutes(problem: Problem, dynamics: Dynamics) -> None:
    step = dynamics.deviation / PER_STANDARD_DEVIATION
    first, last = dynamics.ends(step)
    lengths = [years for t in range(len(problem.years)) for years in dynamics.steps(t)]
    sizes = {years: dynamics.transition(years, step).size for years in set(lengths)}
    points = last - first + 1
    if points > MOST_POINTS or points * sum(sizes[years] for years in lengths) > MOST_WORK:
        raise NoKnownOptimumError(
            f"no known optimum: {points} lattice points are needed for the shortest step and the "
            "whole law, which would take minutes: take fewer dates, or more even ones"
        )


def aversion(problem: Problem) -> float:
    """Entropic risk's aversion, 1 / money, which `refusal_of_risk` has checked."""
    objective = problem.scenario.objective
    assert isinstance(objective, Entropic)
    return objective.aversion

"""The decision dates of a problem on a lattice of the log-spot."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .one_step_law import Law, Steady, centre, one_step_law, steady_sigma
from .problem import Problem

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CUT = 5.5  # standard deviations of a normal law: of a step
REACHED = 4.5  # of the whole law up to a date
FINER_AT_THE_END = 8  # lattice points of the last step, per point, where the payoff has kinks


class Stage(NamedTuple):
    """A decision date t: rows ``[M]`` of the lattice, and the nodes ``[n]`` that a step reaches.

    Money is at the end of the episode. Row i reaches the nodes ``i stride + k`` with the weight k
    of ``law``.

    Attributes:
        weights: the probabilities of the rows, ``[M]``.
        log_spot, forward: log S_t and S_t e^{r (T - t)}, ``[M]``.
        mark: the fair value of what the book owes, ``[M]``.
        cost: of a trade of 1 unit, ``[M]``.
        law, stride: of the step.
        next_row: where the nodes are among the rows of t+1, the nearest where they are not.
        next_forward: what a unit held has become at the nodes, dividends and all.
        next_mark: the fair value at the nodes; what is owed if t+1 is the end.
        closing: the cost of selling a unit at the nodes, at the end; else 0.
    """

    weights: Floats
    log_spot: Floats
    forward: Floats
    mark: Floats
    cost: Floats
    law: Law
    stride: int
    next_row: Integers
    next_forward: Floats
    next_mark: Floats
    closing: Floats

    def after(self, values: Floats) -> Floats:
        """``values [n]`` at the nodes as ``[M, K]``: what each row reaches."""
        windows = np.lib.stride_tricks.sliding_window_view(values, len(self.law.weights))
        return np.asarray(windows[:: self.stride])

    @property
    def hedge(self) -> Floats:
        """The holding that leaves the least variance over the step, ``[M]``."""
        rise, change = self._changes
        variance = rise**2 @ self.law.weights
        covariance = (rise * change) @ self.law.weights
        return np.asarray(covariance / np.where(variance > 0, variance, 1.0), np.float64)

    @property
    def residual(self) -> Floats:
        """The variance that it leaves, ``[M]``."""
        rise, change = self._changes
        return np.asarray((change - self.hedge[:, None] * rise) ** 2 @ self.law.weights, np.float64)

    @property
    def _changes(self) -> tuple[Floats, Floats]:
        pair = self.after(self.next_forward), self.after(self.next_mark)
        rise, change = (values - (values @ self.law.weights)[:, None] for values in pair)
        return rise, change


Stages = list[Stage]


def stages_of(problem: Problem, fineness: float) -> Stages:
    """Each decision date with ``fineness`` points a standard deviation of the shortest step.

    Rows lie within 4.5 standard deviations of a normal law from the start, each step in 5.5.
    """
    market, years, T = problem.scenario.market, problem.years, len(problem.years)
    assert isinstance(market, Steady)
    step = steady_sigma(market) * float(np.sqrt(years[years > 0].min())) / fineness
    shift = np.log(market.spot) + market.drift * problem.dates + centre(market) * problem.clock
    elapsed = problem.clock - problem.clock[0]
    reached = [one_step_law(market, float(dt), step, REACHED) for dt in elapsed]
    rows = [law.first + np.arange(len(law.weights)) for law in reached]
    laws = {dt: one_step_law(market, dt, step, CUT) for dt in set(years[:-1].tolist())}

    def fair(t: int, points: Integers) -> Floats:
        left = one_step_law(market, float(elapsed[-1] - elapsed[t]), step, REACHED)
        owed = problem.owed(np.exp(shift[T] + step * left.reached(points)))
        return np.correlate(owed, left.weights, mode="valid")

    stages: Stages = []
    for t in range(T):
        end = t == T - 1
        stride = FINER_AT_THE_END if end else 1
        fine = step / stride
        law = one_step_law(market, float(years[t]), fine, CUT) if end else laws[float(years[t])]
        nodes = law.reached(rows[t], stride)
        now, then = np.exp(shift[t] + step * rows[t]), np.exp(shift[t + 1] + fine * nodes)
        stages.append(
            Stage(
                weights=reached[t].weights,
                log_spot=shift[t] + step * rows[t],
                forward=problem.growth[t] * now,
                mark=fair(t, rows[t]),
                cost=(problem.rate * now + problem.fee) * problem.growth[t],
                law=law,
                stride=stride,
                next_row=np.clip(nodes, rows[t + 1][0], rows[t + 1][-1]) - rows[t + 1][0],
                next_forward=problem.growth[t + 1] * problem.reinvested[t] * then,
                next_mark=problem.owed(then) if end else fair(t + 1, nodes),
                closing=(problem.rate * then + problem.fee) * float(end and problem.liquidate),
            )
        )
    return stages

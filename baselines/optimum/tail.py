"""CVaR and mean + c std where log-increments are independent, on the scenario's dates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ...envs.hedger import Known
from ...envs.namespace import X
from ...envs.objectives import CVaR, MeanStd, Objective
from ...envs.scenario import Scenario
from .lattice import Stages, stages_of
from .one_step_law import Steady, steady_sigma
from .optimum import NoKnownOptimumError, Optimum
from .problem import Problem, problem_of
from .scope import kind_of, refusal_of_linear_costs, refusal_of_problem
from .tail_programme import Edges, Grid, Loss, backward

Floats = NDArray[np.float64]

PER_STANDARD_DEVIATION = 3  # lattice points of the shortest step
HOLDINGS = 41
LEVELS = 201
WIDTH = 3.5  # of the levels of x either side, in scales of the hedged loss
MARGIN = 0.1  # of the range of holdings beyond those of the frictionless hedge
MOST_DATES = 60  # which take minutes
ROUNDING = 1e-12  # of a drift: 0.6 - 0.4 is not 0.2
SMALLEST = 0.001  # of what a book without risk would have: a grid must have a range


@dataclass(frozen=True)
class TailOptimum(Optimum):
    """The optimum of CVaR or mean + c std: the band depends on the P&L so far.

    Attributes:
        theta: where the value is the least: of CVaR the quantile, money at the end.
        levels: x, the marked loss less theta, ``[U]``, money at the end.
        log_spot, mark: the lattice at each date and the book's fair value there, ``[M_t]``.
        edges: the no-trade band at each date.
        problem: what it is the optimum of.
    """

    theta: float
    levels: Floats
    log_spot: tuple[Floats, ...]
    mark: tuple[Floats, ...]
    edges: tuple[Edges, ...]
    problem: Problem

    def holding(self, known: Known) -> X:
        """The better of lower_t(S, x - k h), if above h, and upper_t(S, x + k h), if below; or h.

        Edges and what is lost at them are linear between points.
        """
        t, problem, held = known.t, self.problem, known.holding[:, -1]
        spot, units, cash = (_array(values) for values in (known.spot, held, known.account.cash))
        log_spot, growth = np.log(spot), problem.growth[t]
        wealth = growth * (cash + units * spot)
        x = np.interp(log_spot, self.log_spot[t], self.mark[t]) - wealth - self.theta
        paid = growth * (problem.rate * spot + problem.fee) * units
        row = np.interp(log_spot, self.log_spot[t], np.arange(len(self.log_spot[t])))
        bought, sold = [row, self._place(x - paid)], [row, self._place(x + paid)]
        band = self.edges[t]
        lower, upper = _linear(band.lower, bought), _linear(band.upper, sold)
        buys, sells = units < lower, units > upper
        sells &= ~buys | (_linear(band.sold, sold) < _linear(band.bought, bought))
        target = np.where(sells, upper, np.where(buys, lower, units))
        if isinstance(held, torch.Tensor):
            return torch.as_tensor(target, dtype=held.dtype, device=held.device)
        return target

    def _place(self, x: Floats) -> Floats:
        """In steps of the levels from the first."""
        return np.asarray((x - self.levels[0]) / (self.levels[1] - self.levels[0]), np.float64)


def _linear(table: Floats, place: list[Floats]) -> Floats:
    """``table [M, U]`` at the places ``[N]``; beyond the ends, what is there."""
    return np.asarray(ndimage.map_coordinates(table, place, order=1, mode="nearest"), np.float64)


def _array(values: X) -> Floats:
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().numpy().astype(np.float64)
    return np.asarray(values, np.float64)


def tail_optimum(scenario: Scenario) -> TailOptimum:
    """The optimum over all hedgers that know the past, on the scenario's dates and in its bounds.

    Both objectives are a minimum over theta of the mean of a loss of x = L - theta, and `backward`
    finds the least such means for all theta at once, J(theta):

        CVaR at the level p: theta + J(theta) / (1 - p), J the least mean of max(x, 0);
        mean + c std: theta + sqrt((1 + c^2) J(theta)), J the least mean of x^2.

    The latter is E[L] + c (E[(L - m)^2] / s + s) / 2 with theta = m - s / c, at the best s. The
    mean of max(x, 0) is smoothed over a step of the levels of x, between which its kink would be
    lost. The value is attained on the grid and proves no bound; the error is two-sided: the sum of
    what it changes by with three quarters of the lattice points, with half the holdings, with half
    the levels, and with a range of levels a fifth narrower. Mean + c std punishes gains, so that
    cost can be welcome: there the loss to come is not convex, and of several lows along a line of
    trades only the lowest is seen. Sources: Rockafellar and Uryasev, "Optimization of conditional
    value-at-risk", 2000; Baeuerle and Ott, "Markov decision processes with average-value-at-risk
    criteria", 2011 (wealth as a state). Evidence: tests/baselines/test_tail_optimum.py.

    Raises:
        NoKnownOptimumError: a ValueError naming why no optimum is known, and the mend.
    """
    reason = _refusal(scenario)
    if reason is not None:
        raise NoKnownOptimumError(f"no known optimum: {reason}")
    problem = problem_of(scenario)
    sizes = _Sizes(PER_STANDARD_DEVIATION, HOLDINGS, LEVELS, WIDTH)
    fine = _solved(problem, sizes)
    narrow = 0.8
    others = (
        sizes._replace(fineness=0.75 * sizes.fineness),
        sizes._replace(holdings=sizes.holdings // 2 + 1),
        sizes._replace(levels=sizes.levels // 2 + 1),
        sizes._replace(levels=int(narrow * sizes.levels), width=narrow * sizes.width),
    )
    return replace(
        fine, error=sum(abs(_solved(problem, other).value - fine.value) for other in others)
    )


def _refusal(scenario: Scenario) -> str | None:
    """Why the programme does not solve the scenario, with the mend; null where it does."""
    objective, market = scenario.objective, scenario.market
    if not isinstance(objective, CVaR | MeanStd):
        return (
            f"objective {kind_of(objective)}: this programme is of tails: choose cvar or mean-std"
        )
    if isinstance(objective, MeanStd) and not objective.weight:
        return "objective mean-std of weight 0 is no risk: choose a weight above 0"
    if not isinstance(market, Steady) or not steady_sigma(market):
        return (
            f"market {kind_of(market)}: its log-increments are not independent with a constant law "
            "of positive sigma: choose gbm, merton or kou with such parameters"
        )
    return (
        refusal_of_problem(scenario) or refusal_of_linear_costs(scenario) or _beyond_reach(scenario)
    )


def _beyond_reach(scenario: Scenario) -> str | None:
    """Why the grid would not do, with the mend; null where it does."""
    market, dates = scenario.market, len(scenario.calendar.decisions)
    if dates > MOST_DATES:
        return f"{dates} decision dates (at most {MOST_DATES}) take too long: take fewer"
    if abs(market.drifts[0] - market.rate + market.dividends[0]) > ROUNDING:
        return (
            "market.drift is not rate - dividend: the holding is a bet too, on a range that the "
            "programme does not search: set it to rate - dividend"
        )
    return None


class _Sizes(NamedTuple):
    """Of the grid: the numbers of points, and the range of the levels in scales of the loss."""

    fineness: float
    holdings: int
    levels: int
    width: float


def _solved(problem: Problem, sizes: _Sizes) -> TailOptimum:
    """The optimum on one grid; ``error`` not yet set."""
    objective = problem.scenario.objective
    stages = stages_of(problem, sizes.fineness)
    grid = Grid(_holdings(problem, stages, sizes.holdings), _levels(problem, stages, sizes))
    first, edges = backward(stages, grid, _loss(objective, grid.step))
    none = int(np.abs(grid.holdings).argmin())
    start = float(stages[0].mark[0]) - problem.premium * float(problem.growth[0])
    x = first.first[0, none] + grid.step * np.arange(sizes.levels)
    least = np.maximum(first.values[0, none], 0.0)
    where, value = _minimum(x, start - x + _spread(objective, least))
    return TailOptimum(
        value=value,
        error=math.nan,
        price=value / float(problem.growth[0]) + problem.premium,
        dates=len(stages),
        theta=start - where,
        levels=grid.levels,
        log_spot=tuple(stage.log_spot for stage in stages),
        mark=tuple(stage.mark for stage in stages),
        edges=tuple(edges),
        problem=problem,
    )


def _loss(objective: Objective, step: float) -> Loss:
    """Of x: max(x, 0), the mean of it over a step of the levels; or x^2."""
    if isinstance(objective, CVaR):
        return Loss(lambda x: _shortfall(x, step), 0.0)
    return Loss(np.square, 2.0)


def _shortfall(x: Floats, step: float) -> Floats:
    """The mean of max(y, 0) over y within half a step of x."""
    near = np.clip(x + step / 2, 0.0, step)
    return np.asarray(near**2 / (2 * step) + np.maximum(x - step / 2, 0.0), np.float64)


def _spread(objective: Objective, least: Floats) -> Floats:
    """What the least mean adds to theta."""
    if isinstance(objective, CVaR):
        return least / (1 - objective.level)
    assert isinstance(objective, MeanStd)
    return np.asarray(np.sqrt((1 + objective.weight**2) * least), np.float64)


def _levels(problem: Problem, stages: Stages, sizes: _Sizes) -> Floats:
    """``[U]``: either side of where the loss has its theta, in scales of what it varies by."""
    cost = float(stages[0].cost[0] * abs(stages[0].hedge[0]))
    for stage, following in pairwise(stages):
        trade = stage.after(following.hedge[stage.next_row]) - stage.hedge[:, None]
        paid = np.abs(trade) * stage.after(following.cost[stage.next_row])
        cost += float(stage.weights @ paid @ stage.law.weights)
    variance = sum(float(stage.weights @ stage.residual) for stage in stages)
    hedged = math.sqrt(variance) + cost
    last = stages[-1]
    owed = last.after(last.next_mark)
    unhedged = math.sqrt(last.weights @ (owed - stages[0].mark[0]) ** 2 @ last.law.weights)
    least = SMALLEST * problem.reach * float(stages[0].forward[0])
    scale = max(min(hedged, unhedged), least)
    objective = problem.scenario.objective
    middle = scale / objective.weight if isinstance(objective, MeanStd) else 0.0
    return middle + scale * sizes.width * np.linspace(-1.0, 1.0, sizes.levels)


def _holdings(problem: Problem, stages: Stages, count: int) -> Floats:
    """``[H]``, about ``count`` equal steps: as the frictionless hedge holds, and a margin."""
    hedges = [0.0, *(hedge for stage in stages for hedge in (stage.hedge.min(), stage.hedge.max()))]
    least, most = float(min(hedges)), float(max(hedges))
    margin = max(MARGIN * (most - least), SMALLEST * problem.reach)
    least, most = max(least - margin, problem.bounds[0]), min(most + margin, problem.bounds[1])
    step = (most - least) / (count - 1)
    first, last = math.ceil(least / step - 1e-9), math.floor(most / step + 1e-9)
    return step * np.arange(first, last + 1, dtype=np.float64)


def _minimum(x: Floats, values: Floats) -> tuple[float, float]:
    """Where ``values [U]`` are least, and the least of them, by a parabola."""
    lowest = int(values.argmin())
    if lowest in (0, len(values) - 1):
        raise NoKnownOptimumError(
            "no known optimum: its theta is beyond the grid of wealth: choose a less extreme "
            "level or weight"
        )
    left, centre, right = values[lowest - 1 : lowest + 2]
    bend, slope = left - 2 * centre + right, (right - left) / 2
    place = -slope / bend if bend > 0 else 0.0
    where = x[lowest] + place * (x[1] - x[0])
    return float(where), float(centre + slope * place / 2)

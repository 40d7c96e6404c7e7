"""Log-spots of a programme: where they lie, sums over the law of a step, reading a table off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...envs.hedger import Known
from ...envs.namespace import X
from .one_step_law import WIDEST_CUT, Law, Steady, centre, one_step_law, steady_sigma
from .optimum import NoKnownOptimumError
from .problem import Problem

Floats = NDArray[np.float64]

MOST_POINTS = 20_000


@dataclass(frozen=True)
class LogSpots:
    """Log-spots ``shift[t] + points step``: as wide at every date as the law of all the steps.

    Attributes:
        step: between log-spots.
        points: adjacent whole numbers, 0 the spot without a move before drift, ``[M]``.
        shift: log-spot of point 0 at each date, ``[T+1]``.
    """

    step: float
    points: NDArray[np.int64]
    shift: Floats

    @property
    def start(self) -> int:
        """The index of point 0."""
        return -int(self.points[0])

    def at(self, t: int) -> Floats:
        """``[M]``."""
        return np.asarray(self.shift[t] + self.points * self.step, np.float64)


def log_spots(
    problem: Problem, market: Steady, fineness: float, cut: float = WIDEST_CUT
) -> LogSpots:
    """With ``fineness`` points per standard deviation of the shortest step's diffusion.

    Raises:
        NoKnownOptimumError: where that takes more than 20,000 points.
    """
    years = problem.years
    step = steady_sigma(market) * float(np.sqrt(years[years > 0].min())) / fineness
    whole = one_step_law(market, float(years.sum()), step, cut)
    points = np.arange(whole.first, whole.first + len(whole.weights))
    if len(points) > MOST_POINTS:
        raise NoKnownOptimumError(
            f"{len(points)} lattice points (at most {MOST_POINTS}) are needed "
            "for the shortest step and the whole law: take fewer dates, or more even ones"
        )
    shift = np.log(market.spot) + market.drift * problem.dates + centre(market) * problem.clock
    return LogSpots(step, points, shift)


def mean(law: Law, values: Floats, stride: int = 1) -> Floats:
    """``sum_k weights_k values[i stride + k]``, for every i that has them all.

    One correlation for each remainder of the division by ``stride``.
    """
    weights = law.weights
    phases = range(min(stride, len(weights)))
    terms = [np.correlate(values[p::stride], weights[p::stride], "valid") for p in phases]
    return np.asarray(sum(terms), np.float64)


def at_spot(known: Known, log_spot: Floats, values: Floats) -> X:
    """A table's ``values [M]`` at the present spots ``[N]``, linear between ``log_spot [M]``."""
    spot = known.spot
    if isinstance(spot, torch.Tensor):
        read = np.interp(np.log(spot.detach().cpu().numpy()), log_spot, values)
        return torch.as_tensor(read, dtype=spot.dtype, device=spot.device)
    return np.interp(np.log(spot), log_spot, values)

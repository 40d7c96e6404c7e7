"""Fits to a return series: what one returns, and maximum likelihood with its standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from .market import Market

M = TypeVar("M", bound=Market, covariant=True)
Floats = NDArray[np.float64]

STEP = 1e-3  # of the differences behind the information
FLAT = 0.01  # the information on a theta of order 1 below which the data say nothing of it


@dataclass(frozen=True)
class Fit(Generic[M]):
    """A market fitted to a return series by maximum likelihood.

    Attributes:
        market: at the estimates, under the real-world measure.
        errors: standard error of each estimated parameter, from the observed information; NaN where
            an estimate runs to its bound, or all where the likelihood has no inner maximum.
        log_likelihood: of the log-returns, at the estimates.
        observations: the number of log-returns.
    """

    market: M
    errors: Mapping[str, float]
    log_likelihood: float
    observations: int

    @property
    def aic(self) -> float:
        """Akaike's criterion, 2 parameters - 2 log-likelihood: lower is better."""
        return 2 * len(self.errors) - 2 * self.log_likelihood


class Estimate(NamedTuple):
    """Parameters by name, their standard errors, and where the likelihood ended."""

    parameters: dict[str, float]
    errors: dict[str, float]
    log_likelihood: float
    observations: int


def checked(log_returns: ArrayLike, dt: float, least: int) -> Floats:
    """The returns as ``[n]`` float64.

    Raises:
        ValueError: if they are not one finite series of at least ``least`` returns that differ, or
            the years ``dt`` between them are not above 0.
    """
    returns = np.asarray(log_returns, dtype=np.float64)
    if returns.ndim != 1:
        raise ValueError(f"log-returns have shape {returns.shape}: give one series [n]")
    if not 0 < dt < math.inf:
        raise ValueError(f"dt {dt} years between returns: give a finite number above 0")
    if len(returns) < least:
        raise ValueError(f"{len(returns)} log-returns: give at least {least}")
    if not np.isfinite(returns).all():
        first = int(np.flatnonzero(~np.isfinite(returns))[0])
        raise ValueError(f"log-return {first} is {returns[first]}: leave out what is not finite")
    if np.ptp(returns) == 0:
        raise ValueError(f"all log-returns are {returns[0]:g}: give a series that moves")
    return returns


def maximise(
    log_likelihood: Callable[[Floats], float],
    natural: Callable[[Floats], Floats],
    starts: Sequence[Sequence[float]],
    names: Sequence[str],
    observations: int,
) -> Estimate:
    """The maximum of ``log_likelihood(natural(theta))`` over free ``theta``, best of the starts.

    ``natural`` maps theta, all reals of order 1, to the parameters that ``names`` names, and keeps
    them possible. Errors are those of the observed information in theta, carried over by natural's
    derivative.

    Raises:
        ValueError: if no start leads to a finite likelihood.
    """

    def loss(theta: Floats) -> float:
        with np.errstate(all="ignore"):
            value = -log_likelihood(natural(theta)) / observations
        return value if math.isfinite(value) else 1e6

    found = [
        optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-6}) for start in starts
    ]
    best = min(found, key=lambda result: float(result.fun))
    if best.fun >= 1e6:
        raise ValueError("the likelihood is nowhere finite: are these log-returns?")
    theta = np.asarray(best.x, dtype=np.float64)
    estimates = natural(theta)
    errors = _errors(lambda x: observations * loss(x), natural, theta)
    return Estimate(
        dict(zip(names, estimates.tolist(), strict=True)),
        dict(zip(names, errors.tolist(), strict=True)),
        -float(best.fun) * observations,
        observations,
    )


def _errors(
    loss: Callable[[Floats], float], natural: Callable[[Floats], Floats], theta: Floats
) -> Floats:
    """Standard errors of the natural parameters at the minimum of ``loss`` (a sum)."""
    moves = STEP * np.eye(len(theta))
    information = np.array([[_twist(loss, theta, a, b) for b in moves] for a in moves])
    slope = np.array([natural(theta + a) - natural(theta - a) for a in moves]).T / (2 * STEP)
    # Where theta runs away the estimate lies on a bound: the others are judged with it held there.
    inner = np.diag(information) > FLAT
    slope = slope[:, inner]
    try:
        root = np.linalg.cholesky(information[np.ix_(inner, inner)])
    except np.linalg.LinAlgError:
        return np.full(len(slope), math.nan)
    errors = np.sqrt((np.linalg.solve(root, slope.T) ** 2).sum(axis=0))
    return np.asarray(np.where((slope == 0).all(axis=1), math.nan, errors))


def _twist(loss: Callable[[Floats], float], theta: Floats, a: Floats, b: Floats) -> float:
    """The second difference of ``loss`` along two moves, as a derivative."""
    up = loss(theta + a + b) - loss(theta + a - b)
    down = loss(theta - a + b) - loss(theta - a - b)
    return (up - down) / (4 * STEP**2)

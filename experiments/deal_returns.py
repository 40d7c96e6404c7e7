"""Returns of deals against the market: the piecewise beta of Mitchell and Pulvino."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class PiecewiseBeta(NamedTuple):
    """Slopes of a return in the market's, below and above a threshold, and the line's height.

    ``at_threshold`` is the return where the market's is the threshold; the errors are standard
    ones of the least squares.
    """

    down: float
    up: float
    at_threshold: float
    down_error: float
    up_error: float


def piecewise_beta(
    returns: ArrayLike, market: ArrayLike, threshold: float = -0.04
) -> PiecewiseBeta:
    """Least squares of ``returns [n]`` on two lines in ``market [n]`` that meet at ``threshold``.

    Both are returns in excess of the rate. Mitchell and Pulvino find a down beta of 0.49 and an up
    beta of 0.02 with a threshold of -4 % a month: risk arbitrage is like index puts sold. Source:
    Mitchell and Pulvino, "Characteristics of Risk and Return in Risk Arbitrage", 2001, eq. 4 and 5.
    Evidence: tests/experiments/test_deal_returns.py.

    Raises:
        ValueError: for fewer than two returns on either side of the threshold.
    """
    y, x = np.asarray(returns, np.float64), np.asarray(market, np.float64) - threshold
    below = int((x < 0).sum())
    if min(below, len(x) - below) < 2:
        raise ValueError(
            f"threshold {threshold:g} has {below} of {len(x)} market returns below it and two are "
            "needed on either side: move it"
        )
    columns = np.stack([np.minimum(x, 0), np.maximum(x, 0), np.ones_like(x)], axis=1)
    inverse = np.linalg.inv(columns.T @ columns)
    slopes = inverse @ columns.T @ y
    spare = max(len(y) - 3, 1)
    variance = float(((y - columns @ slopes) ** 2).sum()) / spare
    errors = np.sqrt(variance * np.diag(inverse))
    return PiecewiseBeta(*map(float, (*slopes, errors[0], errors[1])))

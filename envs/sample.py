"""Samples: the check, the moments and the order statistics that risks and intervals share."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Losses = npt.NDArray[np.float64]  # [N], money; where a function says so, P&L


def checked(losses: npt.ArrayLike) -> Losses:
    """The losses as a float64 array [N].

    Raises:
        ValueError: if they are empty, not one-dimensional or not finite.
    """
    values = np.asarray(losses, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"losses must be a non-empty array [N], not of shape {values.shape}")
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise ValueError(f"losses must be finite: {bad} of {values.size} are not")
    return values


def centred(values: Losses) -> Losses:
    """The values [N] less their mean."""
    distances: Losses = values - values.mean()
    return distances


def rank(n: int, level: float) -> int:
    """The place of the lower quantile among n ordered losses, from 1: n * level rounded up."""
    # As the decimal that was written: 100 * 0.07 in floats is 7.000000000000001.
    return math.ceil(Fraction(str(level)) * n)


def lower_quantile(losses: Losses, level: float) -> float:
    """The smallest loss x of a sample [N] with at least level * N losses <= x."""
    losses = checked(losses)
    k = rank(len(losses), level) - 1
    return float(np.partition(losses, k)[k])

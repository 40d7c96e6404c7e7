"""The joint law of a step: of the log-increment and the next state, given the present one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .one_step_law import Law

Floats = NDArray[np.float64]

FEWEST_ROWS, MOST_ROWS = 32, 128  # whose sums share one matrix product
SMALLEST_EXPONENT = -600.0  # e^-600 has all its digits, e^-740 none


class Arc(NamedTuple):
    """A move from state ``before`` to ``after``, with its part of the law of the increment.

    The points of ``law`` are ``every`` lattice points apart, its first one is lattice point
    ``law.first``.
    """

    before: int
    after: int
    law: Law
    every: int = 1

    @property
    def last(self) -> int:
        """The lattice point of the greatest increment."""
        return self.law.first + self.every * (len(self.law.weights) - 1)


@dataclass(frozen=True)
class Transition:
    """The law of (increment, next state) given each of ``states`` states, as arcs between them."""

    states: int
    arcs: tuple[Arc, ...]

    @cached_property
    def first(self) -> int:
        """The lattice point of the least increment."""
        return min(arc.law.first for arc in self.arcs)

    @cached_property
    def last(self) -> int:
        """The lattice point of the greatest increment."""
        return max(arc.last for arc in self.arcs)

    @property
    def size(self) -> int:
        """The number of weights."""
        return sum(len(arc.law.weights) for arc in self.arcs)

    def reached(self, points: NDArray[np.int64], stride: int = 1) -> NDArray[np.int64]:
        """What a step from adjacent ``points`` reaches on a lattice ``stride`` times as dense."""
        return np.arange(points[0] * stride + self.first, points[-1] * stride + self.last + 1)

    def forgetting(self) -> Transition:
        """Where nothing depends on the next state: every arc leads to state 0."""
        if self.states == 1:
            return self
        first, states = self.first, range(self.states)
        weights = np.zeros((self.states, self.last - first + 1))
        for before, _, law, every in self.arcs:
            weights[before, law.first - first :: every][: len(law.weights)] += law.weights
        return Transition(self.states, tuple(Arc(i, 0, Law(first, weights[i])) for i in states))

    def log_mean(self, exponent: Floats, rows: int, stride: int = 1) -> Floats:
        """``log E[exp(exponent[next state, i stride + increment])]``, ``[states, rows, H]``.

        ``exponent [next states, n, H]`` is on the points `reached`; i is the row. Rows are taken on
        one scale, and in halves where some are too small on it for the digits of a double.
        """
        reach = (rows - 1) * stride + self.last - self.first + 1
        largest = exponent[:, :reach].max(axis=(0, 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.log(self._mean(np.exp(exponent[:, :reach] - largest), rows, stride))
        if rows == 1 or mean.min() > SMALLEST_EXPONENT:
            return np.asarray(largest + mean, np.float64)
        half = rows // 2
        parts = (
            self.log_mean(exponent, half, stride),
            self.log_mean(exponent[:, half * stride :], rows - half, stride),
        )
        return np.concatenate(parts, axis=1)

    def _mean(self, values: Floats, rows: int, stride: int) -> Floats:
        """The sums themselves; ``period`` rows on, an arc meets the points that it met before."""
        mean = np.zeros((self.states, rows, values.shape[2]))
        for arc, band in zip(self.arcs, self._bands(stride), strict=True):
            period = _period(stride, arc.every)
            left, skip = arc.law.first - self.first, period * stride // arc.every
            for r in range(period):
                met = values[arc.after, left + r * stride :: arc.every]
                _add_products(mean[arc.before, r::period], band, met, skip)
        return mean

    def _bands(self, stride: int) -> list[Floats]:
        if stride not in self._kept:
            self._kept[stride] = [
                _band(arc.law.weights, _period(stride, arc.every) * stride // arc.every)
                for arc in self.arcs
            ]
        return self._kept[stride]

    @cached_property
    def _kept(self) -> dict[int, list[Floats]]:
        return {}


def _period(stride: int, every: int) -> int:
    return every // math.gcd(stride, every)


def _band(weights: Floats, skip: int) -> Floats:
    """Row i holds ``weights`` from column i skip on; about half as many rows as they span."""
    width = len(weights)
    rows = int(np.clip(width // (2 * skip), FEWEST_ROWS, MOST_ROWS))
    band = np.zeros((rows, (rows - 1) * skip + width))
    for i, row in enumerate(band):
        row[i * skip : i * skip + width] = weights
    return band


def _add_products(mean: Floats, band: Floats, values: Floats, skip: int) -> None:
    """Blocks of rows are products with one and the same band matrix."""
    more = band.shape[1] - (len(band) - 1) * skip
    for i in range(0, len(mean), len(band)):
        rows = min(len(band), len(mean) - i)
        reach = (rows - 1) * skip + more
        mean[i : i + rows] += band[:rows, :reach] @ values[i * skip : i * skip + reach]

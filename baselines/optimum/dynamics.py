"""How the log-price and what else is known move between the decision dates."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ...envs.hedger import Known
from .one_step_law import WIDEST_CUT, Law
from .transition import Transition

Floats = NDArray[np.float64]


class Dynamics(ABC):
    """A market whose future depends on one state besides the spot, of R possible ones.

    Attributes:
        start: the law of the state at time 0 over the R states, ``[R]``.
        shift: the log-price at each date, with the end, from which increments count, ``[T+1]``.
        deviation: of the log-price over the shortest step: what a lattice must resolve.
    """

    start: Floats
    shift: Floats
    deviation: float

    @abstractmethod
    def steps(self, t: int) -> tuple[float, ...]:
        """Years of variance of the steps between decision dates t and t + 1, in order."""

    @abstractmethod
    def transition(self, years: float, step: float, cut: float = WIDEST_CUT) -> Transition:
        """A step of ``years``, on a lattice of width ``step``.

        Probabilities below that of a normal law beyond ``cut`` standard deviations are left out.
        """

    @abstractmethod
    def ends(self, step: float, cut: float = WIDEST_CUT) -> tuple[int, int]:
        """The first and last lattice point of the log-price at the end."""

    def place(self, known: Known) -> Floats:
        """Where among the states 0 to R - 1 each path is, ``[N]``: at 0 where there is one."""
        return np.zeros(len(known.spot))

    def halved(self) -> Dynamics:
        """Half the states, for an estimate of the error; itself where they are exact."""
        return self

    @property
    def states(self) -> int:
        """R."""
        return len(self.start)


def ends_of_sum(start: Floats, steps: list[Transition], cut: float) -> tuple[int, int]:
    """First and last lattice point of the sum of the increments, as far as ``cut``.

    The law of the sum is the product of the steps' matrices of characteristic functions.
    """
    spread = sum(max(-step.first, step.last) ** 2 for step in steps) ** 0.5
    points = 1 << int(np.ceil(np.log2(4 * spread + 64)))
    law = np.repeat(start[:, None] + 0j, points // 2 + 1, axis=1)
    transforms: dict[int, list[tuple[int, int, NDArray[np.complex128]]]] = {}
    for step in steps:
        if id(step) not in transforms:
            transforms[id(step)] = [
                (a.before, a.after, _transform(a.law, points)) for a in step.arcs
            ]
        after = np.zeros_like(law)
        for before, to, transform in transforms[id(step)]:
            after[to] += law[before] * transform
        law = after
    weights = np.fft.fftshift(np.fft.irfft(law.sum(axis=0), points))
    tail = float(special.ndtr(-cut))
    left = int(np.argmax(np.cumsum(weights) > tail))
    right = points - 1 - int(np.argmax(np.cumsum(weights[::-1]) > tail))
    return left - points // 2, right - points // 2


def _transform(law: Law, points: int) -> NDArray[np.complex128]:
    ring = np.zeros(points)
    ring[np.arange(law.first, law.first + len(law.weights)) % points] = law.weights
    return np.asarray(np.fft.rfft(ring), np.complex128)

"""Regime switching as `Dynamics`: the joint law of a step and the next regime."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ...envs.hedger import Known
from ...envs.markets import RegimeSwitching
from .dynamics import Dynamics, ends_of_sum
from .one_step_law import NOISE, WIDEST_CUT, Law
from .optimum import NoKnownOptimumError
from .problem import Problem
from .transition import Arc, Transition

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

FEWEST_POINTS, MOST_POINTS = 1 << 12, 1 << 18  # of the Fourier sum, twice as wide as the law
SMALL = 0.1  # norm below which a matrix's exponential is its series, to 1e-16 in TERMS terms
TERMS = 10


class Regimes(Dynamics):
    """A chain in continuous time: it moves within steps too."""

    def __init__(self, problem: Problem, market: RegimeSwitching) -> None:
        years = problem.years
        self.market, self.years = market, years
        self.start = np.asarray(market.occupancy, np.float64)
        if market.start is not None:
            self.start = np.eye(len(market.regimes))[market.start]
        self.shift = np.asarray(np.log(market.spot) + market.drift * problem.dates, np.float64)
        least = min(regime.sigma for regime in market.regimes)
        self.deviation = least * float(np.sqrt(years[years > 0].min()))

    def steps(self, t: int) -> tuple[float, ...]:
        """One, which is exact."""
        return (float(self.years[t]),)

    def transition(self, years: float, step: float, cut: float = WIDEST_CUT) -> Transition:
        """Densities by Fourier inversion of ``exp(years (Q + diag(psi(u))))``.

        ``Q`` is the generator and ``psi_k(u)`` the characteristic exponent of regime k. Source:
        Buffington and Elliott, "American options with regime switching", 2002, section 2.
        """
        R = len(self.start)
        if years == 0:
            return Transition(R, tuple(Arc(i, i, Law(0, np.ones(1))) for i in range(R)))
        points = FEWEST_POINTS
        while True:
            law = Transition(R, self._arcs(self._densities(years, step, points), cut))
            if law.last - law.first < points // 2:
                return law
            if points >= MOST_POINTS:
                raise NoKnownOptimumError(
                    "no known optimum: the regimes' vols and jumps are too far apart for one "
                    "lattice: bring them nearer, or take fewer dates"
                )
            points *= 2

    def _densities(self, years: float, step: float, points: int) -> Floats:
        """Of the increment with the next regime, ``[R, R, points]``, 0 in the middle."""
        R = len(self.start)
        u = np.asarray(2 * math.pi * np.fft.rfftfreq(points, step), np.float64)
        matrix = np.zeros((len(u), R, R), np.complex128)
        matrix[:, range(R), range(R)] = self._exponents(u).T
        matrix = years * (matrix + np.array(self.market.rates))
        densities = np.fft.irfft(exponential(matrix).conj(), points, axis=0)
        return np.asarray(np.fft.fftshift(densities, axes=0).transpose(1, 2, 0), np.float64)

    def _arcs(self, weights: Floats, cut: float) -> tuple[Arc, ...]:
        points = weights.shape[2]
        weights[weights < NOISE * weights.max(axis=(1, 2), keepdims=True)] = 0.0
        tail, arcs = float(special.ndtr(-cut)), []
        for i, row in enumerate(weights):
            law = row.sum(axis=0)
            left = int(np.searchsorted(np.cumsum(law), tail))
            right = points - int(np.searchsorted(np.cumsum(law[::-1]), tail))
            kept = row[:, left:right] / row[:, left:right].sum()
            arcs += [Arc(i, j, Law(left - points // 2, one)) for j, one in enumerate(kept)]
        return tuple(arcs)

    def ends(self, step: float, cut: float = WIDEST_CUT) -> tuple[int, int]:
        """Of the chain's own sum of steps."""
        laws = {years: self.transition(years, step, cut) for years in set(self.years.tolist())}
        return ends_of_sum(self.start, [laws[years] for years in self.years.tolist()], cut)

    def place(self, known: Known) -> Floats:
        """The regime."""
        return np.asarray(known.latent("regime"), np.float64)

    def _exponents(self, u: Floats) -> Complex:
        """``log E[exp(iu X)]`` a year in each regime, ``[R, n]``."""
        rows = []
        for one in self.market.regimes:
            jump = np.exp(1j * u * one.jump_mean - 0.5 * one.jump_std**2 * u**2) - 1
            diffusion = 1j * u * one.compensated - 0.5 * one.sigma**2 * u**2
            rows.append(diffusion + one.intensity * jump)
        return np.array(rows, np.complex128)


def exponential(matrices: Complex) -> Complex:
    """``exp`` of each of ``matrices [n, R, R]``, by a series and squaring."""
    norm = np.abs(matrices).sum(axis=2).max(axis=1)
    doublings = np.maximum(np.ceil(np.log2(np.maximum(norm, SMALL) / SMALL)), 0)
    small = matrices / (2.0**doublings)[:, None, None]
    unit = np.eye(matrices.shape[1], dtype=np.complex128)
    result = np.broadcast_to(unit, matrices.shape)
    for n in range(TERMS, 0, -1):
        result = unit + small @ result / n
    for doubled in range(int(doublings.max())):
        again = doublings > doubled
        result[again] = result[again] @ result[again]
    return result

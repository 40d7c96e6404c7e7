"""The law of a market's log-increment over one step, on a lattice."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ...envs.markets import GeometricBrownianMotion, Kou, Market, Merton

Floats = NDArray[np.float64]

POINTS = 1 << 17  # of the Fourier sum: wide enough for exponential tails on a fine lattice
NOISE = 1e-15  # of the rounding in it, relative to the largest; a cut at 7 leaves out 2e-11
WIDEST_CUT = 7.0  # standard deviations of a normal law

Steady = GeometricBrownianMotion | Merton | Kou  # log-increments independent, parameters constant


class Law(NamedTuple):
    """``weights [n]`` of the lattice points ``(first + j) step``, j = 0 .. n - 1; they sum to 1."""

    first: int
    weights: Floats

    def reached(self, points: NDArray[np.int64], stride: int = 1) -> NDArray[np.int64]:
        """What a step from adjacent ``points`` reaches on a lattice ``stride`` times as dense."""
        last = self.first + len(self.weights) - 1
        return np.arange(points[0] * stride + self.first, points[-1] * stride + last + 1)


def one_step_law(market: Steady, years: float, step: float, cut: float = WIDEST_CUT) -> Law:
    """The law of the log-increment over ``years`` of variance, less its `centre`.

    Its density at the lattice points, by Fourier inversion of the characteristic function: with a
    step of at most a third of sigma sqrt(years) sums over it equal integrals of smooth functions to
    about 1e-8. Each tail is cut where it has the probability of a normal tail beyond ``cut``
    standard deviations (1.3e-12 at 7), because uncut the entropic risk of a short call is infinite.
    Source: Cont and Tankov, "Financial Modelling with Jump Processes", 2004, sections 4.3 and 11.1.
    Evidence: tests/baselines/test_optimal.py (the normal density, Merton's mixture, moments).
    """
    if years == 0:
        return Law(0, np.ones(1))
    u = np.asarray(2 * math.pi * np.fft.fftfreq(POINTS, step), dtype=np.float64)
    weights = np.fft.fftshift(np.fft.fft(np.exp(years * exponent(market, u))).real) / POINTS
    weights[weights < NOISE * weights.max()] = 0.0
    tail = float(special.ndtr(-cut))
    left = int(np.searchsorted(np.cumsum(weights), tail))
    right = POINTS - int(np.searchsorted(np.cumsum(weights[::-1]), tail))
    kept = weights[left:right]
    return Law(left - POINTS // 2, kept / kept.sum())


def exponent(market: Steady, u: Floats) -> NDArray[np.complex128]:
    """``log E[exp(iu X)]`` a year of the increment X less its `centre`."""
    sigma = steady_sigma(market)
    total = -0.5 * sigma**2 * u**2 + 0j
    if isinstance(market, Merton):
        jump = np.exp(1j * u * market.jump_mean - 0.5 * market.jump_std**2 * u**2)
        total += market.intensity * (jump - 1)
    if isinstance(market, Kou):
        p, up, down = market.up_probability, market.up_rate, market.down_rate
        jump = p * up / (up - 1j * u) + (1 - p) * down / (down + 1j * u)
        total += market.intensity * (jump - 1)
    return np.asarray(total, dtype=np.complex128)


def centre(market: Steady) -> float:
    """What makes ``exp`` of the increment before drift a martingale, a year of variance."""
    growth = 0.0
    if isinstance(market, Merton):
        growth = market.intensity * math.expm1(market.jump_mean + market.jump_std**2 / 2)
    if isinstance(market, Kou):
        p, up, down = market.up_probability, market.up_rate, market.down_rate
        growth = market.intensity * (p / (up - 1) - (1 - p) / (down + 1))
    return -0.5 * steady_sigma(market) ** 2 - growth


def steady_sigma(market: Market) -> float:
    """The constant vol of the diffusion; 0 where it is not constant or there is none."""
    sigma = getattr(market, "sigma", 0.0)
    return float(sigma) if isinstance(sigma, int | float) else 0.0

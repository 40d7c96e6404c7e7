"""Heston's variance as `Dynamics`: the simulated scheme's own law, on nodes of the volatility."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from ...envs.hedger import Known
from ...envs.markets import Heston
from ...envs.markets.heston import Scheme, quadratic_exponential
from .dynamics import Dynamics, ends_of_sum
from .one_step_law import WIDEST_CUT, Law
from .problem import Problem
from .transition import Arc, Transition

Floats = NDArray[np.float64]

NODES = 41  # of the volatility
DRAWS = 0.1  # of the scheme's normal for the next variance: the distance between points
NARROW = 1.0  # lattice points of a deviation below which a density is spread by interpolation
IN_A_NARROW = 29  # points over which it is spread
ROUGH = 2.0  # lattice points a deviation where only the lattice's ends are looked for
EMPTY = 1e-15  # weights below it are left out: a cut at 7 leaves out 1e-12


class Volatility(Dynamics):
    """Variance on nodes that are evenly spaced in its root, with cubics between them."""

    def __init__(self, problem: Problem, market: Heston, nodes: int = NODES) -> None:
        self.problem, self.market = problem, market
        clock = torch.from_numpy(problem.moments)[:, None]
        _, self.substeps = market.schemes(clock.diff(dim=0), torch.float64)
        self.grid = np.linspace(*self._range(), nodes)
        self.start = cubic(self._position(np.array([market.variance])), nodes)[:, 0]
        self.shift = np.asarray(np.log(market.spot) + market.drift * problem.dates, np.float64)
        lengths = np.diff(problem.moments)
        shortest = float(lengths[lengths > 0].min()) / self.substeps
        mean = market.mean_variance(torch.tensor(market.variance), clock)[0]
        self.deviation = math.sqrt(float(mean) * shortest)

    def _range(self) -> tuple[float, float]:
        """The least and greatest volatility, as far as a normal law's widest cut.

        The scheme's own path where all of the normals that have not been forgotten by the end share
        the cut between them.
        """
        lengths = np.diff(self.problem.moments).repeat(self.substeps) / self.substeps
        remembered = min(float(lengths.sum()), 1 / self.market.kappa) / float(lengths.max())
        z = (
            torch.tensor([-1.0, 1.0], dtype=torch.float64)
            * WIDEST_CUT
            / math.sqrt(max(remembered, 1.0))
        )
        v = torch.full_like(z, self.market.variance)
        least, most = self.market.variance, self.market.variance
        for years in lengths[lengths > 0].tolist():
            _, v = quadratic_exponential(v, z, self._scheme(years))
            least, most = min(least, float(v[0])), max(most, float(v[1]))
        return math.sqrt(least), math.sqrt(most)

    def _scheme(self, years: float) -> Scheme:
        return self.market.constants(torch.tensor([years], dtype=torch.float64))

    def _position(self, variance: Floats) -> Floats:
        """Among the nodes, 0 to R - 1."""
        width = self.grid[1] - self.grid[0]
        place = (np.sqrt(np.maximum(variance, 0.0)) - self.grid[0]) / width
        return np.asarray(np.clip(place, 0, len(self.grid) - 1), np.float64)

    def place(self, known: Known) -> Floats:
        """Of the variance's root."""
        return self._position(np.asarray(known.latent("variance"), np.float64))

    def halved(self) -> Volatility:
        """Half the nodes."""
        return Volatility(self.problem, self.market, len(self.grid) // 2 + 1)

    def steps(self, t: int) -> tuple[float, ...]:
        """The substeps of the market's steps from one decision date to the next."""
        first, last = self.problem.decisions[t : t + 2]
        lengths = np.diff(self.problem.moments[first : last + 1]) / self.substeps
        return tuple(years for years in lengths.tolist() for _ in range(self.substeps))

    def transition(self, years: float, step: float, cut: float = WIDEST_CUT) -> Transition:
        """A substep of Andersen's scheme from every node.

        The next variance is a function of a normal, which is summed over; given both variances the
        log-price is normal.
        """
        R = len(self.grid)
        if years == 0:
            return Transition(R, tuple(Arc(i, i, Law(0, np.ones(1))) for i in range(R)))
        scheme = self._scheme(years)
        z = np.linspace(-cut, cut, 2 * round(cut / DRAWS) + 1)
        chance = np.exp(-0.5 * z**2)
        chance /= chance.sum()
        v = torch.from_numpy(np.repeat(self.grid**2, len(z)))
        move, after = quadratic_exponential(v, torch.from_numpy(np.tile(z, R)), scheme)
        sd = (scheme.before * v + scheme.after * after).clamp(min=0).sqrt()
        means, sds = (x.numpy().reshape(R, -1) / step for x in (move, sd))
        positions = self._position(after.numpy()).reshape(R, -1)
        arcs: list[Arc] = []
        for i in range(R):
            first, densities = spread(means[i], sds[i], cut)
            joint = (cubic(positions[i], R) * chance) @ densities
            for j in np.flatnonzero(np.abs(joint).max(axis=1) > EMPTY):
                kept = np.flatnonzero(np.abs(joint[j]) > EMPTY)
                weights = joint[j, kept[0] : kept[-1] + 1]
                arcs.append(Arc(i, int(j), Law(first + int(kept[0]), weights)))
        return Transition(R, tuple(arcs))

    def ends(self, step: float, cut: float = WIDEST_CUT) -> tuple[int, int]:
        """Of the scheme's own sum of steps, on a rough lattice."""
        rough = self.deviation / ROUGH
        steps = [years for t in range(len(self.problem.years)) for years in self.steps(t)]
        laws = {years: self.transition(years, rough, cut) for years in set(steps)}
        first, last = ends_of_sum(self.start, [laws[years] for years in steps], cut)
        return math.floor(first * rough / step), math.ceil(last * rough / step)


def cubic(position: Floats, nodes: int) -> Floats:
    """Weights ``[nodes, n]`` of Lagrange's cubic through the four nodes about each position."""
    first = np.clip(position.astype(np.int64) - 1, 0, nodes - 4)
    weights, x = np.zeros((nodes, len(position))), position - first
    for k, others in enumerate(((1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2))):
        part = np.prod([(x - m) / (k - m) for m in others], axis=0)
        weights[first + k, np.arange(len(position))] = part
    return weights


def spread(mean: Floats, sd: Floats, cut: float) -> tuple[int, Floats]:
    """Normal laws on the integers: the first of them, and weights ``[n, width]``.

    A narrow law is a sum of cubics' weights: it keeps the moments, as a sampled density would not.
    """
    first = math.floor(float((mean - cut * sd).min())) - 2
    last = math.ceil(float((mean + cut * sd).max())) + 2
    weights = np.zeros((len(mean), last - first + 1))
    wide = sd >= NARROW
    away = (np.arange(first, last + 1) - mean[wide, None]) / sd[wide, None]
    weights[wide] = np.where(np.abs(away) <= cut, np.exp(-0.5 * away**2), 0.0)
    z = np.linspace(-cut, cut, IN_A_NARROW)
    chance = np.exp(-0.5 * z**2)
    for at, one in zip(z, chance, strict=True):
        weights[~wide] += one * cubic((mean + at * sd)[~wide] - first, weights.shape[1]).T
    return first, weights / weights.sum(axis=1, keepdims=True)

"""What rewards are measured with where groups of paths differ: theta, scale and weight of each."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .episodes import simulate
from .hedger import Known
from .namespace import X
from .objectives import SMALLEST_STD, Objective
from .rollout import rollout
from .sample import Losses
from .scenario import Scenario
from .stream import generator_of
from .variation import Variation, with_aversion

PILOT_PATHS = 4096


class Terms(NamedTuple):
    """What rewards are measured with: numbers, or arrays ``[N]`` where the paths differ."""

    objective: Objective
    theta: tuple[X, ...]
    scale: X  # 1 / money


class GroupTerms:
    """Theta, scale and weight of each of a variation's groups.

    A group's losses count in units of ``spread``, the standard deviation of delta's influence
    function at the group's aversion: one over it is how well the group's risk can be measured, and
    no aversion dominates. The weights of a worst-of set follow the exponentiated gradient: after a
    batch, ``log q_w`` rises by ``weight_step`` times the mean over w's groups of the excess (risk
    less delta's, over the spread), and q is normalised. The excess and not the risk, so that a
    variant that is hard for everybody does not draw all the weight.

    Source: Sagawa, Koh, Hashimoto and Liang, "Distributionally robust neural networks for group
    shifts", 2020, algorithm 1.
    Evidence: tests/envs/test_group_terms.py.

    Attributes:
        theta: of each group, arrays ``[G]``; refitted by `refit`.
        weights: q of each variant ``[W]``, with sum 1; moved by `refit`.
    """

    def __init__(
        self, scenario: Scenario, variation: Variation, scale: float, *, uses_theta: bool
    ) -> None:
        self.variation, self._uses_theta = variation, uses_theta
        self._own, count = scenario.objective, variation.count
        middles = variation.middle_aversions()
        self.objectives = [
            self._own if middles is None else with_aversion(self._own, middles[g])
            for g in range(count)
        ]
        self.variant = np.arange(count) % variation.variants
        pilots = [pilot_losses(variation.variant(scenario, w)) for w in range(variation.variants)]
        losses = [pilots[w] for w in self.variant]
        pairs = list(zip(self.objectives, losses, strict=True))
        self.delta_risk = np.array([o.risk(sample) for o, sample in pairs])
        spread = np.array([o.influence(sample).std() for o, sample in pairs])
        self.spread = np.maximum(spread, SMALLEST_STD)
        precision = 1.0 / self.spread
        self._shares = scale * (precision / precision.mean())
        self.theta = self._columns([o.theta(sample) for o, sample in pairs])
        self.weights = np.full(variation.variants, 1.0 / variation.variants)

    def _columns(self, thetas: list[tuple[float, ...]]) -> tuple[X, ...]:
        return tuple(np.array(column) for column in zip(*thetas, strict=True))

    def at(self, aversion: X | None, group: X) -> Terms:
        """The terms of paths of these aversions and groups, ``[N]`` or a number."""
        which = np.asarray(group).astype(np.intp)
        scale = self._shares * (len(self.weights) * self.weights)[self.variant]
        columns = [each[which] for each in (scale, *(self.theta if self._uses_theta else ()))]
        if which.ndim == 0:
            columns = [float(each) for each in columns]  # plain floats, as a single path's ledger
        objective = self._own if aversion is None else with_aversion(self._own, aversion)
        return Terms(objective, tuple(columns[1:]), columns[0])

    def refit(self, losses: Losses, group: NDArray[np.float64]) -> None:
        """Theta of every group's latest losses, and a step of the weights; between rollouts only.

        Args:
            losses: money, ``[N]``.
            group: of each, ``[N]``; a group without a loss keeps its theta and moves no weight.
        """
        excess = np.full(len(self.objectives), np.nan)
        for g, objective in enumerate(self.objectives):
            own = losses[group == g]
            if len(own):
                for column, value in zip(self.theta, objective.theta(own), strict=True):
                    column[g] = value
                excess[g] = (objective.risk(own) - self.delta_risk[g]) / self.spread[g]
        if len(self.weights) > 1:
            self.weights = stepped(
                self.weights, by_variant(excess, len(self.weights)), self.variation.weight_step
            )

    def state(self) -> list[NDArray[np.float64]]:
        """What `refit` moves, as plain arrays: the weights, then theta's columns."""
        return [each.copy() for each in (self.weights, *self.theta)]

    def restore(self, state: list[NDArray[np.float64]]) -> None:
        """Go on from a `state`."""
        self.weights, *theta = (np.array(each) for each in state)
        self.theta = tuple(theta)

    @property
    def least(self) -> int:
        """The losses that a refit needs, so that every group has some."""
        return LEAST_OF_A_GROUP * len(self.objectives)


LEAST_OF_A_GROUP = 64


def by_variant(excess: NDArray[np.float64], variants: int) -> NDArray[np.float64]:
    """The mean over each variant's groups ``[G]``, of those that are numbers: ``[W]``."""
    rows = excess.reshape(-1, variants)
    known = np.isfinite(rows)
    total = np.where(known, rows, 0.0).sum(axis=0)
    means: NDArray[np.float64] = total / np.maximum(known.sum(axis=0), 1)
    return means


def stepped(
    weights: NDArray[np.float64], excess: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """``q_w exp(step e_w)``, normalised."""
    moved = weights * np.exp(step * (excess - excess.max()))
    normalised: NDArray[np.float64] = moved / moved.sum()
    return normalised


class _DeltaNeutral:
    """Holds what is delta-neutral and no option: only to find where losses lie."""

    name = "pilot"

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        holding = np.zeros((len(known.neutral), known.contract.instruments))
        holding[:, known.contract.options :] = known.neutral
        return holding, None


@lru_cache(maxsize=64)
def pilot_losses(scenario: Scenario) -> Losses:
    """Losses of a delta hedge on 4,096 paths of a fixed seed, ``[N]``, read-only."""
    generator = generator_of(np.random.SeedSequence(0))
    outcome = rollout(
        scenario, simulate(scenario, PILOT_PATHS, generator, torch.float64), _DeltaNeutral()
    )
    losses: Losses = -outcome.pnl
    losses.flags.writeable = False
    return losses

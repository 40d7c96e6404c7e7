"""How a policy that was trained on varied episodes is judged while it trains."""

from __future__ import annotations

import numpy as np

from ..envs import Episodes, Scenario
from ..envs.group_terms import by_variant
from ..envs.objectives import SMALLEST_STD
from ..envs.sample import Losses
from ..envs.variation import with_aversion


class GroupRisk:
    """The risk beyond delta's, in standard errors of delta's own, over the groups of a batch.

    For a group of n paths the risk at the group's aversion, less delta's on the same paths, is
    divided by the standard deviation of delta's influence function there. The number is the mean
    over groups, so that no aversion and no market decides alone; with a worst-of set the mean over
    each variant's groups, and of these the largest. It has no unit; delta has 0.

    Evidence: tests/agents/test_varied_training.py.
    """

    def __init__(
        self, scenario: Scenario, episodes: Episodes, delta: Losses, variants: int = 1
    ) -> None:
        books = episodes.numpy()
        group, drawn = books.group, books.aversion
        assert group is not None
        self._paths = [np.flatnonzero(group[0] == g) for g in np.unique(group)]
        self._objectives = [scenario.objective] * len(self._paths)
        if drawn is not None:
            firsts = [float(drawn[0][own[0]]) for own in self._paths]
            self._objectives = [with_aversion(scenario.objective, a) for a in firsts]
        pairs = [(o, delta[own]) for o, own in zip(self._objectives, self._paths, strict=True)]
        self._delta = np.array([o.risk(losses) for o, losses in pairs])
        spread = np.array([o.influence(losses).std() for o, losses in pairs])
        self._spread = np.maximum(spread, SMALLEST_STD)
        self._variants = variants

    def risk(self, losses: Losses) -> float:
        """The number for losses ``[N]`` on the batch; lower is better."""
        pairs = zip(self._objectives, self._paths, strict=True)
        excess = np.array([o.risk(losses[own]) for o, own in pairs]) - self._delta
        return float(by_variant(excess / self._spread, self._variants).max())

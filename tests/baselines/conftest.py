"""What tests of every optimum ask of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from deephedge.baselines import (
    BandHedge,
    Baseline,
    DeltaHedge,
    NoHedge,
    OptimalHedge,
    StaticHedge,
    baseline_kinds,
)
from deephedge.baselines.optimum import solve
from deephedge.envs import Scenario, rollout, simulate

OTHERS: list[Baseline] = [
    *(DeltaHedge(), BandHedge(width=0.1), BandHedge(width=0.1, to="centre")),
    *(NoHedge(), StaticHedge()),
]
Check = Callable[..., None]


@pytest.fixture
def agrees_and_is_unbeaten() -> Check:
    """Simulated risk within 4 s.e. plus the stated error of the value; no other hedger lower."""

    def check(scenario: Scenario, paths: int, seed: int = 5) -> None:
        optimum, objective = solve(scenario), scenario.objective
        episodes = simulate(scenario, paths, torch.Generator().manual_seed(seed))
        best = -np.asarray(rollout(scenario, episodes, OptimalHedge()).pnl)
        influence, root = objective.influence(best), math.sqrt(paths)
        risk, error = objective.risk(best), influence.std() / root
        assert abs(risk - optimum.value) < 4 * error + optimum.error
        for hedger in OTHERS:
            other = -np.asarray(rollout(scenario, episodes, hedger).pnl)
            paired = (objective.influence(other) - influence).std() / root
            assert objective.risk(other) - risk > -4 * paired, hedger.name

    return check


@pytest.fixture
def kinds_that_fit() -> Callable[[Scenario], set[str]]:
    """The kinds of rules that are shown; any option counts, such as an aversion that is tuned."""

    def kinds(scenario: Scenario) -> set[str]:
        return {
            rule.name.partition(":")[0]
            for kind in baseline_kinds().values()
            for one in kind.variants(scenario)
            for rule in [
                one,
                *(one.model_copy(update={k: v[0]}) for k, v in one.ranges(scenario).items()),
            ]
            if rule.refusal(scenario) is None
        }

    return kinds

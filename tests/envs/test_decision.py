"""One decision: on a rollout's own account it is the rollout's decision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deephedge.baselines import BandHedge, Baseline, parse_baseline
from deephedge.envs import load_scenario, rollout, simulate
from deephedge.envs.decision import decide


@pytest.mark.parametrize(
    "hedger",
    [BandHedge(width=0.1), parse_baseline("delta:move=1"), parse_baseline("delta:every=4")],
    ids=lambda hedger: hedger.name,
)
def test_it_is_what_the_rollout_does(hedger: Baseline) -> None:
    scenario = load_scenario("short-call", {"hedges.0.limits.lot": "0.1"})
    episodes = simulate(scenario, 16, torch.Generator().manual_seed(0))
    outcome = rollout(scenario, episodes, hedger, record=True)
    held, wealth = np.asarray(outcome.holding), np.asarray(outcome.wealth)
    for t in (0, 1, 13, 29):
        before = held[t - 1] if t else np.zeros_like(held[0])
        found = decide(scenario, episodes, hedger, t, (before[:, 0].copy(),), wealth[t].copy())
        np.testing.assert_array_equal(found.held[0], held[t, :, 0])
        np.testing.assert_array_equal(found.trade[0], held[t, :, 0] - before[:, 0])
        assert outcome.lines is not None
        np.testing.assert_allclose(found.cost, outcome.lines["cost"][t], rtol=1e-12)


def test_the_account_given_counts_not_the_rollouts() -> None:
    scenario = load_scenario("short-call")
    episodes = simulate(scenario, 4, torch.Generator().manual_seed(0))
    far = (np.full(4, 1.5),)
    found = decide(scenario, episodes, BandHedge(width=0.1), 5, far, np.zeros(4))
    np.testing.assert_allclose(found.held[0], -episodes.delta[5].numpy() + 0.1)

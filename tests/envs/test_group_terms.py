"""Theta, scale and weight of each group, against hand computations and paths of other seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deephedge.baselines import DeltaHedge
from deephedge.envs import HedgingVectorEnv, Variation, View, load_scenario, rollout, simulate
from deephedge.envs.action import BandAction
from deephedge.envs.group_terms import GroupTerms, by_variant, stepped
from deephedge.envs.objectives import Entropic
from deephedge.envs.rewards import TelescopedReward

AVERSE = Variation(aversion=(0.01, 1.0))
VOLS = ({"market.sigma": 0.15}, {"market.sigma": 0.3})  # sold at 0.2


def terms(variation: Variation, scale: float = 0.5) -> GroupTerms:
    return GroupTerms(load_scenario("short-call"), variation, scale, uses_theta=True)


def test_the_exponentiated_gradient_by_hand() -> None:
    moved = stepped(np.array([0.2, 0.8]), np.array([0.3, -0.1]), 2.0)
    up, down = 0.2 * math.exp(0.6), 0.8 * math.exp(-0.2)
    assert moved == pytest.approx([up / (up + down), down / (up + down)], rel=1e-12)
    far = stepped(np.array([0.5, 0.5]), np.array([1e6, 0.0]), 1.0)
    assert far.tolist() == [1.0, 0.0]


def test_groups_of_a_variant_count_alike_and_the_unknown_not_at_all() -> None:
    excess = np.array([1.0, 2.0, 3.0, np.nan, np.nan, np.nan])  # of variants 0 1 2 0 1 2
    assert by_variant(excess, 3).tolist() == [1.0, 2.0, 3.0]
    assert by_variant(np.array([1.0, 2.0, 3.0, 6.0]), 2).tolist() == [2.0, 4.0]
    assert by_variant(np.array([1.0, np.nan]), 1).tolist() == [1.0]


def test_a_refit_takes_each_groups_own_risk_and_moves_the_weights() -> None:
    variation = Variation(aversion=(0.01, 1.0), worst_of=VOLS, groups=4, weight_step=0.5)
    groups, rng = terms(variation), np.random.default_rng(0)
    before = groups.theta[0].copy()
    losses, of = rng.normal(0, 1, 300), rng.integers(0, 3, 300).astype(float)  # none of group 3
    groups.refit(losses, of)
    middles = [0.01 * 100 ** ((g + 0.5) / 4) for g in range(4)]
    assert variation.middle_aversions() == pytest.approx(middles, rel=1e-12)
    risks = [math.log(np.exp(a * losses[of == g]).mean()) / a for g, a in enumerate(middles[:3])]
    assert groups.theta[0] == pytest.approx([*risks, before[3]], rel=1e-9)
    excess = (np.array(risks) - groups.delta_risk[:3]) / groups.spread[:3]
    raised = np.exp(0.5 * np.array([(excess[0] + excess[2]) / 2, excess[1]]))
    assert groups.weights == pytest.approx(raised / raised.sum(), rel=1e-9)


def test_the_pilot_is_a_delta_hedge_at_each_groups_aversion() -> None:
    scenario, groups = load_scenario("short-call"), terms(AVERSE)
    episodes = simulate(scenario, 20_000, torch.Generator().manual_seed(99))
    losses = -rollout(scenario, episodes, DeltaHedge()).pnl
    for g in (0, 15, 31):
        a = 0.01 * 100 ** ((g + 0.5) / 32)
        risk = math.log(np.exp(a * losses).mean()) / a
        spread = (np.exp(a * (losses - risk)) / a).std()
        assert groups.delta_risk[g] == pytest.approx(risk, abs=4 * spread / math.sqrt(4096))
        assert groups.spread[g] == pytest.approx(spread, rel=0.1)
        assert groups.theta[0][g] == groups.delta_risk[g]


def test_scales_are_the_precisions_and_average_to_the_scenarios() -> None:
    groups = terms(AVERSE, 0.5)
    scale = groups.at(None, np.arange(32)).scale
    assert scale.mean() == pytest.approx(0.5, rel=1e-12)
    assert np.ptp(scale * groups.spread) < 1e-12
    assert groups.at(0.3, 7.0).scale == scale[7]
    assert groups.at(0.3, 7.0).objective == Entropic(aversion=0.3)
    groups = terms(Variation(worst_of=VOLS, groups=2), 0.5)
    even = groups.at(None, np.arange(2)).scale
    groups.weights = np.array([0.9, 0.1])
    assert groups.at(None, np.arange(2)).scale == pytest.approx(even * [1.8, 0.2], rel=1e-12)


def weights(width: NDArray[np.float32]) -> NDArray[np.float64]:
    """The weights after an episode of delta hedging, within a band of this width in each variant.

    A width is chosen by the group, that is by the environment's number.
    """
    variation = Variation(worst_of=VOLS, groups=2, weight_step=1.0)
    view = View(action=BandAction(rest=0.0), reward=TelescopedReward())
    env = HedgingVectorEnv(4096, load_scenario("short-call"), view, variation=variation)
    env.reset(seed=0)
    edges = width[np.arange(4096) % 2, None] * np.array([[-1.0, 1.0]], dtype=np.float32)
    for _ in range(30):
        env.step(edges.astype(np.float32))
    env.refit()
    assert env.problem.groups is not None
    return env.problem.groups.weights


def test_a_variant_that_is_hard_for_everybody_does_not_draw_the_weight() -> None:
    """At a vol of 0.3 even delta loses far more; a policy that is delta weighs both alike."""
    groups = terms(Variation(worst_of=VOLS, groups=2))
    assert groups.delta_risk[1] > groups.delta_risk[0] + 1.0
    even = weights(np.array([0.0, 0.0], dtype=np.float32))
    assert even == pytest.approx([0.5, 0.5], abs=4 * math.sqrt(2 / 2048 + 2 / 4096) / 4)
    # A band lowers the risk at 20 bp: the variant that is still hedged to delta is the worst.
    assert weights(np.array([0.1, 0.0], dtype=np.float32))[1] > 0.55
    assert weights(np.array([0.0, 0.1], dtype=np.float32))[0] > 0.55

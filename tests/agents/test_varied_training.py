"""Agents on varied episodes: what they follow, what they are judged by, and what they learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.agents import AgentSettings, agent_settings, load_policy, save_policy, train_agent
from deephedge.agents.factory import check_fit, view_of
from deephedge.agents.group_risk import GroupRisk
from deephedge.agents.pathwise.deep_hedging import Pathwise, pathwise_loss
from deephedge.agents.pathwise.policy import PathwisePolicy
from deephedge.agents.random_state import global_generators
from deephedge.agents.replay import HedgingReplayBuffer
from deephedge.baselines import DeltaHedge, OptimalHedge
from deephedge.envs import (
    HedgingVectorEnv,
    Known,
    Scenario,
    Variation,
    View,
    draw,
    load_scenario,
    rollout,
    simulate,
)
from deephedge.envs.desk import Desk
from deephedge.envs.learning import LearningProblem
from deephedge.envs.namespace import NUMPY, TORCH
from deephedge.envs.rewards import PairedReward

Tiny = Callable[..., AgentSettings]
AVERSE = Variation(aversion=(0.05, 2.0), cost=(0.5, 2.0), groups=4)
VOLS = ({"market.sigma": 0.15}, {"market.sigma": 0.3})


def generator(seed: int = 2) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def entropic(losses: Any, aversion: float) -> float:
    return math.log(np.exp(aversion * losses).mean()) / aversion


# The gradient -----------------------------------------------------------------------------------


@pytest.mark.parametrize("worst_of", [(), VOLS])
def test_the_pathwise_gradient_is_that_of_the_weighted_group_risks(
    three_steps: Scenario, worst_of: Any
) -> None:
    """Beside each group's log-mean-exp, differentiated by torch as it stands."""
    variation = AVERSE.model_copy(update={"worst_of": worst_of})
    problem = LearningProblem(three_steps, None, NUMPY, variation)
    assert problem.groups is not None
    torch.manual_seed(3)
    policy = PathwisePolicy(problem.observation_space, problem.action_space, lambda _: 0.0)
    policy.double()
    episodes = draw(three_steps, variation, 80, generator())
    desk = Desk(three_steps, TORCH, problem.view)

    pathwise_loss(Pathwise(policy, desk), episodes, problem.groups).backward()  # type: ignore[no-untyped-call]
    found = [p.grad.clone() for p in policy.parameters() if p.grad is not None]
    policy.zero_grad()

    pnl = rollout(three_steps, episodes, Pathwise(policy, desk), differentiable=True).pnl
    total = torch.zeros((), dtype=torch.float64)
    for g in range(4):
        own = episodes.group[0] == g  # type: ignore[index]
        a = float(episodes.aversion[0, g])  # type: ignore[index]
        risk = (torch.logsumexp(-a * pnl[own], 0) - math.log(int(own.sum()))) / a
        theta = float(problem.groups.theta[0][g])
        # Theta is the risk at the middle of the slice; at the path's own it is off by a factor.
        tilt = math.exp(a * (risk.item() - theta))
        total = total + problem.groups.at(None, np.array([g])).scale[0] * tilt * risk / 4
    total.backward()  # type: ignore[no-untyped-call]
    wanted = [p.grad for p in policy.parameters() if p.grad is not None]
    assert len(found) == len(wanted) == 6
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10)


# The replay buffer ------------------------------------------------------------------------------


@pytest.mark.parametrize("loss_limit", ["null", "1.0"])
def test_a_sample_is_rewarded_at_the_aversion_it_was_stored_with(loss_limit: str) -> None:
    scenario = load_scenario("short-call", {"calendar.steps": "5", "loss_limit": loss_limit})
    view = View(reward=PairedReward())
    variation = AVERSE.model_copy(update={"groups": 24})  # an environment's next group is another
    env = HedgingVectorEnv(16, scenario, view, variation=variation)
    buffer = HedgingReplayBuffer(
        *(16 * 40, env.single_observation_space, env.single_action_space),
        n_envs=16,
        handle_timeout_termination=False,
        hedging_env=env,
    )
    observation, _ = env.reset(seed=1)
    rng, paid = np.random.default_rng(0), {}
    for _ in range(23):
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        following, reward, done, _, _ = env.step(action)
        buffer.add(observation, following, action, reward, done, [{}] * 16)
        paid |= dict(zip([row.tobytes() for row in action], reward.tolist(), strict=True))
        observation = following
    with global_generators(0):
        samples = buffer.sample(2000)
    for row, value in zip(samples.actions.numpy(), samples.rewards[:, 0].tolist(), strict=True):
        assert value == pytest.approx(paid[row.tobytes()], rel=1e-6, abs=1e-6)
    assert buffer.drawn is not None and len(np.unique(buffer.drawn[:23, :, 0])) >= 4


# What it is judged by ---------------------------------------------------------------------------


def test_the_validation_risk_by_hand() -> None:
    """Excess over delta in delta's standard deviations: the mean over groups, the worst variant."""
    scenario = load_scenario("short-call")
    variation = Variation(aversion=(0.05, 2.0), worst_of=VOLS, groups=4)
    episodes = draw(scenario, variation, 400, generator())
    delta = -rollout(scenario, episodes, DeltaHedge()).pnl
    losses = delta + np.random.default_rng(0).normal(0, 0.3, 400)
    judge = GroupRisk(scenario, episodes, delta, 2)
    assert judge.risk(delta) == 0.0
    excess = []
    for g in range(4):
        own, a = slice(g, None, 4), float(episodes.aversion[0, g])  # type: ignore[index]
        risk = entropic(delta[own], a)
        spread = (np.exp(a * (delta[own] - risk)) / a).std()
        excess.append((entropic(losses[own], a) - risk) / spread)
    worst = max((excess[0] + excess[2]) / 2, (excess[1] + excess[3]) / 2)
    assert judge.risk(losses) == pytest.approx(worst, rel=1e-9)


# Trainings --------------------------------------------------------------------------------------


class Spy:
    """Plays a hedger and keeps what it is shown."""

    def __init__(self, hedger: Any, desk: Desk) -> None:
        self.name, self.hedger, self.desk = hedger.name, hedger, desk
        self.seen: list[Any] = []

    def start(self, n: int) -> Any:
        return self.hedger.start(n)

    def act(self, known: Known, state: Any) -> Any:
        self.seen.append(known.observe(self.desk))
        return self.hedger.act(known, state)


@pytest.mark.parametrize(
    "name",
    [
        *("ppo", "td3", "deep-hedging"),
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("a2c", "recurrent-ppo")),
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("sac", "tqc", "ddpg", "dqn")),
    ],
)
def test_every_agent_learns_conditioned_and_is_evaluated_at_a_fixed_value(
    name: str, tiny: Tiny, three_steps: Scenario, tmp_path: Path
) -> None:
    settings = tiny(name, vary=AVERSE)
    trained = train_agent(three_steps, settings, seed=1)
    assert trained.risks[0][1] != trained.risks[-1][1] and math.isfinite(trained.risk)
    save_policy(tmp_path, trained.hedger.policy, settings, three_steps, trained.view)
    hedger = load_policy(tmp_path)
    fixed = load_scenario(
        "short-call",
        {"calendar.steps": "3", "objective.aversion": "0.7", "hedges.0.costs.0.rate": "0.003"},
    )
    spy = Spy(hedger, Desk(fixed, NUMPY, hedger.view))
    rollout(fixed, simulate(fixed, 10, generator()), spy)
    scale = 0.4 * 100 * 0.2 * math.sqrt(30 / 365)
    want = [0.5 * math.log(0.7 * scale), 0.5 * math.log(0.003 * 100 / scale)]
    assert hedger.columns[:2] == ["aversion", "cost_level"]
    for seen in spy.seen:
        np.testing.assert_allclose(seen[:, :2], np.broadcast_to(want, (10, 2)), rtol=1e-6)


def test_a_worst_of_training_moves_its_weights_and_shows_nothing_of_them(
    tiny: Tiny, three_steps: Scenario
) -> None:
    settings = tiny("deep-hedging", vary=Variation(worst_of=VOLS, groups=2))
    trained = train_agent(three_steps, settings, seed=1)
    assert trained.view == view_of(three_steps, tiny("deep-hedging"))


def test_what_cannot_vary_is_refused_before_training(tiny: Tiny) -> None:
    scenario = load_scenario("short-straddle-jumps")
    with pytest.raises(ValueError, match=r"objective\.aversion"):
        check_fit(scenario, tiny("ppo", vary=AVERSE))


def gap_closed(hedger: Any, aversion: float) -> float:
    scenario = load_scenario("short-call", {"objective.aversion": str(aversion)})
    episodes = simulate(scenario, 50_000, generator(11))
    delta, best, own = (
        scenario.objective.risk(-rollout(scenario, episodes, h).pnl)
        for h in (DeltaHedge(), OptimalHedge(), hedger)
    )
    return (delta - own) / (delta - best)


@pytest.mark.slow
def test_one_training_serves_aversions_a_factor_of_a_hundred_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    settings = agent_settings("deep-hedging", steps=6_000_000, vary={"aversion": (0.01, 1.0)})
    trained = train_agent(load_scenario("short-call"), settings)
    closed = [gap_closed(trained.hedger, a) for a in (0.01, 0.1, 1.0)]
    assert min(closed) > 0.88

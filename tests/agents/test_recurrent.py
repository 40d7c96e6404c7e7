"""Deep hedging with a memory: carried path by path, learned through time, and worth having."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.agents import (
    AgentSettings,
    PolicyHedger,
    agent_settings,
    as_sb3_env,
    train_agent,
)
from deephedge.agents import training as training_module
from deephedge.agents.factory import check_fit
from deephedge.agents.pathwise.deep_hedging import Pathwise, pathwise_loss
from deephedge.agents.pathwise.policy import PathwisePolicy
from deephedge.envs import Episodes, Scenario, View, load_scenario, rollout, simulate
from deephedge.envs.action import TargetAction
from deephedge.envs.desk import Desk
from deephedge.envs.learning import LearningProblem
from deephedge.envs.namespace import NUMPY, TORCH
from deephedge.experiments.runs import load_run, train_run

CELLS = 3


def paths(scenario: Scenario, n: int = 40) -> Episodes:
    return simulate(scenario, n, torch.Generator().manual_seed(11), torch.float64)


def remembering(scenario: Scenario) -> PathwisePolicy:
    """A policy whose cells speak loudly: some actions are far from 0."""
    problem = LearningProblem(scenario, None, NUMPY)
    torch.manual_seed(5)
    policy = PathwisePolicy(
        problem.observation_space,
        problem.action_space,
        lambda _: 1e-3,
        (6,),
        torch.nn.Tanh,
        memory=CELLS,
    )
    with torch.no_grad():
        for parameter in policy.mu[-1].parameters():
            parameter.mul_(30.0)
    return policy


def played(scenario: Scenario, episodes: Episodes, policy: PathwisePolicy) -> Any:
    hedger = Pathwise(policy, Desk(scenario, TORCH))
    with torch.no_grad():
        return rollout(scenario, episodes, hedger, differentiable=True).pnl.numpy()


def test_gradient_and_evaluation_carry_one_memory(three_steps: Scenario) -> None:
    """Torch through the cells and `PolicyHedger` through `predict`: one P&L."""
    policy, episodes = remembering(three_steps), paths(three_steps)
    trained_on = played(three_steps, episodes, policy.double())
    judged = PolicyHedger("x", policy.float(), three_steps, three_steps.view)
    np.testing.assert_allclose(trained_on, rollout(three_steps, episodes, judged).pnl, atol=2e-4)


def test_the_gradient_goes_through_time(three_steps: Scenario) -> None:
    """To every weight, against central differences in float64."""
    policy, episodes = remembering(three_steps).double(), paths(three_steps)
    desk = Desk(three_steps, TORCH)
    pathwise_loss(Pathwise(policy, desk), episodes).backward()  # type: ignore[no-untyped-call]
    parameters = dict(policy.named_parameters())
    assert {"cells.weight_hh", "cells.weight_ih"} <= set(parameters)
    scale, step = three_steps.contract.scale, 1e-6
    for name, parameter in parameters.items():
        move = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).double()
        risks = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                parameter.add_(sign * step * move)
                losses = -played(three_steps, episodes, policy)
                parameter.sub_(sign * step * move)
            risks.append(three_steps.objective.risk(losses))
        slope = (risks[0] - risks[1]) / (2 * step * scale)
        assert parameter.grad is not None
        found = float((parameter.grad * move).sum())
        assert abs(slope) > 1e-6, name
        assert found == pytest.approx(slope, rel=1e-5, abs=1e-8), name


def test_a_path_remembers_itself_and_starts_blank(three_steps: Scenario) -> None:
    policy = remembering(three_steps)
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(4, 5, policy.observation_space.shape[0])).astype(np.float32)
    first, state = policy.predict(seen[0])
    second, state = policy.predict(seen[1], state, np.zeros(5, bool))
    assert state is not None and state[0].shape == (5, CELLS)
    forgetful, _ = policy.predict(seen[1])
    assert np.abs(second - forgetful).max() > 1e-3
    # Some begin anew, the others go on; the order of the paths does not matter.
    begun = np.array([True, False, True, False, False])
    mixed, _ = policy.predict(seen[2], state, begun)
    going, _ = policy.predict(seen[2], state, np.zeros(5, bool))
    blank, _ = policy.predict(seen[2])
    np.testing.assert_allclose(mixed, np.where(begun[:, None], blank, going), atol=1e-6)
    order = rng.permutation(5)
    moved, _ = policy.predict(seen[2][order], (state[0][order],), begun[order])
    np.testing.assert_allclose(moved, mixed[order], atol=1e-6)
    one, kept = policy.predict(seen[0][0])
    np.testing.assert_allclose(one, first[0], atol=1e-6)
    assert kept is not None and kept[0].shape == (1, CELLS)


def test_along_a_whole_episode_it_plays_date_by_date(three_steps: Scenario) -> None:
    policy, state = remembering(three_steps), None
    rng = np.random.default_rng(1)
    seen = rng.normal(size=(3, 4, policy.observation_space.shape[0])).astype(np.float32)
    whole = policy.along(torch.from_numpy(seen)).detach().numpy()
    for t in range(3):
        action, state = policy.predict(seen[t], state, np.full(4, t == 0))
        np.testing.assert_allclose(action, whole[t], atol=1e-6)


@pytest.mark.slow
def test_a_run_with_a_memory_comes_back(
    three_steps: Scenario, tiny: Callable[..., AgentSettings], tmp_path: Path
) -> None:
    settings = tiny("deep-hedging", steps=16 * 3 * 4, memory=CELLS)
    result = train_run(tmp_path / "run", three_steps, settings, seed=2)
    assert "cells.weight_hh" in result.hedger.policy.state_dict()
    before, after = (
        rollout(three_steps, paths(three_steps), h).pnl
        for h in (result.hedger, load_run(tmp_path / "run"))
    )
    np.testing.assert_array_equal(before, after)
    env = as_sb3_env(three_steps, 4)
    state, begun = None, np.ones(4, bool)
    observation = env.reset()
    for _ in range(7):
        action, state = result.hedger.policy.predict(observation, state, begun)
        observation, _, begun, _ = env.step(action)


def test_cells_that_an_agent_does_not_have_are_refused(three_steps: Scenario) -> None:
    for name, memory in (("ppo", 4), ("recurrent-ppo", 0)):
        with pytest.raises(ValueError, match=f"agent {name}: memory {memory}"):
            check_fit(three_steps, agent_settings(name, memory=memory))


def test_patience_ends_a_training_that_no_longer_improves(
    three_steps: Scenario, tiny: Callable[..., AgentSettings]
) -> None:
    """At a rate that moves no weight the first evaluation stays the best."""
    still = tiny("deep-hedging", steps=48 * 60, learning_rate=1e-30, patience=2)
    assert len(train_agent(three_steps, still).risks) == 4
    learning = tiny("deep-hedging", steps=48 * 60, patience=20)
    assert train_agent(three_steps, learning).risks[-1][0] == 48 * 60


@pytest.mark.slow
def test_memory_is_worth_having(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Asian call by a policy that sees date, spot and holding: the average is in its past."""
    monkeypatch.setattr(training_module, "VALIDATION_PATHS", 4096)
    view = View(features=("time_left", "log_spot", "holding"), action=TargetAction())
    scenario = load_scenario(
        "short-call",
        {
            "calendar": "{kind: uniform, days: 180, steps: 8}",
            "position.legs": "[{quantity: -1, claim: {kind: asian-call, strike: 100}}]",
            "objective": "{kind: quadratic}",
            "hedges.0.costs": "[]",
        },
    ).model_copy(update={"view": view})
    forgetful, remembering = (
        train_agent(
            scenario,
            agent_settings("deep-hedging", environments=1024, steps=2_400_000, memory=memory),
        ).risk
        for memory in (0, 8)
    )
    assert remembering < 0.98 * forgetful

"""Deep Bellman: its steps add up, its gradient is the one-step risk's, its value the optimum's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from deephedge.agents import (
    AgentSettings,
    DeepBellman,
    PolicyHedger,
    agent_settings,
    as_sb3_env,
    train_agent,
)
from deephedge.agents.factory import check_fit, make_model
from deephedge.agents.pathwise.deep_bellman import OneStep
from deephedge.agents.pathwise.deep_hedging import Pathwise
from deephedge.agents.pathwise.policy import PathwisePolicy
from deephedge.agents.random_state import global_generators
from deephedge.baselines import DeltaHedge, OptimalHedge
from deephedge.baselines.optimum import solve
from deephedge.envs import Episodes, Scenario, View, load_scenario, rollout, simulate
from deephedge.envs.action import TargetAction
from deephedge.envs.desk import Desk
from deephedge.envs.learning import LearningProblem
from deephedge.envs.namespace import NUMPY, TORCH
from deephedge.envs.objectives import Entropic

Tiny = Callable[..., AgentSettings]
FUTURE = [{"instrument": {"kind": "future", "tenor": 15 / 365}}]
ENTROPIC = {"kind": "entropic", "aversion": 0.1}
SCENARIOS: dict[str, dict[str, Any]] = {
    "short-call": {"market.rate": 0.05, "market.drift": 0.1},
    "short-call with futures": {"hedges": FUTURE, "market.rate": 0.05},
    "short-call closed out": {"liquidate": True, "market.dividend": 0.03},
    "gamma-hedge-jumps": {},
    "exchange-option": {},
}


def scenario(name: str) -> Scenario:
    changes = {"calendar.steps": 6, "objective": ENTROPIC} | SCENARIOS[name]
    sets = {key: json.dumps(value) for key, value in changes.items()}
    return load_scenario(name.partition(" ")[0], sets)


def paths(problem: Scenario, n: int, seed: int = 11) -> Episodes:
    return simulate(problem, n, torch.Generator().manual_seed(seed), torch.float64)


def fresh(problem: Scenario, view: View | None = None, scale: float = 20.0) -> PathwisePolicy:
    """A policy whose actions are not all near 0."""
    spaces = LearningProblem(problem, view, NUMPY)
    torch.manual_seed(5)
    policy = PathwisePolicy(
        spaces.observation_space, spaces.action_space, lambda _: 1e-3, (8,), torch.nn.Tanh
    )
    with torch.no_grad():
        for parameter in policy.mu[-1].parameters():
            parameter.mul_(scale)
    return policy.double()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_steps_add_up_to_the_rollout(name: str) -> None:
    """Each from a wealth of 0 and carried to the end with interest; and luck has a mean of 0."""
    problem = scenario(name)
    desk, episodes, policy = Desk(problem, TORCH), paths(problem, 500), fresh(problem)
    steps = OneStep(desk, episodes)
    with torch.no_grad():
        held = steps.play(episodes, Pathwise(policy, desk))
        loss, luck, after = steps._step(held, policy(steps.observed(held)))
        whole = rollout(problem, episodes, Pathwise(policy, desk), differentiable=True)
    growth = float(np.exp(problem.market.rate * problem.calendar.horizon))
    first = growth * (episodes.premium + episodes.mark[0])
    total = loss.reshape(episodes.steps, -1).sum(0)
    torch.testing.assert_close(total, first - whole.pnl, rtol=0, atol=1e-8)
    for units, now in zip(after, held, strict=True):
        torch.testing.assert_close(units[: -episodes.paths], now[episodes.paths :])
    each = luck.reshape(episodes.steps, -1).sum(0)
    assert float(each.std()) > 0.1
    assert abs(float(each.mean())) < 4 * float(each.std()) / 500**0.5


def bowl(observation: Tensor) -> tuple[Tensor, Tensor]:
    """A value of where a step ends, and its slope: half the square of the holding, column 4."""
    holding = observation[:, 4]
    return 0.5 * holding**2, holding[:, None]


@pytest.mark.parametrize("action", [None, TargetAction()], ids=["band", "target"])
def test_the_gradient_is_that_of_the_one_step_risk(action: Any) -> None:
    """To the weights and to the holdings, against central differences in float64."""
    problem = load_scenario("short-call", {"calendar.steps": "3", "market.drift": "0.2"})
    view = View(action=action) if action else View()
    assert problem.features_of(view)[4] == "holding"
    policy, episodes = fresh(problem, view), paths(problem, 40)
    steps = OneStep(Desk(problem, TORCH, view), episodes)
    zeros = tuple([torch.full((120,), 0.4, dtype=torch.float64)])
    holding = steps.spread(zeros, 0.3, torch.Generator().manual_seed(2))
    value = torch.linspace(-2.0, 3.0, 120, dtype=torch.float64)

    def risk(units: Tensor) -> Tensor:
        return steps.risk((units,), policy, bowl, value)[1].mean()

    risk(holding[0]).backward()  # type: ignore[no-untyped-call]
    weights = list(policy.mu.parameters())
    for moved, gradient in [(w, w.grad) for w in weights] + [(holding[0], holding[0].grad)]:
        assert gradient is not None
        move = torch.randn(moved.shape, generator=torch.Generator().manual_seed(3)).double()
        with torch.no_grad():
            ends = []
            for size in (1e-6, -1e-6):
                moved.add_(size * move)
                ends.append(float(risk(holding[0])))
                moved.sub_(size * move)
        slope = (ends[0] - ends[1]) / 2e-6
        assert float((gradient * move).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-8)
        assert abs(slope) > 1e-6


def learned(problem: Scenario, steps: int, **changes: Any) -> DeepBellman:
    settings = agent_settings("deep-bellman", steps=steps, **changes)
    with global_generators(0):
        model = make_model(problem, settings, 0)
        model.learn(steps)
    assert isinstance(model, DeepBellman)
    return model


def value_at_start(model: DeepBellman, problem: Scenario) -> float:
    """V(s_0), money."""
    episodes = simulate(problem, 1, torch.Generator().manual_seed(0), torch.float32)
    step = OneStep(Desk(problem, TORCH, problem.view), episodes)
    with torch.no_grad():
        seen = step.observed((torch.zeros(episodes.steps),))
        return problem.contract.scale * float(model.critic(seen)[0][0])


def test_one_period_is_worth_the_best_hedge() -> None:
    """V to 1 % of the entropic risk that direct minimisation over the one holding finds."""
    sets = {"calendar.steps": "1", "hedges.0.costs.0.rate": "0.01", "objective.aversion": "0.3"}
    problem = load_scenario("short-call", sets)
    assert isinstance(problem.objective, Entropic)
    ends = paths(problem, 400_000)
    price, claim = ends.price[:, :, 0].numpy(), (ends.mark[1] + ends.cash_flow[1]).numpy()
    premium, start = ends.premium.numpy(), float(ends.price[0, 0, 0])

    def risk(units: float) -> float:
        pnl = premium + units * (price[1] - start) - 0.01 * start * abs(units) + claim
        return problem.objective.risk(-pnl)

    best = minimize_scalar(risk, bounds=(0.0, 1.0), method="bounded")
    model = learned(problem, 8192 * 80, environments=8192, net=(16,), learning_rate=0.01)
    assert value_at_start(model, problem) == pytest.approx(best.fun, rel=0.01)
    assert risk(0.0) > 1.05 * best.fun


@pytest.mark.slow
def test_three_dates_are_worth_the_optimum() -> None:
    """V(s_0) within 3 % of the dynamic programme's value, the policy 95 % of the way from delta."""
    problem = load_scenario("short-call", {"calendar.steps": "3", "hedges.0.costs.0.rate": "0.005"})
    optimum = solve(problem).value
    model = learned(problem, 3 * 1024 * 200, environments=1024, net=(16, 16))
    assert value_at_start(model, problem) == pytest.approx(optimum, rel=0.03)
    episodes = paths(problem, 100_000)
    played = PolicyHedger("x", model.policy, problem, problem.view)
    found, delta, best = (
        problem.objective.risk(-rollout(problem, episodes, hedger).pnl)
        for hedger in (played, DeltaHedge(), OptimalHedge())
    )
    assert (delta - found) / (delta - best) > 0.95
    assert delta > 1.1 * optimum


def test_it_is_saved_loaded_and_goes_on(three_steps: Scenario, tmp_path: Path) -> None:
    """The critic with it; and one seed gives one policy."""
    learner, again = (
        DeepBellman("MlpPolicy", as_sb3_env(three_steps, 16), seed=3).learn(48 * 4)
        for _ in range(2)
    )
    other = DeepBellman("MlpPolicy", as_sb3_env(three_steps, 16), seed=4).learn(48 * 4)
    assert same_weights(learner, again) and not same_weights(learner, other)
    learner.save(tmp_path / "model.zip")
    loaded = DeepBellman.load(tmp_path / "model.zip", as_sb3_env(three_steps, 16))
    player = DeepBellman.load(tmp_path / "model.zip")
    observation = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    np.testing.assert_array_equal(learner.predict(observation)[0], player.predict(observation)[0])
    for each in (learner, loaded):
        each.learn(48 * 2, reset_num_timesteps=False)
    assert same_weights(learner, loaded) and not same_weights(learner, again)


def same_weights(one: DeepBellman, two: DeepBellman) -> bool:
    pairs = [
        pair
        for part in ("policy", "critic")
        for pair in zip(
            getattr(one, part).parameters(), getattr(two, part).parameters(), strict=True
        )
    ]
    return all(torch.equal(a, b) for a, b in pairs)


REFUSED: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "cvar": (
        {"objective": "{kind: cvar, level: 0.9}", "view.features": "[moneyness, holding]"},
        {},
        "objective CVaR 90 %: its one-step recursion is another risk",
    ),
    "pnl": ({"view.features": "[moneyness, holding, pnl]"}, {}, "the view shows 'pnl'"),
    "vary": ({}, {"vary": {"cost": (0.5, 2.0)}}, "vary: its value is of one scenario"),
    "memory": ({}, {"memory": 4}, "memory 4"),
}


@pytest.mark.parametrize(("sets", "changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_recursion_is_refused(
    sets: dict[str, str], changes: dict[str, Any], message: str
) -> None:
    problem = load_scenario("short-call", sets)
    settings = agent_settings("deep-bellman", **changes)
    for door in (check_fit, train_agent):
        with pytest.raises(ValueError, match=message) as refusal:
            door(problem, settings)
        assert "\n" not in str(refusal.value) and "agent deep-bellman" in str(refusal.value)

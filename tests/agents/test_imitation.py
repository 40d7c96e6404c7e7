"""Imitation: a copy hedges as its rule does, whatever the algorithm, and nothing else moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deephedge.agents import agent_settings, imitation, train_agent
from deephedge.agents.factory import make_model, view_of
from deephedge.agents.imitation import imitate
from deephedge.agents.policy_hedger import PolicyHedger
from deephedge.agents.random_state import global_generators
from deephedge.baselines import (
    Baseline,
    DeltaHedge,
    DeltaVegaHedge,
    MinimumVarianceHedge,
    WhalleyWilmottHedge,
)
from deephedge.envs import Scenario, load_scenario, rollout, simulate

AGENTS = ("ppo", "sac", "td3", "tqc", "dqn", "recurrent-ppo", "deep-hedging")


def copy(
    agent: str, scenario: Scenario, rule: Baseline, updates: int, **changes: object
) -> tuple[float, PolicyHedger]:
    settings = agent_settings(agent, environments=8, net=(32, 32), **changes)
    view = view_of(scenario, settings)
    before = imitation.UPDATES
    imitation.UPDATES = updates
    try:
        with global_generators(0):
            model = make_model(scenario, settings, 0)
            error = imitate(model, scenario, view, rule)
    finally:
        imitation.UPDATES = before
    return error, PolicyHedger(agent, model.policy, scenario, view)


@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_draws_nearer_to_the_rule(agent: str) -> None:
    scenario = load_scenario("short-call")
    first, _ = copy(agent, scenario, WhalleyWilmottHedge(), 1)
    last, _ = copy(agent, scenario, WhalleyWilmottHedge(), 25)
    assert last < (0.95 if agent == "dqn" else 0.6) * first  # a mean over choices sharpens slowly


def test_a_rule_is_copied_where_impact_is_transient() -> None:
    """What trades have displaced is among the features, and a copy is shown none of it."""
    scenario = load_scenario("short-call", {"hedges.0.impact": "{transient: 0.01}"})
    error, _ = copy("deep-hedging", scenario, WhalleyWilmottHedge(), 1)
    assert 0 < error < 2


def test_a_copy_of_the_base_is_at_rest_from_the_start() -> None:
    """Action 0 is the rule itself: an untrained residual of it has next to nothing to learn."""
    scenario = load_scenario("short-call")
    rule = WhalleyWilmottHedge()
    error, hedger = copy(
        "deep-hedging", scenario, rule, 200, action={"kind": "residual"}, base=rule
    )
    assert error < 0.004
    episodes = simulate(scenario, 512, torch.Generator().manual_seed(5), torch.float64)
    given, expected = (rollout(scenario, episodes, h, record=True) for h in (hedger, rule))
    assert given.holding is not None and expected.holding is not None
    assert np.abs(given.holding - expected.holding).mean() < 0.004


@pytest.mark.slow
@pytest.mark.parametrize("agent", AGENTS)
def test_a_copy_has_the_risk_of_its_rule(agent: str) -> None:
    scenario = load_scenario("short-call")
    rule = WhalleyWilmottHedge()
    _, hedger = copy(agent, scenario, rule, 500)
    episodes = simulate(scenario, 20_000, torch.Generator().manual_seed(5), torch.float64)
    risks = [
        scenario.objective.risk(-rollout(scenario, episodes, h).pnl)
        for h in (hedger, rule, DeltaHedge())
    ]
    gained = (risks[2] - risks[0]) / (risks[2] - risks[1])  # of what the rule is better than delta
    assert gained > (0.8 if agent == "dqn" else 0.93)


@pytest.mark.slow
def test_options_are_copied_too() -> None:
    scenario = load_scenario("gamma-hedge-jumps")
    rule = DeltaVegaHedge()
    error, hedger = copy("ppo", scenario, rule, 500)
    assert error < 0.05
    episodes = simulate(scenario, 5_000, torch.Generator().manual_seed(5), torch.float64)
    stds = [rollout(scenario, episodes, h).pnl.std() for h in (hedger, rule, DeltaHedge())]
    assert abs(stds[0] - stds[1]) < 0.15 * (stds[2] - stds[1])


@pytest.mark.slow
def test_training_starts_from_the_copy() -> None:
    scenario = load_scenario("short-call")
    rule = WhalleyWilmottHedge()
    tiny = {"steps": 240, "environments": 8, "net": (16, 16)}
    plain = train_agent(scenario, agent_settings("ppo", **tiny), seed=0)
    copied = train_agent(scenario, agent_settings("ppo", imitate=rule, **tiny), seed=0)
    assert copied.risks[0][1] < plain.risks[0][1] - 0.03
    again = train_agent(scenario, agent_settings("ppo", imitate=rule, **tiny), seed=0)
    assert again.risks == copied.risks


def test_a_rule_that_does_not_fit_is_refused_before_training() -> None:
    settings = agent_settings("ppo", imitate=MinimumVarianceHedge())
    with pytest.raises(ValueError, match="imitate 'minimum-variance': in gbm"):
        train_agent(load_scenario("short-call"), settings)

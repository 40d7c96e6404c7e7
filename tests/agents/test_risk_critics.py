"""Risk-aware critics: what they learn of a fixed policy, what actors find, what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from deephedge.agents import (
    AgentSettings,
    PolicyHedger,
    agent_settings,
    as_sb3_env,
    load_policy,
    save_policy,
    train_agent,
)
from deephedge.agents import training as training_module
from deephedge.agents.factory import check_fit, make_model, view_of
from deephedge.agents.random_state import global_generators
from deephedge.agents.replay import ReplayRate
from deephedge.agents.risk_critics import PnlReplayBuffer
from deephedge.baselines import DeltaHedge
from deephedge.envs import Scenario, load_scenario, rollout, simulate
from deephedge.envs.action import (
    BandAction,
    ResidualAction,
    TargetAction,
    TradeAction,
    TriggerAction,
)

BOTH = ["quantile-critic", "two-critic"]
Tiny = Callable[..., AgentSettings]


def problem(objective: str, steps: int, **overrides: str) -> Scenario:
    return load_scenario(
        "short-call", {"calendar.steps": str(steps), "objective": objective, **overrides}
    )


def evaluated(name: str, scenario: Scenario, steps: int, **changes: Any) -> Any:
    """The critics of the untrained policy: the actor never starts."""
    settings = agent_settings(name, environments=256, noise=0.05, **changes)
    options = {**settings.options, "batch_size": 512, "tau": 0.05, "actor_starts": 2.0}
    settings = settings.model_copy(update={"options": options, "steps": steps})
    with global_generators(3):
        model = make_model(scenario, settings, 3)
        model.learn(steps, callback=ReplayRate(settings.updates_per_transition))
    return model


def simulated(model: Any, scenario: Scenario, settings: AgentSettings) -> NDArray[np.float64]:
    """P&L of that policy on paths of its own, in money scales."""
    hedger = PolicyHedger("fixed", model.policy, scenario, view_of(scenario, settings))
    episodes = simulate(scenario, 40_000, torch.Generator().manual_seed(8), torch.float64)
    return np.asarray(rollout(scenario, episodes, hedger).pnl) / scenario.contract.scale


def at_the_start(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The one state in which every episode begins and the policy's action there."""
    observations = torch.as_tensor(model.get_env().reset()[:1])
    with torch.no_grad():
        return observations, model.actor(observations)


@pytest.mark.slow
def test_the_quantiles_are_those_of_the_simulated_pnl() -> None:
    """Of a fixed policy over one period: every level to an eighth of a standard deviation."""
    scenario = problem("{kind: cvar, level: 0.9}", 1)
    model = evaluated("quantile-critic", scenario, 15_000, quantiles=16)
    pnl = simulated(model, scenario, agent_settings("quantile-critic"))
    with torch.no_grad():
        found = model.quantiles(*at_the_start(model))[0].numpy()
    expected = np.quantile(pnl, (np.arange(16) + 0.5) / 16)
    assert np.abs(found - expected).max() < 0.125 * pnl.std()
    assert np.abs(found - expected).mean() < 0.05 * pnl.std()


@pytest.mark.slow
@pytest.mark.parametrize("periods", [1, 3])
def test_the_moments_are_those_of_the_simulated_cost(periods: int) -> None:
    """E[C] and E[C^2] of a fixed policy; the second is bootstrapped through the first."""
    scenario = problem("{kind: mean-std, weight: 1.5}", periods)
    steps = 8_000 if periods == 1 else 100_000
    model = evaluated("two-critic", scenario, steps)
    pnl = simulated(model, scenario, agent_settings("two-critic"))
    with torch.no_grad():
        mean, square = (float(m) for m in model.moments(*at_the_start(model)))
    assert mean == pytest.approx(-pnl.mean(), abs=0.06 * pnl.std())
    assert square == pytest.approx((pnl**2).mean(), rel=0.1)


def variance_optimal(scenario: Scenario) -> float:
    """Cov(payoff, S') / Var(S') over one lognormal step, a difference of two call prices."""
    deviation = 0.2 * scenario.contract.horizon**0.5

    def call(spot: float) -> float:
        d1 = np.log(spot / 100) / deviation + deviation / 2
        return float(spot * norm.cdf(d1) - 100 * norm.cdf(d1 - deviation))

    growth = np.exp(deviation**2)
    return (call(100 * growth) - call(100)) / (100 * (growth - 1))


@pytest.mark.slow
@pytest.mark.parametrize("commitment", ["start", "each-date"])
def test_quantile_critic_finds_the_closed_form_of_one_period(
    commitment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mean-variance of a martingale: the variance-optimal holding, from a target of 0."""
    monkeypatch.setattr(training_module, "VALIDATION_PATHS", 32_768)
    scenario = problem("{kind: mean-variance, aversion: 0.5}", 1, **{"hedges.0.costs": "[]"})
    settings = agent_settings("quantile-critic", action=TargetAction(), steps=60_000)
    settings = settings.model_copy(
        update={"options": {**settings.options, "commitment": commitment}}
    )
    result = train_agent(scenario, settings)
    episodes = simulate(scenario, 2, torch.Generator().manual_seed(1), torch.float64)
    held = np.asarray(rollout(scenario, episodes, result.hedger, record=True).holding)[0, 0, 0]
    assert held == pytest.approx(variance_optimal(scenario), rel=0.03)
    assert result.risks[0][1] > 1.2 * result.risk


@pytest.mark.slow
@pytest.mark.parametrize("commitment", ["start", "each-date"])
def test_two_critic_finds_the_closed_form_of_one_period(
    commitment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a drift: Cov(payoff, S') / Var(S') + E[S' - S] / (a Var(S')), far from delta."""
    monkeypatch.setattr(training_module, "VALIDATION_PATHS", 32_768)
    scenario = problem(
        "{kind: mean-variance, aversion: 0.5}",
        1,
        **{"hedges.0.costs": "[]", "market.drift": "0.5"},
    )
    settings = agent_settings("two-critic", action=ResidualAction(reach=0.5), steps=60_000)
    settings = settings.model_copy(
        update={"options": {**settings.options, "commitment": commitment}}
    )
    result = train_agent(scenario, settings)
    spot = 100 * np.exp(
        (0.5 - 0.02) * scenario.contract.horizon
        + 0.2 * scenario.contract.horizon**0.5 * np.random.default_rng(0).normal(size=2_000_000)
    )
    payoff = np.maximum(spot - 100, 0)
    optimal = (np.cov(payoff, spot)[0, 1] + (spot.mean() - 100) / 0.5) / spot.var()
    episodes = simulate(scenario, 2, torch.Generator().manual_seed(1), torch.float64)
    held, delta = (
        np.asarray(rollout(scenario, episodes, hedger, record=True).holding)[0, 0, 0]
        for hedger in (result.hedger, DeltaHedge())
    )
    assert held == pytest.approx(optimal, rel=0.05)
    assert optimal > 1.2 * delta


def test_two_critic_refuses_what_two_moments_do_not_give(tiny: Tiny) -> None:
    scenario = problem("{kind: cvar, level: 0.95}", 3)
    with pytest.raises(ValueError, match=r"which do not give the CVaR 95 %: take mean-std"):
        check_fit(scenario, tiny("two-critic"))
    check_fit(problem("{kind: mean-variance, aversion: 0.1}", 3), tiny("two-critic"))


def test_a_var_is_trained_here_and_refused_elsewhere(tiny: Tiny) -> None:
    scenario = problem("{kind: var, level: 0.9}", 3)
    result = train_agent(scenario, tiny("quantile-critic"))
    assert len({risk for _, risk in result.risks}) > 2
    for name in ("sac", "deep-hedging"):
        with pytest.raises(ValueError, match="only through a quantile critic"):
            train_agent(scenario, tiny(name))


@pytest.mark.parametrize("name", BOTH)
def test_a_reward_that_is_not_the_pnl_is_refused(name: str, tiny: Tiny) -> None:
    reward = {"view.reward": "{kind: kolm-ritter, aversion: 0.2}"}
    scenario = problem("{kind: mean-std, weight: 1}", 3, **reward)
    with pytest.raises(ValueError, match=r"view.reward 'kolm-ritter': this agent's critics learn"):
        check_fit(scenario, tiny(name))
    plain = problem("{kind: mean-std, weight: 1}", 3, **{"view.reward": "{kind: accounting}"})
    check_fit(plain, tiny(name))


@pytest.mark.parametrize("name", BOTH)
def test_a_saved_policy_plays_the_same(name: str, tiny: Tiny, tmp_path: Path) -> None:
    scenario = problem("{kind: mean-std, weight: 1.5}", 3)
    settings = tiny(name, quantiles=5, steps=16 * 3 * 20)
    result = train_agent(scenario, settings, 2)
    save_policy(tmp_path / "policy", result.hedger.policy, settings, scenario, result.view)
    again = load_policy(tmp_path / "policy")
    episodes = simulate(scenario, 50, torch.Generator().manual_seed(1), torch.float64)
    one, two = (rollout(scenario, episodes, hedger).pnl for hedger in (result.hedger, again))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", BOTH)
def test_one_seed_gives_one_policy(name: str, tiny: Tiny) -> None:
    scenario = problem("{kind: mean-std, weight: 1.5}", 3)
    settings = tiny(name, steps=16 * 3 * 10)
    risks = [train_agent(scenario, settings, seed).risks for seed in (4, 4, 5)]
    assert risks[0] == risks[1] != risks[2]


def test_a_transition_holds_the_pnl_with_its_luck_and_what_came_before(tiny: Tiny) -> None:
    """Over an episode the steps' P&L add up to the total, and each starts where they stand."""
    scenario = problem("{kind: mean-std, weight: 1.5}", 4)
    settings = tiny("quantile-critic")
    vec_env = as_sb3_env(scenario, 2, view_of(scenario, settings))
    buffer = PnlReplayBuffer(
        100,
        vec_env.observation_space,
        vec_env.action_space,
        n_envs=2,
        handle_timeout_termination=False,
        hedging_env=vec_env.env,
    )
    vec_env.seed(0)
    observation, totals, rewards = vec_env.reset(), [], []
    for t in range(4):
        actions = np.full((2, 2), 0.1 * t, dtype=np.float32)
        following, reward, ended, infos = vec_env.step(actions)
        buffer.add(observation, following, actions, reward, ended, infos)
        observation = following
        rewards.append(reward)
        totals = [info.get("total_pnl") for info in infos]
    with global_generators(0):
        data = buffer.sample(400)
    step = (data.actions[:, 0].numpy() / 0.1).round().astype(int)
    pnl, earned, paired = (x[:, 0].numpy() for x in (data.pnl, data.earned, data.paired))
    assert (earned[step == 0] == 0.0).all()
    ends = np.unique((earned + pnl)[step == 3].round(4))
    expected = np.sort(np.array(totals) / scenario.contract.scale)
    np.testing.assert_allclose(ends, expected, atol=1e-4)
    for t in range(3):
        after = np.unique((earned + pnl)[step == t].round(4))
        np.testing.assert_allclose(after, np.unique(earned[step == t + 1].round(4)), atol=2e-4)
        assert set(paired[step == t].round(5)) <= set(rewards[t].round(5))
    assert np.abs(paired - pnl).max() > 0.01


@pytest.mark.parametrize(
    "action", [BandAction(), ResidualAction(), TargetAction(), TradeAction()], ids=lambda a: a.kind
)
def test_critics_see_where_an_action_leads(action: Any, tiny: Tiny) -> None:
    """The gap that the environment's own books show after it, and the trade."""
    scenario = problem("{kind: mean-std, weight: 1.5}", 4)
    with global_generators(0):
        model: Any = make_model(scenario, tiny("quantile-critic", action=action), 0)
    vec_env, rng = model.get_env(), np.random.default_rng(0)
    observation, held = vec_env.reset(), np.zeros(16)
    env = vec_env.env
    for _ in range(3):
        actions = rng.uniform(-0.3, 0.3, (16, action.width)).astype(np.float32)
        seen = model.leads_to(torch.as_tensor(observation), torch.as_tensor(actions)).numpy()
        delta = -env._tape.delta[0][env._t]
        observation, _, _, info, *_ = env.step(actions)
        observation, info = observation, env._info(env._account, held, held, held)
        new = info["holding"]
        np.testing.assert_allclose(seen[:, 0], new - delta, atol=2e-6)
        if action.width == 2:
            np.testing.assert_allclose(seen[:, 1], new - held, atol=2e-6)
        held = new.copy()


def test_an_edge_that_does_not_bind_has_no_slope(tiny: Tiny) -> None:
    scenario = problem("{kind: mean-std, weight: 1.5}", 4)
    with global_generators(0):
        model: Any = make_model(scenario, tiny("two-critic"), 0)
    observation = torch.as_tensor(model.get_env().reset())  # nothing held: the lower edge binds
    actions = torch.zeros((16, 2), requires_grad=True)
    model.leads_to(observation, actions).sum().backward()
    assert actions.grad is not None
    assert (actions.grad[:, 0] != 0.0).all() and (actions.grad[:, 1] == 0.0).all()


def test_with_listed_options_or_a_base_critics_see_the_action_itself(tiny: Tiny) -> None:
    scenario = load_scenario("gamma-hedge-jumps")
    with global_generators(0):
        model: Any = make_model(scenario, tiny("quantile-critic", environments=2), 0)
    observation = torch.as_tensor(model.get_env().reset())
    actions = torch.zeros((2, model.action_space.shape[0]))
    assert model.leads_to(observation, actions) is actions


@pytest.mark.parametrize("name", BOTH)
def test_a_trigger_is_learned_too(name: str, tiny: Tiny) -> None:
    scenario = problem("{kind: mean-std, weight: 1.5}", 3)
    settings = tiny(name, action=TriggerAction())
    assert np.isfinite(train_agent(scenario, settings).risk)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("changes", [{"vary": {"cost": (0.5, 2.0)}}, {}])
def test_theta_follows_the_latest_episodes(name: str, changes: Any, tiny: Tiny) -> None:
    """Where episodes vary and where the reward is the plain P&L as well."""
    reward = {} if changes else {"view.reward": "{kind: accounting}"}
    scenario = problem("{kind: mean-std, weight: 1.5}", 3, **reward)
    settings = tiny(name, **changes)
    options = {**settings.options, "commitment": "start", "actor_starts": 0.0}
    with global_generators(0):
        model: Any = make_model(scenario, settings.model_copy(update={"options": options}), 0)
        model.learn(16 * 3 * 20, callback=ReplayRate(settings.updates_per_transition))
        kept = np.concatenate(list(model.env.env._finished), axis=-1)
        losses = np.atleast_2d(np.tile(kept, 20))
        model.env.env._finished.append(losses if changes else losses[0])
        model.env.env.refit()
    assert model.problem.theta == pytest.approx(scenario.objective.theta(np.atleast_2d(kept)[0]))


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    "vary",
    [{"aversion": (0.1, 1.0)}, {"worst_of": ({"market.sigma": 0.1}, {"market.sigma": 0.3})}],
)
def test_what_its_critics_do_not_know_is_not_varied(name: str, vary: Any, tiny: Tiny) -> None:
    scenario = problem("{kind: mean-variance, aversion: 0.1}", 3)
    with pytest.raises(ValueError, match=f"agent {name}: vary {next(iter(vary))}: its critics"):
        check_fit(scenario, tiny(name, vary=vary))


def test_another_commitment_is_refused(tiny: Tiny) -> None:
    settings = tiny("quantile-critic", options={"commitment": "never"})
    with pytest.raises(ValueError, match="commitment 'never': choose start or each-date"):
        train_agent(problem("{kind: cvar, level: 0.9}", 3), settings)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), [("quantile-critic", 0.95), ("two-critic", 1.0)])
def test_it_beats_delta(name: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a sixth of the default budget, on paths that it never saw."""
    monkeypatch.setattr(training_module, "VALIDATION_PATHS", 8192)
    scenario = load_scenario("short-call", {"objective": "{kind: mean-std, weight: 1.5}"})
    result = train_agent(scenario, agent_settings(name, steps=100_000), 100)
    episodes = simulate(scenario, 50_000, torch.Generator().manual_seed(1), torch.float64)
    learned, delta = (
        scenario.objective.risk(-rollout(scenario, episodes, hedger).pnl)
        for hedger in (result.hedger, DeltaHedge())
    )
    assert learned < share * delta

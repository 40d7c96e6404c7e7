"""Training: every algorithm runs, repeats itself, leaves no trace, and finds known answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from deephedge.agents import AgentSettings, Trained, agent_names, agent_settings, train_agent
from deephedge.agents import training as training_module
from deephedge.agents.monitor import RiskMonitor
from deephedge.agents.random_state import global_generators
from deephedge.baselines import DeltaHedge, NoHedge
from deephedge.envs import (
    Episodes,
    Hedger,
    Known,
    Scenario,
    View,
    load_scenario,
    preset_names,
    rollout,
    simulate,
)
from deephedge.envs.action import DiscreteAction, TargetAction
from deephedge.envs.stream import Role, generator_of, stream_of

Train = Callable[[str], Trained]
Tiny = Callable[..., AgentSettings]


def paths(scenario: Scenario, n: int = 200, seed: int = 11) -> Episodes:
    return simulate(scenario, n, torch.Generator().manual_seed(seed), torch.float64)


def weights(result: Trained) -> dict[str, torch.Tensor]:
    return dict(result.hedger.policy.state_dict())


def differences(one: Trained, two: Trained) -> list[str]:
    """The names of the parameters that differ."""
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


@pytest.mark.parametrize("name", agent_names())
def test_every_algorithm_trains_without_a_warning(
    trained: Train, suited: Callable[[str], Scenario], name: str
) -> None:
    """2,400 steps; warnings are errors here."""
    result = trained(name)
    assert result.hedger.name == name
    steps, risks = zip(*result.risks, strict=True)
    assert steps[0] == 0 and 2400 <= steps[-1] <= 2400 + 16 * 30
    assert result.risk == min(risks)
    assert len(set(risks)) > 2  # it learned
    outcome = rollout(suited(name), paths(suited(name)), result.hedger)
    assert np.isfinite(outcome.pnl).all() and outcome.trades.mean() > 1.0


@pytest.mark.parametrize("name", ["ppo", "a2c"])
def test_on_policy_algorithms_learn_discrete_actions_too(
    three_steps: Scenario, tiny: Tiny, name: str
) -> None:
    result = train_agent(three_steps, tiny(name, action=DiscreteAction(levels=3), steps=480))
    assert len({risk for _, risk in result.risks}) > 1
    choices = result.hedger.policy.action_space
    assert choices.n == 9  # type: ignore[attr-defined]


@pytest.mark.parametrize("preset", [name for name in preset_names() if name != "short-call"])
def test_ppo_trains_on_every_preset(tiny: Tiny, preset: str) -> None:
    scenario = load_scenario(preset)
    result = train_agent(scenario, tiny("ppo", environments=8, steps=8 * 60))
    assert np.isfinite(rollout(scenario, paths(scenario, 20), result.hedger).pnl).all()


def test_training_takes_early_ends(tiny: Tiny) -> None:
    """A loss limit parts the clocks, so that rollouts are no longer whole episodes."""
    scenario = load_scenario("short-call", {"calendar.steps": "6", "loss_limit": "0.5"})
    for name in ("ppo", "sac"):
        result = train_agent(scenario, tiny(name, steps=16 * 6 * 5))
        assert np.isfinite(result.risk)


@pytest.mark.parametrize("name", ["ppo", "recurrent-ppo", "sac", "td3", "dqn", "deep-hedging"])
def test_one_seed_gives_one_policy(three_steps: Scenario, tiny: Tiny, name: str) -> None:
    """To the last bit, whatever state the global generators were in; another seed, another."""
    settings = tiny(name, steps=16 * 3 * 5)
    results = []
    for state, seed in ((1, 4), (2, 4), (1, 5)):
        with global_generators(state):
            results.append(train_agent(three_steps, settings, seed))
    one, again, other = results
    assert differences(one, again) == []
    assert one.risks == again.risks
    assert len(differences(one, other)) > 2


@pytest.mark.parametrize("name", ["ppo", "recurrent-ppo", "sac", "dqn", "deep-hedging"])
def test_training_leaves_the_global_generators_alone(
    three_steps: Scenario, tiny: Tiny, name: str
) -> None:
    def draw() -> tuple[float, ...]:
        return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002

    with global_generators(0):
        undisturbed = draw()
    with global_generators(0):
        train_agent(three_steps, tiny(name, steps=16 * 3 * 2))
        assert draw() == undisturbed


def test_validation_is_on_paths_that_are_not_trained_on(
    three_steps: Scenario, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same ones for every algorithm under one seed, so that their risks compare."""
    seen: dict[tuple[str, int], Any] = {}

    class Spy(RiskMonitor):
        def _on_training_end(self) -> None:
            super()._on_training_end()
            env: Any = self.training_env
            played = env.env._tape.price[-1]
            judged = self.episodes.numpy().spot
            seen[self.model.__class__.__name__, len(seen)] = judged
            assert not np.isin(np.round(played[1], 4), np.round(judged[1], 4)).any()

    monkeypatch.setattr(training_module, "RiskMonitor", Spy)
    for name, seed in (("ppo", 0), ("a2c", 0), ("ppo", 1)):
        train_agent(three_steps, tiny(name, steps=48, validation=1), seed)
    ppo, a2c, other = seen.values()
    np.testing.assert_array_equal(ppo, a2c)
    assert not np.array_equal(ppo, other)


@pytest.mark.parametrize("multiple", [1, 3])
def test_an_agent_may_be_judged_on_more_paths(
    three_steps: Scenario, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, multiple: int
) -> None:
    judged: list[int] = []

    class Spy(RiskMonitor):
        def _on_training_end(self) -> None:
            judged.append(self.episodes.paths)

    monkeypatch.setattr(training_module, "RiskMonitor", Spy)
    train_agent(three_steps, tiny("ppo", steps=48, validation=multiple))
    assert judged == [256 * multiple]


def test_the_hedger_plays_the_policy_that_was_best(three_steps: Scenario, tiny: Tiny) -> None:
    """With a rate at which learning does harm, that is not the last one."""
    settings = tiny("ppo", steps=16 * 3 * 20, learning_rate=0.05, validation=1)
    result = train_agent(three_steps, settings, 3)
    assert not result.hedger.policy.training
    assert result.risk < result.risks[-1][1]
    validation = generator_of(stream_of(3, Role.VALIDATION))
    episodes = simulate(three_steps, 256, validation, torch.float64)
    outcome = rollout(three_steps, episodes, result.hedger)
    assert three_steps.objective.risk(-outcome.pnl) == result.risk


def test_an_objective_without_a_pointwise_loss_is_refused(tiny: Tiny) -> None:
    scenario = load_scenario("short-call", {"objective": "{kind: var, level: 0.95}"})
    with pytest.raises(ValueError, match="is reported only"):
        train_agent(scenario, tiny("ppo"))


def test_a_failure_leaves_the_global_generators_alone(
    three_steps: Scenario, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("stop")

    with global_generators(0):
        undisturbed = torch.rand(())
    with global_generators(0):
        with pytest.raises(RuntimeError, match="stop"):
            train_agent(three_steps, tiny("ppo"), progress=fail)
        assert torch.equal(torch.rand(()), undisturbed)


class VarianceOptimal:
    """The closed form under geometric Brownian motion without drift, cost or interest.

    h_t = Cov_t(V_{t+1}, S_{t+1}) / Var_t(S_{t+1}) (Schweizer, "Variance-optimal hedging in
    discrete time", 1995, where the price is a martingale); with S_{t+1} / S_t as the change of
    measure the covariance is a difference of two prices: with g = exp(sigma^2 dt),
    h_t = (C(g S) - C(S)) / (S (g - 1)).
    """

    name = "variance-optimal"

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[Any, None]:
        spot, left = known.spot, float(known.time_left[0])
        growth = np.exp(0.2**2 * known.contract.horizon / known.contract.steps)
        change = call(spot * growth, left) - call(spot, left)
        return (change / (spot * (growth - 1)))[:, None], None


def call(spot: Any, left: float) -> Any:
    """The price of the call struck at 100 at a vol of 0.2."""
    deviation = 0.2 * left**0.5
    d1 = np.log(spot / 100) / deviation + deviation / 2
    return spot * norm.cdf(d1) - 100 * norm.cdf(d1 - deviation)


def frictionless(steps: int) -> Scenario:
    return load_scenario(
        "short-call",
        {"calendar.steps": str(steps), "hedges.0.costs": "[]", "objective": "{kind: quadratic}"},
    )


def test_the_closed_form_is_optimal_and_not_delta() -> None:
    """Else the next tests would show nothing."""
    scenario = frictionless(1)
    episodes = paths(scenario, 200_000)
    arrays = episodes.numpy()
    sample = -np.cov(arrays.cash_flow[1], arrays.spot[1])[0, 1] / arrays.spot[1].var()
    optimal = holdings(scenario, VarianceOptimal(), paths(scenario, 2))[0, 0, 0]
    assert optimal == pytest.approx(sample, rel=0.005)
    assert abs(arrays.delta[0, 0] / optimal + 1) > 0.02


def holdings(scenario: Scenario, hedger: Hedger, episodes: Episodes) -> NDArray[Any]:
    return np.asarray(rollout(scenario, episodes, hedger, record=True).holding)


def learn(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, validation: int = 4096, **changes: Any
) -> Trained:
    """PPO as it is set up by default, but for what is changed."""
    monkeypatch.setattr(training_module, "VALIDATION_PATHS", validation)
    settings = agent_settings("ppo", environments=512, net=(32,), validation=1, **changes)
    return train_agent(scenario, settings)


@pytest.mark.slow
def test_ppo_finds_the_variance_optimal_hedge_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a target of 0: the untrained policy is told nothing of delta."""
    scenario = frictionless(1)
    result = learn(scenario, monkeypatch, 32_768, steps=60_000, action=TargetAction())
    learned, optimal = (
        holdings(scenario, hedger, paths(scenario, 2))[0, 0, 0]
        for hedger in (result.hedger, VarianceOptimal())
    )
    assert learned == pytest.approx(optimal, rel=0.02)
    assert result.risks[0][1] > 1.5 * result.risk


@pytest.mark.slow
def test_ppo_finds_the_variance_optimal_hedge_over_the_spot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two steps: the second target must follow the spot, from far out of to far in the money."""
    scenario = frictionless(2)
    result = learn(scenario, monkeypatch, steps=80_000, action=TargetAction())
    episodes = paths(scenario, 20_000)
    learned, optimal = (
        rollout(scenario, episodes, hedger, record=True)
        for hedger in (result.hedger, VarianceOptimal())
    )
    assert learned.holding is not None and optimal.holding is not None
    error = np.sqrt(((learned.holding - optimal.holding) ** 2).mean((1, 2)))
    assert error.max() < 0.05 < 0.2 < np.std(optimal.holding[1])
    risk = scenario.objective.risk
    assert risk(-learned.pnl) < 1.01 * risk(-optimal.pnl)


@pytest.mark.slow
def test_ppo_learns_not_to_trade_where_trading_is_ruinous(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 10 % a trade; the untrained band would trade to within 0.1 of delta."""
    scenario = load_scenario("short-call", {"calendar.steps": "1", "hedges.0.costs.0.rate": "0.1"})
    result = learn(scenario, monkeypatch, steps=60_000)
    episodes = paths(scenario, 2000)
    learned, nothing = (rollout(scenario, episodes, h) for h in (result.hedger, NoHedge()))
    risk = scenario.objective.risk
    assert learned.turnover.mean() < 0.005
    assert risk(-learned.pnl) == pytest.approx(risk(-nothing.pnl), rel=0.02)
    assert result.risks[0][1] > 5 * result.risk


@pytest.mark.parametrize(
    "objective",
    [
        "{kind: cvar, level: 0.9}",
        pytest.param("{kind: mean-std, weight: 1.645}", marks=pytest.mark.slow),
    ],
)
def test_theta_follows_the_policy_and_the_policy_its_objective(
    objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 5 % a trade delta's losses, which theta starts from, are far from the learned ones."""
    scenario = load_scenario(
        "short-call",
        {"calendar.steps": "2", "hedges.0.costs.0.rate": "0.05", "objective": objective},
    )
    thetas: list[tuple[float, ...]] = []

    class Spy(RiskMonitor):
        def _on_rollout_start(self) -> None:
            super()._on_rollout_start()
            env: Any = self.training_env
            thetas.append(env.env.problem.theta)

    monkeypatch.setattr(training_module, "RiskMonitor", Spy)
    result = learn(scenario, monkeypatch, steps=60_000)
    episodes = paths(scenario, 20_000)
    learned, delta = (
        -rollout(scenario, episodes, hedger).pnl for hedger in (result.hedger, DeltaHedge())
    )
    objective_ = scenario.objective
    assert objective_.risk(learned) < 0.9 * objective_.risk(delta)
    start, end = (np.array(objective_.theta(losses)) for losses in (delta, learned))
    found = np.array(thetas[-1])
    assert np.abs(start - thetas[0]).max() < 0.2 < 0.5 * np.abs(start - end).max()
    assert np.abs(found - end).max() < 0.3 * np.abs(start - end).max()


def test_settings_and_view_are_reported_as_trained(three_steps: Scenario, tiny: Tiny) -> None:
    settings = tiny("ppo", steps=48)
    result = train_agent(three_steps, settings, name="mine")
    assert result.hedger.name == "mine" and result.settings == settings
    assert isinstance(result.view, View) and result.view.features == three_steps.features
    assert result.hedger.view == result.view

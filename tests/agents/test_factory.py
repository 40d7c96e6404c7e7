"""What hedging needs of every algorithm: no discount, whole episodes, a rate that only falls."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from deephedge.agents import AgentSettings, HedgingVecEnv, agent_names, agent_settings
from deephedge.agents.exploration import BatchNoise, HedgingDQN
from deephedge.agents.factory import ALGORITHMS, make_model, view_of
from deephedge.agents.random_state import global_generators
from deephedge.agents.replay import HedgingReplayBuffer
from deephedge.envs import Scenario, View, load_scenario
from deephedge.envs.action import BandAction, DiscreteAction, TargetAction
from deephedge.envs.rewards import AccountingReward, PairedReward

ON_POLICY = ["ppo", "a2c", "recurrent-ppo"]
CONTINUOUS = ["sac", "tqc", "td3", "ddpg"]
OFF_POLICY = [*CONTINUOUS, "dqn"]

DETERMINISTIC = ["td3", "ddpg", "quantile-critic", "two-critic"]

Tiny = Callable[..., AgentSettings]
Suited = Callable[[str], Scenario]


def build(scenario: Scenario, settings: AgentSettings, seed: int = 0) -> Any:
    with global_generators(seed):
        return make_model(scenario, settings, seed)


@pytest.mark.parametrize("name", agent_names())
def test_no_discount_on_the_cpu_in_the_native_environment(
    suited: Suited, tiny: Tiny, name: str
) -> None:
    model = build(suited(name), tiny(name))
    assert model.gamma == 1.0
    assert type(model) is ALGORITHMS[name]
    assert model.device == torch.device("cpu")
    env = model.get_env()
    assert isinstance(env, HedgingVecEnv) and env.num_envs == 16
    assert env.env.problem.view == view_of(suited(name), tiny(name))


@pytest.mark.parametrize("name", ON_POLICY)
@pytest.mark.parametrize(
    ("overrides", "decisions"),
    [({}, 30), ({"calendar.decide_every": "7"}, 5), ({"calendar.steps": "12"}, 12)],
    ids=["daily", "weekly", "short"],
)
@pytest.mark.parametrize("episodes", [1, 2])
def test_a_rollout_is_whole_episodes(
    tiny: Tiny, name: str, overrides: dict[str, str], decisions: int, episodes: int
) -> None:
    scenario = load_scenario("short-call", overrides)
    model = build(scenario, tiny(name, rollout_episodes=episodes))
    assert model.n_steps == decisions * episodes
    model.learn(1)
    # The last step of the rollout ended an episode in every environment.
    assert model._last_episode_starts.all()
    buffer = model.rollout_buffer
    assert buffer.episode_starts.sum() == 16 * episodes
    lengths = [info["l"] for info in model.ep_info_buffer]
    assert set(lengths) == {decisions}


@pytest.mark.parametrize("name", ["ppo", "recurrent-ppo"])
@pytest.mark.parametrize("environments", [1, 2, 7, 16, 31])
@pytest.mark.parametrize("minibatches", [1, 4, 1000])
def test_a_rollout_is_cut_into_equal_minibatches(
    three_steps: Scenario, tiny: Tiny, name: str, environments: int, minibatches: int
) -> None:
    """SB3 warns of unequal ones; here warnings are errors."""
    settings = tiny(name, environments=environments, minibatches=minibatches)
    model = build(three_steps, settings)
    total = 3 * environments
    assert total % model.batch_size == 0
    assert 2 <= model.batch_size
    assert total // model.batch_size <= minibatches
    if minibatches == 1:
        assert model.batch_size == total


def test_default_minibatches_are_as_many_as_asked_for(short_call: Scenario) -> None:
    settings = agent_settings("ppo")
    model = build(short_call, settings)
    assert model.batch_size * settings.minibatches == 30 * settings.environments


@pytest.mark.parametrize("name", agent_names())
def test_the_learning_rate_falls_on_a_line_and_no_further(
    suited: Suited, tiny: Tiny, name: str
) -> None:
    model = build(suited(name), tiny(name, learning_rate=0.01, learning_rate_end=0.1))
    for remaining, rate in ((1.0, 0.01), (0.5, 0.0055), (0.0, 0.001)):
        assert model.lr_schedule(remaining) == pytest.approx(rate, rel=1e-12)
    assert model.lr_schedule(-60.0) == model.lr_schedule(0.0)


@pytest.mark.parametrize("name", ["ppo", "a2c", "recurrent-ppo"])
def test_a_budget_below_one_rollout_does_not_learn_backwards(
    three_steps: Scenario, tiny: Tiny, name: str
) -> None:
    """The rollout of 48 steps is 48 times the budget, which a line goes far below 0 for."""
    model = build(three_steps, tiny(name, learning_rate=0.01, learning_rate_end=0.1))
    model.learn(1)
    assert model.num_timesteps == 48
    assert [group["lr"] for group in model.policy.optimizer.param_groups] == [
        pytest.approx(0.001, rel=1e-12)
    ]


@pytest.mark.parametrize("name", OFF_POLICY)
def test_off_policy_collects_in_steps_and_replays_by_theta(
    short_call: Scenario, tiny: Tiny, name: str
) -> None:
    model = build(short_call, tiny(name, collect_steps=3, warmup_episodes=2))
    assert (model.train_freq.frequency, model.train_freq.unit.value) == (3, "step")
    assert model.learning_starts == 2 * 30 * 16
    assert isinstance(model.replay_buffer, HedgingReplayBuffer)
    assert model.replay_buffer.n_envs == 16
    assert model.replay_buffer._env is model.get_env().env
    assert (
        model.batch_size == 64 and model.buffer_size == agent_settings(name).options["buffer_size"]
    )


def test_noise_goes_to_those_that_have_none_of_their_own(short_call: Scenario, tiny: Tiny) -> None:
    for name in ("td3", "ddpg"):
        noise = build(short_call, tiny(name, noise=0.25)).action_noise
        assert isinstance(noise, BatchNoise)
        with global_generators(0):
            assert noise().shape == (16, 2)
            assert np.stack([noise() for _ in range(200)]).std() == pytest.approx(0.25, rel=0.05)
    for name in ("sac", "tqc"):
        assert build(short_call, tiny(name)).action_noise is None


def test_options_reach_the_algorithm_and_beat_the_rest(short_call: Scenario, tiny: Tiny) -> None:
    settings = tiny("ppo", options={"n_epochs": 2, "gae_lambda": 0.7, "batch_size": 30})
    model = build(short_call, settings)
    assert (model.n_epochs, model.gae_lambda, model.batch_size) == (2, 0.7, 30)
    with pytest.raises(ValueError, match="no_such_option"):
        build(short_call, tiny("ppo", options={"no_such_option": 1}))


@pytest.mark.parametrize("name", agent_names())
def test_every_network_has_the_layers_and_the_activation(
    suited: Suited, tiny: Tiny, name: str
) -> None:
    model = build(suited(name), tiny(name, net=(13, 11), activation="relu"))
    modules = list(model.policy.modules())
    widths = {m.out_features for m in modules if isinstance(m, torch.nn.Linear)}
    assert {13, 11} <= widths and 64 not in widths
    activations = {type(m) for m in modules} & {torch.nn.ReLU, torch.nn.SiLU, torch.nn.Tanh}
    squashing = {torch.nn.Tanh} if name in DETERMINISTIC else set()  # their last layer
    assert activations - squashing == {torch.nn.ReLU}


@pytest.mark.parametrize("name", ON_POLICY)
def test_the_first_actions_are_close_to_the_resting_band(
    short_call: Scenario, tiny: Tiny, name: str
) -> None:
    """A standard deviation of 1, SB3's own, would trade away a fortune before it learns."""
    model = build(short_call, tiny(name, log_std=-2.0))
    assert isinstance(model, OnPolicyAlgorithm)
    np.testing.assert_allclose(model.policy.log_std.detach().numpy(), -2.0)
    observation = np.stack([model.observation_space.sample() for _ in range(500)])
    with global_generators(0):
        actions, _ = model.predict(observation)
    assert np.abs(actions).max() < 1.0


def test_the_view_spells_out_what_the_policy_sees(three_steps: Scenario, tiny: Tiny) -> None:
    """So that a default that depends on the scenario does not change it later."""
    settings = tiny("ppo", action=None, reward=None)
    view = view_of(three_steps, settings)
    assert view.features == three_steps.features
    assert (view.action, view.reward) == (three_steps.view.action, three_steps.view.reward)
    changed = view_of(three_steps, tiny("ppo", action=TargetAction(), reward=AccountingReward()))
    assert (changed.action, changed.reward) == (TargetAction(), AccountingReward())


def test_a2c_learns_from_the_whole_rollout_at_once(short_call: Scenario, tiny: Tiny) -> None:
    model = build(short_call, tiny("a2c"))
    assert isinstance(model, A2C)
    model.learn(1)
    assert model._n_updates == 1


@pytest.mark.parametrize("name", CONTINUOUS)
def test_discrete_actions_are_refused_where_they_cannot_be_given(
    three_steps: Scenario, tiny: Tiny, name: str
) -> None:
    discrete = DiscreteAction(levels=3)
    message = f"agent {name} gives continuous actions, the view asks for discrete ones"
    with pytest.raises(ValueError, match=message):
        build(three_steps, tiny(name, action=discrete))
    with pytest.raises(ValueError, match=message):
        build(three_steps.model_copy(update={"view": View(action=discrete)}), tiny(name))


def test_dqn_refuses_continuous_actions(three_steps: Scenario, tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="agent dqn gives discrete actions"):
        build(three_steps, tiny("dqn", action=BandAction()))


def test_dqn_refuses_more_choices_than_it_can_learn(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="6561 choices, more than 256"):
        build(load_scenario("gamma-hedge-jumps"), tiny("dqn"))


def test_an_objective_without_a_pointwise_loss_is_refused(tiny: Tiny) -> None:
    scenario = load_scenario("short-call", {"objective": "{kind: var, level: 0.95}"})
    with pytest.raises(ValueError, match=r"Train on \{kind: cvar, level: 0.95\}"):
        build(scenario, tiny("ppo"))


@pytest.mark.parametrize("name", agent_names())
def test_making_one_warns_of_nothing(suited: Suited, name: str) -> None:
    """With its defaults, as they are."""
    settings = agent_settings(name)
    if "buffer_size" in settings.options:
        settings = agent_settings(name, options=settings.options | {"buffer_size": 10_000})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build(suited(name), settings)
    assert model.n_envs == settings.environments
    assert isinstance(model, HedgingDQN) == (name == "dqn")


def test_a_reward_of_the_scenarios_own_is_kept(three_steps: Scenario) -> None:
    assert view_of(three_steps, agent_settings("ppo")).reward == PairedReward()
    chosen = View(reward=AccountingReward())
    own = three_steps.model_copy(update={"view": chosen})
    assert view_of(own, agent_settings("ppo")).reward == AccountingReward()


@pytest.mark.parametrize("name", ["ppo", "td3", "deep-hedging"])
def test_an_option_that_the_class_does_not_take_is_refused(
    three_steps: Scenario, tiny: Tiny, name: str
) -> None:
    with pytest.raises(ValueError, match=f"agent {name}: options: .* argument 'nonsense'"):
        build(three_steps, tiny(name, options={"nonsense": 3}))

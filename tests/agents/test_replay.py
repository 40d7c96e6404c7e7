"""Replay: rewards follow the present theta, and every transition earns its gradient steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from deephedge.agents import AgentSettings, as_sb3_env
from deephedge.agents.factory import make_model
from deephedge.agents.random_state import global_generators
from deephedge.agents.replay import HedgingReplayBuffer, ReplayRate
from deephedge.envs import HedgingVectorEnv, Scenario, load_scenario

N, EPISODES = 4, 5

# l_theta(L), written out anew.
LOSSES: dict[str, Callable[[Any, tuple[float, ...]], Any]] = {
    "{kind: entropic, aversion: 0.5}": lambda x, t: t[0] + (np.exp(0.5 * (x - t[0])) - 1) / 0.5,
    "{kind: cvar, level: 0.8}": lambda x, t: t[0] + np.maximum(x - t[0], 0) / 0.2,
    "{kind: mean-std, weight: 1.5}": lambda x, t: x + 0.75 * ((x - t[0]) ** 2 / t[1] + t[1]),
    "{kind: mean-variance, aversion: 0.3}": lambda x, t: x + 0.15 * (x - t[0]) ** 2,
    "{kind: expectile, level: 0.8}": lambda x, t: x + 3.0 * np.maximum(x - t[0], 0),
    "{kind: quadratic}": lambda x, t: x**2,
}


class Stored(NamedTuple):
    """A transition as it was stored; money."""

    path: int
    before: float  # wealth
    after: float
    cash_change: float
    reward: float  # as the environment gave it, per money scale
    last: bool
    luck: tuple[float, float, float]  # what a paired reward takes off


def telescoped(step: Stored, loss: Callable[[float], float]) -> float:
    return loss(-step.before) - loss(-step.after)


def paired(step: Stored, loss: Callable[[float], float]) -> float:
    """Less the reference's own, and the surprise at the marginal value of money before it."""
    before, after, surprise = step.luck
    marginal = (loss(-step.before) - loss(-step.before - 1e-6)) / 1e-6
    return telescoped(step, loss) - (loss(-before) - loss(-after)) - marginal * surprise


REWARDS = {"telescoped": telescoped, "paired": paired}


class Filled(NamedTuple):
    env: HedgingVectorEnv
    buffer: HedgingReplayBuffer
    stored: dict[bytes, Stored]  # by the action, which is unique


def filled(
    scenario: Scenario, size: int = 1000, seed: int = 0, stop: Callable[[int], None] | None = None
) -> Filled:
    """A buffer after ``EPISODES`` episodes of random actions in `N` environments."""
    vec_env = as_sb3_env(scenario, N)
    env = vec_env.env
    buffer = HedgingReplayBuffer(
        size,
        vec_env.observation_space,
        vec_env.action_space,
        n_envs=N,
        handle_timeout_termination=False,
        hedging_env=env,
    )
    rng = np.random.default_rng(seed)
    vec_env.seed(seed)
    observation, stored = vec_env.reset(), {}
    wealth, cash, episode = np.zeros(N), np.zeros(N), np.zeros(N, dtype=int)
    for _ in range(EPISODES * scenario.calendar.steps):
        actions = rng.uniform(-1, 1, (N, 2)).astype(np.float32)
        following, rewards, ended, _, info = env.step(actions)
        last = info["final_obs"] if ended.any() else following
        next_observation = np.where(ended[:, None], last, following)
        float_rewards = rewards.astype(np.float32)
        buffer.add(observation, next_observation, actions, float_rewards, ended, [{}] * N)
        after = info["wealth"]
        books = env.reward_step
        assert books is not None
        cash_after = np.where(ended, after, books.cash_after)
        luck = np.broadcast_arrays(
            books.reference_before, books.reference_after, books.surprise, np.zeros(N)
        )
        for i in range(N):
            stored[actions[i].tobytes()] = Stored(
                int(episode[i]) * N + i,
                wealth[i],
                after[i],
                cash_after[i] - cash[i],
                float(float_rewards[i]),
                bool(ended[i]),
                (luck[0][i], luck[1][i], luck[2][i]),
            )
        wealth, cash = np.where(ended, 0.0, after), np.where(ended, 0.0, cash_after)
        episode += ended
        observation = following
    return Filled(env, buffer, stored)


def sampled(buffer: HedgingReplayBuffer, times: int = 4000) -> dict[bytes, float]:
    """Rewards by action."""
    with global_generators(0):
        samples = buffer.sample(times)
    assert samples.rewards.shape == samples.dones.shape == (times, 1)
    keys = [action.tobytes() for action in samples.actions.numpy()]
    return dict(zip(keys, samples.rewards[:, 0].tolist(), strict=True))


def problem(objective: str, reward: str = "{kind: telescoped}") -> Scenario:
    return load_scenario(
        "short-call",
        {"calendar.steps": "5", "objective": objective, "view.reward": reward, "loss_limit": "3"},
    )


@pytest.mark.parametrize("objective", LOSSES)
@pytest.mark.parametrize("reward", REWARDS)
def test_a_sample_is_rewarded_with_the_theta_of_now(objective: str, reward: str) -> None:
    env, buffer, stored = filled(problem(objective, f"{{kind: {reward}}}"))
    scale = 1.0 / env.scenario.contract.scale
    old = env.problem.theta
    env.refit()
    theta = env.problem.theta
    assert theta != old or objective == "{kind: quadratic}"
    found = sampled(buffer)
    assert found.keys() == stored.keys()
    moved = 0
    for key, value in found.items():
        expected = REWARDS[reward](stored[key], lambda x: LOSSES[objective](x, theta)) * scale
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-6)
        moved += abs(value - stored[key].reward) > 1e-3
    assert moved > 10 or objective == "{kind: quadratic}"


@pytest.mark.parametrize("objective", LOSSES)
def test_rewards_of_an_episode_telescope_to_its_terminal_objective(objective: str) -> None:
    env, buffer, stored = filled(problem(objective))
    env.refit()
    theta, loss = env.problem.theta, LOSSES[objective]
    found = sampled(buffer)
    returns, ends = np.zeros(N * (5 * EPISODES)), {}
    for key, step in stored.items():
        returns[step.path] += found[key]
        if step.last:
            ends[step.path] = step.after
    assert len(ends) >= N * EPISODES
    for path, wealth in ends.items():
        expected = -(loss(-wealth, theta) - loss(0.0, theta)) / env.scenario.contract.scale
        assert returns[path] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    "reward",
    [
        "{kind: telescoped}",
        "{kind: paired}",
        "{kind: kolm-ritter, aversion: 0.2}",
        "{kind: accounting}",
        "{kind: cash-flow}",
    ],
)
def test_with_theta_unmoved_a_sample_is_rewarded_as_it_was_stored(reward: str) -> None:
    _, buffer, stored = filled(problem("{kind: cvar, level: 0.8}", reward))
    for key, value in sampled(buffer).items():
        assert value == pytest.approx(stored[key].reward, rel=1e-6, abs=1e-6)


def test_a_cash_flow_sample_is_the_change_of_cash() -> None:
    env, buffer, stored = filled(problem("{kind: quadratic}", "{kind: cash-flow}"))
    scale = env.scenario.contract.scale
    for key, value in sampled(buffer).items():
        assert value * scale == pytest.approx(stored[key].cash_change, rel=1e-5, abs=1e-5)


def test_a_full_buffer_forgets_the_oldest_with_its_books() -> None:
    kept = 12  # dates
    env, buffer, stored = filled(problem("{kind: cvar, level: 0.8}"), size=kept * N)
    env.refit()
    theta, loss = env.problem.theta, LOSSES["{kind: cvar, level: 0.8}"]
    found = sampled(buffer)
    assert list(stored)[-kept * N :] == sorted(found, key=list(stored).index)
    for key, reward in found.items():
        step = stored[key]
        expected = -(loss(-step.after, theta) - loss(-step.before, theta))
        assert reward * env.scenario.contract.scale == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_observations_actions_and_ends_come_with_their_own_reward() -> None:
    """What a sample holds of a transition belongs together."""
    _, buffer, stored = filled(problem("{kind: entropic, aversion: 0.5}"))
    with global_generators(1):
        samples = buffer.sample(500)
    for j, action in enumerate(samples.actions.numpy()):
        row = np.argwhere((buffer.actions == action).all(-1))
        assert row.shape == (1, 2)
        t, i = row[0]
        np.testing.assert_array_equal(samples.observations[j], buffer.observations[t, i])
        np.testing.assert_array_equal(samples.next_observations[j], buffer.next_observations[t, i])
        assert samples.dones[j] == buffer.dones[t, i] == stored[action.tobytes()].last


class _Counts(BaseCallback):
    """Gradient steps and transitions after every rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, int]] = []

    def _on_rollout_start(self) -> None:
        self.rows.append((self.model.num_timesteps, self.model._n_updates))

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("name", "rate", "environments", "collect"),
    [
        ("sac", 0.02, 8, 1),
        ("sac", 0.02, 128, 1),
        ("td3", 0.37, 3, 2),
        ("dqn", 0.1, 16, 5),
        ("ddpg", 1.5, 1, 1),
        ("tqc", 0.05, 40, 1),
    ],
)
def test_every_transition_earns_its_gradient_steps(
    three_steps: Scenario,
    tiny: Callable[..., AgentSettings],
    name: str,
    rate: float,
    environments: int,
    collect: int,
) -> None:
    settings = tiny(
        name, environments=environments, collect_steps=collect, updates_per_transition=rate
    )
    transitions, taken = _transitions(three_steps, settings, environments * 60).T
    learning = np.maximum(transitions - 3 * environments, 0)  # not those of the warm-up
    expected = [math.floor(rate * stored + 1e-9) for stored in learning]
    np.testing.assert_array_equal(taken, expected)
    assert taken[-1] / learning[-1] == pytest.approx(rate, abs=1.0 / learning[-1])


def _transitions(scenario: Scenario, settings: AgentSettings, steps: int) -> NDArray[Any]:
    counts = _Counts()
    with global_generators(0):
        model = make_model(scenario, settings, 0)
        assert isinstance(model, OffPolicyAlgorithm)
        model.learn(steps, callback=[counts, ReplayRate(settings.updates_per_transition)])
    counts.rows.append((model.num_timesteps, model._n_updates))
    return np.array(counts.rows)

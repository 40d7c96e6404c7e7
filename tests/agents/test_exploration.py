"""Exploration is drawn for every environment on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from deephedge.agents import AgentSettings
from deephedge.agents.exploration import BatchNoise, FallingNoise, HedgingDQN
from deephedge.agents.factory import make_model
from deephedge.agents.random_state import global_generators
from deephedge.envs import Scenario

Tiny = Callable[..., AgentSettings]


def draws(noise: BatchNoise, times: int) -> NDArray[Any]:
    with global_generators(3):
        return np.stack([noise() for _ in range(times)])


def test_noise_is_one_draw_for_all_environments() -> None:
    noise = BatchNoise(0.1, 128, 2)
    assert noise().shape == (128, 2)
    assert noise().dtype == np.float32
    with global_generators(0):
        expected = np.random.normal(0.0, 0.1, (128, 2))  # noqa: NPY002
    with global_generators(0):
        np.testing.assert_allclose(noise(), expected, rtol=1e-6)


@pytest.mark.parametrize("std", [0.1, 0.7])
def test_noise_has_its_mean_and_standard_deviation(std: float) -> None:
    sample = draws(BatchNoise(std, 50, 2), 1000)
    count = sample.size
    assert abs(sample.mean()) < 4 * std / count**0.5
    assert abs(sample.std() / std - 1) < 4 / (2 * count) ** 0.5
    # Gaussian, not merely of the right variance: the fourth moment has standard error sqrt(96 / n).
    assert abs((sample**4).mean() / std**4 - 3) < 4 * (96 / count) ** 0.5


def test_noise_is_independent_across_environments_numbers_and_time() -> None:
    times = 20_000
    sample = draws(BatchNoise(0.3, 4, 2), times).reshape(times, 8)
    together = np.concatenate([sample[1:], sample[:-1]], axis=1)  # with the step before
    correlation = np.corrcoef(together, rowvar=False)
    off_diagonal = correlation[~np.eye(16, dtype=bool)]
    # The two halves share all dates but one, so each shows its own pairs once more.
    assert np.abs(off_diagonal).max() < 4.5 / times**0.5


def test_noise_has_no_memory_to_reset() -> None:
    noise = BatchNoise(0.1, 3, 2)
    with global_generators(0):
        undisturbed = [noise(), noise()]
    with global_generators(0):
        first = noise()
        noise.reset()
        noise.reset(indices=[1])
        np.testing.assert_array_equal([first, noise()], undisturbed)


@pytest.mark.parametrize("name", ["td3", "ddpg"])
def test_deterministic_policies_explore_differently_in_every_environment(
    three_steps: Scenario, tiny: Tiny, name: str
) -> None:
    """At the first date all environments show the same: only the noise tells them apart."""
    settings = tiny(name, environments=400, warmup_episodes=0, noise=0.2)
    with global_generators(0):
        model = make_model(three_steps, settings, 0)
        assert isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None
        model.learn(400, callback=_NoLearning())
        assert model.env is not None
        greedy, _ = model.predict(model.env.reset(), deterministic=True)  # type: ignore[arg-type]
    explored = model.replay_buffer.actions[0] - greedy
    assert np.ptp(greedy, axis=0).max() == 0.0
    assert len(np.unique(explored[:, 0])) == 400
    assert abs(explored.std() / 0.2 - 1) < 4 / (2 * 800) ** 0.5


class _NoLearning(BaseCallback):
    def _on_rollout_end(self) -> None:
        self.model.gradient_steps = 0  # type: ignore[attr-defined]

    def _on_step(self) -> bool:
        return True


@pytest.fixture
def dqn(three_steps: Scenario, tiny: Tiny) -> HedgingDQN:
    with global_generators(0):
        model = make_model(three_steps, tiny("dqn"), 0)
    assert isinstance(model, HedgingDQN)
    return model


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_dqn_explores_in_each_environment_at_the_rate(dqn: HedgingDQN, rate: float) -> None:
    """In one call; SB3's own would explore in all of them or in none."""
    n, choices = 20_000, 81
    observation = np.tile(dqn.observation_space.sample(), (n, 1))
    greedy, _ = dqn.predict(observation, deterministic=True)
    assert len(np.unique(greedy)) == 1
    dqn.exploration_rate = rate
    with global_generators(4):
        actions, _ = dqn.predict(observation)
    assert actions.shape == (n,)
    other = rate * (1 - 1 / choices)  # a uniform choice may be the greedy one
    assert abs((actions != greedy).mean() - other) < 4 * (other * (1 - other) / n) ** 0.5
    # What was explored is uniform over the other choices: chi-square with 79 degrees of freedom.
    counts = np.delete(np.bincount(actions, minlength=choices), greedy[0])
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert abs(chi_square - 79) < 4 * (2 * 79) ** 0.5


def test_dqn_explores_somewhere_else_at_every_step(dqn: HedgingDQN) -> None:
    n = 20_000
    observation = np.tile(dqn.observation_space.sample(), (n, 1))
    greedy, _ = dqn.predict(observation, deterministic=True)
    dqn.exploration_rate = 0.5
    with global_generators(4):
        first, second = (dqn.predict(observation)[0] != greedy for _ in range(2))
    both = (0.5 * 80 / 81) ** 2
    assert abs((first & second).mean() - both) < 4 * (both * (1 - both) / n) ** 0.5


def test_dqn_is_greedy_when_asked_to_be(dqn: HedgingDQN) -> None:
    rng = np.random.default_rng(0)
    observation = rng.uniform(-2, 2, (500, *dqn.observation_space.shape)).astype(np.float32)  # type: ignore[misc]
    with torch.no_grad():
        best = dqn.q_net(torch.from_numpy(observation)).argmax(1).numpy()
    assert len(np.unique(best)) > 1
    for rate, deterministic in ((1.0, True), (0.0, False), (0.0, True)):
        dqn.exploration_rate = rate
        actions, _ = dqn.predict(observation, deterministic=deterministic)
        np.testing.assert_array_equal(actions, best)


def test_dqn_takes_a_single_observation_too(dqn: HedgingDQN) -> None:
    for rate in (0.0, 1.0):
        dqn.exploration_rate = rate
        action, _ = dqn.predict(dqn.observation_space.sample())
        assert dqn.action_space.contains(int(action))


class _Seen(BaseCallback):
    """The log standard deviation at the start and end of every rollout, and the steps then."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, float, float]] = []

    def _on_rollout_end(self) -> None:
        low, high = self.model.policy.log_std.min(), self.model.policy.log_std.max()  # type: ignore[operator]
        self.rows.append((self.num_timesteps, float(low), float(high)))

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize("name", ["ppo", "a2c", "recurrent-ppo"])
def test_gaussian_noise_falls_on_a_line_and_is_not_learned(
    three_steps: Scenario, tiny: Tiny, name: str
) -> None:
    settings = tiny(name, environments=10)
    rollout = 3 * 10
    seen = _Seen()
    with global_generators(0):
        model = make_model(three_steps, settings, 0)
        noise = FallingNoise(-1.0, -3.0, 4 * rollout)
        model.learn(6 * rollout, callback=[noise, seen])
    expected = [-1.0, -1.5, -2.0, -2.5, -3.0, -3.0]  # and no further
    np.testing.assert_allclose([low for _, low, _ in seen.rows], expected, rtol=1e-6)
    np.testing.assert_allclose([high for _, _, high in seen.rows], expected, rtol=1e-6)
    assert not np.isclose(settings.log_std, settings.log_std_end)

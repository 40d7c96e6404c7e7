"""The paired reward: the telescoped one less luck, with the same mean for every policy."""

from __future__ import annotations

import numpy as np
import pytest

from deephedge.envs import HedgingEnv, HedgingVectorEnv, Scenario, View, load_scenario
from deephedge.envs.rewards import PairedReward, Reward, TelescopedReward

PATHS = 8192


def play(
    scenario: Scenario, reward: Reward, edges: float, seed: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """The first episodes' sum of rewards and reference, in money; every action is ``edges``."""
    env = HedgingVectorEnv(PATHS, scenario, View(reward=reward))
    env.reset(seed=seed)
    reference = env._tape.reference
    actions = np.full(env.action_space.shape, edges, dtype=np.float32)
    done = np.zeros(PATHS, dtype=bool)
    total = np.zeros(PATHS)
    for _ in range(env._tape.steps):
        _, rewards, terminated, _, _ = env.step(actions)
        total += np.where(done, 0.0, rewards)
        done |= terminated
    problem = env.problem
    earned = 0.0 if reference is None else problem.level(reference[-1], 0) - problem.level(0.0, 0)
    return total / problem.scale, np.broadcast_to(earned, PATHS)


@pytest.mark.parametrize(
    "name", ["short-call", "sp500-call", "short-straddle-jumps", "gamma-hedge-jumps", "book-jumps"]
)
@pytest.mark.parametrize("edges", [-0.4, 0.2])
def test_what_is_taken_off_has_mean_zero_beside_the_reference(name: str, edges: float) -> None:
    scenario = load_scenario(name)
    plain, _ = play(scenario, TelescopedReward(), edges)
    paired, reference = play(scenario, PairedReward(), edges)
    surprise = plain - reference - paired
    assert abs(surprise.mean()) < 4 * surprise.std() / np.sqrt(PATHS)


def test_a_stopped_episode_is_still_paired_with_the_whole_path() -> None:
    # Else the reference taken off would depend on when the policy stops, and bias it.
    scenario = load_scenario("short-call", {"loss_limit": "1.0"})
    plain, _ = play(scenario, TelescopedReward(), 0.2)
    paired, reference = play(scenario, PairedReward(), 0.2)
    surprise = plain - reference - paired
    assert abs(surprise.mean()) < 4 * surprise.std() / np.sqrt(PATHS)
    assert surprise.std() < 3 * plain.std()


def test_a_tenth_of_the_noise() -> None:
    scenario = load_scenario("short-call")
    plain, _ = play(scenario, TelescopedReward(), 0.0)
    paired, _ = play(scenario, PairedReward(), 0.0)
    assert paired.std() < 0.2 * plain.std()


@pytest.mark.parametrize("name", ["short-call", "sp500-call", "book-jumps"])
def test_the_scalar_face_earns_the_same_to_the_bit(name: str) -> None:
    view = View(reward=PairedReward())
    env, envs = HedgingEnv(name, view), HedgingVectorEnv(1, name, view)
    env.reset(seed=5)
    envs.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(130):
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        _, reward, terminated, _, _ = env.step(action)
        _, rewards, _, _, _ = envs.step(action[None])
        assert reward == rewards[0]
        if terminated:
            env.reset()


def test_the_replay_form_is_the_environments_reward() -> None:
    env = HedgingVectorEnv(64, "short-call-jumps", View(reward=PairedReward()))
    env.reset(seed=1)
    problem = env.problem
    for _ in range(35):
        _, reward, _, _, _ = env.step(env.action_space.sample())
        assert env.reward_step is not None
        value = problem.reward.value(env.reward_step, problem.objective, problem.theta, problem.ops)
        np.testing.assert_allclose(value * problem.scale, reward, rtol=1e-9, atol=1e-12)

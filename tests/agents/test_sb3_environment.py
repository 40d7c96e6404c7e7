"""The VecEnv contract: what SB3 relies on without saying so, and what it costs per environment."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecMonitor

from deephedge.agents import AgentSettings, HedgingVecEnv, as_sb3_env
from deephedge.agents.factory import make_model
from deephedge.agents.random_state import global_generators
from deephedge.envs import HedgingEnv, HedgingVectorEnv, Scenario, View, load_scenario

N = 6


@pytest.fixture
def env(short_call: Scenario) -> HedgingVecEnv:
    return as_sb3_env(short_call, N)


@pytest.fixture(scope="module")
def stopping() -> Scenario:
    """A loss limit that ends some episodes early."""
    return load_scenario("short-call", {"loss_limit": "1.0"})


def play(env: Any, steps: int, seed: int = 3) -> list[tuple[Any, Any, Any, Any]]:
    """Seed, reset, and ``steps`` random steps; the first entry is the reset."""
    rng = np.random.default_rng(seed)
    env.seed(seed)
    played = [(env.reset(), None, None, None)]
    for _ in range(steps):
        actions = rng.uniform(-1, 1, (env.num_envs, *env.action_space.shape)).astype(np.float32)
        played.append(env.step(actions))
    return played


def dates(observations: NDArray[Any], steps: int) -> NDArray[Any]:
    """The dates of observations, from their first column, the time left."""
    return np.rint((1.0 - observations[..., 0]) * steps)


def test_every_step_gives_fresh_arrays(env: HedgingVecEnv) -> None:
    played = play(env, 65)
    copies = [np.copy(observation) for observation, *_ in played]
    for (now, rewards, dones, _), (later, *others, _) in pairwise(played[1:]):
        assert not np.shares_memory(now, later)
        for array, other in zip((rewards, dones), others, strict=True):
            assert not np.shares_memory(array, other)
    for (observation, *_), copy in zip(played, copies, strict=True):
        np.testing.assert_array_equal(observation, copy)


def test_what_sb3_changes_in_place_does_not_come_back(short_call: Scenario) -> None:
    """SB3 adds to the rewards it is given and keeps the observations by reference."""
    calm, disturbed = as_sb3_env(short_call, N), as_sb3_env(short_call, N)
    rng = np.random.default_rng(0)
    for env in (calm, disturbed):
        env.seed(0)
    np.testing.assert_array_equal(calm.reset(), disturbed.reset())
    for _ in range(62):
        actions = rng.uniform(-1, 1, (N, 2)).astype(np.float32)
        expected: Any = calm.step(actions)
        found: Any = disturbed.step(actions.copy())
        for a, b in zip(expected[:3], found[:3], strict=True):
            np.testing.assert_array_equal(a, b)
        for i in np.flatnonzero(found[2]):
            found[3][i]["terminal_observation"][:] = 99.0
            found[3][i]["more"] = 1
        for array in found[:2]:
            array[:] = 99.0


def test_an_on_policy_buffer_holds_the_dates_unshifted(
    short_call: Scenario, tiny: Callable[..., AgentSettings]
) -> None:
    with global_generators(0):
        model = make_model(short_call, tiny("ppo", environments=N), 0)
        seen = watched(model.get_env())
        model.learn(1)
    assert isinstance(model, PPO)
    # Learning has laid the buffer out by environment: [N * 30, F].
    kept = model.rollout_buffer.observations.reshape(N, 30, -1)
    # Of observations written in place it would hold the dates 1, 2, 3 ...
    np.testing.assert_array_equal(dates(kept, 30), np.tile(np.arange(30), (N, 1)))
    np.testing.assert_array_equal(kept.swapaxes(0, 1), np.stack(seen)[:30])
    np.testing.assert_array_equal(model.rollout_buffer.episode_starts[:, 0], [1.0] + [0.0] * 29)


def test_a_replay_buffer_holds_each_transition_with_its_own_end(
    short_call: Scenario, tiny: Callable[..., AgentSettings]
) -> None:
    """The next observation at an end is the old episode's last, not the new one's first."""
    with global_generators(0):
        model = make_model(short_call, tiny("sac", environments=N), 0)
        seen = watched(model.get_env())
        model.learn(60 * N)
    assert isinstance(model, SAC) and model.replay_buffer is not None
    buffer = model.replay_buffer
    np.testing.assert_array_equal(buffer.observations[:60], np.stack(seen)[:60])
    now, then = (
        dates(block[:60, 0], 30) for block in (buffer.observations, buffer.next_observations)
    )
    np.testing.assert_array_equal(now, np.tile(np.arange(30), 2))
    np.testing.assert_array_equal(then, now + 1)
    np.testing.assert_array_equal(buffer.dones[:60, 0], np.tile([0.0] * 29 + [1.0], 2))
    assert not buffer.timeouts.any()


def watched(env: Any) -> list[NDArray[Any]]:
    """Copies of the observations as they come, in order, from now on."""
    seen: list[NDArray[Any]] = []
    reset, step_wait = env.reset, env.step_wait

    def watched_reset() -> Any:
        observation = reset()
        seen.append(observation.copy())
        return observation

    def watched_step() -> Any:
        result = step_wait()
        seen.append(result[0].copy())
        return result

    env.reset, env.step_wait = watched_reset, watched_step
    return seen


def test_infos_are_real_at_ends_and_empty_in_between(env: HedgingVecEnv) -> None:
    played = play(env, 60)
    returned = np.zeros(N)
    for step, (_, rewards, dones, infos) in enumerate(played[1:], start=1):
        returned += rewards
        assert isinstance(infos, list) and len(infos) == N
        if step % 30:
            assert not dones.any()
            assert all(len(info) == 0 for info in infos)
            continue
        assert dones.all()
        assert len({id(info) for info in infos}) == N
        for i, info in enumerate(infos):
            assert type(info) is dict
            assert info["TimeLimit.truncated"] is False
            assert dates(info["terminal_observation"], 30) == 30
            assert info["episode"]["r"] == pytest.approx(returned[i], rel=1e-5)
            assert info["episode"]["l"] == 30
        returned[:] = 0.0


def test_the_totals_at_an_end_are_the_books(short_call: Scenario) -> None:
    """P&L, cost and turnover against the vector environment's own step infos."""
    wrapped, bare = as_sb3_env(short_call, N), HedgingVectorEnv(N, short_call)
    wrapped.seed(5)
    np.testing.assert_array_equal(wrapped.reset(), bare.reset(seed=5)[0])
    rng = np.random.default_rng(1)
    pnl, cost = np.zeros(N), np.zeros(N)
    for _ in range(30):
        actions = rng.uniform(-1, 1, (N, 2)).astype(np.float32)
        *_, infos = wrapped.step(actions)
        *_, info = bare.step(actions)
        pnl, cost = pnl + info["pnl"], cost + info["cost"]
    np.testing.assert_allclose([i["total_pnl"] for i in infos], pnl, rtol=1e-12)
    np.testing.assert_allclose([i["total_cost"] for i in infos], cost, rtol=1e-12)
    assert all(i["turnover"] == pytest.approx(i["total_cost"] / 0.2, rel=0.2) for i in infos)


def test_an_episode_is_rewarded_in_the_theta_of_its_rollout() -> None:
    """Refitted between two episodes, theta holds from the first step of the second."""
    scenario = load_scenario("short-call", {"objective": "{kind: cvar, level: 0.9}"})
    env = as_sb3_env(scenario, 50)
    play(env, 30)
    before = env.env.problem.theta
    env.env.refit()
    (theta,) = env.env.problem.theta
    assert theta != before[0]
    returned = np.zeros(50)
    for _ in range(30):
        step: Any = env.step(np.zeros((50, 2), dtype=np.float32))
        returned += step[1]
    losses = -np.array([info["total_pnl"] for info in step[3]])
    at_end, at_start = np.maximum(losses - theta, 0) / 0.1, max(-theta, 0) / 0.1
    expected = (at_start - at_end) / scenario.contract.scale
    np.testing.assert_allclose(returned, expected, atol=1e-5)
    np.testing.assert_allclose([info["episode"]["r"] for info in step[3]], expected, atol=1e-9)


def test_an_early_end_touches_no_other_environment(stopping: Scenario) -> None:
    n = 64
    lengths: list[int] = []
    env = as_sb3_env(stopping, n)
    clock = np.zeros(n, dtype=int)
    for observation, _, dones, infos in play(env, 90)[1:]:
        clock += 1
        for i in range(n):
            assert bool(dones[i]) == ("terminal_observation" in infos[i]) == bool(infos[i])
        for i in np.flatnonzero(dones).tolist():
            assert infos[i]["episode"]["l"] == clock[i]
            assert dates(infos[i]["terminal_observation"], 30) == clock[i]
            assert infos[i]["TimeLimit.truncated"] is False
            lengths.append(int(clock[i]))
        clock[dones] = 0
        np.testing.assert_array_equal(dates(observation, 30), clock)
    assert 30 in lengths and min(lengths) < 30


def test_between_ends_a_step_makes_no_object_per_environment(short_call: Scenario) -> None:
    """Memory blocks that a step's result holds: as many for 2,048 environments as for 16."""

    def blocks(n: int) -> int:
        env, actions = as_sb3_env(short_call, n), np.zeros((n, 2), dtype=np.float32)
        env.seed(0)
        env.reset()
        kept = [env.step(actions)]
        gc.collect()
        gc.disable()
        try:
            before = sys.getallocatedblocks()
            kept += [env.step(actions) for _ in range(10)]
            return sys.getallocatedblocks() - before
        finally:
            gc.enable()

    assert blocks(2048) < blocks(16) + 100


def test_it_equals_sb3s_own_adapter_around_the_single_environment(stopping: Scenario) -> None:
    native, single = as_sb3_env(stopping, 1), DummyVecEnv([lambda: Monitor(HedgingEnv(stopping))])
    lengths = set()
    for a, b in zip(play(native, 150), play(single, 150), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        assert a[0].dtype == b[0].dtype
        if a[1] is None:
            continue
        np.testing.assert_array_equal(a[1], b[1])
        np.testing.assert_array_equal(a[2], b[2])
        assert (a[1].dtype, a[2].dtype) == (b[1].dtype, b[2].dtype)
        if a[2][0]:
            ours, theirs = a[3][0], b[3][0]
            np.testing.assert_array_equal(
                ours["terminal_observation"], theirs["terminal_observation"]
            )
            assert ours["TimeLimit.truncated"] == theirs["TimeLimit.truncated"]
            assert ours["episode"]["r"] == pytest.approx(theirs["episode"]["r"], abs=1e-6)
            assert ours["episode"]["l"] == theirs["episode"]["l"]
            lengths.add(ours["episode"]["l"])
    assert len(lengths) > 1


def test_a_seed_is_honoured_once(env: HedgingVecEnv) -> None:
    def after_reset() -> NDArray[Any]:
        env.reset()
        result: Any = env.step(np.zeros((N, 2), dtype=np.float32))
        return np.asarray(result[0])

    env.seed(7)
    first, second = after_reset(), after_reset()
    env.seed(7)
    again = after_reset()
    env.seed(8)
    other = after_reset()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)
    bare = HedgingVectorEnv(N, env.env.scenario)
    bare.reset(seed=7)
    np.testing.assert_array_equal(first, bare.step(np.zeros((N, 2), dtype=np.float32))[0])


def test_attributes_and_methods_are_the_vector_environments(env: HedgingVecEnv) -> None:
    assert env.get_attr("scenario") == [env.env.scenario] * N
    assert env.get_attr("num_envs", [0, 2]) == [N, N]
    assert env.get_attr("num_envs", 1) == [N]
    assert env.has_attr("problem") and not env.has_attr("nothing")
    env.set_attr("mark", 3)
    assert env.get_attr("mark") == [3] * N
    with pytest.raises(ValueError, match=r"set_attr\('mark'\): the environments are one"):
        env.set_attr("mark", 4, indices=[0])
    assert env.get_attr("mark", 0) == [3]
    env.reset()
    calls: list[int] = []
    env.env.refit = calls.append  # type: ignore[method-assign, assignment]
    assert env.env_method("refit", 5, indices=[1, 3]) == [None, None]
    assert calls == [5]
    assert env.env_is_wrapped(Monitor) == [False] * N
    assert env.env_is_wrapped(VecMonitor, indices=2) == [False]
    with pytest.raises(AttributeError):
        env.env_method("nothing")
    env.close()
    env.close()


def test_vec_monitor_wraps_it(short_call: Scenario) -> None:
    env = VecMonitor(as_sb3_env(short_call, N), info_keywords=("total_cost", "total_pnl"))
    played = play(env, 30)
    returned = np.sum([rewards for _, rewards, _, _ in played[1:]], axis=0)
    for i, info in enumerate(played[-1][3]):
        assert info["episode"]["r"] == pytest.approx(returned[i], rel=1e-5)
        assert info["episode"]["l"] == 30
        assert info["episode"]["total_cost"] == info["total_cost"] > 0.0
    again = play(env, 31)
    assert not again[-1][2].any()


def test_sb3s_own_checks_pass(env: HedgingVecEnv) -> None:
    check_for_correct_spaces(env, env.observation_space, env.action_space)
    checked = VecCheckNan(env, raise_exception=True, check_inf=True)
    for observation, rewards, dones, _ in play(checked, 60)[1:]:
        assert observation.shape == (N, *env.observation_space.shape)  # type: ignore[misc]
        assert all(env.observation_space.contains(row) for row in observation)
        assert (rewards.shape, rewards.dtype) == ((N,), np.float32)
        assert (dones.shape, dones.dtype) == ((N,), np.bool_)


@pytest.mark.parametrize("given", ["name", "scenario", "environment"])
def test_it_is_made_from_a_name_a_scenario_or_an_environment(
    short_call: Scenario, given: str
) -> None:
    vector = HedgingVectorEnv(N, short_call)
    made = {
        "name": lambda: as_sb3_env("short-call", N),
        "scenario": lambda: as_sb3_env(short_call, N),
        "environment": lambda: as_sb3_env(vector),
    }[given]()
    assert made.num_envs == N and made.env.scenario == short_call
    assert (made.env is vector) == (given == "environment")
    assert made.observation_space == vector.single_observation_space
    assert made.action_space == vector.single_action_space


@pytest.mark.parametrize("more", [{"num_envs": 4}, {"view": View()}], ids=["num_envs", "view"])
def test_a_vector_environment_brings_its_own_number_and_view(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="beside a vector environment, which has its own: leave"):
        as_sb3_env(HedgingVectorEnv(2, "short-call"), **more)


def test_no_environments_are_not_taken_for_the_default() -> None:
    with pytest.raises(ValueError, match="0"):
        as_sb3_env("short-call", 0)

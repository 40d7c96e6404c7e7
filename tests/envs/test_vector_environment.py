"""The vector environment: SAME_STEP, clocks that part, seeds, fresh arrays, errors without harm."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from numpy.typing import NDArray

from deephedge.envs import HedgingEnv, HedgingVectorEnv, Scenario, load_scenario, preset_names
from deephedge.envs.namespace import NUMPY

Array = NDArray[Any]
Make = Callable[..., Scenario]
IDS = ["deephedge/Hedging-v0", *[f"deephedge/{name}-v0" for name in preset_names()]]
SHORT = {"calendar.steps": "5", "calendar.days": "5"}
STOPPING = {"loss_limit": "0.7", "view.action": "{kind: target}"}


def short(preset: str = "short-call-jumps", **changes: str) -> Scenario:
    return load_scenario(preset, SHORT | {k.replace("__", "."): v for k, v in changes.items()})


def actions_of(env: HedgingVectorEnv, steps: int, seed: int = 0) -> list[Array]:
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(steps)]


def play(env: HedgingVectorEnv, actions: list[Array], seed: int | None = 1) -> list[Any]:
    """All that comes back, copied."""
    return copy.deepcopy([env.reset(seed=seed), *[env.step(action) for action in actions]])


def same(one: Any, other: Any) -> bool:
    """Bit for bit, in whatever nests."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return np.array_equal(one, other)


@pytest.mark.parametrize("name", IDS)
def test_make_vec_gives_this_environment(name: str) -> None:
    env = gym.make_vec(name, num_envs=3, vectorization_mode="vector_entry_point")
    inner: Any = env.unwrapped
    assert isinstance(inner, HedgingVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.spec is not None
    assert json.loads(env.spec.to_json())["id"] == name
    observation, _ = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert observation.shape == (3, len(inner.columns))
    observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation)
    assert reward.dtype == np.float64
    assert terminated.dtype == truncated.dtype == np.bool_
    assert reward.shape == terminated.shape == truncated.shape == (3,)
    env.close()
    env.close()


def test_the_scalar_environment_can_be_vectorised_by_gymnasium_too() -> None:
    env = gym.make_vec("deephedge/short-call-v0", num_envs=2, vectorization_mode="sync")
    observation, _ = env.reset(seed=[3, 4])  # type: ignore[arg-type]
    for i, seed in enumerate((3, 4)):
        assert observation[i].tolist() == HedgingEnv("short-call").reset(seed=seed)[0].tolist()


def test_a_seed_is_the_whole_of_what_follows() -> None:
    env = HedgingVectorEnv(4, short(**{"loss_limit": "0.7"}))
    actions = actions_of(env, 20)
    first = play(env, actions)
    assert same(play(env, actions), first)
    assert same(play(HedgingVectorEnv(4, env.scenario), actions), first)
    other = play(env, actions, seed=2)
    assert not np.array_equal(other[1][0], first[1][0])
    unseeded = [play(HedgingVectorEnv(4, env.scenario), actions, seed=None)[1][0] for _ in "ab"]
    assert not np.array_equal(*unseeded)


def test_global_random_states_are_neither_read_nor_moved() -> None:
    env = HedgingVectorEnv(4, short())
    actions = actions_of(env, 8)
    torch_state = torch.random.get_rng_state()
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    first = play(env, actions)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    now = np.random.get_state(legacy=False)  # noqa: NPY002
    assert same(now, numpy_state)
    try:
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        assert same(play(HedgingVectorEnv(4, short()), actions), first)
    finally:
        torch.random.set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def test_the_paths_of_a_batch_differ() -> None:
    env = HedgingVectorEnv(50, short())
    *_, info = play(env, actions_of(env, 1))[-1]
    assert len(np.unique(info["spot"])) == 50


def test_same_step_autoreset() -> None:
    """At the end the next episode's first observation comes, with the last one's in the info."""
    env = HedgingVectorEnv(3, short(view__action="{kind: target}"))
    actions = [np.full((3, 1), 0.5, dtype=np.float32)] * 10
    story = play(env, actions)
    holding = env.columns.index("holding_0")
    left = env.columns.index("time_left")
    for step in (1, 2, 3, 4, 6, 7, 8, 9):
        observation, _, terminated, truncated, info = story[step]
        assert not terminated.any()
        assert not truncated.any()
        assert "final_info" not in info
        assert (observation[:, holding] == 1.0).all()
    for step in (5, 10):
        observation, _, terminated, truncated, info = story[step]
        assert terminated.all()
        assert not truncated.any()
        assert (observation[:, left] == 1.0).all()
        assert (observation[:, holding] == 0.0).all()
        assert (info["final_obs"][:, left] == 0.0).all()
        assert (info["final_obs"][:, holding] == 1.0).all()
        assert info["_final_obs"].all()
        assert info["_final_info"].all()
    spots = [story[step][4]["final_info"]["spot"] for step in (5, 10)]
    assert (spots[0] != spots[1]).all()
    totals = story[5][4]["final_info"]["total_pnl"]
    assert totals == pytest.approx(sum(step[4]["pnl"] for step in story[1:6]))


def test_a_reset_in_the_middle_goes_on_to_the_next_episode() -> None:
    env, through = HedgingVectorEnv(3, short()), HedgingVectorEnv(3, short())
    actions = actions_of(env, 5)
    env.reset(seed=1)
    env.step(actions[0])
    cut, _ = env.reset()
    assert cut.tolist() == play(through, actions)[-1][0].tolist()
    scalar = HedgingEnv(short())
    one = HedgingVectorEnv(1, short())
    for env_ in (scalar, one):
        env_.reset(seed=2)
        env_.step(np.zeros(env_.action_space.shape))  # type: ignore[arg-type]
    assert scalar.reset()[0].tolist() == one.reset()[0][0].tolist()


def test_a_reset_after_the_clocks_have_parted_starts_unseen_episodes() -> None:
    env = HedgingVectorEnv(20, short(**{k.replace(".", "__"): v for k, v in STOPPING.items()}))
    story = play(env, [np.ones((20, 1))] * 13)
    seen = {x for step in story[1:] for x in step[4]["spot"].tolist()}
    env.reset()
    after = [env.step(np.zeros((20, 1)))[4]["spot"] for _ in range(4)]
    assert not seen & {x for spot in after for x in spot.tolist()}


def test_an_environment_that_stops_early_changes_no_other() -> None:
    """Environment 0 plays wildly or tamely: what the others see is bit for bit the same."""
    scenario = short(**{k.replace(".", "__"): v for k, v in STOPPING.items()})
    stories, ends = [], []
    for wild in (False, True):
        env = HedgingVectorEnv(8, scenario)
        actions = [action.copy() for action in actions_of(env, 60)]
        for t, action in enumerate(actions):
            action[0] = (1.0 if t % 2 else -1.0) if wild else 0.0
        story = play(env, actions)
        stories.append([others(step) for step in story])
        ends.append(np.array([step[2] for step in story[1:]]))
    assert same(stories[0], stories[1])
    stops = [end[:, 0].sum() for end in ends]
    assert stops[1] > stops[0] + 5  # wildness does stop it more often
    assert 12 < ends[0][:, 1:].sum(axis=0).min()  # and the others stop early as well
    assert len({tuple(np.flatnonzero(end).tolist()) for end in ends[0].T}) > 4  # out of step


def others(returned: tuple[Any, ...]) -> list[Any]:
    """What came back for environments 1 and up; of a last observation only where there is one."""
    kept: list[Any] = []
    for part in returned:
        if not isinstance(part, dict):
            kept.append(part[1:])
            continue
        ended = part.get("_final_obs", np.zeros(8, dtype=bool))[1:]
        for key in sorted(part.keys() - {"final_obs", "final_info", "_final_obs", "_final_info"}):
            kept.append(part[key][1:])
        if ended.any():
            kept.append(part["final_obs"][1:][ended])
            kept += [part["final_info"][key][1:][ended] for key in sorted(part["final_info"])]
    return kept


@pytest.mark.parametrize("seed", range(15))
def test_an_environment_by_itself_lives_as_in_a_crowd(seed: int, random_scenario: Make) -> None:
    """With parted clocks too, every episode is that of the ledger: totals are sums of steps."""
    scenario = random_scenario(seed, loss_limit=1.0)
    env = HedgingVectorEnv(16, scenario)
    pnl, cost, reward, steps = (np.zeros(16) for _ in range(4))
    ended = 0
    story = play(env, actions_of(env, 40))
    for _, rewards, terminated, _, info in story[1:]:
        pnl, cost, reward = pnl + info["pnl"], cost + info["cost"], reward + rewards
        steps = steps + 1
        assert np.allclose(info["wealth"], pnl)
        if terminated.any():
            final = info["final_info"]
            assert final["total_pnl"][terminated] == pytest.approx(pnl[terminated])
            assert final["total_cost"][terminated] == pytest.approx(cost[terminated])
            assert final["total_reward"][terminated] == pytest.approx(reward[terminated])
            assert (final["steps"] == steps)[terminated].all()
            assert (info["_final_obs"] == terminated).all()
            ended += terminated.sum()
            for total in (pnl, cost, reward, steps):
                total[terminated] = 0.0
    assert ended >= 16


def test_fresh_arrays_every_step() -> None:
    """What is kept of a step stays; what is written on it stays outside."""
    for changes in ({}, {k.replace(".", "__"): v for k, v in STOPPING.items()}):
        env, untouched = (HedgingVectorEnv(6, short(**changes)) for _ in range(2))
        actions = actions_of(env, 12)
        expected = play(untouched, actions)
        returned = [env.reset(seed=1), *[env.step(action) for action in actions]]
        assert same(returned, expected)
        env.reset(seed=1)
        for action, step in zip(actions, expected[1:], strict=True):
            now = env.step(action)
            assert same(now, step)
            for array in arrays(now):
                if array.flags.writeable:
                    array[...] = 99 if array.dtype != np.bool_ else ~array


def arrays(nest: Any) -> list[Array]:
    if isinstance(nest, dict):
        nest = list(nest.values())
    if isinstance(nest, list | tuple):
        return [array for part in nest for array in arrays(part)]
    return [nest]


BAD: list[Any] = [
    np.zeros((3, 1)),
    np.zeros((2, 2)),
    np.zeros(3),
    np.zeros((3, 2, 1)),
    np.full((3, 2), np.nan),
    np.array([[0, 0], [0, 0], [0, np.nan]]),
    np.array([[0, 0], [np.inf, 0], [0, -np.inf]]),
    np.array([["a", "b"]] * 3),
    None,
    0.5,
]
BAD_CHOICES: list[Any] = [
    np.array([0, 0, 81]),
    np.array([0, -1, 0]),
    np.array([0.0, 0.5, 0.0]),
    np.array([0, 0]),
    np.zeros((3, 1), dtype=int),
    None,
]


@pytest.mark.parametrize(
    ("actions", "changes"),
    [
        *[(actions, {}) for actions in BAD],
        *[(actions, {"view__action": "{kind: discrete}"}) for actions in BAD_CHOICES],
    ],
    ids=repr,
)
def test_impossible_actions_are_refused_and_change_nothing(
    actions: Any, changes: dict[str, str]
) -> None:
    env, untouched = (HedgingVectorEnv(3, short(**changes)) for _ in range(2))
    good = actions_of(env, 7)
    for one in (env, untouched):
        one.reset(seed=1)
        one.step(good[0])
    with pytest.raises(ValueError) as caught:
        env.step(actions)
    assert "\n" not in str(caught.value)
    assert all(same(env.step(action), untouched.step(action)) for action in good)


def test_there_is_no_step_before_the_start() -> None:
    with pytest.raises(gym.error.ResetNeeded):
        HedgingVectorEnv(2, short()).step(np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs 0: at least 1"),
        ({"num_envs": 2, "render_mode": "ansi"}, "render_mode 'ansi'"),
        ({"num_envs": 2, "scenario": "short-cal"}, "did you mean 'short-call'"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HedgingVectorEnv(**arguments)


@pytest.mark.parametrize("changes", [{}, STOPPING], ids=["in step", "parted"])
def test_gymnasiums_episode_statistics_count_right(changes: dict[str, str]) -> None:
    env = HedgingVectorEnv(5, short(**{k.replace(".", "__"): v for k, v in changes.items()}))
    watched = RecordEpisodeStatistics(env)
    watched.reset(seed=1)
    checked = 0
    for action in actions_of(env, 23):
        *_, terminated, _, info = watched.step(action)
        if terminated.any():
            final = info["final_info"]
            assert (info["_episode"] == terminated).all()
            returned, length = info["episode"]["r"], info["episode"]["l"]
            assert returned[terminated] == pytest.approx(final["total_reward"][terminated])
            assert (length == final["steps"])[terminated].all()
            checked += 1
    assert checked >= 4


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("changes", [{}, STOPPING], ids=["in step", "parted"])
def test_a_copy_goes_on_by_itself(duplicate: Any, changes: dict[str, str]) -> None:
    env = HedgingVectorEnv(4, short(**{k.replace(".", "__"): v for k, v in changes.items()}))
    actions = actions_of(env, 12)
    play(env, actions[:8])
    twin = duplicate(env)
    assert all(same(env.step(action), twin.step(action)) for action in actions)


REWARDS = ["telescoped", "paired", "cash-flow", "accounting", "kolm-ritter, aversion: 0.2"]


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("changes", [{}, STOPPING], ids=["in step", "parted"])
def test_what_a_step_did_tells_its_reward(reward: str, changes: dict[str, str]) -> None:
    """So a replay buffer can keep the books and compute the reward at today's theta."""
    changes = changes | {"view.reward": f"{{kind: {reward}}}", "position.premium": "4"}
    env = HedgingVectorEnv(6, short(**{k.replace(".", "__"): v for k, v in changes.items()}))
    env.reset(seed=1)
    problem = env.problem
    for action in actions_of(env, 20):
        _, earned, *_ = env.step(action)
        assert env.reward_step is not None
        told = problem.reward.value(env.reward_step, problem.objective, problem.theta, NUMPY)
        assert told * problem.scale == pytest.approx(earned, abs=1e-9)


@pytest.mark.parametrize("reward", ["telescoped", "cash-flow", "accounting"])
def test_a_refit_between_rollouts_keeps_rewards_adding_up(reward: str) -> None:
    """In the middle of an episode or at its start, what is still to be earned is the rest."""
    scenario = short(
        "short-straddle-jumps", view__reward=f"{{kind: {reward}}}", position__premium="9"
    )
    for pause in (5, 7):
        env = HedgingVectorEnv(50, scenario)
        env.reset(seed=1)
        actions = actions_of(env, 10)
        for action in actions[:pause]:
            *_, info = env.step(action)
        before, wealth = env.problem.theta, info["wealth"] * (pause != 5)
        env.refit()
        assert (env.problem.theta != before) == (reward != "cash-flow")
        earned = np.zeros(50)
        for action in actions[pause:]:
            _, rewards, _, _, info = env.step(action)
            earned += rewards
        total = info["final_info"]["total_pnl"]
        if reward == "cash-flow" and pause == 7:
            continue  # in the middle the cash is another number than the wealth
        level = env.problem.level
        change = level(total, total) - level(wealth, wealth)
        assert earned == pytest.approx(change * env.problem.scale, abs=1e-9)
    env.refit(least=10**6)
    assert env.problem.theta == env.problem.theta


def test_a_refit_waits_for_enough_endings() -> None:
    env = HedgingVectorEnv(10, short("short-straddle-jumps"))
    play(env, actions_of(env, 5))
    before = env.problem.theta
    env.refit(least=11)
    assert env.problem.theta == before
    env.refit(least=10)
    assert env.problem.theta != before

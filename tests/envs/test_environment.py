"""The single environment: Gymnasium's contract, seeds, rewards that add up, errors without harm."""

from __future__ import annotations

import copy
import pickle
import random
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

import deephedge
from deephedge.envs import HedgingEnv, Scenario, load_scenario, preset_names
from deephedge.envs.namespace import SCALAR

Array = NDArray[Any]

IDS = ["deephedge/Hedging-v0", *[f"deephedge/{name}-v0" for name in preset_names()]]
SHORT = {"calendar.steps": "5", "calendar.days": "5"}


def short(**changes: str) -> Scenario:
    renamed = {key.replace("__", "."): value for key, value in changes.items()}
    return load_scenario("short-call-jumps", SHORT | renamed)


def play(env: HedgingEnv, seed: int | None, episodes: int = 2) -> list[Any]:
    """All that comes back while the same random actions are taken."""
    actions = np.random.default_rng(7)
    story: list[Any] = []
    for _ in range(episodes):
        observation, info = env.reset(seed=seed)
        seed = None
        story.append((observation.tolist(), info))
        ended = False
        while not ended:
            action = actions.uniform(-1, 1, env.action_space.shape).astype(np.float32)
            observation, reward, ended, _, info = env.step(action)
            story.append((observation.tolist(), reward, ended, info))
    return story


DRAWN = ("deephedge/Hedging-v0", "deephedge/multi-asset-book-v0")  # one asset, several


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, None) for name in IDS),
        *((name, mode) for name in DRAWN for mode in ("ansi", "rgb_array")),
        *(
            pytest.param(name, mode, marks=pytest.mark.slow)
            for name in IDS
            if name not in DRAWN
            for mode in ("ansi", "rgb_array")
        ),
    ],
)
def test_both_checkers_pass_without_a_warning(name: str, mode: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(name, render_mode=mode)
        check_env(env.unwrapped)
        check_env_for_sb3(env.unwrapped)
        env.close()
        env.close()


@pytest.mark.parametrize("name", IDS)
def test_a_registered_id_is_its_preset_and_can_be_written_down(name: str) -> None:
    env = gym.make(name)
    assert isinstance(env.unwrapped, HedgingEnv)
    assert env.spec is not None
    preset = env.spec.kwargs.get("scenario", "short-call-jumps")
    assert name in (f"deephedge/{preset}-v0", "deephedge/Hedging-v0")
    assert env.unwrapped.scenario == load_scenario(preset)
    assert env.spec.max_episode_steps is None
    assert not env.spec.nondeterministic
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    first, second = (e.reset(seed=1)[0].tolist() for e in (env, again))
    assert first == second


def test_any_scenario_can_be_made() -> None:
    env = gym.make("deephedge/Hedging-v0", scenario="short-call")
    assert env.unwrapped.scenario.name == "short-call"  # type: ignore[attr-defined]
    own = short(market__sigma="0.3")
    assert gym.make("deephedge/Hedging-v0", scenario=own).unwrapped.scenario == own  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="unknown preset 'short-cal': did you mean 'short-call'"):
        gym.make("deephedge/Hedging-v0", scenario="short-cal")
    assert deephedge.HedgingEnv is HedgingEnv


def test_a_seed_is_an_episode_and_what_follows_it() -> None:
    env = HedgingEnv(short())
    first = play(env, 3)
    assert play(env, 3) == first
    assert play(HedgingEnv(short()), 3) == first
    assert play(env, 4) != first
    half = len(first) // 2
    assert first[half:] != first[:half]  # the next episode is another path


def test_episodes_without_a_seed_are_new_ones() -> None:
    one, other = HedgingEnv(short()), HedgingEnv(short())
    assert play(one, None) != play(other, None)
    assert play(one, None) != play(one, None)


def test_global_random_states_are_neither_read_nor_moved() -> None:
    env = HedgingEnv(short())
    torch_state, python_state = torch.random.get_rng_state(), random.getstate()
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    try:
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
        kept = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index, union-attr]  # noqa: NPY002
        first = play(env, 11)
        assert torch.equal(torch.random.get_rng_state(), kept[0])
        assert (np.random.get_state()[1] == kept[1]).all()  # type: ignore[index]  # noqa: NPY002
        assert random.getstate() == kept[2]
        torch.manual_seed(2)
        np.random.seed(2)  # noqa: NPY002
        random.seed(2)
        assert play(HedgingEnv(short()), 11) == first
    finally:
        torch.random.set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


@pytest.mark.parametrize("preset", preset_names())
def test_an_episode_ends_at_the_end_of_the_calendar_and_pnl_adds_up(preset: str) -> None:
    env = HedgingEnv(preset)
    story = play(env, 1, episodes=1)
    steps = story[1:]
    assert len(steps) == env.scenario.calendar.steps
    assert [ended for *_, ended, _ in steps] == [False] * (len(steps) - 1) + [True]
    infos = [info for *_, info in steps]
    assert sum(info["pnl"] for info in infos) == pytest.approx(infos[-1]["total_pnl"])
    assert sum(info["cost"] for info in infos) == pytest.approx(infos[-1]["total_cost"])
    assert infos[-1]["total_pnl"] == infos[-1]["wealth"]
    assert all(set(infos[0]) == set(info) for info in infos[:-1])
    assert all(type(value) is float for info in infos for value in info.values())


@pytest.mark.parametrize(
    "objective",
    [
        "{kind: entropic, aversion: 0.3}",
        "{kind: cvar, level: 0.9}",
        "{kind: mean-std, weight: 1}",
        "{kind: semi-quadratic}",
        "{kind: expectile, level: 0.7}",
    ],
)
@pytest.mark.parametrize("premium", ["mark", "4"])
def test_rewards_sum_to_the_terminal_objective(objective: str, premium: str) -> None:
    env = HedgingEnv(short(objective=objective, position__premium=premium))
    story = play(env, 2, episodes=1)
    problem, pnl = env.problem, story[-1][-1]["total_pnl"]

    def loss(x: float) -> float:
        return float(problem.objective.pointwise(x, problem.theta, SCALAR))

    scale = problem.desk.contract.scale
    assert sum(step[1] for step in story[1:]) == pytest.approx((loss(0.0) - loss(-pnl)) / scale)


@pytest.mark.parametrize("reward", ["accounting", "cash-flow"])
def test_accounting_and_cash_flow_rewards_sum_to_the_pnl(reward: str) -> None:
    env = HedgingEnv(short(view__reward=f"{{kind: {reward}}}", position__premium="4"))
    story = play(env, 2, episodes=1)
    pnl = story[-1][-1]["total_pnl"] / env.problem.desk.contract.scale
    assert sum(step[1] for step in story[1:]) == pytest.approx(pnl)
    assert abs(pnl) > 1e-3


def test_an_action_takes_effect_at_once() -> None:
    """The observation after `step` shows the holding that the action asked for."""
    env = HedgingEnv(short(view__action="{kind: target}"))
    env.reset(seed=1)
    at = env.columns.index("holding_0")
    for wish in (0.25, -0.75, 1.0, 0.0):
        observation, _, _, _, info = env.step(np.array([wish], dtype=np.float32))
        assert info["holding"] == 2 * wish  # the bounds are two position sizes
        assert observation[at] == 2 * wish
        assert observation[env.columns.index("gap")] == pytest.approx(
            2 * wish + info["delta"], abs=1e-6
        )


def test_numbers_beyond_the_box_are_taken_as_its_edge() -> None:
    env, other = HedgingEnv(short()), HedgingEnv(short())
    env.reset(seed=1)
    other.reset(seed=1)
    one = env.step(np.array([-3.0, 7.0], dtype=np.float32))
    assert one[0].tolist() == other.step(np.array([-1.0, 1.0], dtype=np.float32))[0].tolist()


@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, torch.tensor], ids=["list", "tuple", "array", "tensor"]
)
def test_an_action_may_be_any_sequence_of_numbers(kind: Any) -> None:
    env, other = HedgingEnv(short()), HedgingEnv(short())
    env.reset(seed=1)
    other.reset(seed=1)
    one = env.step(kind([np.float32(0.1), np.float32(0.3)]))
    two = other.step(np.array([0.1, 0.3], dtype=np.float32))
    assert one[0].tolist() == two[0].tolist()
    assert one[1:] == two[1:]
    assert all(type(value) is float for value in one[4].values())


BAD: list[Any] = [
    np.array([np.nan, 0.0]),
    np.array([0.0, np.inf]),
    np.array([-np.inf, np.inf]),
    np.zeros(1),
    np.zeros(3),
    np.zeros((2, 1)),
    np.zeros((1, 2)),
    np.zeros((2, 2)),
    np.zeros(()),
    np.float32(0.3),
    0.3,
    [0.3],
    [[0.1, 0.2], [0.1, 0.2]],
    None,
    "ab",
    ["a", "b"],
]
BAD_CHOICES: list[Any] = [81, -1, 0.5, float("nan"), np.array([1, 2]), np.zeros(2), None, "1"]


@pytest.mark.parametrize(
    ("action", "changes"),
    [
        *[(action, {}) for action in BAD],
        *[(action, {"view__action": "{kind: discrete}"}) for action in BAD_CHOICES],
    ],
    ids=repr,
)
def test_an_impossible_action_is_refused_and_changes_nothing(
    action: Any, changes: dict[str, str]
) -> None:
    env, untouched = HedgingEnv(short(**changes)), HedgingEnv(short(**changes))
    for one in (env, untouched):
        one.reset(seed=1)
        one.action_space.seed(1)
        one.step(one.action_space.sample())
    with pytest.raises(ValueError, match="action") as caught:
        env.step(action)
    assert "\n" not in str(caught.value)
    for _ in range(4):
        chosen = env.action_space.sample()
        one, two = env.step(chosen), untouched.step(chosen)
        assert one[0].tolist() == two[0].tolist()
        assert one[1:] == two[1:]


def test_there_is_no_step_before_the_start_or_after_the_end() -> None:
    env = HedgingEnv(short())
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(2))
    play(env, 1, episodes=1)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(2))
    env.reset()
    env.step(np.zeros(2))


def test_every_step_returns_objects_of_its_own() -> None:
    env, untouched = HedgingEnv(short()), HedgingEnv(short())
    returned = [(env.reset(seed=1))]
    untouched.reset(seed=1)
    copies = [copy.deepcopy(returned[0])]
    for _ in range(4):
        observation, _, _, _, info = env.step(np.array([0.5, 0.6]))
        expected = untouched.step(np.array([0.5, 0.6]))
        assert observation.tolist() == expected[0].tolist()
        returned.append((observation, info))
        copies.append(copy.deepcopy((observation, info)))
        for (kept, kept_info), (copied, copied_info) in zip(returned, copies, strict=True):
            assert kept.tolist() == copied.tolist()
            assert kept_info == copied_info
        returned[-1] = (observation.copy(), dict(info))
        observation[:] = 99.0  # what is done to it is no business of the environment
        info.clear()


def test_the_loss_limit_ends_an_episode_as_terminated() -> None:
    env = HedgingEnv(short(loss_limit="0.5", hedges__0__costs="[]", view__action="{kind: target}"))
    lengths = []
    for seed in range(30):
        env.reset(seed=seed)
        for steps in range(1, 6):  # noqa: B007
            *_, ended, truncated, info = env.step(np.ones(1))
            assert not truncated
            if ended:
                break
            assert info["wealth"] > -0.5
        assert ended
        lengths.append(steps)
        if steps < 5:
            assert info["total_pnl"] <= -0.5
            assert info["holding"] == 0.0
    assert 5 in lengths
    assert min(lengths) < 5


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_by_itself(duplicate: Any) -> None:
    env = HedgingEnv(short())
    env.reset(seed=4)
    env.step(np.array([0.1, 0.2]))
    twin = duplicate(env)
    for _ in range(4):
        one, two = env.step(np.array([0.3, 0.4])), twin.step(np.array([0.3, 0.4]))
        assert one[0].tolist() == two[0].tolist()
        assert one[1:] == two[1:]
    assert env.reset()[0].tolist() == twin.reset()[0].tolist()
    assert play(env, 9) == play(twin, 9)


def test_an_objective_that_cannot_be_trained_on_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no pointwise loss to train on"):
        HedgingEnv(short(objective="{kind: var, level: 0.95}"))
    trained_otherwise = short(
        objective="{kind: var, level: 0.95}", view__reward="{kind: accounting}"
    )
    play(HedgingEnv(trained_otherwise), 1)

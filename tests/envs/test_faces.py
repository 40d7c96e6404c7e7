"""The faces agree: scalar and vector bit for bit, and both with the rollout of their decisions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deephedge.envs import (
    Episodes,
    HedgingEnv,
    HedgingVectorEnv,
    Known,
    Scenario,
    draw,
    load_scenario,
    preset_names,
    rollout,
    stream,
)
from deephedge.envs.action import DiscreteAction
from deephedge.envs.desk import Desk
from deephedge.envs.namespace import NUMPY, X
from deephedge.envs.tape import Tape

Array = NDArray[Any]
Make = Callable[..., Scenario]

CHANGES: list[dict[str, str]] = [
    {"loss_limit": "1.5"},
    {"liquidate": "true", "loss_limit": "2"},
    {"calendar": "{kind: trading-days, steps: 8}"},
    {
        "calendar": "{kind: trading-days, steps: 9, decide_every: 2}",
        "market.rate": "0.1",
        "view.reward": "{kind: paired}",
    },
    {"position.premium": "5.0", "view.reward": "{kind: paired}"},
    {"market.rate": "0.08", "market.dividend": "0.03", "calendar.decide_every": "7"},
    {"hedges.0.limits": "{lower: -0.5, upper: 1, max_trade: 0.3, lot: 0.1}"},
    {
        "hedges.0.costs": "[{kind: fixed, fee: 0.01}, {kind: per-unit, fee: 0.02, minimum: 0.01},"
        " {kind: quadratic, rate: 1e-4}, {kind: proportional, rate: 1e-3}]"
    },
    {"view.action": "{kind: target}", "view.reward": "{kind: kolm-ritter, aversion: 0.2}"},
    {"view.action": "{kind: trade}", "view.reward": "{kind: accounting}"},
    {"view.action": "{kind: residual}", "view.reward": "{kind: cash-flow}"},
    {"view.action": "{kind: discrete}", "loss_limit": "3"},
    {"view.action": "{kind: discrete, levels: 7, of: {kind: target}}"},
    {"execution": "{delay: 2, slippage: 1e-3, outage: 0.2}"},
    {"execution.halts": "[{kind: scheduled, start: 3, dates: 2}, {kind: after-move, move: 0.02}]"},
    {"hedges.0.spread": "{with_vol: 1, after_jump: 3}", "hedges.0.borrow_fee": "0.3"},
    {"hedges.0.impact": "{transient: 0.01, half_life: 3}", "execution.delay": "1"},
    {"hedges.0.impact": "{permanent: 0.02}", "view.reward": "{kind: paired}"},
    {
        "hedges.0.impact": "{permanent: 0.02}",
        "loss_limit": "2",
        "capital": "40",
        "financing": "{funding_spread: 0.1, margin: {initial: 0.5, maintenance: 0.3}}",
    },
    {"counterparty": "{hazard: 5}", "position.legs.0.quantity": "2"},
    {"crowd": "{impact: 0.02, legs: [{quantity: -1, claim: {kind: put, strike: 95}}]}"},
    {"view.features": "[jump, log_spot, vega, theta, holding, gap, pnl]"},
    *[
        {"objective": "{" + text + "}"}
        for text in (
            "kind: cvar, level: 0.9",
            "kind: mean-std, weight: 1",
            "kind: mean-variance, aversion: 1",
            "kind: quadratic",
            "kind: semi-quadratic",
            "kind: expectile, level: 0.9",
        )
    ],
]


@pytest.mark.parametrize("preset", preset_names())
def test_scalar_and_vector_agree_on_every_preset(preset: str) -> None:
    compare(load_scenario(preset), episodes=4)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_scalar_and_vector_agree_on_every_feature_of_a_scenario(changes: dict[str, str]) -> None:
    compare(load_scenario("short-call-jumps", changes), episodes=4)


@pytest.mark.parametrize("seed", range(40))
def test_scalar_and_vector_agree_on_any_scenario(seed: int, random_scenario: Make) -> None:
    compare(random_scenario(seed), episodes=6)


def compare(scenario: Scenario, episodes: int) -> None:
    """Play both with the same random actions."""
    env, vector = HedgingEnv(scenario), HedgingVectorEnv(1, scenario)
    assert env.columns == vector.columns
    observation, info = env.reset(seed=5)
    observations, infos = vector.reset(seed=5)
    same_observation(observation, observations)
    same_info(info, infos)
    env.action_space.seed(3)
    for _ in range(episodes):
        ended = False
        while not ended:
            action = env.action_space.sample()
            observation, reward, ended, truncated, info = env.step(action)
            observations, rewards, terminated, truncations, infos = vector.step(action[None])
            assert rewards.dtype == np.float64
            assert rewards.tolist() == [reward]
            assert terminated.tolist() == [ended]
            assert truncations.tolist() == [truncated] == [False]
            totals = {"total_pnl", "total_cost", "turnover"}
            same_info({k: v for k, v in info.items() if k not in totals}, infos)
            if ended:
                same_observation(observation, infos["final_obs"])
                same_info(info, infos["final_info"])
                observation, info = env.reset()
            same_observation(observation, observations)


def same_observation(one: Array, many: Array) -> None:
    assert one.dtype == many.dtype == np.float32
    assert many.shape == (1, *one.shape)
    assert one.tolist() == many[0].tolist()


def same_info(one: dict[str, Any], many: dict[str, Any]) -> None:
    """Every entry of the scalar info is in the vector's, bit for bit, and marked as present."""
    for key, value in one.items():
        assert many[key].tolist() == [value], key
        assert many[f"_{key}"].tolist() == [True]


@pytest.mark.parametrize("seed", range(40))
def test_every_episode_of_a_vector_is_one_of_a_scalar_environment(
    seed: int, random_scenario: Make
) -> None:
    relive(random_scenario(seed, loss_limit=1.5), seed)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_and_so_it_is_with_every_feature_of_a_scenario(changes: dict[str, str]) -> None:
    relive(load_scenario("short-call-jumps", changes | {"loss_limit": "1"}), 1)


def relive(scenario: Scenario, seed: int) -> None:
    """After clocks have parted too, the same path and actions give the same story, bit for bit."""
    n = 6
    vector = HedgingVectorEnv(n, scenario)
    dealt = vector.problem.stream(n, entropy=seed)
    vector.problem.stream = lambda *_: dealt  # type: ignore[method-assign]
    vector.action_space.seed(seed)
    actions = [vector.action_space.sample() for _ in range(45)]
    story = copy.deepcopy([vector.reset(), *[vector.step(a) for a in actions]])
    for i in range(n):
        env = HedgingEnv(scenario)
        env.problem.stream = lambda *_, i=i: OwnPaths(dealt, i)  # type: ignore[assignment, misc]
        observation, info = env.reset()
        same_info(info, {key: value[i : i + 1] for key, value in story[0][1].items()})
        for t, (observations, rewards, ends, _, infos) in enumerate(story[1:]):
            observation, reward, ended, _, info = env.step(actions[t][i])
            assert rewards[i] == reward
            assert ends[i] == ended
            if ended:
                assert infos["final_obs"][i].tolist() == observation.tolist()
                final = infos["final_info"]
                same_info(info, {key: value[i : i + 1] for key, value in final.items()})
                observation, _ = env.reset()
            assert observations[i].tolist() == observation.tolist()


class OwnPaths:
    """The paths that environment ``i`` of a vector is dealt."""

    def __init__(self, dealt: stream.EpisodeStream, i: int) -> None:
        self.dealt, self.i = dealt, i

    def single(self, e: int) -> Tape:
        return self.dealt.episode(e).path(self.i)

    def release(self, e: int) -> None:
        """The vector's stream is kept."""


@pytest.mark.parametrize("seed", range(25))
def test_the_rollout_of_the_same_decisions_has_the_same_books(
    seed: int, random_scenario: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Observations, P&L, cost and turnover of a first episode, early stops included."""
    dealt: list[Episodes] = []

    def keep(*arguments: Any) -> Episodes:
        dealt.append(draw(*arguments))
        return dealt[-1]

    monkeypatch.setattr(stream, "draw", keep)
    n, scenario = stream.LEAST_PATHS, random_scenario(seed)
    env = HedgingVectorEnv(n, scenario)
    observation, _ = env.reset(seed=seed)
    env.action_space.seed(seed)
    seen, actions, totals = [observation], [], {}
    first = np.ones(n, dtype=bool)
    while first.any():
        actions.append(env.action_space.sample())
        observation, _, terminated, _, info = env.step(actions[-1])
        shown = observation.copy()
        if terminated.any():
            shown[terminated] = info["final_obs"][terminated]
            for i in np.flatnonzero(terminated & first):
                final = info["final_info"]
                totals[i] = [final[key][i] for key in ("total_pnl", "total_cost", "turnover")]
        seen.append(np.where(first[:, None], shown, np.nan))
        first &= ~terminated

    player = Replay(scenario, env, actions)
    outcome = rollout(scenario, dealt[0], player)
    pnl, cost, turnover = np.array([totals[i] for i in range(n)]).T
    np.testing.assert_array_equal(pnl, outcome.pnl)
    np.testing.assert_array_equal(cost, outcome.cost)
    np.testing.assert_allclose(turnover, outcome.turnover, rtol=1e-13)  # added up in another order
    for before, after in zip(seen, player.seen, strict=False):
        going = ~np.isnan(before[:, 0])
        np.testing.assert_array_equal(after[going], before[going])


class Replay:
    """Takes recorded actions through the scenario's view, as a saved policy does."""

    name = "replay"

    def __init__(self, scenario: Scenario, env: HedgingVectorEnv, actions: list[Array]) -> None:
        self.desk, self.actions = Desk(scenario, NUMPY), actions
        self.choices = env.problem.choices
        self.seen: list[Array] = []

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        self.seen.append(known.observe(self.desk))
        if known.t >= len(self.actions):  # every episode has stopped
            return 0.0 * known.holding, None
        action = self.actions[known.t]
        numbers = action if self.choices is None else self.choices[action]
        return known.targets(self.desk, np.clip(numbers.astype(np.float64), -1, 1)), None


def test_flat_choices_are_the_actions_they_stand_for() -> None:
    """Every choice does what its numbers do through the continuous map."""
    scenario = load_scenario("short-call", {"view.action": "{kind: discrete, levels: 3}"})
    action = scenario.view.action
    assert isinstance(action, DiscreteAction)
    discrete = HedgingEnv(scenario)
    plain = HedgingEnv(scenario, view=scenario.view.model_copy(update={"action": action.of}))
    for choice, numbers in enumerate(action.table(1)):
        discrete.reset(seed=1)
        plain.reset(seed=1)
        for _ in range(3):
            one, other = discrete.step(choice), plain.step(numbers)
            assert one[0].tolist() == other[0].tolist()
            assert one[1] == other[1]

"""A policy as a hedger: what it sees, what becomes of its actions, and what it remembers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deephedge.agents import AgentSettings, PolicyHedger, Trained, as_sb3_env, train_agent
from deephedge.agents.random_state import global_generators
from deephedge.envs import (
    Episodes,
    Outcome,
    Scenario,
    View,
    load_scenario,
    mark,
    rollout,
    simulate,
)
from deephedge.envs.action import DiscreteAction, ResidualAction, TargetAction
from deephedge.envs.markets import MarketPaths

Train = Callable[[str], Trained]


class Stub:
    """A policy that says what it is told to, and writes down what it is asked."""

    def __init__(self, answer: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        self.answer = answer
        self.seen: list[NDArray[Any]] = []
        self.states: list[Any] = []
        self.first: list[NDArray[Any]] = []

    def predict(
        self, observation: Any, state: Any, episode_start: Any, deterministic: bool
    ) -> tuple[NDArray[Any], Any]:
        assert deterministic
        self.seen.append(observation.copy())
        self.states.append(state)
        self.first.append(episode_start)
        return self.answer(observation), (state or 0) + 1


def paths(scenario: Scenario, n: int = 40, seed: int = 0) -> Episodes:
    return simulate(scenario, n, torch.Generator().manual_seed(seed), torch.float64)


def along(scenario: Scenario, spot: Any) -> Episodes:
    """The episodes of given spots ``[T+1, N]``."""
    times = scenario.calendar.times(1, torch.Generator())
    spots = torch.as_tensor(spot, dtype=torch.float64).clone()
    vol = torch.full((1, 1), scenario.market.volatility, dtype=torch.float64)
    return mark(scenario, MarketPaths(times, spots, spots.log(), vol, torch.zeros_like(spots)))


def play(
    scenario: Scenario, stub: Stub, view: View | None = None, n: int = 40
) -> tuple[Outcome, Episodes]:
    episodes = paths(scenario, n)
    view = scenario.view if view is None else view
    hedger = PolicyHedger("stub", stub, scenario, view)  # type: ignore[arg-type]
    return rollout(scenario, episodes, hedger, record=True), episodes


def constant(*numbers: float) -> Stub:
    return Stub(lambda o: np.tile(np.array(numbers, dtype=np.float32), (len(o), 1)))


@pytest.mark.parametrize("edges", [(0.0, 0.0), (-0.25, 0.5), (0.5, -0.25)])
def test_its_numbers_are_the_edges_of_a_band(
    three_steps: Scenario, edges: tuple[float, float]
) -> None:
    outcome, episodes = play(three_steps, constant(*edges))
    assert outcome.holding is not None
    held = np.zeros(40)
    for t in range(3):
        neutral = -episodes.numpy().delta[t]
        low, high = sorted((neutral - 0.1 + edges[0], neutral + 0.1 + edges[1]), key=np.mean)
        held = np.clip(held, low, high)
        np.testing.assert_allclose(outcome.holding[t, :, 0], held, atol=1e-12)


def test_numbers_beyond_the_bounds_count_as_the_bounds(three_steps: Scenario) -> None:
    """A Gaussian policy's mean is not confined; the environment clips it, so must the hedger."""
    for number, bound in ((7.0, 1.0), (-7.0, -1.0)):
        outcome, episodes = play(three_steps, constant(number), View(action=ResidualAction()))
        expected = 0.3 * bound - episodes.numpy().delta[:3]
        np.testing.assert_allclose(np.asarray(outcome.holding)[..., 0], expected, atol=1e-12)


def test_a_choice_is_looked_up_in_the_table(three_steps: Scenario) -> None:
    view = View(action=DiscreteAction(levels=5, of=TargetAction()))
    for choice, holding in enumerate([-2.0, -1.0, 0.0, 1.0, 2.0]):
        stub = Stub(lambda o, c=choice: np.full(len(o), c))  # type: ignore[misc]
        outcome, _ = play(three_steps, stub, view)
        assert outcome.holding is not None
        np.testing.assert_allclose(outcome.holding, holding, atol=1e-12)


def test_several_instruments_each_get_their_numbers() -> None:
    scenario = load_scenario("gamma-hedge-jumps", {"calendar.steps": "5"})
    outcome, _ = play(scenario, constant(0.25, -0.5), View(action=TargetAction()))
    assert outcome.holding is not None
    for k, number in enumerate((0.25, -0.5)):
        limits = scenario.limits[k]
        assert limits.lower is not None and limits.upper is not None
        expected = limits.lower + (1 + number) / 2 * (limits.upper - limits.lower)
        np.testing.assert_allclose(outcome.holding[..., k], expected, atol=1e-7)


def test_it_sees_what_the_environment_shows(three_steps: Scenario) -> None:
    """The same numbers in the same columns, at every date, its own holdings and P&L included."""
    view = View(features=("time_left", "moneyness", "delta", "holding", "gap", "pnl"))
    stub = constant(-0.3, 0.2)
    outcome, episodes = play(three_steps, stub, view)
    assert outcome.holding is not None and outcome.wealth is not None
    arrays, contract = episodes.numpy(), three_steps.contract
    for t, seen in enumerate(stub.seen):
        left = (3 - t) / 3
        deviation = 0.2 * (left * contract.horizon) ** 0.5
        held = np.zeros(40) if t == 0 else outcome.holding[t - 1, :, 0]
        expected = np.stack(
            [
                np.full(40, left),
                np.log(arrays.spot[t] / 100) / deviation,
                arrays.delta[t],
                held,
                held + arrays.delta[t],
                outcome.wealth[t] / contract.scale,
            ],
            axis=1,
        )
        np.testing.assert_allclose(seen, expected, atol=2e-6)
        assert seen.dtype == np.float32
    env = as_sb3_env(three_steps, 1, view)
    hedger = PolicyHedger("stub", stub, three_steps, view)  # type: ignore[arg-type]
    assert hedger.columns == env.env.columns
    assert env.observation_space.shape == stub.seen[0].shape[1:]


def test_it_acts_as_in_the_environment(trained: Train, short_call: Scenario) -> None:
    """One policy in the vector environment and over the environment's own paths: the same P&L."""
    policy = trained("ppo").hedger.policy
    env = as_sb3_env(short_call, 64)
    env.seed(9)
    observation: Any = env.reset()
    spot = env.env._tape.price[0].copy()
    for _ in range(30):
        action, _ = policy.predict(observation, deterministic=True)
        observation, _, _, infos = env.step(action)
    outcome = rollout(short_call, along(short_call, spot), trained("ppo").hedger)
    found = [info["total_pnl"] for info in infos]
    np.testing.assert_allclose(outcome.pnl, found, atol=1e-4)
    assert np.std(found) > 0.1


def test_memory_is_carried_from_date_to_date_and_starts_empty(three_steps: Scenario) -> None:
    stub = constant(0.0, 0.0)
    hedger = PolicyHedger("stub", stub, three_steps, three_steps.view)  # type: ignore[arg-type]
    for _ in range(2):
        rollout(three_steps, paths(three_steps, 7), hedger)
    assert stub.states == [None, 1, 2] * 2
    for t, first in enumerate(stub.first):
        np.testing.assert_array_equal(first, np.full(7, t % 3 == 0))


def test_a_recurrent_policy_remembers(trained: Train, short_call: Scenario) -> None:
    """Against SB3's own loop over the observations that it was shown, state and all."""
    result = trained("recurrent-ppo")
    policy, shown = result.hedger.policy, []
    answers: list[NDArray[Any]] = []
    predict = policy.predict

    def watched(observation: Any, *arguments: Any, **named: Any) -> Any:
        shown.append(observation.copy())
        action, state = predict(observation, *arguments, **named)
        answers.append(action)
        return action, state

    hedger = PolicyHedger("watched", policy, short_call, result.view)
    policy.predict = watched  # type: ignore[method-assign]
    try:
        rollout(short_call, paths(short_call), hedger)
    finally:
        policy.predict = predict  # type: ignore[method-assign]
    state, forgetful = None, []
    for t, observation in enumerate(shown):
        start = np.full(40, t == 0)
        action, state = policy.predict(observation, state, start, deterministic=True)
        np.testing.assert_array_equal(action, answers[t])
        forgetful.append(policy.predict(observation, None, np.full(40, True), True)[0])
    np.testing.assert_array_equal(forgetful[0], answers[0])
    assert np.abs(forgetful[-1] - answers[-1]).max() > 1e-4


@pytest.mark.parametrize("name", ["ppo", "recurrent-ppo", "sac", "td3", "dqn"])
def test_what_a_path_is_hedged_with_depends_on_no_other_path(
    trained: Train, short_call: Scenario, name: str
) -> None:
    hedger, episodes = trained(name).hedger, paths(short_call, 64)
    few = along(short_call, episodes.spot[:, :8])
    one, other = (rollout(short_call, e, hedger, record=True).holding for e in (episodes, few))
    assert one is not None and other is not None
    np.testing.assert_allclose(one[:, :8], other, atol=2e-6)


@pytest.mark.parametrize("name", ["ppo", "recurrent-ppo", "sac", "td3", "dqn"])
def test_prediction_draws_from_no_global_generator(
    trained: Train, short_call: Scenario, name: str
) -> None:
    hedger, episodes = trained(name).hedger, paths(short_call)

    def draw() -> tuple[float, ...]:
        return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002

    with global_generators(0):
        undisturbed = draw()
    holdings = []
    for seed in (0, 0, 1):
        with global_generators(seed):
            outcome = rollout(short_call, episodes, hedger, record=True)
            assert seed or draw() == undisturbed
        holdings.append(outcome.holding)
    np.testing.assert_array_equal(holdings[0], holdings[1])
    np.testing.assert_array_equal(holdings[0], holdings[2])


@pytest.mark.parametrize("preset", ["short-call-jumps", "short-put-jumps", "sp500-call"])
def test_it_plays_another_scenario_with_the_same_columns(trained: Train, preset: str) -> None:
    scenario, hedger = load_scenario(preset), trained("ppo").hedger
    outcome = rollout(scenario, paths(scenario), hedger, record=True)
    assert outcome.holding is not None and np.isfinite(outcome.holding).all()
    assert np.ptp(outcome.holding) > 0.1


def test_it_plays_a_scenario_judged_by_what_it_could_not_be_trained_on(trained: Train) -> None:
    """The objective is how a hedger is judged, not what it needs to act."""
    scenario = load_scenario("short-call", {"objective": "{kind: var, level: 0.95}"})
    plain = load_scenario("short-call")
    hedger, episodes = trained("ppo").hedger, paths(plain)
    np.testing.assert_array_equal(
        rollout(scenario, episodes, hedger).pnl, rollout(plain, episodes, hedger).pnl
    )


@pytest.mark.parametrize("preset", ["short-straddle-jumps", "gamma-hedge-jumps", "book-jumps"])
def test_other_columns_are_refused_with_both_lists(trained: Train, preset: str) -> None:
    scenario, hedger = load_scenario(preset), trained("ppo").hedger
    with pytest.raises(ValueError) as refusal:
        rollout(scenario, paths(scenario, 4), hedger)
    message = str(refusal.value)
    assert message.startswith("hedger 'ppo' was trained to see ['time_left', 'moneyness_0'")
    assert f"but '{preset}' shows [" in message and "\n" not in message


def test_other_instruments_are_refused_where_the_columns_are_the_same(
    tiny: Callable[..., AgentSettings],
) -> None:
    few = {"view.features": "[time_left, delta, gap]"}
    result = train_agent(load_scenario("short-call", few), tiny("ppo", steps=1, environments=2))
    scenario = load_scenario("gamma-hedge-jumps", few)
    with pytest.raises(ValueError, match=r"trained to trade 1 instruments, but .* has 2"):
        rollout(scenario, paths(scenario, 4), result.hedger)


def test_a_hedger_that_diverged_is_named(three_steps: Scenario) -> None:
    with pytest.raises(ValueError, match="hedger 'stub' gave a holding that is NaN"):
        play(three_steps, constant(np.nan, 0.0))


def test_a_policy_knows_nothing_of_the_future(trained: Train, short_call: Scenario) -> None:
    """Paths that part after a date are hedged alike up to it."""
    hedger, date = trained("recurrent-ppo").hedger, 12
    spot = paths(short_call).spot.clone()
    one = rollout(short_call, along(short_call, spot), hedger, record=True).holding
    spot[date + 1 :] *= 1.1
    two = rollout(short_call, along(short_call, spot), hedger, record=True).holding
    assert one is not None and two is not None
    np.testing.assert_array_equal(one[: date + 1], two[: date + 1])
    assert np.abs(one[date + 1] - two[date + 1]).max() > 1e-3

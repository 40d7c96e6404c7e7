"""Execution: delay, slippage, halts and outages, each against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deephedge.baselines import BandHedge
from deephedge.envs import (
    Episodes,
    HedgingEnv,
    Known,
    Outcome,
    Scenario,
    ScenarioError,
    load_scenario,
    rollout,
    simulate,
)
from deephedge.envs.namespace import X


class Wave:
    """Wants a number of units that is its own at every date and on every path."""

    name = "wave"

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        return wanted(known.t, len(known.holding)), None


def wanted(t: int, paths: int) -> X:
    return np.random.default_rng(t).uniform(-1, 1, (paths, 1))


def drawn(scenario: Scenario, paths: int = 200) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(0))


def played(execution: str) -> tuple[Scenario, Episodes, Outcome]:
    scenario = load_scenario("short-call-jumps", {"execution": execution})
    episodes = drawn(scenario)
    return scenario, episodes.numpy(), rollout(scenario, episodes, Wave(), record=True)


def test_an_order_is_dealt_so_many_dates_later() -> None:
    _, episodes, outcome = played("{delay: 3}")
    assert outcome.holding is not None
    for t in range(30):
        expected = wanted(t - 3, 200) if t >= 3 else np.zeros((200, 1))
        np.testing.assert_array_equal(outcome.holding[t], expected)
    trades = np.diff(outcome.holding[..., 0], axis=0, prepend=0.0)
    cost = (0.002 * np.abs(trades) * episodes.spot[:-1]).sum(axis=0)
    np.testing.assert_allclose(outcome.cost, cost, rtol=1e-12)


def test_a_rule_counts_what_it_has_ordered_as_held() -> None:
    """A band clips what was ordered last, and each order is dealt 4 dates later."""
    scenario = load_scenario("short-call", {"execution.delay": "4"})
    episodes = drawn(scenario)
    outcome = rollout(scenario, episodes, BandHedge(width=0.1), record=True)
    assert outcome.holding is not None
    delta, ordered = episodes.numpy().delta, [np.zeros(200)]
    for t in range(30):
        ordered.append(np.clip(ordered[-1], -delta[t] - 0.1, -delta[t] + 0.1))
    assert (outcome.holding[:4] == 0).all()
    np.testing.assert_allclose(outcome.holding[4:, :, 0], ordered[1:27], atol=1e-12)


def test_slippage_is_exponential_and_costs_what_was_drawn() -> None:
    _, episodes, outcome = played("{slippage: 0.003}")
    (slip,) = episodes.frictions.slippage
    count = slip.size
    assert slip.min() >= 0
    assert slip.mean() == pytest.approx(0.003, abs=4 * 0.003 / math.sqrt(count))
    # Of an exponential law the standard deviation is the mean.
    assert slip.std() == pytest.approx(0.003, rel=4 * math.sqrt(2 / count))
    trades = np.diff(outcome.holding[..., 0], axis=0, prepend=0.0)  # type: ignore[index]
    paid = np.abs(trades) * episodes.spot[:-1]
    np.testing.assert_allclose(outcome.cost, ((0.002 + slip[:-1]) * paid).sum(axis=0), rtol=1e-12)


def test_an_outage_keeps_the_holding_as_often_as_it_says() -> None:
    _, episodes, outcome = played("{outage: 0.3}")
    closed = episodes.frictions.closed[:-1]
    assert closed.mean() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / closed.size))
    held = outcome.holding[..., 0]  # type: ignore[index]
    before = np.concatenate([np.zeros_like(held[:1]), held[:-1]])
    asked = np.stack([wanted(t, 200)[:, 0] for t in range(30)])
    np.testing.assert_array_equal(held, np.where(closed, before, asked))


def test_a_scheduled_halt_stops_all_trading() -> None:
    _, episodes, outcome = played("{halts: [{kind: scheduled, start: 5, dates: 4}]}")
    closed = episodes.frictions.closed
    assert closed[5:9].all() and not closed[:5].any() and not closed[9:].any()
    held = outcome.holding[..., 0]  # type: ignore[index]
    np.testing.assert_array_equal(held[5:9], np.broadcast_to(held[4], (4, 200)))


def test_a_large_move_halts_for_so_many_dates() -> None:
    _, episodes, _ = played("{halts: [{kind: after-move, move: 0.03, dates: 2}]}")
    far = np.abs(np.diff(episodes.spot, axis=0) / episodes.spot[:-1]) >= 0.03
    closed = episodes.frictions.closed
    assert far.any()
    for t in range(1, 31):
        expected = far[t - 1] | (far[t - 2] if t >= 2 else False)
        np.testing.assert_array_equal(closed[t], expected)


def test_nothing_off_is_drawn_and_prices_stay() -> None:
    """Frictions draw after the market: what it does is the same with and without them."""
    plain = drawn(load_scenario("short-call-jumps")).numpy()
    assert plain.frictions is None
    _, episodes, _ = played("{outage: 0.5, slippage: 0.1, delay: 1}")
    np.testing.assert_array_equal(plain.spot, episodes.spot)
    np.testing.assert_array_equal(plain.mark, episodes.mark)


def test_a_learner_sees_the_orders_under_way() -> None:
    scenario = load_scenario(
        "short-call", {"execution.delay": "2", "view.action": "{kind: target}"}
    )
    env = HedgingEnv(scenario)
    names = env.columns
    assert names[-4:] == ["holding_0", "gap", "pending_0_0", "pending_1_0"]
    env.reset(seed=0)
    actions = [0.1, -0.2, 0.3]
    for action in actions:
        observation, *_ = env.step(np.array([action], dtype=np.float32))
    units = [2.0 * a for a in actions]  # two position sizes either way
    assert observation[names.index("pending_0_0")] == pytest.approx(units[0], abs=1e-6)
    assert observation[names.index("pending_1_0")] == pytest.approx(units[1], abs=1e-6)
    assert observation[names.index("holding_0")] == pytest.approx(units[2], abs=1e-6)


@pytest.mark.parametrize(
    ("execution", "words"),
    [
        ("{delay: 30}", "execution.delay 30 of 30 decision dates"),
        ("{outage: 1}", "less than 1"),
        ("{halts: [{kind: scheduled, start: 30}]}", "start 30 is after the last decision date"),
        ("{halts: [{kind: after-mov, move: 1}]}", "did you mean 'after-move'"),
    ],
)
def test_what_makes_no_sense_is_refused(execution: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_scenario("short-call", {"execution": execution})

"""Agents on whole lots and a minimum commission, and before a crash they never saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.agents import AgentSettings, Trained, train_agent
from deephedge.baselines import BandHedge, DeltaHedge, StaticHedge
from deephedge.envs import Episodes, Scenario, load_scenario, simulate
from deephedge.envs.rollout import Outcome, rollout

LOT = 10


def episodes_of(scenario: Scenario, paths: int = 200) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(6))


def played(hedger: Any) -> Outcome:
    scenario = load_scenario("small-account")
    return rollout(scenario, episodes_of(scenario), hedger, record=True)


def commission(outcome: Outcome) -> Any:
    """A cent a share and a dollar at least, added up here."""
    trade = np.abs(np.diff(np.asarray(outcome.holding)[..., 0], axis=0, prepend=0.0))
    return np.where(trade > 0, np.maximum(0.01 * trade, 1.0), 0.0).sum(axis=0)


def in_lots(outcome: Outcome) -> bool:
    holding = np.asarray(outcome.holding)
    return bool((holding == LOT * np.round(holding / LOT)).all())


@pytest.mark.parametrize("rule", [DeltaHedge(), BandHedge(width=0.1, to="centre"), StaticHedge()])
def test_rules_trade_whole_lots_at_a_dollar_or_more(rule: Any) -> None:
    outcome = played(rule)
    assert in_lots(outcome)
    np.testing.assert_allclose(outcome.cost, commission(outcome), rtol=0, atol=1e-9)
    # Within half a lot of what the rule would hold if it could.
    if isinstance(rule, DeltaHedge):
        scenario = load_scenario("small-account")
        neutral = -episodes_of(scenario).numpy().delta[:-1]
        assert np.abs(np.asarray(outcome.holding)[..., 0] - neutral).max() <= LOT / 2 + 1e-9


@pytest.mark.parametrize("agent", ["deep-hedging", pytest.param("ppo", marks=pytest.mark.slow)])
def test_agents_learn_in_lots(agent: str, tiny: Callable[..., AgentSettings]) -> None:
    scenario = load_scenario("small-account")
    trained: Trained = train_agent(scenario, tiny(agent, steps=8 * 30 * 16), seed=0)
    outcome = rollout(scenario, episodes_of(scenario), trained.hedger, record=True)
    assert in_lots(outcome)
    np.testing.assert_allclose(outcome.cost, commission(outcome), rtol=0, atol=1e-9)
    assert (outcome.trades > 0).any()


def test_without_its_crashes_the_black_swan_is_short_call(
    trained: Callable[[str], Trained],
) -> None:
    """So that a hedger trained on the one can be judged on the other."""
    calm, crash = load_scenario("short-call"), load_scenario("black-swan")
    for part in ("calendar", "position", "marking", "view"):
        assert getattr(calm, part) == getattr(crash, part)
    more = ("pnl", "spread")
    assert calm.features == tuple(name for name in crash.features if name not in more)
    still = load_scenario("black-swan", {"market.intensity": "0"})
    spots = [episodes_of(scenario).spot.log().diff(dim=0).std() for scenario in (calm, still)]
    assert float(spots[0]) == pytest.approx(float(spots[1]), rel=0.05)
    hedger = trained("deep-hedging").hedger
    lost = [-np.mean(rollout(s, episodes_of(s), hedger).pnl) for s in (calm, crash)]
    assert lost[1] > lost[0] + 1

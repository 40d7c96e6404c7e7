"""Spreads that widen: with vol, after jumps, far from the money."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deephedge.envs import (
    Episodes,
    HedgingEnv,
    Known,
    Scenario,
    ScenarioError,
    load_scenario,
    rollout,
    simulate,
)
from deephedge.envs.namespace import X


class Alternates:
    """Holds one unit of everything at even dates and nothing at odd ones."""

    name = "alternates"

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        return 0.0 * known.holding + (1.0 - known.t % 2), None


def drawn(scenario: Scenario, paths: int = 200) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(0))


def test_costs_are_multiplied_by_the_formula() -> None:
    hedge = "{instrument: {kind: underlying}, costs: [{kind: proportional, rate: 0.002}]"
    scenario = load_scenario("heston-call", {"hedges": f"[{hedge}, spread: {{with_vol: 1.5}}}}]"})
    episodes = drawn(scenario)
    found = rollout(scenario, episodes, Alternates()).cost
    arrays = episodes.numpy()
    level = (arrays.vol / arrays.vol[:1]) ** 1.5
    expected = (0.002 * arrays.spot[:-1] * level[:-1]).sum(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_after_a_jump_they_fade_by_half_lives() -> None:
    scenario = load_scenario(
        "short-call-jumps",
        {"market.intensity": "20", "hedges.0.spread": "{after_jump: 4, half_life: 3}"},
    )
    episodes = drawn(scenario).numpy()
    assert episodes.jump is not None
    jumped, level = episodes.jump != 0, episodes.frictions.spread[0]
    for t in range(31):
        age = t - np.arange(t + 1)[:, None]
        recent = (jumped[: t + 1] * 0.5 ** (age / 3)).sum(axis=0)
        np.testing.assert_allclose(level[t], 1 + 4 * recent, rtol=1e-9)
    assert level.max() > 4


def test_an_option_is_dearest_far_from_the_money() -> None:
    scenario = load_scenario("gamma-hedge-jumps", {"hedges.0.spread": "{by_moneyness: 3}"})
    episodes = drawn(scenario).numpy()
    level, delta = episodes.frictions.spread[0], episodes.hedge_delta[..., 0]
    np.testing.assert_allclose(level, 1 + 3 * np.abs(1 - 2 * delta))
    assert (episodes.frictions.spread[1] == 1).all()


def test_a_spread_that_never_widens_changes_nothing() -> None:
    plain, calm = (
        load_scenario("short-call-jumps", changes) for changes in ({}, {"hedges.0.spread": "{}"})
    )
    outcomes = [rollout(s, drawn(s), Alternates()).pnl for s in (plain, calm)]
    np.testing.assert_array_equal(*outcomes)


def test_a_learner_sees_how_wide_they_are() -> None:
    scenario = load_scenario(
        "short-call-jumps", {"market.intensity": "20", "hedges.0.spread": "{after_jump: 4}"}
    )
    env = HedgingEnv(scenario)
    assert "spread_0" in env.columns
    column = env.columns.index("spread_0")
    env.reset(seed=0)
    seen = [env.step(np.zeros(2, dtype=np.float32))[0][column] for _ in range(30)]
    assert max(seen) > np.log(4)
    with pytest.raises(ScenarioError, match="'spread' in a scenario without spreads that widen"):
        load_scenario("short-call", {"view.features": "[spread, holding]"})


@pytest.mark.parametrize(
    ("preset", "spread", "words"),
    [
        ("short-call", "{after_jump: 1}", "after_jump in a market without jumps: leave it out"),
        ("short-call", "{by_moneyness: 1}", "by_moneyness is for options: leave it out"),
        ("short-call", "{with_vol: -1}", "greater than or equal to 0"),
    ],
)
def test_what_makes_no_sense_is_refused(preset: str, spread: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_scenario(preset, {"hedges.0.spread": spread})

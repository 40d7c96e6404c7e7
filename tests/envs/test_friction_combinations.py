"""Frictions together, in random mixes: no money appears or vanishes, and the faces agree."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.envs import HedgingEnv, HedgingVectorEnv, Known, Scenario, load_scenario, rollout
from deephedge.envs import simulate as simulate_episodes
from deephedge.envs.desk import Desk
from deephedge.envs.namespace import TORCH, X
from deephedge.envs.nested import mapped
from deephedge.envs.terminal_wealth import terminal_wealth

PRESETS = (
    "short-call-jumps",
    "gamma-hedge-jumps",
    "heston-call",
    "book-jumps",
    "short-straddle-jumps",
)
SEEDS = (*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 10)))
HALTS = ("[]", "[{kind: after-move, move: 0.02}]", "[{kind: scheduled, start: 1, dates: 1}]")
FINANCING = (
    "{funding_spread: 0.1, margin: {initial: 0.5, maintenance: 0.3}}",
    "{funding_spread: 0.2}",
    "{margin: {initial: 0.3}}",
)
CALENDARS = (
    "{kind: uniform, days: 60, steps: 12}",
    "{kind: uniform, days: 60, steps: 12, decide_every: 3}",
)


def mixed(seed: int, *, moves: bool = True) -> Scenario:
    """A preset with about half of all frictions; without ``moves`` no permanent impact."""
    rng = random.Random(seed)
    preset = PRESETS[seed % len(PRESETS)]
    plain = load_scenario(preset)
    last = len(plain.hedges) - 1
    changes = {"liquidate": "true", "market.rate": rng.choice(["0", "0.08"])}
    if preset in ("short-call-jumps", "book-jumps"):
        changes["calendar"] = rng.choice(CALENDARS)
        tenor = 0.25 if rng.random() < 0.5 else 30 / 365
        changes |= _mostly(rng, f"hedges.{last}.instrument", f"{{kind: future, tenor: {tenor}}}")
    rolls = changes.get(f"hedges.{last}.instrument", "").endswith(f"{30 / 365}}}")
    permanent = rng.choice([0.0, 0.01]) if moves and not rolls else 0.0
    impact = f"{{transient: 0.01, half_life: {rng.choice([0, 2, 30])}, permanent: {permanent}}}"
    changes |= _mostly(rng, f"hedges.{last}.impact", impact)
    if last:
        changes |= _mostly(rng, "hedges.0.impact", "{transient: 0.02}")
        changes |= _mostly(rng, "hedges.0.spread", "{by_moneyness: 2}")
    elif f"hedges.{last}.instrument" not in changes:
        changes |= _mostly(rng, f"hedges.{last}.borrow_fee", "0.3")
    delay, outage = rng.choice([0, 1, 2]), rng.choice([0, 0.2])
    execution = f"{{delay: {delay}, outage: {outage}, slippage: 1e-3, halts: {rng.choice(HALTS)}}}"
    changes |= _mostly(rng, "execution", execution)
    changes |= _mostly(rng, "financing", rng.choice(FINANCING)) | {"capital": "30"}
    changes |= _mostly(rng, "counterparty", "{hazard: 6}")
    legs = "[{quantity: -1, claim: {kind: put, strike: 95}}]"
    changes |= _mostly(rng, "crowd", f"{{impact: 0.02, legs: {legs}}}")
    changes |= _mostly(rng, "loss_limit", "3")
    return load_scenario(preset, changes)


def _mostly(rng: random.Random, key: str, value: str) -> dict[str, str]:
    return {key: value} if rng.random() < 0.6 else {}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_money_appears_or_vanishes(seed: int, noise: Any) -> None:
    """P&L = premium + gains + carry + interest - cost + cash flows, in NumPy and in torch."""
    scenario = mixed(seed)
    episodes = simulate_episodes(scenario, 8, torch.Generator().manual_seed(seed))
    found = rollout(scenario, episodes, noise(seed))
    lines = found.premium + found.gains + found.carry + found.interest + found.cash_flow
    np.testing.assert_allclose(found.pnl, lines - found.cost, atol=1e-9)
    wealth = terminal_wealth(Desk(scenario, TORCH), episodes, noise(seed))
    np.testing.assert_allclose(wealth.numpy(), found.pnl, atol=1e-9)


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.slow] * (seed > 1)) for seed in range(10)]
)
def test_scalar_and_vector_agree(seed: int) -> None:
    env, vector = HedgingEnv(mixed(seed)), HedgingVectorEnv(1, mixed(seed))
    one, many = env.reset(seed=seed)[0], vector.reset(seed=seed)[0]
    env.action_space.seed(seed)
    for _ in range(20):
        assert one.tolist() == many[0].tolist()
        action = env.action_space.sample()
        one, reward, ended, *_ = env.step(action)
        many, rewards, terminated, *_ = vector.step(action[None])
        assert (rewards[0], terminated[0]) == (reward, ended)
        if ended:
            one = env.reset()[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_holding_depends_on_what_comes_later(seed: int) -> None:
    """Later prices, drawn slips, halts, outages and defaults changed, the books so far stay."""
    scenario = mixed(seed, moves=False)
    drawn = [
        simulate_episodes(scenario, 8, torch.Generator().manual_seed(seed + 1000 * i))
        for i in range(2)
    ]
    first, other = drawn
    until = first.steps // 2

    def spliced(a: X, b: X) -> X:
        if not isinstance(a, torch.Tensor) or len(a) <= until + 1 or a.shape != b.shape:
            return a
        return torch.cat([a[: until + 1], b[until + 1 :]])

    changed = {name: spliced(a, getattr(other, name)) for name, a in vars(first).items()}
    if first.frictions is not None:
        changed["frictions"] = mapped(spliced, first.frictions, other.frictions)
    held = []
    for episodes in (first, type(first)(**changed)):
        outcome = rollout(scenario, episodes, Follows(), record=True)
        assert outcome.holding is not None
        held.append(outcome.holding[: until + 1])
    np.testing.assert_array_equal(*held)


class Follows:
    """Trades on price, delta and wealth alike."""

    name = "follows"

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        seen = (
            known.price / known.contract.spot - known.delta[:, None] + 0.1 * known.wealth[:, None]
        )
        return 0.5 * seen, None

"""Varied episodes: each path is the plain problem at its own draw, and what is drawn is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deephedge.baselines import DeltaHedge
from deephedge.envs import (
    Episodes,
    HedgingEnv,
    HedgingVectorEnv,
    Scenario,
    Variation,
    View,
    draw,
    load_scenario,
    rollout,
    simulate,
)
from deephedge.envs.namespace import NUMPY, SCALAR, TORCH
from deephedge.envs.objectives import Entropic, MeanVariance, Objective
from deephedge.envs.observation import columns
from deephedge.envs.rewards import CashFlowReward, PairedReward, TelescopedReward
from deephedge.envs.tape import Tape
from deephedge.envs.variation import with_aversion

COSTS = "[{kind: proportional, rate: %s}, {kind: fixed, fee: %s}]"
EVERYTHING = Variation(
    aversion=(0.01, 1.0), cost=(0.25, 4.0), uniform={"market.sigma": (0.15, 0.25)}
)


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rewards(env: HedgingVectorEnv, steps: int = 70, seed: int = 5) -> NDArray[np.float64]:
    """What seeded random actions earn, ``[steps, n]``."""
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (steps, *env.action_space.shape)).astype(np.float32)
    return np.stack([env.step(action)[1] for action in actions])


# Costs and aversions ----------------------------------------------------------------------------


@pytest.mark.parametrize("liquidate", ["true", "false"])
def test_a_cost_level_of_two_is_twice_every_rate_and_fee_to_the_bit(liquidate: str) -> None:
    changes = {"liquidate": liquidate, "loss_limit": "3.0"}
    single = load_scenario("short-call", changes | {"hedges.0.costs": COSTS % (0.002, 0.01)})
    double = load_scenario("short-call", changes | {"hedges.0.costs": COSTS % (0.004, 0.02)})
    drawn = draw(single, Variation(cost=(2.0, 2.0)), 200, generator())
    plain = simulate(double, 200, generator())
    for differentiable in (False, True):
        got = rollout(single, drawn, DeltaHedge(), differentiable=differentiable)
        want = rollout(double, plain, DeltaHedge(), differentiable=differentiable)
        assert (got.cost == want.cost).all() and (got.pnl == want.pnl).all()
        assert (got.cost > 0).all()


def test_a_cost_level_multiplies_each_paths_own_cost() -> None:
    scenario = load_scenario("short-call")
    drawn = draw(scenario, Variation(cost=(0.25, 4.0)), 320, generator())
    cost = rollout(scenario, drawn, DeltaHedge()).cost
    plain = rollout(scenario, simulate(scenario, 320, generator()), DeltaHedge()).cost
    np.testing.assert_allclose(cost, plain * drawn.numpy().cost_level[0], rtol=1e-12)
    assert len(np.unique(drawn.numpy().cost_level)) == 32


@pytest.mark.parametrize("reward", [TelescopedReward(), PairedReward()])
@pytest.mark.parametrize("objective", ["entropic", "mean-variance"])
@pytest.mark.parametrize("loss_limit", ["null", "1.0"])
def test_an_aversion_that_does_not_vary_earns_the_plain_reward_to_the_bit(
    reward: Any, objective: str, loss_limit: str
) -> None:
    own = {"objective": f"{{kind: {objective}, aversion: 0.3}}", "loss_limit": loss_limit}
    scenario, view = load_scenario("short-call-jumps", own), View(reward=reward)
    other = load_scenario("short-call-jumps", own | {"objective.aversion": "0.7"})
    plain = rewards(HedgingVectorEnv(64, scenario, view))
    drawn = HedgingVectorEnv(64, other, view, variation=Variation(aversion=(0.3, 0.3)))
    assert (rewards(drawn) == plain).all()


@pytest.mark.parametrize("kind", [Entropic, MeanVariance])
def test_the_loss_at_any_aversion_is_that_at_one_of_scaled_wealth(kind: type[Objective]) -> None:
    """l_a(L; theta) = l_1(a L; a theta) / a, elementwise in a."""
    rng = np.random.default_rng(0)
    aversion, loss, theta = (
        0.01 * 100.0 ** rng.random(50),
        rng.normal(0, 3, 50),
        rng.normal(0, 1, 50),
    )
    unit = kind(aversion=1.0)  # type: ignore[call-arg]
    want = unit.pointwise(aversion * loss, (aversion * theta,), NUMPY) / aversion  # type: ignore[arg-type]
    own = with_aversion(unit, aversion)
    np.testing.assert_allclose(own.pointwise(loss, (theta,), NUMPY), want, rtol=1e-9)  # type: ignore[arg-type]
    for a, x, t, expected in zip(aversion, loss, theta, want, strict=True):
        alone = kind(aversion=float(a)).pointwise(float(x), (float(t),), SCALAR)  # type: ignore[call-arg]
        assert alone == pytest.approx(expected, rel=1e-9)


def test_each_path_is_rewarded_at_its_own_aversion() -> None:
    """The rewards of a varied episode add up to its loss, by the plain objective at that path's."""
    scenario, view = load_scenario("short-call"), View(reward=TelescopedReward())
    env = HedgingVectorEnv(64, scenario, view, variation=Variation(aversion=(0.01, 1.0)))
    groups = env.problem.groups
    assert groups is not None
    total = rewards(env, 30).sum(axis=0)
    tape = HedgingVectorEnv(64, scenario, view, variation=env.problem.variation)
    tape.reset(seed=5)
    aversion, group = (np.asarray(row) for row in tape._tape.drawn)
    env.reset(seed=5)
    rng = np.random.default_rng(5)
    for _ in range(30):
        action = rng.uniform(-1, 1, (64, 2)).astype(np.float32)
        info = env.step(action)[4]
    losses = -info["final_info"]["total_pnl"]
    for i in range(64):
        own, g = Entropic(aversion=float(aversion[i])), int(group[i])
        theta = (float(groups.theta[0][g]),)
        change = own.pointwise(0.0, theta, SCALAR) - own.pointwise(float(losses[i]), theta, SCALAR)
        assert total[i] == pytest.approx(change * groups.at(None, group).scale[i], rel=1e-6)


# Groups -----------------------------------------------------------------------------------------


def slices(values: NDArray[np.float64], low: float, high: float, log: bool) -> list[int]:
    share = np.log(values / low) / np.log(high / low) if log else (values - low) / (high - low)
    return sorted(np.floor(share * len(values)).astype(int).tolist())


def test_every_batch_has_one_draw_in_each_slice_of_each_range() -> None:
    for seed in range(3):
        drawn = draw(load_scenario("short-call"), EVERYTHING, 100, generator(seed)).numpy()
        assert drawn.aversion.shape == drawn.cost_level.shape == drawn.group.shape == (1, 100)
        assert drawn.group[0].tolist() == [j % 32 for j in range(100)]
        for g in range(32):
            own = drawn.group[0] == g
            assert len(np.unique(drawn.aversion[0, own])) == 1
            assert len(np.unique(drawn.cost_level[0, own])) == 1
        first = slice(0, 32)
        assert slices(drawn.aversion[0, first], 0.01, 1.0, True) == list(range(32))
        assert slices(drawn.cost_level[0, first], 0.25, 4.0, True) == list(range(32))
        assert (np.diff(drawn.aversion[0, first]) > 0).all()  # slice g is group g's
        assert not (np.diff(drawn.cost_level[0, first]) > 0).all()


def test_the_markets_are_drawn_from_their_slices() -> None:
    """Quadratic variation tells each group's vol: chi-squared with 300 x 30 degrees of freedom."""
    variation = Variation(uniform={"market.sigma": (0.1, 0.4)}, groups=4)
    drawn = draw(load_scenario("short-call"), variation, 1200, generator()).numpy()
    squares = (np.diff(drawn.log_spot, axis=0) ** 2).sum(axis=0) / drawn.times[-1]
    vols = np.sort([np.sqrt(squares[drawn.group[0] == g].mean()) for g in range(4)])
    error = vols / np.sqrt(2 * 300 * 30)
    edges = np.linspace(0.1, 0.4, 5)
    assert (edges[:-1] - 4 * error < vols).all() and (vols < edges[1:] + 4 * error).all()
    premium = simulate(load_scenario("short-call"), 1, generator()).numpy().premium[0]
    np.testing.assert_allclose(drawn.premium, premium)  # the marking stays: a model error


def test_variants_alternate_and_keep_the_bases_contract() -> None:
    base = load_scenario("short-call")
    variants = (
        {"marking.vol": 0.15, "market.sigma": 0.15},
        {"marking.vol": 0.3, "market.rate": 0.1},
    )
    variation = Variation(worst_of=variants, groups=3)
    assert variation.count == 4
    drawn = draw(base, variation, 50, generator())
    parts = generator()
    alone = [
        simulate(load_scenario("short-call", {k: str(v) for k, v in changes.items()}), 25, parts)
        for changes in variants
    ]
    assert drawn.contract == base.contract
    for w, part in enumerate(alone):
        assert (drawn.group[0, w::2] % 2 == w).all()
        for name in ("spot", "mark", "delta", "price", "cash_flow", "gamma"):
            assert (getattr(drawn, name)[:, w::2] == getattr(part, name)).all(), name
        assert (drawn.premium[w::2] == part.premium).all()
    assert drawn.growth is not None and alone[0].growth is None
    assert (drawn.growth[:, ::2] == 0).all() and (drawn.growth[:, 1::2] > 0).all()
    assert drawn.times.shape == base.calendar.dates()[:, None].shape  # type: ignore[index]


def test_a_market_that_jumps_beside_one_that_does_not() -> None:
    jumps = {"market.kind": "merton", "market.intensity": 6.0}
    variation = Variation(worst_of=({"market.sigma": 0.2}, jumps))
    drawn = draw(load_scenario("short-call"), variation, 64, generator())
    assert drawn.jump is not None
    assert (drawn.jump[:, ::2] == 0).all() and (drawn.jump[:, 1::2] != 0).any()
    rollout(load_scenario("short-call"), drawn, DeltaHedge())


def test_nothing_drawn_is_the_plain_batch() -> None:
    scenario = load_scenario("short-call-jumps")
    plain = simulate(scenario, 40, generator()).numpy()
    for variation in (Variation(), Variation(aversion=(0.1, 1.0), cost=(0.5, 2.0))):
        drawn = draw(scenario, variation, 40, generator()).numpy()
        assert (drawn.spot == plain.spot).all() and (drawn.mark == plain.mark).all()
        assert (drawn.group is None) == (not variation)


# What is seen -----------------------------------------------------------------------------------


def shown(scenario: Scenario, episodes: Episodes, names: tuple[str, ...]) -> NDArray[np.float32]:
    return episodes.features(names).numpy()[..., : len(names)]


def test_a_fixed_scenario_shows_the_columns_of_its_own_aversion_and_cost() -> None:
    """A batch drawn at one aversion and level looks like the scenario that has them."""
    names = ("aversion", "cost_level")
    base = load_scenario("short-call")
    at = {"objective.aversion": "0.5", "hedges.0.costs.0.rate": "0.008"}
    fixed = load_scenario("short-call", at)
    variation = Variation(aversion=(0.5, 0.5), cost=(4.0, 4.0))
    drawn = shown(base, draw(base, variation, 5, generator()), names)
    plain = shown(fixed, simulate(fixed, 5, generator()), names)
    np.testing.assert_allclose(drawn, plain, rtol=1e-6)
    scale = 0.4 * 100 * 0.2 * np.sqrt(30 / 365)
    want = 0.5 * np.log([0.5 * scale, 0.008 * 100 / scale])
    np.testing.assert_allclose(plain, np.broadcast_to(want, plain.shape), rtol=1e-6)
    assert columns(names, base.contract) == list(names)


def test_what_is_drawn_joins_the_features_once() -> None:
    scenario = load_scenario("short-call")
    variation = Variation(aversion=(0.1, 1.0), cost=(0.5, 2.0))
    env = HedgingVectorEnv(4, scenario, variation=variation)
    assert env.columns == ["aversion", "cost_level", *HedgingVectorEnv(4, scenario).columns]
    assert variation.seen(scenario, env.problem.view) == env.problem.view
    observation, _ = env.reset(seed=0)
    aversion = env._tape.drawn[0]
    np.testing.assert_allclose(
        observation[:, 0], 0.5 * np.log(aversion * scenario.contract.scale), rtol=1e-6
    )


# Faces ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss_limit", ["null", "0.8"])
def test_both_faces_agree_on_varied_episodes_to_the_bit(loss_limit: str) -> None:
    scenario = load_scenario("short-call", {"loss_limit": loss_limit})
    view = View(reward=PairedReward())
    env = HedgingEnv(scenario, view, variation=EVERYTHING)
    envs = HedgingVectorEnv(1, scenario, view, variation=EVERYTHING)
    alone, _ = env.reset(seed=5)
    batch, _ = envs.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(100):
        assert (alone == batch[0]).all()
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        alone, reward, terminated, _, _ = env.step(action)
        batch, earned, ended, _, _ = envs.step(action[None])
        assert (reward, terminated) == (earned[0], ended[0])
        if terminated:
            alone, _ = env.reset()


def test_clocks_apart_keep_each_paths_draw() -> None:
    """A path that stops early goes on with its next episode's draw; the others keep theirs."""
    scenario = load_scenario("short-call", {"loss_limit": "0.8"})
    variation = EVERYTHING.model_copy(update={"groups": 48})  # so that groups change with episodes
    env = HedgingVectorEnv(64, scenario, variation=variation)
    env.reset(seed=1)
    stream = env._stream
    rng = np.random.default_rng(0)
    for _ in range(60):
        env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        terms = env.problem.terms_of(env._tape)
        assert env._terms is not None and terms is not None
        assert (env._terms.scale == terms.scale).all()
        if isinstance(env._t, np.ndarray):
            for i in (0, 17, 63):
                tape = stream.episode(int(env._episodes[i]))  # type: ignore[union-attr]
                for name in ("aversion", "cost_level", "group"):
                    assert getattr(env._tape, name)[0, i] == getattr(tape, name)[0, i]
    assert isinstance(env._t, np.ndarray) and len(np.unique(env._t)) > 1


def test_the_gradient_face_agrees_with_the_ledger() -> None:
    scenario = load_scenario("short-call")
    drawn = draw(scenario, EVERYTHING, 64, generator())
    numpy = rollout(scenario, drawn, DeltaHedge()).pnl
    torch_ = rollout(scenario, drawn, DeltaHedge(), differentiable=True).pnl
    np.testing.assert_allclose(torch_.numpy(), numpy, atol=1e-12)
    assert Tape.of_tensors(drawn).drawn[0].dtype == torch.float64
    assert TORCH is drawn.ops


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "changes", "variation", "words"),
    [
        ("short-straddle-jumps", {}, {"aversion": (0.1, 1.0)}, "objective.aversion"),
        ("short-call", {"hedges.0.costs": "[]"}, {"cost": (0.5, 2.0)}, "vary cost"),
        ("short-call", {}, {"uniform": {"market.sigm": (0.1, 0.2)}}, "market.sigm"),
        ("short-call", {}, {"uniform": {"market.sigma": (-0.1, 0.2)}}, "market.sigma -0.1"),
        ("short-call", {}, {"worst_of": [{"market.sigma": 0.1}, {"market.kind": "x"}]}, "market"),
    ],
)
def test_what_a_scenario_cannot_vary_is_refused_in_one_line(
    preset: str, changes: dict[str, str], variation: dict[str, Any], words: str
) -> None:
    scenario = load_scenario(preset, changes)
    with pytest.raises(ValueError, match=words.replace(".", r"\.")) as caught:
        HedgingVectorEnv(2, scenario, variation=Variation(**variation))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variation", "words"),
    [
        ({"aversion": (1.0, 0.1)}, "smaller end first"),
        ({"cost": (0.0, 1.0)}, "above 0"),
        ({"uniform": {"hedges.0.costs.0.rate": (0.1, 0.2)}}, "only those of market and marking"),
        ({"worst_of": [{"market.sigma": 0.1}]}, "two or more"),
    ],
)
def test_an_impossible_variation_is_refused(variation: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Variation(**variation)


def test_a_reward_without_an_aversion_is_refused() -> None:
    with pytest.raises(ValueError, match="CashFlowReward"):
        HedgingVectorEnv(
            2, "short-call", View(reward=CashFlowReward()), variation=Variation(aversion=(0.1, 1))
        )

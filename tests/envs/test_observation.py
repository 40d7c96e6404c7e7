"""Observations: bounded, named, recomputed from the ledger, without the future or other paths."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deephedge.envs import Episodes, HedgingEnv, Scenario, View, load_scenario, mark, preset_names
from deephedge.envs import simulate as simulate_episodes
from deephedge.envs.action import TargetAction
from deephedge.envs.calendar import Calendar, TradingDaysCalendar, UniformCalendar
from deephedge.envs.instruments import Call, Leg, ListedOption, Position, Put, Underlying
from deephedge.envs.ledger import Account
from deephedge.envs.markets import GeometricBrownianMotion, MarketPaths, Merton
from deephedge.envs.namespace import NUMPY
from deephedge.envs.objectives import CVaR, Entropic, MeanStd, Objective
from deephedge.envs.observation import FEATURES, columns
from deephedge.envs.own_features import BOUND, own_features
from deephedge.envs.part import Part
from deephedge.envs.pricing import ConstantVolMarking, MarketVolMarking
from deephedge.envs.scenario import Hedge

LATENT = {name for name, feature in FEATURES.items() if feature.latent}
DRAWN = {"aversion", "cost_level"}  # tests/envs/test_variation.py
BOOKS = ("holding", "gap", "pnl")  # without what only a scenario with frictions has
MERTON = (
    *(name for name in FEATURES if name not in LATENT - {"jump"} | DRAWN | {"spread"}),
    *BOOKS,
)
SHARE = Hedge(instrument=Underlying())
LISTED = Hedge(instrument=ListedOption(option=Put(strike=95.0, maturity=0.75)))
LEGS = (
    Leg(quantity=-2.0, claim=Call(strike=104.0)),
    Leg(quantity=1.0, claim=Put(strike=90.0, maturity=0.5)),
)


def scenario(**parts: Any) -> Scenario:
    """A year of monthly steps in a jumping market; two legs, one listed option; every feature."""
    defaults: dict[str, Any] = {
        "name": "test",
        "market": Merton(drift=0.05, rate=0.04, dividend=0.01, sigma=0.2, intensity=3.0),
        "calendar": UniformCalendar(steps=12, days=365),
        "position": Position(legs=LEGS),
        "hedges": (LISTED, SHARE),
        "marking": ConstantVolMarking(vol=0.25),
        "objective": CVaR(level=0.9),
        "view": View(features=MERTON, action=TargetAction()),
    }
    return Scenario(**(defaults | parts))


def by_kind(part: Part) -> str:
    return type(part).__name__


def simulate(problem: Scenario, paths: int, seed: int = 0, dtype: Any = torch.float64) -> Episodes:
    return simulate_episodes(problem, paths, torch.Generator().manual_seed(seed), dtype)


def market_paths(problem: Scenario, paths: int, seed: int = 0) -> MarketPaths:
    generator = torch.Generator().manual_seed(seed)
    times = problem.calendar.times(paths, generator)
    return problem.market.simulate(times, paths, generator)


def observed(problem: Scenario, episodes: Episodes) -> dict[str, NDArray[np.float64]]:
    """The market features by column name, each ``[T+1, N]``."""
    block = episodes.features(problem.features).double().numpy()
    names = columns(problem.features, problem.contract)
    return dict(zip(names, np.moveaxis(block, -1, 0), strict=True))


# Formulas ---------------------------------------------------------------------------------------


def test_every_market_feature_is_what_it_says() -> None:
    problem = scenario()
    episodes = simulate(problem, 50)
    arrays, times = episodes.numpy(), episodes.times.numpy()
    assert isinstance(problem.market, Merton)
    vol = math.sqrt(0.2**2 + 3.0 * (0.07**2 + 0.05**2))
    size, spot0, step = 3.0, 100.0, 1 / 12
    money = 0.4 * size * spot0 * vol  # for a year
    move = spot0 * vol * math.sqrt(step)

    def moneyness(strike: float, maturity: float) -> NDArray[np.float64]:
        left = maturity - times
        deviation = 0.25 * np.sqrt(np.maximum(left, step))
        return np.where(left > -1e-9, np.log(arrays.spot / strike) / deviation, 0.0)

    expected = {
        "time_left": 1 - times,
        "step_length": np.append(np.ones(12), 0.0)[:, None],
        "log_spot": np.log(arrays.spot / spot0) / vol,
        "moneyness_0": moneyness(104.0, 1.0),
        "moneyness_1": moneyness(90.0, 0.5),
        "vol": np.log(0.25 / vol) * np.ones((13, 1)),
        "delta": arrays.delta / size,
        "gamma": arrays.gamma * move / size,
        "vega": arrays.vega / (size * spot0),
        "theta": arrays.theta * step / money,
        "option_price_0": arrays.price[..., 0] * size / money,
        "option_delta_0": arrays.hedge_delta[..., 0],
        "option_gamma_0": arrays.hedge_gamma[..., 0] * move,
        "jump": 10 * arrays.jump,
    }
    got = observed(problem, episodes)
    named = [name for name in got if not name.startswith("signature_")]  # test_signature.py
    assert named == [*expected, "holding_0", "holding_1", "gap", "pnl"]
    for name, values in expected.items():
        clipped = np.broadcast_to(np.clip(values, -5, 5), got[name].shape)
        np.testing.assert_allclose(got[name], clipped, rtol=1e-6, atol=1e-6, err_msg=name)
        assert np.ptp(got[name]) > 0 or name == "vol"
    for name in ("holding_0", "holding_1", "gap", "pnl"):
        assert (got[name] == 0).all()


def test_own_features_by_hand_and_clipped() -> None:
    contract = scenario().contract
    holding = (np.array([1.5, -30.0]), np.array([-3.0, 6.0]))
    neutral, wealth = [np.array([1.5, 0.0])], np.array([contract.scale / 2, -1e9])
    account = Account(wealth, holding, wealth)
    values = own_features(("holding", "gap", "pnl"), account, neutral, contract, NUMPY)
    expected = [[0.5, -5.0], [-1.0, 2.0], [-1.5, 2.0], [0.5, -5.0]]
    np.testing.assert_allclose(values, expected)


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize(
    "calendar",
    [UniformCalendar(steps=12, days=365), TradingDaysCalendar(steps=12)],
    ids=by_kind,
)
def test_time_left_falls_strictly_from_1_to_0(calendar: Calendar, every: int) -> None:
    problem = scenario(
        calendar=calendar.model_copy(update={"decide_every": every}),
        position=Position(legs=LEGS[:1]),
        hedges=(SHARE,),
    )
    episodes = simulate(problem, 30)
    got = observed(problem, episodes)
    left = got["time_left"]
    assert (left[0] == 1).all()
    assert (left[-1] == 0).all()
    assert (np.diff(left, axis=0) < 0).all()
    days = episodes.times.numpy()
    np.testing.assert_allclose(
        left * days[-1], np.broadcast_to(days[-1] - days, left.shape), atol=1e-7
    )
    # The step ahead, in mean steps, adds up to the path's own length.
    length = got["step_length"].sum(axis=0) * problem.contract.horizon / problem.contract.steps
    np.testing.assert_allclose(length, np.broadcast_to(days[-1], length.shape), rtol=1e-6)
    assert (got["step_length"][:-1] > 0).all()


# Width and bounds -------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", preset_names())
def test_columns_name_every_number(preset: str) -> None:
    env = HedgingEnv(preset)
    observation, _ = env.reset(seed=1)
    assert len(env.columns) == len(set(env.columns)) == len(observation)
    assert env.observation_space.contains(observation)
    assert "jump" not in env.columns
    block = simulate(env.scenario, 3).features(env.scenario.features)
    assert block.shape[-1] == len(env.columns)
    assert block.dtype == torch.float32


def test_the_number_of_columns_follows_legs_and_instruments(
    random_scenario: Callable[..., Scenario],
) -> None:
    names = tuple(name for name in MERTON if name != "jump")
    for seed in range(60):
        problem = random_scenario(seed, plain=True, view={"features": names})
        legs, listed = len(problem.position.legs), len(problem.listed)
        width = len(columns(names, problem.contract))
        # Moneyness by leg; price, delta and gamma by option; a holding by instrument; 14 words of
        # a signature; none of the two that further assets have.
        assert width == len(names) - 1 - 3 - 1 - 1 - 2 + legs + 3 * listed + (listed + 1) + 14
        block = simulate(problem, 5, seed).features(names)
        assert block.shape == (len(problem.calendar.decisions) + 1, 5, width)
        assert block.isfinite().all()
        assert block.abs().max() <= BOUND


EXTREME: dict[str, dict[str, Any]] = {
    "wild": {"market": Merton(sigma=5.0, intensity=50.0, jump_mean=-1.0, jump_std=2.0)},
    "still": {
        "market": Merton(sigma=0.0, intensity=0.0),
        "marking": ConstantVolMarking(vol=0.0),
    },
    "steep": {"market": Merton(drift=30.0, sigma=0.01), "marking": ConstantVolMarking(vol=9.0)},
    "penny": {"market": Merton(spot=1e-6, sigma=0.5)},
    "vols": {"market": Merton(sigma=2.0), "marking": MarketVolMarking()},
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", EXTREME)
def test_bounded_and_finite_in_extreme_markets(case: str, dtype: torch.dtype) -> None:
    problem = scenario(**EXTREME[case])
    block = simulate(problem, 300, 1, dtype).features(problem.features)
    assert block.isfinite().all()
    assert block.abs().max() <= BOUND


# The ledger -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [
        scenario(),
        scenario(calendar=UniformCalendar(steps=12, days=365, decide_every=3)),
        scenario(liquidate=True, market=Merton(sigma=0.6, intensity=5.0)),
    ],
    ids=["monthly", "quarterly", "liquidated"],
)
def test_the_observation_recomputed_from_the_ledger(problem: Scenario) -> None:
    """What the last action bought is what is seen now; P&L so far is the sum of the steps'."""
    env = HedgingEnv(problem)
    at = {name: i for i, name in enumerate(env.columns)}
    contract, rng = problem.contract, np.random.default_rng(0)
    bounds = [(limits.lower, limits.upper) for limits in problem.limits]
    for seed in range(3):
        observation, info = env.reset(seed=seed)
        assert info["wealth"] == observation[at["pnl"]] == 0
        assert observation[at["holding_0"]] == observation[at["holding_1"]] == 0
        wealth, terminated, t = 0.0, False, 0
        while not terminated:
            action = rng.uniform(-1, 1, 2).astype(np.float32)
            observation, _, terminated, _, info = env.step(action)
            t, wealth = t + 1, wealth + info["pnl"]
            wanted = [(1 + x) / 2 * (b - a) + a for x, (a, b) in zip(action, bounds, strict=True)]
            settled = t * problem.calendar.decide_every >= 9  # the listed put, at 0.75 years
            closed = terminated and problem.liquidate
            expected = [0.0 if settled or closed else wanted[0], 0.0 if closed else wanted[1]]
            shown = [float(observation[at[f"holding_{k}"]]) * contract.size for k in (0, 1)]
            assert shown == pytest.approx(expected, abs=1e-5)
            assert info["option_holding_0"] == pytest.approx(expected[0], abs=1e-5)
            assert info["wealth"] == pytest.approx(wealth, abs=1e-9)
            pnl = np.clip(wealth / contract.scale, -5, 5)
            assert observation[at["pnl"]] == pytest.approx(pnl, abs=1e-6)
            delta = info["delta"] + expected[0] * float(observation[at["option_delta_0"]])
            gap = (expected[1] + delta) / contract.size
            assert observation[at["gap"]] == pytest.approx(np.clip(gap, -5, 5), abs=1e-5)
            # The market side is of the same date as the ledger's.
            assert observation[at["delta"]] == pytest.approx(
                info["delta"] / contract.size, abs=1e-6
            )
            log_spot = math.log(info["spot"] / 100) / contract.volatility
            assert observation[at["log_spot"]] == pytest.approx(np.clip(log_spot, -5, 5), abs=1e-5)
            assert observation[at["time_left"]] == pytest.approx(1 - t / env._tape.steps, abs=1e-6)


# Nothing that is not known ----------------------------------------------------------------------


def visible(problem: Scenario) -> tuple[str, ...]:
    """Every feature that the market has."""
    jumps = isinstance(problem.market, Merton)
    return tuple(name for name in MERTON if name != "jump" or jumps)


def one_path(paths: MarketPaths, i: int) -> MarketPaths:
    def cut(values: Any) -> Any:
        if isinstance(values, dict):
            return {name: cut(one) for name, one in values.items()}
        if isinstance(values, tuple):
            return tuple(one_path(other, i) for other in values)
        return values if values is None or values.shape[1] == 1 else values[:, i : i + 1]

    return MarketPaths(**{name: cut(values) for name, values in vars(paths).items()})


@pytest.mark.parametrize("preset", preset_names())
def test_a_path_is_seen_alike_alone_and_in_a_batch(preset: str) -> None:
    problem = load_scenario(preset)
    if problem.position.flow is not None:
        pytest.skip("its clients draw other orders for another batch")
    names = visible(problem)
    paths = market_paths(problem, 40, 2)
    batch = mark(problem, paths).features(names)
    for i in (0, 17, 39):
        alone = mark(problem, one_path(paths, i)).features(names)
        torch.testing.assert_close(alone[:, 0], batch[:, i], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("preset", preset_names())
def test_no_feature_knows_a_later_price(preset: str) -> None:
    problem = load_scenario(preset)
    paths = market_paths(problem, 20, 3)
    names = visible(problem)
    before = mark(problem, paths).features(names)
    for t in (0, 5, 15):
        changed = paths.log_spot.clone()
        changed[t + 1 :] += 0.3
        jump = None if paths.jump is None else paths.jump.clone()
        if jump is not None:
            jump[t + 1] += 0.3
        after = replace(paths, spot=changed.exp(), log_spot=changed, jump=jump)
        block = mark(problem, after).features(names)
        assert torch.equal(block[: t + 1], before[: t + 1])
        assert not torch.equal(block[t + 1], before[t + 1])


def test_latents_are_seen_only_on_request() -> None:
    assert {"jump", "variance", "alpha", "regime"} == LATENT
    plain = scenario(view=View())
    assert "jump" not in plain.features
    asked = scenario(view=View(features=("delta", "jump", "holding")))
    env = HedgingEnv(asked)
    assert env.columns == ["delta", "jump", "holding_0", "holding_1"]
    episodes = simulate(asked, 200)
    seen = observed(asked, episodes)["jump"]
    np.testing.assert_allclose(seen, np.clip(10 * episodes.jump.numpy(), -5, 5), atol=1e-6)
    assert (seen[0] == 0).all()
    assert (seen[1:] != 0).any()


def test_a_jump_indicator_is_refused_where_nothing_jumps() -> None:
    view, still = View(features=("delta", "jump", "holding")), GeometricBrownianMotion()
    refusal = "'jump' in a market that has no jump: drop the feature .*exposes nothing"
    with pytest.raises(ValueError, match=refusal):
        scenario(market=still, view=view)
    with pytest.raises(ValueError, match=refusal):
        HedgingEnv(scenario(market=still, view=View()), view=view)


# Defaults and refusals --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(Objective.kinds))
def test_pnl_so_far_is_seen_for_every_objective_but_entropic(kind: str) -> None:
    chosen = Objective.kinds[kind]
    numbers = {name: 0.9 for name in chosen.model_fields if name != "kind"}
    problem = scenario(objective=chosen(**numbers), view=View())
    assert ("pnl" in problem.features) == (kind != "entropic")


def test_the_default_set_shows_what_varies() -> None:
    base = ("time_left", "moneyness", "delta", "gamma")
    listed = ("option_price", "option_delta", "option_gamma")
    plain: dict[str, Any] = {
        "view": View(),
        "objective": Entropic(aversion=1.0),
        "position": Position(legs=LEGS[:1]),
        "hedges": (SHARE,),
    }
    assert scenario(**plain).features == (*base, "holding", "gap")
    weekends = scenario(**plain | {"calendar": TradingDaysCalendar(steps=9)})
    assert weekends.features == (*base, "step_length", "holding", "gap")
    quoted = scenario(**plain | {"marking": MarketVolMarking()})
    assert quoted.features == (*base, "vol", "holding", "gap")
    options = scenario(**plain | {"hedges": (LISTED, SHARE), "objective": MeanStd(weight=1.0)})
    assert options.features == (*base, *listed, "holding", "gap", "pnl")


def test_market_features_come_first_in_the_order_asked_for() -> None:
    view = View(features=("pnl", "vega", "holding", "delta"))
    assert scenario(view=view).features == ("vega", "delta", "pnl", "holding")
    assert HedgingEnv(scenario(view=view)).columns == [
        "vega",
        "delta",
        "pnl",
        "holding_0",
        "holding_1",
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("delta", "moneynes"), "unknown feature 'moneynes': did you mean 'moneyness'"),
        (("delta", "holding", "delta"), "stands twice"),
        ((), "at least 1"),
    ],
)
def test_impossible_views_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        View(features=names)

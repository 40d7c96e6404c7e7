"""Several assets: books to the cent, deltas closed one by one, replication, faces and tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deephedge.agents import as_sb3_env
from deephedge.agents.policy_figure import policy_map
from deephedge.baselines import BandHedge, DeltaHedge, NoHedge, StaticHedge
from deephedge.envs import (
    Episodes,
    Hedger,
    HedgingEnv,
    HedgingVectorEnv,
    Known,
    Scenario,
    View,
    mark,
    parse_scenario,
    rollout,
    simulate,
)
from deephedge.envs.desk import Desk
from deephedge.envs.markets import MarketPaths
from deephedge.envs.namespace import NUMPY, X
from deephedge.envs.presets import ScenarioError
from deephedge.envs.tape import Tape
from deephedge.experiments import evaluate

Array = NDArray[np.float64]
Tree = dict[str, Any]
DAY = 1 / 365
ALIKE = {"spot": 95.0, "sigma": 0.25, "drift": -0.05, "dividend": 0.04}
MARKET: Tree = {
    "kind": "correlated-gbm",
    "sigma": 0.3,
    "drift": 0.1,
    "rate": 0.05,
    "dividend": 0.02,
    "others": [ALIKE],
    "correlation": 0.6,
}
EXCHANGE: Tree = {"kind": "exchange"}
BASKET: Tree = {"kind": "basket-put", "strike": 97.0, "weights": [0.5, 0.5]}
BOTH: list[Tree] = [{"kind": "underlying", "asset": j} for j in (0, 1)]
NEUTRAL: Tree = {"drift": 0.03, "others": [ALIKE | {"drift": 0.01}]}  # rate less dividend


def scenario(
    *instruments: Tree, claim: Tree = EXCHANGE, costs: float = 0.0, **changes: Any
) -> Scenario:
    """A short claim on two assets over 30 days."""
    terms = [{"kind": "proportional", "rate": costs}] if costs else []
    tree: Tree = {
        "name": "several",
        "market": MARKET,
        "calendar": {"kind": "uniform", "steps": 15, "days": 30},
        "position": {"legs": [{"quantity": -1, "claim": claim}]},
        "hedges": [{"instrument": i, "costs": terms} for i in instruments or BOTH],
        "marking": {"kind": "market-vol"},
        "objective": {"kind": "entropic", "aversion": 0.3},
    }
    return parse_scenario(tree | changes)


def drawn(problem: Scenario, n: int, seed: int = 1) -> tuple[MarketPaths, Episodes]:
    generator = torch.Generator().manual_seed(seed)
    times = problem.calendar.times(n, generator)
    paths = problem.market.simulate(times, n, generator)
    return paths, mark(problem, paths)


MIX: list[Tree] = [
    {"kind": "rolled-option", "option": "put", "tenor": 8 * DAY, "asset": 1},
    {"kind": "listed-option", "option": {"kind": "call", "strike": 100.0}},
    {"kind": "future", "tenor": 10 * DAY, "asset": 1, "basis": 0.01},
    {"kind": "underlying", "asset": 0},
]


# The books --------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("liquidate", [False, True])
def test_every_cash_flow_of_two_shares(
    every: int, liquidate: bool, noise: Callable[[int], Hedger]
) -> None:
    """Purchases, charges, each asset's own dividends and the claim, with interest to the end."""
    calendar = {"kind": "uniform", "steps": 15, "days": 30, "decide_every": every}
    problem = scenario(*reversed(BOTH), costs=0.004, calendar=calendar, liquidate=liquidate)
    paths, episodes = drawn(problem, 50)
    outcome = rollout(problem, episodes, noise(2), record=True)
    dates = np.array([*range(0, 15, every), 15])
    later = np.exp(0.05 * (30 - 2 * dates) * DAY)[:, None]
    spots = [paths.others[0].spot.numpy()[dates], paths.spot.numpy()[dates]]
    total = outcome.premium * later[0]
    total = total - np.maximum(spots[1][-1] - spots[0][-1], 0)
    for k, (spot, dividend) in enumerate(zip(spots, (0.04, 0.02), strict=True)):
        held = outcome.holding[..., k]
        trade = np.diff(np.vstack([0 * held[:1], held]), axis=0)
        total -= ((trade + 0.004 * np.abs(trade)) * spot[:-1] * later[:-1]).sum(axis=0)
        paid = np.expm1(dividend * 2 * DAY * np.diff(dates))[:, None] * spot[1:]
        total += (held * paid * later[1:]).sum(axis=0)
        total += held[-1] * spot[-1] - liquidate * 0.004 * np.abs(held[-1]) * spot[-1]
    assert np.abs(outcome.holding).max() > 1
    np.testing.assert_allclose(outcome.pnl, total, atol=1e-9)


def test_the_lines_of_a_mixed_account_add_up(noise: Callable[[int], Hedger]) -> None:
    problem = scenario(*MIX, costs=0.002, liquidate=True)
    _, episodes = drawn(problem, 50)
    outcome = rollout(problem, episodes, noise(3), record=True)
    lines = outcome.premium + outcome.gains + outcome.carry + outcome.interest
    np.testing.assert_allclose(
        outcome.pnl, lines - outcome.cost + outcome.cash_flow, rtol=1e-9, atol=1e-9
    )
    # The gains by hand: an instrument that expires brings its payoff, not the next one's price.
    arrival, price = episodes.arrival.numpy(), episodes.price.numpy()  # type: ignore[union-attr]
    gains = (outcome.holding * (arrival[1:] - price[:-1])).sum(axis=(0, 2))
    np.testing.assert_allclose(outcome.gains, gains, atol=1e-9)


# Delta-neutral ----------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_neutral_is_each_assets_own_delta(turned: bool) -> None:
    """Whatever order the instruments stand in; in units of a future's own delta."""
    order = list(reversed(BOTH)) if turned else BOTH
    problem = scenario(*order, claim=BASKET)
    _, episodes = drawn(problem, 20)
    tape = Tape.of(episodes)
    neutral = Desk(problem, NUMPY).neutral(tape, 4, ())
    deltas = [episodes.delta[4], episodes.other_deltas[0][4]]
    for one, delta in zip(neutral, reversed(deltas) if turned else deltas, strict=True):
        np.testing.assert_array_equal(one, -delta.numpy())
    assert (np.array(neutral) < 0).all()
    assert not np.allclose(neutral[0], neutral[1])


def test_options_are_closed_on_the_asset_they_are_written_on() -> None:
    problem = scenario(*MIX)
    _, episodes = drawn(problem, 20)
    tape, desk = Tape.of(episodes), Desk(problem, NUMPY)
    held = (np.full(20, 0.7), np.full(20, -0.4))
    for t in (0, 3, 4, 9):
        future, share = desk.neutral(tape, t, held)
        own = episodes.hedge_delta[t, :, 2].numpy()
        rolled, listed = (episodes.hedge_delta[t, :, k].numpy() for k in (0, 1))
        second = -episodes.other_deltas[0][t].numpy() - 0.7 * rolled
        np.testing.assert_allclose(future, second / own, rtol=1e-12)
        np.testing.assert_allclose(share, -episodes.delta[t].numpy() + 0.4 * listed, rtol=1e-12)
    # Net of everything held, the book does not move with either asset.
    missing = scenario(*MIX[:2], BOTH[0])  # the put on the second asset has nothing to close it
    tape, desk = Tape.of(mark(missing, drawn(missing, 20)[0])), Desk(missing, NUMPY)
    assert tape.closes == (None, 0)
    (alone,) = desk.neutral(tape, 3, held)
    np.testing.assert_allclose(alone, -tape.delta[0][3] + 0.4 * tape.option_delta[1][3])


@pytest.mark.parametrize("claim", [EXCHANGE, BASKET], ids=lambda c: c["kind"])
@pytest.mark.parametrize("futures", [False, True])
def test_with_both_assets_the_claim_is_replicated(claim: Tree, futures: bool) -> None:
    """The spread of the hedged P&L falls as dt^0.5, under any drift, and its mean is small."""
    spreads, numbers = [], (8, 32, 128)
    instruments = (
        [{"kind": "future", "tenor": 60 * DAY, "asset": j} for j in (0, 1)] if futures else BOTH
    )
    for steps in numbers:
        calendar = {"kind": "uniform", "steps": steps, "days": 120}
        problem = scenario(*instruments, claim=claim, calendar=calendar)
        pnl = rollout(problem, drawn(problem, 4000, seed=steps)[1], DeltaHedge()).pnl
        spreads.append(pnl.std())
    slope = np.polyfit(np.log(numbers), np.log(spreads), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.08)
    unhedged = rollout(problem, drawn(problem, 4000)[1], NoHedge()).pnl.std()
    assert spreads[-1] < 0.12 * unhedged


def test_an_asset_that_cannot_be_traded_leaves_basis_risk() -> None:
    """The other one's share of the risk stays, however often the first is traded."""
    market = MARKET | NEUTRAL
    spreads = []
    for steps in (8, 64):
        calendar = {"kind": "uniform", "steps": steps, "days": 60}
        problem = scenario(BOTH[0], market=market, calendar=calendar)
        outcome = rollout(problem, drawn(problem, 20_000)[1], DeltaHedge(), record=True)
        assert outcome.holding.shape == (steps, 20_000, 1)
        spreads.append(outcome.pnl.std())
        assert abs(outcome.pnl.mean()) < 4 * outcome.pnl.std() / 20_000**0.5
    assert spreads[1] > 0.8 * spreads[0]
    both = scenario(market=market, calendar=calendar)
    assert rollout(both, drawn(both, 4000)[1], DeltaHedge()).pnl.std() < 0.2 * spreads[1]


# Rewards and observations -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "instruments",
    [BOTH, [BOTH[1], {"kind": "future", "tenor": 10 * DAY, "basis": 0.2}], MIX, BOTH[1:]],
    ids=["shares", "share and future", "mixed", "one missing"],
)
def test_the_surprise_of_each_asset_has_mean_zero(instruments: list[Tree]) -> None:
    problem = scenario(*instruments)
    _, episodes = drawn(problem, 40_000)
    tape = Tape.of(episodes, paired=True)
    options = len(tape.option_delta)
    for j in range(len(tape.delta)):
        for t in range(tape.steps):
            beyond = tape.surprise(t, j)
            assert beyond is not None
            error = beyond.std() / 200
            assert error > 1e-4
            assert abs(beyond.mean()) < 4.2 * error  # of 15 dates and up to 8 cases
            now = (np.arange(tape.steps), np.zeros(tape.steps, dtype=int))
            assert tape.surprise(now, j)[t] == beyond[0]  # type: ignore[index]
    # The reference earns what a frictionless hedge of every asset that can be traded does.
    moves = np.diff(tape.mark, axis=0) + tape.cash_flow[1:]
    for j, delta in enumerate(tape.delta):
        arrival = (tape.arrival or tape.price)[options + j]
        moves = moves - delta[:-1] * (arrival[1:] - tape.price[options + j][:-1])
    np.testing.assert_allclose(tape.reference[1:], moves.cumsum(axis=0), atol=1e-9)


def test_columns_of_what_there_is() -> None:
    """Gaps by delta-one instrument, holdings by instrument, spots and deltas by further asset."""
    view = View(features=("other_spots", "other_deltas", "holding", "gap"))
    problem = scenario(*MIX)
    env = HedgingEnv(problem, view)
    holdings = [f"holding_{k}" for k in range(4)]
    assert env.columns == ["other_spots_0", "other_deltas_0", *holdings, "gap_0", "gap_1"]
    assert HedgingEnv(scenario(BOTH[0])).columns[-1] == "gap"
    default = HedgingEnv(problem).columns
    assert {"other_spots_0", "other_deltas_0", "option_price_1", "gap_1"} <= {*default}

    _, episodes = drawn(problem, 12)
    tape, desk = Tape.of(episodes), Desk(problem, NUMPY, view)
    block = episodes.features(desk.features).numpy()
    deviation = 0.3 * (30 * DAY) ** 0.5
    spot = np.log(episodes.other_spots[0].numpy() / 95.0) / deviation
    np.testing.assert_allclose(block[..., 0], spot, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(block[..., 1], episodes.other_deltas[0], rtol=1e-6)
    account = desk.open(tape)._replace(holding=tuple(np.full(12, 0.1 * k) for k in range(1, 5)))
    own = desk.own_columns(account, tape, 5)
    neutral = desk.neutral(tape, 5, account.holding[:2])
    expected = [*account.holding, account.holding[2] - neutral[0], account.holding[3] - neutral[1]]
    np.testing.assert_allclose(own, expected, rtol=1e-12)


# Faces and tools --------------------------------------------------------------------------------


@pytest.mark.parametrize("reward", ["paired", "telescoped"])
@pytest.mark.parametrize("stops", [None, 0.8])
def test_both_faces_agree_to_the_bit(reward: str, stops: float | None) -> None:
    problem = scenario(
        *MIX, costs=0.002, liquidate=True, loss_limit=stops, view={"reward": {"kind": reward}}
    )
    env, envs = HedgingEnv(problem), HedgingVectorEnv(1, problem)
    env.action_space.seed(0)
    one, _ = env.reset(seed=4)
    many, _ = envs.reset(seed=4)
    keys = {"holding", "holding_3", "option_holding_0", "option_holding_1"}
    ends = 0
    for _ in range(60):
        assert one.tolist() == many[0].tolist()
        action = env.action_space.sample()
        one, earned, ended, _, info = env.step(action)
        many, rewards, terminated, _, infos = envs.step(action[None])
        assert [earned, ended] == [rewards[0], terminated[0]]
        shown = infos["final_info"] if ended else infos
        assert keys <= info.keys()
        for key, value in info.items():
            assert shown[key].tolist() == [value], key
        if ended:
            one, _ = env.reset()
            ends += 1
    assert ends >= 4


def test_the_infos_holdings_are_the_instruments() -> None:
    """Holding is the first delta-one instrument's, the others go by their number."""
    env = HedgingVectorEnv(3, scenario(*MIX, view={"action": {"kind": "target"}}))
    env.reset(seed=1)
    *_, info = env.step(np.tile(np.array([0.1, -0.2, 0.3, 0.4], dtype=np.float32), (3, 1)))
    shown = [info[k][0] for k in ("option_holding_0", "option_holding_1", "holding", "holding_3")]
    np.testing.assert_allclose(shown, [0.2, -0.4, 0.6, 0.8], rtol=1e-6)  # of two sizes either side


def test_the_sb3_adapter_steps() -> None:
    env = as_sb3_env(scenario(*MIX), num_envs=4)
    assert env.action_space.shape == (8,)
    observation = env.reset()
    for _ in range(20):
        actions = np.stack([env.action_space.sample() for _ in range(4)])
        observation, rewards, ended, infos = env.step(actions)
    assert np.asarray(observation).shape == (4, *env.observation_space.shape)  # type: ignore[misc]
    assert np.isfinite(rewards).all()
    assert len(infos) == len(ended) == 4


@pytest.mark.parametrize("instruments", [BOTH, MIX, BOTH[1:]], ids=["both", "mixed", "one"])
def test_a_policy_is_drawn(instruments: list[Tree]) -> None:
    """At the other asset's first spot; the map of the first delta-one instrument."""
    problem = scenario(*instruments, claim=BASKET)
    found = policy_map(problem, BandHedge(width=0.1), spots=21)
    assert found.neutral.shape == (15, 21)
    np.testing.assert_allclose(found.lower, found.neutral - 0.1, atol=1e-12)
    np.testing.assert_allclose(found.upper, found.neutral + 0.1, atol=1e-12)
    assert (np.diff(found.neutral, axis=1) > 0).all()  # a short put is hedged short


@pytest.mark.parametrize("instruments", [BOTH, MIX, BOTH[1:]], ids=["both", "mixed", "one"])
def test_an_evaluation_of_every_baseline(instruments: list[Tree]) -> None:
    problem = scenario(*instruments, costs=0.001)
    hedgers = [NoHedge(), StaticHedge(), DeltaHedge(), DeltaHedge(every=3), BandHedge(width=0.05)]
    result = evaluate(problem, hedgers, paths=3000)
    document = json.loads(json.dumps(result.document()))
    rows = {row["name"]: row for row in document["hedgers"]}
    assert {*rows} == {hedger.name for hedger in hedgers}
    assert rows["none"]["turnover"] == rows["none"]["cost"] == 0
    if instruments is BOTH:
        spreads = [rows[name]["std"] for name in ("delta", "delta:every=3", "static", "none")]
        assert spreads == sorted(spreads)
    for row in rows.values():
        assert np.isfinite([row["mean"], row["std"], row["cvar_95"], row["risk"]["value"]]).all()


class Diary:
    """Writes down what it could act on."""

    name = "diary"

    def __init__(self, problem: Scenario) -> None:
        view = View(features=("moneyness", "other_spots", "other_deltas", "gap", "option_price"))
        self.desk, self.pages = Desk(problem, NUMPY, view), list[Array]()

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        seen = [known.observe(self.desk), known.neutral, known.price, known.hedge_delta]
        self.pages.append(np.concatenate([*seen, known.holding, known.wealth[:, None]], axis=-1))
        return 0.1 + 0.0 * known.holding, None


def test_nobody_sees_the_other_assets_future() -> None:
    problem = scenario(*MIX)
    paths, _ = drawn(problem, 8)
    first = Diary(problem)
    rollout(problem, mark(problem, paths), first)
    for t in (0, 3, 4, 9):
        later = torch.arange(16)[:, None] > t
        factor = torch.where(later, 1.3, 1.0).double()
        one = paths.others[0]
        moved = replace(one, spot=one.spot * factor, log_spot=one.log_spot + factor.log())
        other = Diary(problem)
        rollout(problem, mark(problem, replace(paths, others=(moved,))), other)
        for now, again in zip(first.pages[: t + 1], other.pages[: t + 1], strict=True):
            np.testing.assert_array_equal(again, now)
        assert not np.allclose(other.pages[t + 1], first.pages[t + 1])


# What is refused --------------------------------------------------------------------------------

FUTURE: Tree = {"kind": "future", "tenor": 10 * DAY, "asset": 1}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: scenario(claim=EXCHANGE | {"other": 2}),
            ["position.legs.0", "asset 2", "market of 2", "count from 0"],
        ),
        (
            lambda: scenario(claim=BASKET | {"weights": [0.3, 0.3, 0.4]}),
            ["position.legs.0", "asset 2", "market of 2"],
        ),
        (lambda: scenario(claim={"kind": "call", "strike": 9.0, "asset": 5}), ["asset 5"]),
        (lambda: scenario(*BOTH, FUTURE), ["assets [0, 1, 1]", "keep one"]),
        (lambda: scenario(BOTH[0], MIX[0], BOTH[1]), ["3 hedges with 2", "options first", "last"]),
        (lambda: scenario({"kind": "underlying", "asset": 2}), ["hedges.0", "asset 2"]),
        (
            lambda: scenario(
                claim={"kind": "asian-call", "strike": 100.0, "asset": 1, "maturity": 0.2}
            ),
            ["position.legs.0", "maturity 0.2 years is beyond", "not simulated", "end it inside"],
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], Scenario], words: list[str]) -> None:
    with pytest.raises(ScenarioError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


LATENT: dict[str, tuple[str, ...]] = {
    "gbm": (),
    "merton": ("jump",),
    "heston": ("variance",),
    "bates": ("jump", "variance"),
    "garch": ("variance",),
    "sabr": ("alpha",),
    "rough-bergomi": ("variance",),
    "regime-switching": ("jump", "regime"),
}


@pytest.mark.parametrize("kind", LATENT)
@pytest.mark.parametrize("feature", ["jump", "variance", "alpha", "regime"])
def test_a_latent_is_shown_where_the_market_has_it(kind: str, feature: str) -> None:
    market: Tree = {"kind": kind}
    if kind == "regime-switching":
        regimes = [{"sigma": 0.1}, {"sigma": 0.3, "intensity": 20.0, "jump_std": 0.1}]
        market |= {"regimes": regimes, "rates": [[-9.0, 9.0], [9.0, -9.0]]}
    plain = scenario(BOTH[0], market=market, claim={"kind": "call", "strike": 100.0})
    view = View(features=("time_left", feature, "holding"))
    faces: list[Callable[[], Any]] = [
        lambda: HedgingEnv(plain, view),
        lambda: HedgingVectorEnv(2, plain, view),
        lambda: as_sb3_env(plain, 2, view),
        lambda: Desk(plain, NUMPY, view),
        lambda: parse_scenario(plain.model_dump() | {"view": {"features": [feature]}}),
    ]
    if feature in LATENT[kind]:
        env, _ = faces[0](), [face() for face in faces[1:]]
        assert env.columns == ["time_left", feature, "holding_0"]
        observation, _ = env.reset(seed=1)
        assert np.isfinite(observation).all()
        block = simulate(plain, 64, torch.Generator().manual_seed(1)).features(view.features or ())
        moves = block[:, :, 1].std()
        assert moves > 0
        return
    for face in faces:
        with pytest.raises(
            ValueError, match=rf"view.features: '{feature}' .*has no {feature}: drop"
        ):
            face()

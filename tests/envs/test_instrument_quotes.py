"""Futures and rolled options by hand: prices, Greeks, margins, rolls, what holding them earns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from deephedge.baselines import DeltaHedge, StaticHedge
from deephedge.envs import (
    Episodes,
    Hedge,
    Known,
    Outcome,
    Scenario,
    load_scenario,
    mark,
    parse_scenario,
    rollout,
)
from deephedge.envs.instruments import Call, Put, RolledOption
from deephedge.envs.markets import MarketPaths, Sabr
from deephedge.envs.namespace import X
from deephedge.envs.presets import ScenarioError
from deephedge.envs.pricing import ModelMarking
from deephedge.envs.valuation import payoff, value

Array = NDArray[np.float64]
Tree = dict[str, Any]
N = 40
DAY = 1 / 365
CARRY: Tree = {"drift": 0.1, "rate": 0.06, "dividend": 0.02}
UNDERLYING: Tree = {"kind": "underlying"}


def scenario(*instruments: Tree, costs: Tree | None = None, **changes: Any) -> Scenario:
    """A short call hedged with ``instruments`` over 12 days at no cost."""
    tree: Tree = {
        "name": "quotes",
        "market": {"kind": "gbm", "sigma": 0.3},
        "calendar": {"kind": "uniform", "steps": 12, "days": 12},
        "position": {"legs": [{"quantity": -1, "claim": {"kind": "call", "strike": 100.0}}]},
        "hedges": [{"instrument": i, "costs": [costs] if costs else []} for i in instruments],
        "marking": {"kind": "market-vol"},
        "objective": {"kind": "quadratic"},
    }
    return parse_scenario(tree | changes)


def drawn(problem: Scenario, n: int = N, seed: int = 1) -> tuple[MarketPaths, Episodes]:
    generator = torch.Generator().manual_seed(seed)
    times = problem.calendar.times(n, generator)
    clock = problem.calendar.clock(times)
    paths = problem.market.simulate(times, n, generator, torch.float64, clock)
    return paths, mark(problem, paths)


class Rule:
    """Asks for holdings ``[N, K]``, a function of what is known."""

    name = "rule"

    def __init__(self, wanted: Callable[[Known], X]) -> None:
        self.wanted = wanted

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        return self.wanted(known), None


ALWAYS = Rule(lambda known: 0.0 * known.holding + 1.0)
ONCE = Rule(lambda known: known.holding + (known.t == 0))


def beyond_nothing(problem: Scenario, episodes: Episodes, rule: Rule) -> tuple[Array, Outcome]:
    """What the rule's trades add to the P&L of holding nothing."""
    outcome = rollout(problem, episodes, rule, record=True)
    nothing = rollout(problem, episodes, Rule(lambda known: 0.0 * known.holding))
    return outcome.pnl - nothing.pnl, outcome


# Futures ----------------------------------------------------------------------------------------


def future(days: float, **fields: Any) -> Tree:
    return {"kind": "future", "tenor": days * DAY} | fields


@pytest.mark.parametrize("basis", [0.0, 0.03, -0.2])
@pytest.mark.parametrize("every", [1, 2])
def test_a_future_is_the_spot_carried_to_its_expiry(basis: float, every: int) -> None:
    """Two contracts of 4 days and two more; on the day of a roll the next one is quoted."""
    calendar = {"kind": "uniform", "steps": 12, "days": 12, "decide_every": every}
    problem = scenario(
        future(4, basis=basis), market={"kind": "gbm", "sigma": 0.3} | CARRY, calendar=calendar
    )
    paths, episodes = drawn(problem)
    days = np.arange(0, 13, every)
    left = 4 - days % 4
    factor = np.exp((0.06 - 0.02 + basis) * left * DAY)[:, None]
    spot = paths.spot.numpy()[::every]
    np.testing.assert_allclose(episodes.price[..., 0], spot * factor, rtol=1e-13)
    np.testing.assert_allclose(episodes.hedge_delta[..., 0], factor + 0 * spot, rtol=1e-13)
    expires = (days > 0) & (days % 4 == 0)
    assert episodes.arrival is not None
    np.testing.assert_allclose(
        episodes.arrival[..., 0], np.where(expires[:, None], spot, spot * factor), rtol=1e-13
    )
    assert [date[0] for date in episodes.settles] == expires.tolist()
    assert not any(episodes.settled(t)[0] for t in range(len(days)))  # the next one can be held
    assert episodes.hedge_gamma.abs().max() == episodes.hedge_vega.abs().max() == 0


@pytest.mark.parametrize("rate", [0.0, 0.08])
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("days", [12, 20], ids=["expires at the end", "outlives it"])
def test_one_future_held_earns_its_margin_gains_with_interest(
    rate: float, every: int, days: int
) -> None:
    """Settled at every date and no cash tied up; without interest it is F_T - F_0 to the last."""
    market = {"kind": "gbm", "sigma": 0.3, "rate": rate, "dividend": 0.03, "drift": -0.1}
    calendar = {"kind": "uniform", "steps": 12, "days": 12, "decide_every": every}
    problem = scenario(future(days, basis=0.02), market=market, calendar=calendar)
    paths, episodes = drawn(problem)
    earned, outcome = beyond_nothing(problem, episodes, ALWAYS)
    at = np.arange(0, 13, every)
    spot = paths.spot.numpy()[at]
    price = spot * np.exp((rate - 0.03 + 0.02) * (days - at) * DAY)[:, None]
    interest = np.exp(rate * (12 - at[1:]) * DAY)[:, None]
    np.testing.assert_allclose(earned, (np.diff(price, axis=0) * interest).sum(0), atol=1e-10)
    if rate == 0.0:
        np.testing.assert_allclose(earned, price[-1] - price[0], atol=1e-11)
    if days == 12:
        np.testing.assert_allclose(price[-1], spot[-1])
    assert (outcome.trades == 1).all()


def test_at_a_roll_the_old_contract_is_paid_out_and_the_new_one_costs_as_much_again() -> None:
    problem = scenario(
        future(4, basis=0.05),
        market={"kind": "gbm", "sigma": 0.3} | CARRY,
        costs={"kind": "proportional", "rate": 0.01},
        liquidate=True,
    )
    paths, episodes = drawn(problem)
    spot = paths.spot.numpy()
    full = np.exp(0.09 * 4 * DAY)
    earned, outcome = beyond_nothing(problem, episodes, ALWAYS)
    entries = spot[[0, 4, 8]] * full  # bought at day 0 and anew at 4 and 8, expired at 12
    np.testing.assert_allclose(outcome.cost, 0.01 * entries.sum(0), rtol=1e-12)
    np.testing.assert_allclose(outcome.turnover, entries.sum(0) / 100, rtol=1e-12)
    assert (outcome.trades == 3).all()
    days = np.arange(13)
    factor = np.exp(0.09 * (4 - days % 4) * DAY)[:, None]
    gains = np.where(days[1:, None] % 4 == 0, spot[1:], spot[1:] * factor[1:]) - (
        spot[:-1] * factor[:-1]
    )
    interest = np.exp(0.06 * (12 - days[1:]) * DAY)[:, None]
    paid = np.exp(0.06 * (12 - np.array([0, 4, 8])) * DAY)[:, None] * 0.01 * entries
    np.testing.assert_allclose(earned, (gains * interest).sum(0) - paid.sum(0), atol=1e-10)

    # Who does not buy the next one holds nothing from the first expiry on.
    _, once = beyond_nothing(problem, episodes, ONCE)
    assert (once.holding[:4] == 1).all()
    assert (once.holding[4:] == 0).all()
    np.testing.assert_allclose(once.cost, 0.01 * entries[0])


@pytest.mark.parametrize("hedger", [StaticHedge(), DeltaHedge(every=5)], ids=lambda h: h.name)
def test_a_baseline_that_keeps_its_hedge_keeps_it_over_a_roll(hedger: Any) -> None:
    """Else an expiry would leave it unhedged for days."""
    rolled, kept = scenario(future(4)), scenario(future(20))
    paths, episodes = drawn(rolled)
    holding = rollout(rolled, episodes, hedger, record=True).holding
    same = rollout(kept, mark(kept, paths), hedger, record=True).holding
    np.testing.assert_allclose(holding, same, atol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("every", [1, 2])
def test_a_delta_hedge_with_futures_is_one_with_shares(rate: float, every: int) -> None:
    """At no cost: as many as there are shares over the future's own delta, the same P&L."""
    steps = 80
    changes: Tree = {
        "market": {"kind": "gbm", "sigma": 0.3, "rate": rate, "dividend": 0.04, "drift": rate},
        "calendar": {"kind": "uniform", "steps": steps, "days": 160, "decide_every": every},
    }
    tenor = 40 * 2
    with_future = scenario(future(tenor, basis=0.0), **changes)
    with_shares = scenario(UNDERLYING, **changes)
    paths, episodes = drawn(with_future, 4000, seed=3)
    other = mark(with_shares, paths)
    one = rollout(with_future, episodes, DeltaHedge(), record=True)
    two = rollout(with_shares, other, DeltaHedge(), record=True)
    own = episodes.hedge_delta[:-1, :, 0].numpy()
    np.testing.assert_allclose(one.holding[..., 0] * own, two.holding[..., 0], rtol=1e-12)
    assert one.pnl.std() == pytest.approx(two.pnl.std(), rel=0.02)
    # Dividends are paid on the last price of a step and the future's carry on its first: what is
    # left between the two hedges is that, far below what the dates leave open.
    assert (one.pnl - two.pnl).std() < 0.03 * two.pnl.std()
    unhedged = rollout(with_shares, other, Rule(lambda known: 0.0 * known.holding)).pnl.std()
    assert one.pnl.std() < 0.15 * unhedged


MARKETS: dict[str, Tree] = {
    "gbm": {"kind": "gbm", "sigma": 0.3} | CARRY,
    "merton": {"kind": "merton", "intensity": 30.0} | CARRY,
    "garch": {"kind": "garch", "premium": 0.2} | CARRY,
    "regimes": {
        "kind": "regime-switching",
        "regimes": [{"sigma": 0.2, "drift": 0.5}, {"sigma": 0.4, "drift": -2.0}],
        "rates": [[-10.0, 10.0], [10.0, -10.0]],
    }
    | CARRY,
}


@pytest.mark.parametrize("instrument", [UNDERLYING, future(6, basis=0.3)], ids=lambda i: i["kind"])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("name", MARKETS)
def test_what_is_expected_of_a_delta_one_instrument(
    instrument: Tree, every: int, name: str
) -> None:
    """The paired reward's surprise has mean 0 at every date, over rolls and drifts of any kind."""
    calendar = {"kind": "uniform", "steps": 12, "days": 96, "decide_every": every}
    instrument = instrument | ({"tenor": 48 * DAY} if "tenor" in instrument else {})
    problem = scenario(instrument, market=MARKETS[name], calendar=calendar)
    _, episodes = drawn(problem, 20_000, seed=5)
    expected = episodes.expected[0]
    if name in ("garch", "regimes") and every > 1:
        assert expected is None  # what is foreseen is so for one market step
        return
    arrival = episodes.price if episodes.arrival is None else episodes.arrival
    surprise = arrival[1:, :, 0] / episodes.price[:-1, :, 0] - expected
    error = surprise.std(dim=1) / 20_000**0.5
    assert (surprise.mean(dim=1).abs() < 4 * error).all()
    assert expected.sub(1).abs().mean() > 2 * error.mean()  # a 1 would have been seen


# Rolled options ---------------------------------------------------------------------------------


def rolled(option: str = "call", days: float = 4, **fields: Any) -> Tree:
    return {"kind": "rolled-option", "option": option, "tenor": days * DAY} | fields


def black_scholes(
    sign: int, spot: Array, strike: Array, tau: Array, vol: Array, r: float, q: float
) -> list[Array]:
    """Price, delta, gamma and vega by the book."""
    s = vol * np.sqrt(tau)
    d1 = (np.log(spot / strike) + (r - q) * tau) / s + s / 2
    density = np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi) * np.exp(-q * tau)
    asset, cash = np.exp(-q * tau) * ndtr(sign * d1), np.exp(-r * tau) * ndtr(sign * (d1 - s))
    return [
        sign * (spot * asset - strike * cash),
        sign * asset,
        density / (spot * s),
        spot * density * np.sqrt(tau),
    ]


@pytest.mark.parametrize("option", ["call", "put"])
@pytest.mark.parametrize("moneyness", [1.0, 0.93])
@pytest.mark.parametrize("every", [1, 2])
def test_a_rolled_option_is_black_scholes_at_each_paths_own_strike(
    option: str, moneyness: float, every: int
) -> None:
    """Listed on days 0, 4 and 8 at moneyness times the spot, with a vol for each path."""
    market = {"kind": "gbm", "spot": 80.0, "sigma": {"low": 0.1, "high": 0.6}} | CARRY
    calendar = {"kind": "uniform", "steps": 10, "days": 10, "decide_every": every}
    problem = scenario(
        rolled(option, moneyness=moneyness), UNDERLYING, market=market, calendar=calendar
    )
    paths, episodes = drawn(problem)
    sign = 1 if option == "call" else -1
    days = np.arange(0, 11, every)
    spot = paths.spot.numpy()
    strike = moneyness * spot[4 * (days // 4)]
    tau = ((4 - days % 4) * DAY)[:, None] + 0 * strike
    vol = paths.implied_vol.numpy() + 0 * strike
    assert len(np.unique(vol[0])) == N
    expected = black_scholes(sign, spot[days], strike, tau, vol, 0.06, 0.02)
    series = (episodes.price, episodes.hedge_delta, episodes.hedge_gamma, episodes.hedge_vega)
    for one, other in zip(series, expected, strict=True):
        np.testing.assert_allclose(one[..., 0], other, rtol=1e-9, atol=1e-11)
    assert episodes.arrival is not None
    expires = (days > 0) & (days % 4 == 0)
    before = moneyness * spot[np.maximum(4 * (days // 4) - 4, 0)]
    paid = np.maximum(sign * (spot[days] - before), 0)
    arrival = np.where(expires[:, None], paid, expected[0])
    np.testing.assert_allclose(episodes.arrival[..., 0], arrival, rtol=1e-9, atol=1e-11)
    assert [date[0] for date in episodes.settles] == expires.tolist()


SMILES: dict[str, Tree] = {
    "heston": {"kind": "heston", "variance": 0.09, "variance_premium": -1.0} | CARRY,
    "skew": {"kind": "stochastic-implied-vol", "skew": -0.3} | CARRY,
}


@pytest.mark.parametrize("name", SMILES)
@pytest.mark.parametrize("hours", [False, True], ids=["days", "trading hours"])
def test_units_of_the_spot_change_nothing(name: str, hours: bool) -> None:
    """Quoted vols, a skew and a clock of variance as for a listed option at the path's strike."""
    clocked = {"kind": "trading-hours", "days": 5, "per_day": 2, "first_weekday": 0}
    uniform = {"kind": "uniform", "steps": 9, "days": 9}
    tenor = 2.0  # two days, from open to open
    problem = scenario(
        rolled("put", tenor, moneyness=0.95, asset=0),
        UNDERLYING,
        market=SMILES[name],
        calendar=clocked if hours else uniform,
    )
    paths, episodes = drawn(problem, 5)
    times = paths.times[:, 0].numpy()
    listings = [int(np.abs(times - 2 * k * DAY).argmin()) for k in range(3)]
    stops = [*listings[1:], len(times) if hours else listings[2] + 2]
    assert episodes.arrival is not None
    for j in range(5):
        for start, stop in zip(listings, stops, strict=True):
            strike, expiry = 0.95 * float(paths.spot[start, j]), times[start] + tenor * DAY
            claim = Put(strike=strike, maturity=expiry)
            price, delta, gamma, vega = (g[:, j] for g in value(problem, claim, paths)[:4])
            rows = slice(start, min(stop, len(times) - 1))
            for mine, other in (
                (episodes.price, price),
                (episodes.hedge_delta, delta),
                (episodes.hedge_gamma, gamma),
                (episodes.hedge_vega, vega),
            ):
                np.testing.assert_allclose(mine[rows, j, 0], other[rows], rtol=1e-9, atol=1e-11)
            if stop < len(times):
                due = payoff(claim, paths, stop)[j]
                np.testing.assert_allclose(episodes.arrival[stop, j, 0], due, atol=1e-11)


def test_an_option_rolled_to_the_end_by_hand() -> None:
    """Bought for its price on days 0 and 4, paid out on days 4 and 8, sold on day 10, at 2 %."""
    market = {"kind": "gbm", "sigma": 0.4} | CARRY
    calendar = {"kind": "uniform", "steps": 10, "days": 10}
    problem = scenario(
        rolled("put", moneyness=1.02),
        UNDERLYING,
        market=market,
        calendar=calendar,
        costs={"kind": "proportional", "rate": 0.02},
        liquidate=True,
    )
    paths, episodes = drawn(problem)
    holds = Rule(lambda known: np.stack([np.ones(N), np.zeros(N)], -1))
    earned, outcome = beyond_nothing(problem, episodes, holds)
    spot = paths.spot.numpy()

    def price(listed: int, day: int) -> Array:
        tau = np.full(N, (listed + 4 - day) * DAY)
        quote = black_scholes(-1, spot[day], 1.02 * spot[listed], tau, 0.4 + 0 * tau, 0.06, 0.02)
        return quote[0]

    def later(day: int) -> float:
        return float(np.exp(0.06 * (10 - day) * DAY))

    expected = -1.02 * price(0, 0) * later(0)
    for day in (4, 8):
        paid = np.maximum(1.02 * spot[day - 4] - spot[day], 0)
        expected += (paid - 1.02 * price(day, day)) * later(day)
    expected += 0.98 * price(8, 10)
    np.testing.assert_allclose(earned, expected, atol=1e-10)
    assert (outcome.trades == 4).all()
    cost = 0.02 * (price(0, 0) + price(4, 4) + price(8, 8) + price(8, 10))
    np.testing.assert_allclose(outcome.cost, cost, rtol=1e-10)


def test_an_option_that_expires_with_the_episode_leaves_finite_quotes() -> None:
    """On a clock of variance the next one is listed where no variance is left to measure it by."""
    hours = {"kind": "trading-hours", "days": 3, "per_day": 2, "first_weekday": 0, "overnight": 0.3}
    tenor = (2 + 6.5 / 24) * DAY
    instrument = {"kind": "rolled-option", "tenor": tenor}
    problem = scenario(instrument, UNDERLYING, calendar=hours)
    paths, episodes = drawn(problem)
    assert episodes.settles[-1] == (True, False)
    for series in (episodes.price, episodes.hedge_delta, episodes.features(problem.features)):
        assert series.isfinite().all()
    # Beyond the dates a year has a year of variance: the quoted vol means what it says.
    fresh = black_scholes(
        1, paths.spot[-1].numpy(), paths.spot[-1].numpy(), np.full(N, tenor), 0.3, 0.0, 0.0
    )
    np.testing.assert_allclose(episodes.price[-1, :, 0], fresh[0], rtol=1e-9)


def test_listed_dates_that_are_typed_in_round_to_the_calendars() -> None:
    """What a scenario accepts as a date is one: 12 months of a year, in eight digits."""
    calendar = {"kind": "uniform", "steps": 12, "days": 365}
    for tenor in (0.08333333, 1 / 12, 0.08333334):
        for instrument in ({"kind": "future"}, {"kind": "rolled-option"}):
            hedges = [instrument | {"tenor": tenor}]
            hedges += [] if instrument["kind"] == "future" else [UNDERLYING]
            _, episodes = drawn(scenario(*hedges, calendar=calendar))
            assert [date[0] for date in episodes.settles] == [False] + [True] * 12


# What is refused --------------------------------------------------------------------------------

MONDAY = {"kind": "trading-hours", "days": 5, "per_day": 2, "first_weekday": 0}
FRIDAY = MONDAY | {"first_weekday": 4}
WEEKDAYS = {"kind": "trading-days", "steps": 12}


@pytest.mark.parametrize(
    ("hedges", "changes", "words"),
    [
        ([future(2.5)], {}, ["hedges.0", "tenor 0.00684932", "falls between the dates", "choose"]),
        ([future(0.5)], {}, ["hedges.0", "tenor", "before the first step", "lengthen"]),
        (
            [future(3)],
            {"calendar": {"kind": "uniform", "steps": 12, "days": 12, "decide_every": 2}},
            ["hedges.0", "tenor", "falls between the dates"],
        ),
        ([rolled(days=2.5), UNDERLYING], {}, ["hedges.0", "tenor", "falls between"]),
        (
            [future(4)],
            {"calendar": WEEKDAYS},
            ["hedges.0", "tenor", "differ from path to path: choose a calendar"],
        ),
        ([future(1)], {"calendar": FRIDAY}, ["hedges.0", "tenor", "falls between the dates"]),
        # From open to close fits the first day alone: the next listing is at a close.
        (
            [future(6.5 / 24)],
            {"calendar": MONDAY},
            ["hedges.0", "tenor", "expiry", "falls between the dates"],
        ),
        (
            [rolled(days=1 + 6.5 / 24), UNDERLYING],
            {"calendar": MONDAY},
            ["hedges.0", "tenor", "expiry", "falls between the dates"],
        ),
        ([UNDERLYING, rolled()], {}, ["hedges", "options first", "last"]),
        ([rolled()], {}, ["hedges", "at least one underlying or future"]),
        ([UNDERLYING, future(4)], {}, ["assets [0, 0]", "keep one of them for each asset"]),
        ([UNDERLYING | {"asset": 1}], {}, ["hedges.0", "asset 1", "market of 1", "count from 0"]),
        ([future(4, asset=1)], {}, ["hedges.0", "asset 1", "market of 1"]),
        ([rolled(asset=2), UNDERLYING], {}, ["hedges.0", "asset 2", "market of 1"]),
        ([future(-1)], {}, ["tenor", "greater than 0"]),
        ([rolled(moneyness=0.0), UNDERLYING], {}, ["moneyness 0", "greater than 0"]),
        ([rolled(option="straddle"), UNDERLYING], {}, ["option", "straddle"]),
        (
            [
                {"kind": "listed-option", "option": {"kind": "american-put", "strike": 100.0}},
                UNDERLYING,
            ],
            {},
            ["hedges.0", "when to exercise", "European"],
        ),
        (
            [
                {"kind": "listed-option", "option": {"kind": "exchange"}},
                UNDERLYING,
                UNDERLYING | {"asset": 1},
            ],
            {"market": {"kind": "correlated-gbm", "others": [{}]}},
            ["hedges.0", "Exchange", "several assets", "list an option on one asset"],
        ),
    ],
    ids=lambda x: str(x)[:60],
)
def test_what_cannot_be_is_refused_in_one_line(
    hedges: list[Tree], changes: Tree, words: list[str]
) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario(*hedges, **changes)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_tenor_beyond_the_episode_is_never_rolled() -> None:
    problem = scenario(rolled(days=30), future(17.3))
    _, episodes = drawn(problem)
    assert episodes.arrival is None
    assert not any(any(date) for date in episodes.settles)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_rolled_option_in_sabr_is_the_listed_one(beta: float) -> None:
    """The second contract on a listing at the spot that each path has come to, by hand."""
    market = Sabr(alpha=0.2 * 100 ** (1 - beta), beta=beta, drift=0.1, rate=0.03)
    parts = load_scenario("short-call", {"calendar.days": "20", "calendar.steps": "20"})
    rolled = RolledOption(tenor=10 / 365)
    hedges = (Hedge(instrument=rolled), *parts.hedges)
    scenario = Scenario(
        **dict(parts) | {"market": market, "marking": ModelMarking(), "hedges": hedges}
    )
    times = scenario.calendar.times(1, torch.Generator())
    paths = market.simulate(times, 40, torch.Generator().manual_seed(3))
    price = mark(scenario, paths).price[..., 0]
    for j in (0, 7, 31):
        claim = Call(strike=float(paths.spot[10, j]), maturity=20 / 365)
        value = scenario.marking.value(claim, times[-1:, 0], market, paths).price
        torch.testing.assert_close(price[10:20, j], value[10:20, j], rtol=1e-9, atol=1e-9)

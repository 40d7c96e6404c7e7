"""Episodes: cash flows, settlements, carry and decision dates; marks are in test_marking.py."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deephedge.envs import Episodes, Outcome, Scenario, load_scenario, mark, rollout, simulate
from deephedge.envs.calendar import Calendar, TradingDaysCalendar, UniformCalendar
from deephedge.envs.costs import ProportionalCost
from deephedge.envs.hedger import Known
from deephedge.envs.instruments import Call, Leg, ListedOption, Position, Put, Underlying
from deephedge.envs.markets import GeometricBrownianMotion, MarketPaths, Merton
from deephedge.envs.objectives import CVaR
from deephedge.envs.part import Part
from deephedge.envs.pricing import ConstantVolMarking, black_scholes
from deephedge.envs.scenario import Hedge

VOL = 0.22
SHARE = Hedge(instrument=Underlying())
YEAR_IN_12 = UniformCalendar(steps=12, days=365)
SHORT_CALL = (Leg(quantity=-1.0, claim=Call(strike=100.0)),)
GREEKS = ("delta", "gamma", "vega", "theta")


def scenario(**parts: Any) -> Scenario:
    """A year of monthly steps, short a call at 100 marked at VOL, the share for free."""
    legs, premium = parts.pop("legs", SHORT_CALL), parts.pop("premium", "mark")
    defaults: dict[str, Any] = {
        "name": "test",
        "market": GeometricBrownianMotion(sigma=0.3),
        "calendar": YEAR_IN_12,
        "position": Position(legs=legs, premium=premium),
        "hedges": (SHARE,),
        "marking": ConstantVolMarking(vol=VOL),
        "objective": CVaR(level=0.9),
    }
    return Scenario(**(defaults | parts))


def by_kind(part: Part) -> str:
    return type(part).__name__


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def on(problem: Scenario, *spots: list[float]) -> Episodes:
    """The episodes of given spots, one list per path."""
    spot = torch.tensor(spots, dtype=torch.float64).T
    times = problem.calendar.times(len(spots), generator())
    vol = torch.full((1, 1), VOL, dtype=torch.float64)
    return mark(problem, MarketPaths(times=times, spot=spot, log_spot=spot.log(), implied_vol=vol))


class Holds:
    """Asks for the same holdings at every date."""

    name = "holds"

    def __init__(self, *holdings: float) -> None:
        self.holdings = holdings

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[NDArray[np.float64], None]:
        return np.tile(np.array(self.holdings, dtype=float), (len(known.spot), 1)), None


def run(problem: Scenario, episodes: Episodes, *holdings: float) -> Outcome:
    return rollout(problem, episodes, Holds(*holdings), record=True)


def worth(
    problem: Scenario,
    claim: Call | Put,
    episodes: Episodes,
    t: int,
    maturity: float,
) -> NDArray[np.float64]:
    """Black-Scholes of a claim at date t, by its own terms."""
    greeks = black_scholes(
        episodes.log_spot[t],
        claim.strike,
        maturity - episodes.times[t],
        torch.tensor(VOL, dtype=torch.float64),
        sign=claim.sign,
        rate=problem.market.rate,
        dividend=problem.market.dividend,
    )
    return np.asarray(greeks.price)


# The exact static hedge -------------------------------------------------------------------------


@pytest.mark.parametrize("liquidate", [False, True], ids=["kept", "liquidated"])
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    "maturity", [None, 1.0, 0.5, 1.7], ids=["at the end", "said to be the end", "inside", "beyond"]
)
@pytest.mark.parametrize("kind", [Call, Put])
def test_a_short_option_hedged_by_itself_costs_its_price_and_the_costs(
    kind: type[Call] | type[Put], maturity: float | None, every: int, liquidate: bool
) -> None:
    claim = kind(strike=103.0, maturity=maturity)
    option = Hedge(instrument=ListedOption(option=claim), costs=(ProportionalCost(rate=0.01),))
    problem = scenario(
        market=Merton(drift=0.1, rate=0.04, dividend=0.02),
        calendar=UniformCalendar(steps=12, days=365, decide_every=every),
        legs=(Leg(quantity=-2.0, claim=claim),),
        premium=25.0,
        hedges=(option, SHARE),
        liquidate=liquidate,
    )
    episodes = simulate(problem, 200, generator(1))
    outcome = run(problem, episodes, 2.0, 0.0)
    price = episodes.price[..., 0].numpy()
    assert np.ptp(outcome.cash_flow) > 1  # the claim itself is far from certain
    expected = (25.0 - 2 * price[0] * 1.01) * math.exp(0.04)
    charged = 2 * price[0] * 0.01
    if liquidate and maturity == 1.7:  # the only option left to sell
        expected = expected - 2 * price[-1] * 0.01
        charged = charged + 2 * price[-1] * 0.01
    np.testing.assert_allclose(outcome.pnl, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(outcome.cost, charged, rtol=1e-12)


def test_a_premium_of_the_mark_makes_the_hedged_deal_worth_nothing() -> None:
    claim = Put(strike=90.0)
    problem = scenario(
        legs=(Leg(quantity=3.0, claim=claim),),
        hedges=(Hedge(instrument=ListedOption(option=claim)), SHARE),
    )
    episodes = simulate(problem, 50, generator(2))
    outcome = run(problem, episodes, -3.0, 0.0)
    assert (outcome.premium < 0).all()  # a bought book is paid for
    np.testing.assert_allclose(outcome.premium, -episodes.mark[0], rtol=0)
    np.testing.assert_allclose(outcome.wealth, 0, atol=1e-12)


# Settlement -------------------------------------------------------------------------------------


def test_each_leg_settles_at_its_own_date_with_its_own_strike() -> None:
    calendar = UniformCalendar(steps=4, days=365)
    problem = scenario(
        market=GeometricBrownianMotion(rate=0.05),
        calendar=calendar,
        legs=(
            Leg(quantity=-2.0, claim=Call(strike=100.0, maturity=0.5)),
            Leg(quantity=1.0, claim=Put(strike=108.0, maturity=0.25)),
            Leg(quantity=-1.0, claim=Put(strike=95.0)),
        ),
        premium=10.0,
    )
    episodes = on(problem, [100, 104, 103, 120, 90], [100, 110, 97, 80, 99])
    flows = [[0, 0], [4, 0], [-2 * 3, 0], [0, 0], [-5, 0]]
    np.testing.assert_allclose(episodes.cash_flow, flows, atol=1e-12)
    assert episodes.pays == (False, True, True, False, True)
    outcome = run(problem, episodes, 0.0)
    # Cash earns 5 % from the day that it is paid.
    first = 10 * math.exp(0.05) + 4 * math.exp(0.0375) - 6 * math.exp(0.025) - 5
    np.testing.assert_allclose(outcome.pnl, [first, 10 * math.exp(0.05)], rtol=1e-12)
    np.testing.assert_allclose(outcome.cash_flow, [4 - 6 - 5, 0], atol=1e-12)


def test_a_cash_flow_between_decisions_waits_with_interest() -> None:
    problem = scenario(
        market=GeometricBrownianMotion(rate=0.08),
        calendar=UniformCalendar(steps=7, days=365, decide_every=3),
        legs=(
            Leg(quantity=-1.0, claim=Call(strike=100.0, maturity=1 / 7)),
            Leg(quantity=-1.0, claim=Call(strike=104.0, maturity=4 / 7)),
            Leg(quantity=1.0, claim=Call(strike=90.0, maturity=6 / 7)),
        ),
        premium=0.0,
    )
    episodes = on(problem, [100.0, 107.0, 90.0, 101.0, 109.0, 98.0, 95.0, 80.0])
    # Decisions at dates 0, 3 and 6; the end is 7.
    np.testing.assert_allclose(episodes.times[:, 0] * 7, [0, 3, 6, 7])
    np.testing.assert_allclose(episodes.spot[:, 0], [100, 101, 95, 80])
    flows = [0, -7 * math.exp(0.08 * 2 / 7), -5 * math.exp(0.08 * 2 / 7) + 5, 0]
    np.testing.assert_allclose(episodes.cash_flow[:, 0], flows, rtol=1e-12)
    # The waiting changes nothing: P&L is each payoff with interest from its own day.
    outcome = run(problem, episodes, 0.0)
    expected = -7 * math.exp(0.08 * 6 / 7) - 5 * math.exp(0.08 * 3 / 7) + 5 * math.exp(0.08 / 7)
    np.testing.assert_allclose(outcome.pnl, expected, rtol=1e-12)


def test_a_position_alive_at_the_end_is_closed_at_its_mark() -> None:
    legs = (
        Leg(quantity=-1.0, claim=Call(strike=100.0, maturity=1.5)),
        Leg(quantity=2.0, claim=Put(strike=90.0)),
    )
    problem = scenario(legs=legs, premium=0.0)
    episodes = simulate(problem, 20, generator(3))
    spot = episodes.spot[-1].numpy()
    alive = worth(problem, Call(strike=100.0), episodes, -1, 1.5)
    assert (alive > np.maximum(spot - 100, 0)).all()
    expected = 2 * np.maximum(90 - spot, 0) - alive
    np.testing.assert_allclose(episodes.cash_flow[-1], expected, rtol=1e-12)
    np.testing.assert_allclose(run(problem, episodes, 0.0).pnl, expected, rtol=1e-12)
    assert (episodes.mark[-1] == 0).all()


def test_a_listed_option_settles_once_and_cannot_be_held_after() -> None:
    option = ListedOption(option=Call(strike=95.0, maturity=0.5))
    fee = Hedge(instrument=option, costs=(ProportionalCost(rate=0.1),))
    problem = scenario(
        calendar=UniformCalendar(steps=4, days=365), hedges=(fee, SHARE), premium=0.0
    )
    episodes = on(problem, [100, 99, 101, 120, 130], [100, 99, 90, 120, 130])
    price = episodes.price[..., 0].numpy()
    assert price[2].tolist() == [6.0, 0.0]
    assert (price[3:] == 0).all()
    assert episodes.settles == (
        (False, False),
        (False, False),
        (True, False),
        *[(False, False)] * 2,
    )
    assert [episodes.settled(t)[0] for t in range(5)] == [False, False, True, True, True]
    for greek in (episodes.hedge_delta, episodes.hedge_gamma, episodes.hedge_vega):
        assert (greek[:2, :, 0] > 0).all()
        assert (greek[2:, :, 0] == 0).all()
    outcome = run(problem, episodes, 1.0, 0.0)  # asks for one option at every date
    assert outcome.holding[:, :, 0].tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    expected = np.array([6.0, 0.0]) - 1.1 * price[0] - 30
    np.testing.assert_allclose(outcome.pnl, expected, rtol=1e-12)
    np.testing.assert_allclose(outcome.cost, 0.1 * price[0], rtol=1e-12)
    np.testing.assert_allclose(outcome.trades, 1)


# Decision dates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("calendar", [YEAR_IN_12, TradingDaysCalendar(steps=12)], ids=by_kind)
def test_deciding_rarely_thins_the_same_episodes(calendar: Calendar) -> None:
    market = Merton(rate=0.04, dividend=0.02, intensity=20.0)
    daily = scenario(market=market, calendar=calendar)
    rarely = scenario(market=market, calendar=calendar.model_copy(update={"decide_every": 5}))
    fine, coarse = (simulate(problem, 40, generator(8)) for problem in (daily, rarely))
    at = [0, 5, 10, 12]
    assert (coarse.steps, fine.steps) == (3, 12)
    for name in ("times", "spot", "log_spot", "mark", "cash_flow", "price", *GREEKS):
        assert torch.equal(getattr(coarse, name), getattr(fine, name)[at]), name
    assert torch.equal(coarse.premium, fine.premium)
    jumps = [fine.jump[a + 1 : b + 1].sum(dim=0) for a, b in itertools.pairwise(at)]
    np.testing.assert_allclose(coarse.jump[1:], torch.stack(jumps), atol=1e-12)
    assert (coarse.jump[0] == 0).all()
    period = coarse.times.diff(dim=0).numpy()
    np.testing.assert_allclose(coarse.growth, np.expm1(0.04 * period), rtol=1e-12)


@pytest.mark.parametrize("steps", [0.4, 5.5, 7])
def test_maturities_between_dates_are_refused(steps: float) -> None:
    claim = Call(strike=100.0, maturity=steps / 12)
    listed = (Hedge(instrument=ListedOption(option=claim)), SHARE)
    calendar = UniformCalendar(steps=12, days=365, decide_every=5)
    with pytest.raises(
        ValueError, match=r"hedges\.0: maturity .* (falls between|before the first)"
    ):
        scenario(calendar=calendar, hedges=listed)
    leg = (Leg(quantity=1.0, claim=claim),)
    if steps == 7:  # a leg may settle between decisions
        scenario(calendar=calendar, legs=leg)
    else:
        with pytest.raises(ValueError, match=r"position\.legs\.0: maturity"):
            scenario(calendar=calendar, legs=leg)


@pytest.mark.parametrize("steps", [5, 10, 12, 12.7, 31])
def test_a_listed_option_may_settle_at_a_decision_or_the_end_or_outlive_it(steps: float) -> None:
    claim = Put(strike=100.0, maturity=steps / 12)
    listed = (Hedge(instrument=ListedOption(option=claim)), SHARE)
    problem = scenario(calendar=UniformCalendar(steps=12, days=365, decide_every=5), hedges=listed)
    settles = [date[0] for date in simulate(problem, 3, generator()).settles]
    assert settles == [False, steps == 5, steps == 10, steps == 12]


# Dividends, interest, numbers -------------------------------------------------------------------


def test_dividends_and_interest_accrue_on_what_is_held() -> None:
    rate, dividend = 0.06, 0.03
    market = GeometricBrownianMotion(drift=0.2, rate=rate, dividend=dividend)
    problem = scenario(market=market, premium=0.0)
    episodes = simulate(problem, 50, generator(9))
    difference = run(problem, episodes, 1.5).pnl - run(problem, episodes, 0.0).pnl
    spot, dt = episodes.spot.numpy(), 1 / 12
    cash = -1.5 * spot[0]
    for after in spot[1:]:
        cash = cash * math.exp(rate * dt) + 1.5 * after * math.expm1(dividend * dt)
    np.testing.assert_allclose(difference, cash + 1.5 * spot[-1], rtol=1e-10, atol=1e-10)
    plain = scenario()
    assert simulate(plain, 3, generator()).growth is None
    assert simulate(plain, 3, generator()).carry is None


def test_float32_episodes_are_the_same_to_its_digits() -> None:
    problem = load_scenario("book-jumps")
    exact = simulate(problem, 20, generator(10))
    paths = MarketPaths(
        times=problem.calendar.times(20, generator()),
        spot=exact.spot.float(),
        log_spot=exact.log_spot.float(),
        implied_vol=exact.vol.float(),
        jump=exact.jump.float(),
    )
    single = mark(problem, paths)
    for name in ("price", "mark", "cash_flow", "delta", "premium"):
        value = getattr(single, name)
        assert value.dtype == torch.float32
        np.testing.assert_allclose(value, getattr(exact, name), rtol=1e-4, atol=1e-3, err_msg=name)


def test_numpy_episodes_share_their_memory() -> None:
    episodes = simulate(scenario(), 5, generator())
    arrays = episodes.numpy()
    assert isinstance(arrays.spot, np.ndarray)
    arrays.spot[0, 0] = -1.0
    assert episodes.spot[0, 0] == -1.0
    assert (arrays.steps, arrays.paths) == (episodes.steps, episodes.paths) == (12, 5)


def test_data_of_any_number_of_dates_can_be_marked() -> None:
    problem = scenario()
    spot = torch.tensor([[100.0], [103.0], [99.0]], dtype=torch.float64)
    times = torch.tensor([[0.0], [0.1], [0.15]], dtype=torch.float64)
    vol = torch.full((1, 1), VOL, dtype=torch.float64)
    paths = MarketPaths(times=times, spot=spot, log_spot=spot.log(), implied_vol=vol)
    episodes = mark(problem, paths)
    assert episodes.steps == 2
    expected = -worth(problem, Call(strike=100.0), episodes, 1, 0.15)
    np.testing.assert_allclose(episodes.mark[1], expected, rtol=1e-12)

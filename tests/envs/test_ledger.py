"""The ledger: every line by hand, the identity, and the compounded cash flows told a second way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from deephedge.envs import Hedger, Outcome, Scenario, mark, parse_scenario, rollout, simulate
from deephedge.envs.costs import FixedCost, ProportionalCost
from deephedge.envs.desk import Desk
from deephedge.envs.instruments import Claim, EuropeanOption
from deephedge.envs.ledger import Account, Period, close, open_account, step
from deephedge.envs.markets import MarketPaths
from deephedge.envs.namespace import NUMPY, SCALAR
from deephedge.envs.pricing import ConstantVolMarking
from deephedge.envs.tape import Tape

Array = NDArray[np.float64]
N = 64
SEEDS = range(60)


def test_a_step_by_hand() -> None:
    """Short a call at 4; buy 0.5 shares at 100, sell 2 options at 3; one option settles at 1.5."""
    account = open_account(4.0, -4.0, 2)
    assert account == Account(cash=4.0, holding=(0.0, 0.0), wealth=0.0)
    costs = [[FixedCost(fee=0.25)], [ProportionalCost(rate=0.01)]]
    period = Period(
        price=(3.0, 100.0),
        next_price=(1.5, 104.0),
        carry=(0.0, 0.2),
        growth=0.1,
        cash_flow=-1.0,
        next_mark=-5.0,
        settles=(True, False),
    )
    account, entries = step(account, (-2.0, 0.5), period, costs, SCALAR)
    assert entries.trade == (-2.0, 0.5)
    assert entries.cost == 0.25 + 0.5
    assert entries.traded == 2 * 3.0 + 0.5 * 100.0
    cash = 4.0 + 2 * 3.0 - 0.5 * 100.0 - 0.75
    assert entries.interest == pytest.approx(0.1 * cash)
    assert entries.carry == pytest.approx(0.5 * 0.2)
    assert entries.gains == pytest.approx(-2 * (1.5 - 3.0) + 0.5 * 4.0)
    assert entries.cash_flow == -1.0
    assert account.cash == pytest.approx(1.1 * cash + 0.1 - 1.0 - 2 * 1.5)
    assert account.holding == (0.0, 0.5)
    assert account.wealth == pytest.approx(account.cash + 0.5 * 104.0 - 5.0)
    assert entries.pnl == pytest.approx(account.wealth)

    closed, closing = close(account, (0.0, 104.0), -5.0, costs, SCALAR)
    assert closing.cost == pytest.approx(0.01 * 0.5 * 104.0)
    assert closing.trade == (0.0, -0.5)
    assert closing.traded == 0.5 * 104.0
    assert closing.cash_flow == -5.0
    assert closed.holding == (0.0, 0.0)
    assert closed.cash == closed.wealth == pytest.approx(account.wealth - closing.cost)


def test_no_rate_no_carry_and_no_cash_flow_are_zero_lines() -> None:
    period = Period((100.0,), (101.0,), None, None, None, -2.0, None)
    account, entries = step(open_account(3.0, -2.0, 1), (1.0,), period, [[]], SCALAR)
    assert (entries.interest, entries.carry, entries.cash_flow, entries.cost) == (0, 0, 0, 0)
    assert entries.pnl == 1.0
    assert account.wealth == 2.0


def outcome_of(scenario: Scenario, hedger: Hedger, seed: int) -> tuple[MarketPaths, Outcome]:
    generator = torch.Generator().manual_seed(seed)
    times = scenario.calendar.times(N, generator)
    paths = scenario.market.simulate(times, N, generator)
    return paths, rollout(scenario, mark(scenario, paths), hedger, record=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_pnl_is_the_sum_of_its_lines(
    seed: int, random_scenario: Callable[..., Scenario], noise: Callable[[int], Hedger]
) -> None:
    _, outcome = outcome_of(random_scenario(seed), noise(seed), seed)
    lines = outcome.premium + outcome.gains + outcome.carry + outcome.interest
    lines = lines - outcome.cost + outcome.cash_flow
    assert outcome.pnl == pytest.approx(lines, rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_steps_and_day_one_sum_to_the_pnl(
    seed: int, random_scenario: Callable[..., Scenario], noise: Callable[[int], Hedger]
) -> None:
    scenario = random_scenario(seed, loss_limit=None)
    tape = Tape.of(simulate(scenario, N, torch.Generator().manual_seed(seed)))
    desk = Desk(scenario, NUMPY)
    account = desk.open(tape)
    day_one = tape.premium + tape.mark[0]
    assert (account.wealth == day_one).all()
    if scenario.position.premium == "mark":
        assert (day_one == 0).all()
    rng, total = np.random.default_rng(seed), day_one
    for t in range(tape.steps):
        target = tuple(rng.uniform(-2, 2, (len(scenario.hedges), N)))
        before = account
        dealt = desk.advance(account, target, tape, t, t == tape.steps - 1)
        account, lines = dealt.account, dealt.entries
        total = total + lines.pnl
        flows = lines.gains + lines.carry + lines.interest - lines.cost + lines.cash_flow
        change = (0.0 if t == tape.steps - 1 else tape.mark[t + 1]) - tape.mark[t]
        assert lines.pnl == pytest.approx(flows + change, rel=1e-9, abs=1e-10)
        assert account.wealth == pytest.approx(before.wealth + lines.pnl, rel=1e-9, abs=1e-10)
    assert account.wealth == pytest.approx(total, rel=1e-9, abs=1e-10)
    assert account.cash == pytest.approx(
        account.wealth - sum(h * p[-1] for h, p in zip(account.holding, tape.price, strict=True))
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_pnl_is_every_cash_flow_compounded_to_the_end(
    seed: int, random_scenario: Callable[..., Scenario], noise: Callable[[int], Hedger]
) -> None:
    """From the raw paths, the recorded holdings and the scenario's words alone."""
    scenario = random_scenario(seed, plain=True, loss_limit=None)
    paths, outcome = outcome_of(scenario, noise(seed), seed)
    expected = Retold(scenario, paths).pnl(outcome.holding)
    assert outcome.pnl == pytest.approx(expected, rel=1e-9, abs=1e-9)


class Retold:
    """The P&L as the sum of all cash flows with interest to the end; no code of the ledger."""

    def __init__(self, scenario: Scenario, paths: MarketPaths) -> None:
        self.scenario, self.market = scenario, scenario.market
        self.spot = paths.spot.numpy()
        self.times = np.broadcast_to(paths.times.numpy(), self.spot.shape)
        marking = scenario.marking
        constant = isinstance(marking, ConstantVolMarking)
        self.vol: Any = marking.vol if constant else paths.implied_vol.numpy()[0]
        self.future = np.exp(self.market.rate * (self.times[-1] - self.times))
        self.dates = [*range(0, scenario.calendar.steps, scenario.calendar.decide_every)]
        self.dates.append(scenario.calendar.steps)

    def settlement(self, claim: Claim) -> int | None:
        """The market date on which the claim pays, if it does."""
        if claim.maturity is None:
            return len(self.times) - 1
        due = np.flatnonzero(np.abs(self.times[:, 0] - claim.maturity) < 1e-9)
        return int(due[0]) if len(due) else None

    def value(self, claim: Claim, date: int) -> Array:
        """Black-Scholes on a market date."""
        assert isinstance(claim, EuropeanOption)
        spot, r, q = self.spot[date], self.market.rate, self.market.dividend
        maturity = self.times[-1] if claim.maturity is None else claim.maturity
        tau = np.maximum(maturity - self.times[date], 1e-300)
        s = self.vol * np.sqrt(tau)
        d1 = (np.log(spot / claim.strike) + (r - q) * tau) / s + s / 2
        forward = spot * np.exp(-q * tau) * ndtr(claim.sign * d1)
        owed = claim.strike * np.exp(-r * tau) * ndtr(claim.sign * (d1 - s))
        price: Array = claim.sign * (forward - owed)
        return price

    def payoff(self, claim: Claim, date: int) -> Array:
        assert isinstance(claim, EuropeanOption)
        return np.maximum(claim.sign * (self.spot[date] - claim.strike), 0)

    def position(self) -> Array:
        """Premium and what every leg pays, or is worth at the end."""
        position, total = self.scenario.position, np.zeros(self.spot.shape[1])
        premium = 0.0 if position.premium == "mark" else position.premium
        for leg in position.legs:
            date = self.settlement(leg.claim)
            paid: Any = self.value(leg.claim, -1) if date is None else None
            if date is not None:
                paid = self.payoff(leg.claim, date) * self.future[date]
            total = total + leg.quantity * paid
            if position.premium == "mark":
                premium = premium - leg.quantity * self.value(leg.claim, 0)
        total = total + premium * self.future[0]
        return total

    def charge(self, k: int, trade: Array, price: Array) -> Array:
        total, size = np.zeros(len(trade)), np.abs(trade)
        for cost in self.scenario.hedges[k].costs:
            terms = cost.model_dump()
            total += {
                "proportional": lambda c: c["rate"] * size * price,
                "fixed": lambda c: c["fee"] * (size > 0),
                "per-unit": lambda c: np.maximum(c["fee"] * size, c["minimum"]) * (size > 0),
                "quadratic": lambda c: c["rate"] * size**2 * price,
            }[terms["kind"]](terms)
        return total

    def pnl(self, holding: Array) -> Array:
        """With ``holding [T, N, K]`` over the periods between the decision dates."""
        total = self.position()
        for k in range(len(self.scenario.hedges)):
            total = total + self.instrument(k, holding[..., k])
        return total

    def instrument(self, k: int, holding: Array) -> Array:
        """What trading one instrument adds."""
        listed = self.scenario.listed
        underlying = k == len(listed)
        settles = None if underlying else self.settlement(listed[k])
        total, before = np.zeros(holding.shape[1]), np.zeros(holding.shape[1])
        for date, after, held in zip(self.dates, self.dates[1:], holding, strict=False):
            if settles is not None and date >= settles:
                assert (held == 0).all()
                continue
            price = self.spot[date] if underlying else self.value(listed[k], date)
            total -= ((held - before) * price + self.charge(k, held - before, price)) * (
                self.future[date]
            )
            if underlying:
                dt = self.times[after] - self.times[date]
                paid = np.expm1(self.market.dividend * dt) * self.spot[after]
                total += held * paid * self.future[after]
            before = held
            if settles == after:
                total += held * self.payoff(listed[k], after) * self.future[after]
                before = 0.0 * held
        price = self.spot[-1] if underlying else self.value(listed[k], -1)
        if settles is not None:
            return total
        closing = self.charge(k, before, price) if self.scenario.liquidate else 0.0
        return total + before * price - closing


def test_a_short_call_hedged_with_the_same_call_comes_to_minus_the_costs(
    scenario_with_listed_call: Scenario,
) -> None:
    """To the cent: an option that settled late, never, or at another price would show here."""

    class Static:
        name = "static"

        def start(self, n: int) -> None:
            return None

        def act(self, known: Any, state: None) -> tuple[Array, None]:
            return np.stack([np.ones(N), np.zeros(N)], -1), None

    paths, outcome = outcome_of(scenario_with_listed_call, Static(), 3)
    price = outcome.premium
    assert price[0] > 0.5
    cost = 0.01 * price
    assert outcome.cost == pytest.approx(cost, rel=1e-12)
    growth = np.exp(0.05 * 10 / 365)
    assert outcome.pnl == pytest.approx(-cost * growth, rel=1e-9)
    assert len(set(paths.spot[-1].tolist())) == N


@pytest.fixture
def scenario_with_listed_call() -> Scenario:
    call = {"kind": "call", "strike": 101.0}
    return parse_scenario(
        {
            "name": "same",
            "market": {"kind": "gbm", "sigma": 0.3, "rate": 0.05, "dividend": 0.02},
            "calendar": {"kind": "uniform", "days": 10, "steps": 10},
            "position": {"legs": [{"quantity": -1, "claim": call}]},
            "hedges": [
                {
                    "instrument": {"kind": "listed-option", "option": call},
                    "costs": [{"kind": "proportional", "rate": 0.01}],
                },
                {"instrument": {"kind": "underlying"}},
            ],
            "marking": {"kind": "black-scholes", "vol": 0.2},
            "liquidate": True,
            "objective": {"kind": "quadratic"},
        }
    )

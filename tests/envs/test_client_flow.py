"""Client flow: the orders' law, the hedger's income, the books."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from deephedge.baselines import DeltaHedge, NoHedge, parse_baseline
from deephedge.envs import (
    Episodes,
    Scenario,
    ScenarioError,
    mark,
    parse_scenario,
    rollout,
    simulate,
)
from deephedge.envs.client_orders import Orders, draw_orders
from deephedge.envs.pricing import black_scholes
from deephedge.experiments.reports.facts import facts

Tree = dict[str, Any]
DAY = 1 / 365
VOL = torch.tensor(0.3, dtype=torch.float64)
FLOW: Tree = {"intensity": 365.0, "size": 10.0, "buys": 0.3, "tenor": [30 * DAY]}


def scenario(flow: Tree | None, **changes: Any) -> Scenario:
    """Clients alone, 10 days in 10 steps."""
    legs = [] if flow else [{"quantity": -1.0, "claim": {"kind": "call", "strike": 100.0}}]
    tree: Tree = {
        "name": "flow",
        "market": {"kind": "gbm", "sigma": 0.3},
        "calendar": {"kind": "uniform", "steps": 10, "days": 10},
        "position": {"legs": legs, "flow": flow},
        "hedges": [{"instrument": {"kind": "underlying"}}],
        "marking": {"kind": "market-vol"},
        "objective": {"kind": "quadratic"},
    }
    return parse_scenario(tree | changes)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def orders(problem: Scenario, n: int, seed: int = 1) -> Orders:
    """The orders that `simulate` deals with the same seed."""
    source = generator(seed)
    times = problem.calendar.times(n, source)
    spot = problem.market.simulate(times, n, source).spot
    drawn = draw_orders(problem.position.flow, times, spot, source)
    assert drawn is not None
    return drawn


def test_orders_arrive_as_a_poisson_process_of_either_side() -> None:
    """Counts of a date against the Poisson law; sides, dates and choices are independent."""
    flow = FLOW | {"moneyness": [0.9, 1.1], "tenor": [30 * DAY, 60 * DAY]}
    drawn = orders(scenario(flow), 20_000)
    assert drawn.choices == ((0.9, 30 * DAY), (0.9, 60 * DAY), (1.1, 30 * DAY), (1.1, 60 * DAY))
    assert not drawn.sold[[0, -1]].any() and not drawn.bought[[0, -1]].any()
    for side, probability in ((drawn.sold, 0.3), (drawn.bought, 0.7)):
        one, whole = side[5, 1] / 10, side[1:-1].sum(dim=(0, 1)) / 10
        for counts, mean in ((one, probability / 4), (whole, 9 * probability)):
            seen = np.bincount(counts.numpy().astype(int), minlength=30)[:30]
            expected = 20_000 * stats.poisson.pmf(np.arange(30), mean)
            kept = expected > 5
            chi = ((seen - expected)[kept] ** 2 / expected[kept]).sum()
            assert chi < stats.chi2.ppf(0.9999, kept.sum() - 1)
    one = torch.stack([drawn.sold[3, 0], drawn.bought[3, 0], drawn.sold[4, 0], drawn.sold[3, 2]])
    off = np.corrcoef(one.numpy())[np.triu_indices(4, 1)]
    assert np.abs(off).max() < 4 / np.sqrt(20_000)


def test_the_income_is_the_spread_times_the_traded_mark() -> None:
    """Exactly: against Black-Scholes of every deal; nothing else of the episodes moves."""
    n, spread = 200, 0.05
    with_, without = (
        simulate(scenario(FLOW | {"spread": s}), n, generator()) for s in (spread, 0.0)
    )
    drawn, spot = orders(scenario(FLOW), n), without.spot
    tau = torch.tensor(30 * DAY, dtype=torch.float64)
    unit = black_scholes(torch.zeros(1, dtype=torch.float64), 1.0, tau, VOL, sign=1)
    worth = (drawn.sold + drawn.bought)[:, 0] * spot * unit.price
    torch.testing.assert_close(
        with_.cash_flow - without.cash_flow, spread * worth, rtol=1e-12, atol=1e-10
    )
    for name in ("mark", "delta", "gamma", "vega", "theta", "spot", "premium"):
        assert torch.equal(getattr(with_, name), getattr(without, name))


def test_the_book_is_the_sum_of_its_deals() -> None:
    """Marks, Greeks and cash against Black-Scholes of every deal, strike by strike."""
    n = 50
    problem = scenario(FLOW | {"moneyness": [1.05], "option": "put"})
    episodes, drawn = simulate(problem, n, generator()), orders(problem, n)
    net = (drawn.bought - drawn.sold)[:, 0]
    spot, times = episodes.spot, episodes.times[:, 0]
    sums = torch.zeros((5, 11, n), dtype=torch.float64)
    cash = torch.zeros((11, n), dtype=torch.float64)
    for row in range(1, 10):
        strike = 1.05 * spot[row]
        for t in range(row, 11):
            tau = times[row] + 30 * DAY - times[t]
            one = black_scholes(torch.log(spot[t] / strike), 1.0, tau, VOL, sign=-1)
            units = (strike, 1.0, 1 / strike, strike, strike)
            for k, (greek, unit) in enumerate(zip(one, units, strict=False)):
                sums[k, t] += net[row] * greek * unit
            if t == row:
                cash[row] -= net[row] * one.price * strike
    cash[-1] += sums[0, -1]
    sums[0, -1] = 0.0
    found = [getattr(episodes, name) for name in ("mark", "delta", "gamma", "vega", "theta")]
    for ours, expected in zip(found, sums, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(episodes.cash_flow, cash, rtol=1e-9, atol=1e-9)
    assert episodes.pays[1:] == (True,) * 10


@pytest.mark.parametrize("tenor", [3, 30], ids=["expires", "outlives"])
@pytest.mark.parametrize("every", [1, 3])
def test_the_books_balance_and_a_fair_flow_earns_nothing(tenor: int, every: int) -> None:
    """The identity to 1e-9; E[P&L] = 0 in a martingale market, unhedged and hedged alike."""
    problem = scenario(
        FLOW | {"tenor": [tenor * DAY], "size": 1.0},
        market={"kind": "gbm", "sigma": 0.3, "rate": 0.05, "drift": 0.05},
        calendar={"kind": "uniform", "steps": 9, "days": 9, "decide_every": every},
        hedges=[{"instrument": {"kind": "underlying"}}],
    )
    episodes = simulate(problem, 20_000, generator())
    for rule in (NoHedge(), DeltaHedge()):
        out = rollout(problem, episodes, rule)
        lines = out.premium + out.gains + out.carry + out.interest - out.cost + out.cash_flow
        np.testing.assert_allclose(out.pnl, lines, atol=1e-9)
        assert abs(out.pnl.mean()) < 4 * out.pnl.std() / np.sqrt(20_000)
    hedged = rollout(problem, episodes, DeltaHedge()).pnl.std()
    assert hedged < 0.6 * rollout(problem, episodes, NoHedge()).pnl.std()


def test_an_expired_deal_is_paid_and_gone() -> None:
    """With a tenor of three days the book of day t holds the deals of the last three days."""
    problem = scenario(FLOW | {"tenor": [3 * DAY]})
    episodes, drawn = simulate(problem, 300, generator()), orders(problem, 300)
    net, spot = (drawn.bought - drawn.sold)[:, 0], episodes.spot
    quiet = (net[-4:] == 0).all(dim=0)
    assert quiet.any() and not episodes.mark[-2, quiet].any()
    tau = torch.tensor(3 * DAY, dtype=torch.float64)
    unit = black_scholes(torch.zeros(1, dtype=torch.float64), 1.0, tau, VOL, sign=1)
    paid = net[4] * (spot[7] - spot[4]).clamp(min=0) - net[7] * spot[7] * unit.price
    torch.testing.assert_close(episodes.cash_flow[7], paid, rtol=1e-9, atol=1e-9)


def test_the_market_is_the_same_with_and_without_clients() -> None:
    """The flow draws after the market; without it no number of an episode moves."""
    legs = [{"quantity": -1.0, "claim": {"kind": "call", "strike": 100.0}}]
    plain, served = scenario(None), scenario(FLOW, position={"legs": legs, "flow": FLOW})
    a, b = (simulate(problem, 64, generator()) for problem in (plain, served))
    assert torch.equal(a.spot, b.spot) and torch.equal(a.mark[0], b.mark[0])
    assert not torch.equal(a.mark, b.mark)
    source = generator()
    times = plain.calendar.times(64, source)
    paths = plain.market.simulate(times, 64, source)
    again = mark(plain, paths)
    for field in fields(Episodes):
        first, second = getattr(a, field.name), getattr(again, field.name)
        if isinstance(first, torch.Tensor):
            assert torch.equal(first, second), field.name
    # On given paths, such as data's, orders come from a generator too, or else from a fixed seed.
    assert torch.equal(mark(served, paths).mark, mark(served, paths).mark)
    assert torch.equal(mark(served, paths, source).mark, b.mark)


def test_the_size_is_that_of_the_open_book() -> None:
    """About one deviation of the net options open in the long run, plus the legs."""
    problem = scenario(
        FLOW | {"buys": 0.5, "tenor": [9 * DAY]},
        calendar={"kind": "uniform", "steps": 40, "days": 40},
    )
    drawn = orders(problem, 4000)
    opened = (drawn.bought - drawn.sold)[20:29, 0].sum(dim=0)
    assert float(opened.std()) == pytest.approx(problem.position.size, rel=0.05)
    assert problem.position.size == pytest.approx(30.0)
    assert problem.contract.size == problem.position.size


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ({"tenor": [2.5 * DAY]}, "expires between two dates"),
        ({"asset": 1}, "position.flow: asset 1 in a market of 1"),
        ({"buys": 1.5}, "position.flow.buys 1.5"),
        ({"intensity": 0.0}, "position.flow.intensity 0.0"),
    ],
)
def test_what_cannot_be_is_refused(flow: Tree, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        scenario(FLOW | flow)


@pytest.mark.parametrize("rule", ["leland", "local-risk", "super-replication", "optimal"])
def test_rules_that_know_only_legs_say_so(rule: str) -> None:
    market = {"kind": "merton" if rule == "local-risk" else "gbm"}
    problem = scenario(FLOW, objective={"kind": "entropic", "aversion": 0.1}, market=market)
    reason = parse_baseline(rule).refusal(problem)
    assert reason is not None and "flow" in reason
    assert any("client flow" in line for _, lines in facts(problem) for line in lines)

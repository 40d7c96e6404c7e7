"""The position along the paths: sums over legs and assets, and options that are exercised early."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deephedge.baselines import DeltaHedge
from deephedge.envs import Episodes, Scenario, mark, parse_scenario, rollout
from deephedge.envs.instruments import AmericanPut
from deephedge.envs.markets import MarketPaths
from deephedge.envs.pricing.american import exercise_boundary
from deephedge.envs.valuation import value

Array = NDArray[np.float64]
Tree = dict[str, Any]
DAY = 1 / 365
PUT: Tree = {"kind": "american-put", "strike": 100.0}
MARKET: Tree = {"kind": "gbm", "sigma": 0.3, "rate": 0.1, "drift": 0.1}


def scenario(*legs: tuple[float, Tree], **changes: Any) -> Scenario:
    """A book hedged with the underlying at no cost, 20 days in 20 steps."""
    tree: Tree = {
        "name": "book",
        "market": MARKET,
        "calendar": {"kind": "uniform", "steps": 20, "days": 20},
        "position": {"legs": [{"quantity": q, "claim": claim} for q, claim in legs]},
        "hedges": [{"instrument": {"kind": "underlying"}}],
        "marking": {"kind": "market-vol"},
        "objective": {"kind": "quadratic"},
    }
    return parse_scenario(tree | changes)


def drawn(problem: Scenario, n: int = 500, seed: int = 1) -> tuple[MarketPaths, Episodes]:
    generator = torch.Generator().manual_seed(seed)
    times = problem.calendar.times(n, generator)
    paths = problem.market.simulate(times, n, generator)
    return paths, mark(problem, paths)


def first_exercise(spot: Array, maturity: int, *, outlives: bool = False) -> Array:
    """The day on which the holder exercises or the put expires ``[N]``, from the boundary alone."""
    left = torch.arange(maturity, -1, -1, dtype=torch.float64)[: len(spot), None] * DAY
    vol = torch.full((1, 1), 0.3, dtype=torch.float64)
    edge = exercise_boundary(100.0, left, vol, 0.1, 0.0).numpy()
    taken = spot[: maturity + 1] <= edge
    taken[0] = False
    if not outlives:
        taken[maturity] = True
    return np.where(taken.any(axis=0), taken.argmax(axis=0), len(spot))


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("maturity", [20, 15, 30], ids=["end", "inside", "outlives"])
def test_an_american_put_is_paid_once_at_its_first_exercise(every: int, maturity: int) -> None:
    """From the boundary and the spots alone; carried with interest to the next decision date."""
    claim = PUT | {} if maturity == 20 else PUT | {"maturity": maturity * DAY}
    problem = scenario(
        (-2.0, claim),
        calendar={"kind": "uniform", "steps": 20, "days": 20, "decide_every": every},
        market=MARKET | {"spot": 97.0},
    )
    paths, episodes = drawn(problem)
    spot = paths.spot.numpy()
    date = first_exercise(spot, maturity, outlives=maturity > 20)
    early = date < min(maturity, 20)
    assert 0.2 < early.mean() < 0.95
    dates = np.array([*range(0, 20, every), 20])
    paid = np.zeros((len(dates), 500))
    marks = (-2 * value(problem, AmericanPut.model_validate(claim), paths).price).numpy()[dates]
    for j, day in enumerate(date):
        if day > 20:  # it lives on: closed out at its mark
            paid[-1, j] = marks[-1, j]
            continue
        row = np.flatnonzero(dates >= day)[0]
        amount = -2 * max(100 - spot[day, j], 0)
        paid[row, j] = amount * np.exp(0.1 * (dates[row] - day) * DAY)
    np.testing.assert_allclose(episodes.cash_flow, paid, atol=1e-10)
    assert all(pays or (row == 0).all() for pays, row in zip(episodes.pays, paid, strict=True))

    alive = dates[:, None] < np.minimum(date, 20)
    series = ("mark", "delta", "gamma", "vega", "theta")
    for name in series:
        after = getattr(episodes, name).numpy()[~alive]
        assert (after[: len(after)] == 0).all() or (maturity > 20 and name != "mark"), name
    np.testing.assert_allclose(episodes.mark.numpy()[alive], marks[alive], atol=1e-10)
    live = episodes.delta.numpy()[alive]
    assert (live[dates[0] :] >= 0).all()
    assert live.max() > 1.5


def test_it_is_not_exercised_on_the_day_it_is_sold() -> None:
    """Deep in the money it is marked at its payoff, and paid on the next date."""
    problem = scenario((-1.0, PUT), market=MARKET | {"spot": 60.0})
    paths, episodes = drawn(problem)
    assert episodes.mark[0].numpy() == pytest.approx(np.full(500, -40.0))
    assert (episodes.delta[0] == 1).all()
    assert (episodes.cash_flow[0] == 0).all()
    np.testing.assert_allclose(episodes.cash_flow[1], paths.spot[1] - 100)
    assert (episodes.cash_flow[2:] == 0).all()
    assert (episodes.mark[1:] == 0).all()


@pytest.mark.parametrize(
    ("every", "spot"), [pytest.param(1, 95.0, marks=pytest.mark.slow), (5, 102.0)]
)
def test_what_is_paid_is_worth_the_premium(every: int, spot: float) -> None:
    """Under the pricing measure. Exercise on 40 dates only loses its holder a little.

    The loss is of the order of the premium of early exercise over the steps: at most a day's
    interest on the strike here, 100 x 0.1 / 365 = 0.03, and on no account negative.
    """
    problem = scenario(
        (-1.0, PUT),
        market=MARKET | {"spot": spot},
        calendar={"kind": "uniform", "steps": 40, "days": 40, "decide_every": every},
    )
    _, episodes = drawn(problem, 40_000)
    discount = torch.exp(-0.1 * episodes.times)
    paid = -(episodes.cash_flow * discount).sum(dim=0)
    error = float(paid.std()) / 200
    bias = float(episodes.premium.mean() - paid.mean())
    assert -4 * error < bias < 4 * error + 0.03
    assert 4 * error < 0.02 * float(episodes.premium.mean()) + 0.08


def test_a_hedged_american_put_comes_to_little() -> None:
    """The holder goes and so does the hedge: the account stands still but for interest."""
    problem = scenario(
        (-1.0, PUT), calendar={"kind": "uniform", "steps": 160, "days": 40}, market=MARKET
    )
    _, episodes = drawn(problem, 2000)
    outcome = rollout(problem, episodes, DeltaHedge(), record=True)
    unhedged = -(episodes.cash_flow * torch.exp(0.1 * (40 * DAY - episodes.times))).sum(dim=0)
    error = outcome.pnl.std() / 2000**0.5
    assert abs(outcome.pnl.mean()) < 4 * error + 0.02
    assert outcome.pnl.std() < 0.12 * float(unhedged.std())
    gone = (episodes.mark[:-1] == 0).numpy()
    assert np.abs(outcome.holding[..., 0][gone]).max() < 1e-6
    assert gone[1:].any()


def test_legs_live_and_die_by_themselves() -> None:
    """A book is the sum of its legs held alone, an early exercise among them."""
    legs: list[tuple[float, Tree]] = [
        (-1.0, PUT),
        (2.0, {"kind": "call", "strike": 101.0, "maturity": 8 * DAY}),
        (-0.5, {"kind": "barrier-put", "strike": 99.0, "barrier": 90.0} | KNOCK_IN),
        (1.5, {"kind": "put", "strike": 95.0, "maturity": 40 * DAY}),
        (-3.0, PUT | {"strike": 97.0, "maturity": 12 * DAY}),
    ]
    calendar = {"kind": "uniform", "steps": 20, "days": 20, "decide_every": 3}
    paths, book = drawn(scenario(*legs, calendar=calendar))
    alone = [mark(scenario(leg, calendar=calendar), paths) for leg in legs]
    for name in ("mark", "cash_flow", "premium", "delta", "gamma", "vega", "theta"):
        total = sum(getattr(one, name) for one in alone)
        np.testing.assert_allclose(getattr(book, name), total, atol=1e-10, err_msg=name)
    either = [any(dates) for dates in zip(*[one.pays for one in alone], strict=True)]
    assert list(book.pays) == either


KNOCK_IN: Tree = {"direction": "down", "knock": "in"}


def test_deltas_to_each_asset_add_up_and_end_with_their_leg() -> None:
    """Two exchange options the other way round, calls on either asset, a basket of both."""
    market: Tree = {
        "kind": "correlated-gbm",
        "sigma": 0.3,
        "others": [{"spot": 90.0, "sigma": 0.2, "dividend": 0.03}],
        "correlation": 0.4,
        "rate": 0.05,
    }
    legs: list[tuple[float, Tree]] = [
        (-1.0, {"kind": "exchange", "maturity": 7 * DAY}),
        (0.5, {"kind": "exchange", "asset": 1, "other": 0}),
        (2.0, {"kind": "call", "strike": 90.0, "asset": 1, "maturity": 12 * DAY}),
        (-1.0, {"kind": "put", "strike": 100.0}),
        (-2.0, {"kind": "basket-call", "strike": 95.0, "weights": [0.5, 0.5], "asset": 1}),
    ]
    hedges = [{"instrument": {"kind": "underlying", "asset": j}} for j in (0, 1)]
    given: Tree = {"market": market, "hedges": hedges}
    paths, book = drawn(scenario(*legs, **given))
    alone = [mark(scenario(leg, **given), paths) for leg in legs]
    for name in ("mark", "cash_flow", "delta", "gamma", "vega", "theta"):
        total = sum(getattr(one, name) for one in alone)
        np.testing.assert_allclose(getattr(book, name), total, atol=1e-10, err_msg=name)
    second = sum(one.other_deltas[0] for one in alone)
    np.testing.assert_allclose(book.other_deltas[0], second, atol=1e-12)
    one, other, call, put, _ = alone
    assert (one.delta[:7] < 0).all()
    assert (one.other_deltas[0][:7] > 0).all()
    assert (other.delta[:20] < 0).all()
    assert (call.delta == 0).all()
    assert (put.other_deltas[0] == 0).all()
    for ended, day in ((one, 7), (call, 12)):
        assert (ended.delta[day:] == 0).all()
        assert (ended.other_deltas[0][day:] == 0).all()
        assert (ended.mark[day:] == 0).all()
    # What is paid, by hand.
    first, second_spot = paths.spot.numpy(), paths.others[0].spot.numpy()
    np.testing.assert_allclose(one.cash_flow[7], -np.maximum(first[7] - second_spot[7], 0))
    np.testing.assert_allclose(
        other.cash_flow[20], 0.5 * np.maximum(second_spot[20] - first[20], 0)
    )
    np.testing.assert_allclose(call.cash_flow[12], 2 * np.maximum(second_spot[12] - 90, 0))


@pytest.mark.parametrize("maturity", [0.08333333, 0.08333334])
@pytest.mark.parametrize("kind", ["call", "asian-call", "american-put", "digital-call"])
def test_a_maturity_that_is_typed_in_is_the_calendars_date(kind: str, maturity: float) -> None:
    """A month in eight digits: the scenario accepts it, so it is paid on that very date."""
    calendar = {"kind": "uniform", "steps": 12, "days": 365}
    claim = {"kind": kind, "strike": 100.0}
    typed = scenario((-1.0, claim | {"maturity": maturity}), calendar=calendar)
    exact = scenario((-1.0, claim | {"maturity": 1 / 12}), calendar=calendar)
    paths, episodes = drawn(typed, 50)
    other = mark(exact, paths)
    for name in ("mark", "cash_flow", "delta", "gamma"):
        np.testing.assert_allclose(
            getattr(episodes, name), getattr(other, name), atol=1e-7, err_msg=name
        )
    assert episodes.pays[1]
    assert (episodes.mark[1:] == 0).all()

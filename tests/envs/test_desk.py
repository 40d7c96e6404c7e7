"""The desk: limits, settlements, the loss limit and liquidation, the same on floats and arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.envs import Scenario, load_scenario, simulate
from deephedge.envs.desk import Dealt, Desk
from deephedge.envs.ledger import Account
from deephedge.envs.namespace import NUMPY, SCALAR
from deephedge.envs.tape import Tape

N = 64


def tape_of(scenario: Scenario, paths: int = N, seed: int = 1) -> Tape:
    return Tape.of(simulate(scenario, paths, torch.Generator().manual_seed(seed)))


def play(scenario: Scenario, tape: Tape, targets: list[Any]) -> list[Dealt]:
    """Every step's deal when ``targets[t]`` is asked for, ``K`` numbers or arrays."""
    desk = Desk(scenario, NUMPY)
    account, deals = desk.open(tape), []
    for t, target in enumerate(targets):
        wanted = tuple(np.broadcast_to(x, tape.mark.shape[1:]) for x in target)
        deals.append(desk.advance(account, wanted, tape, t, t == tape.steps - 1))
        account = deals[-1].account
    return deals


def call(**changes: str) -> Scenario:
    short = {"calendar.steps": "4", "calendar.days": "4"}
    return load_scenario(
        "short-call", short | {k.replace("__", "."): v for k, v in changes.items()}
    )


def test_what_is_asked_for_is_held_at_once_and_paid_at_todays_price() -> None:
    scenario = call()
    tape = tape_of(scenario)
    first, second, *_ = play(scenario, tape, [[0.5], [0.8], [0.8], [0.8]])
    assert (first.account.holding[0] == 0.5).all()
    cost = 0.002 * 0.5 * tape.price[0][0]
    assert first.account.cash == pytest.approx(tape.premium - 0.5 * tape.price[0][0] - cost)
    assert first.entries.gains == pytest.approx(0.5 * (tape.price[0][1] - tape.price[0][0]))
    assert second.entries.trade[0] == pytest.approx(np.full(N, 0.3))
    assert second.entries.cost == pytest.approx(0.002 * 0.3 * tape.price[0][1])


def test_a_premium_other_than_the_mark_is_a_pnl_of_day_one() -> None:
    scenario = call(position__premium="5")
    tape = tape_of(scenario)
    account = Desk(scenario, NUMPY).open(tape)
    assert account.cash == pytest.approx(np.full(N, 5.0))
    assert account.wealth == pytest.approx(5.0 + tape.mark[0])
    assert (Desk(call(), NUMPY).open(tape_of(call())).wealth == 0).all()


@pytest.mark.parametrize("liquidate", [False, True])
def test_liquidation_at_the_end_is_explicit(liquidate: bool) -> None:
    scenario = call(liquidate=str(liquidate))
    tape = tape_of(scenario)
    deals = play(scenario, tape, [[0.5]] * 4)
    last, spot = deals[-1], tape.price[0][-1]
    assert all((deal.entries.cost == 0).all() for deal in deals[1:-1])
    if liquidate:
        assert last.entries.cost == pytest.approx(0.002 * 0.5 * spot)
        assert (last.entries.closing[0] == -0.5).all()  # type: ignore[index]
        assert (last.account.holding[0] == 0).all()
        assert (last.account.wealth == last.account.cash).all()
    else:
        assert (last.entries.cost == 0).all()
        assert last.entries.closing is None
        assert (last.account.holding[0] == 0.5).all()
        assert last.account.wealth == pytest.approx(last.account.cash + 0.5 * spot)


def test_what_the_limits_take_away_is_reported() -> None:
    scenario = call(hedges__0__limits="{lower: -0.5, upper: 0.6, max_trade: 0.4}")
    desk = Desk(scenario, NUMPY)
    deals = play(scenario, tape_of(scenario), [[0.9], [0.9], [-5.0], [0.0]])
    assert [deal.held[0][0] for deal in deals] == pytest.approx([0.4, 0.6, 0.2, 0.0])
    assert [desk.clipped(deal)[0] for deal in deals] == pytest.approx([0.5, 0.3, 5.2, 0.0])


def test_a_settled_option_is_paid_out_and_cannot_be_held_again() -> None:
    option = (
        "{kind: listed-option, option: {kind: put, strike: 100, maturity: 0.00547945205479452}}"
    )
    scenario = call(hedges=f"[{{instrument: {option}}}, {{instrument: {{kind: underlying}}}}]")
    tape, desk = tape_of(scenario), Desk(scenario, NUMPY)
    deals = play(scenario, tape, [[2.0, 0.0]] * 4)
    payoff = np.maximum(100 - tape.price[-1][2], 0)
    assert [(deal.held[0] == 2).all() for deal in deals] == [True, True, False, False]
    assert [(deal.account.holding[0] == 0).all() for deal in deals] == [False, True, True, True]
    assert deals[1].account.cash - deals[0].account.cash == pytest.approx(2 * payoff)
    assert [desk.clipped(deal)[0] for deal in deals] == [0, 0, 2, 2]
    assert (deals[2].entries.trade[0] == 0).all()


LIMIT = 1.0


@pytest.mark.parametrize("liquidate", [False, True])
def test_the_loss_limit_stops_and_liquidates(liquidate: bool) -> None:
    """On the date on which the marked loss reaches it, at the holding's price less cost."""
    limited = call(loss_limit=str(LIMIT), liquidate=str(liquidate))
    free, tape = call(), tape_of(call(), 400)
    targets = [[-1.0]] * 4
    going = np.ones(400, dtype=bool)  # accounts of stopped episodes are the caller's to put away
    for t, (one, other) in enumerate(
        zip(play(limited, tape, targets), play(free, tape, targets), strict=True)
    ):
        assert (one.stopped == (other.account.wealth <= -LIMIT))[going].all()
        sold = going & (one.stopped | (liquidate and t == 3))
        cost = np.where(sold, 0.002 * tape.price[0][t + 1], 0.0)
        expected = other.account.wealth - cost
        assert one.account.wealth[going] == pytest.approx(expected[going])
        assert one.entries.cost[going] == pytest.approx((other.entries.cost + cost)[going])
        assert (one.account.holding[0] == np.where(sold, 0.0, -1.0))[going].all()
        closed = other.entries.cash_flow + np.where(sold, tape.mark[t + 1], 0.0)
        assert one.entries.cash_flow[going] == pytest.approx(closed[going])
        going &= ~one.stopped
    assert 50 < going.sum() < 350


def test_options_are_set_first_and_the_underlying_closes_the_delta_of_both() -> None:
    changes = {"view.action": "{kind: residual}", "hedges.0.limits": "{upper: 0.1}"}
    scenario = load_scenario("gamma-hedge-jumps", changes)
    tape, desk = tape_of(scenario), Desk(scenario, NUMPY)
    account = desk.open(tape)
    action = (np.full(N, 0.5), np.zeros(N))
    option, underlying = desk.targets(action, account, tape, 3)
    assert option == pytest.approx(np.full(N, 0.15))  # the reach of 0.3, from a holding of 0
    limited = 0.1  # what will really be held
    assert underlying == pytest.approx(-tape.delta[0][3] - limited * tape.option_delta[0][3])
    (neutral,) = desk.neutral(tape, 3, (option,))
    assert neutral == pytest.approx(-tape.delta[0][3] - option * tape.option_delta[0][3])


@pytest.mark.parametrize("seed", range(40))
def test_a_path_on_floats_is_the_same_path_on_arrays(
    seed: int, random_scenario: Callable[..., Scenario]
) -> None:
    """Bit for bit: actions, limits, ledger, loss limit and own features."""
    scenario = random_scenario(seed)
    tape = tape_of(scenario, 3, seed)
    arrays, floats = Desk(scenario, NUMPY), Desk(scenario, SCALAR)
    rng = np.random.default_rng(seed)
    width = len(scenario.hedges) * scenario.view.action.width
    actions = rng.uniform(-1, 1, (tape.steps, width, 3))
    for j in range(3):
        path = tape.path(j)
        many, one = arrays.open(tape), floats.open(path)
        for t in range(tape.steps):
            last = t == tape.steps - 1
            wanted = arrays.targets(tuple(actions[t]), many, tape, t)
            target = floats.targets(tuple(actions[t, :, j].tolist()), one, path, t)
            assert [x[j] for x in wanted] == list(target)
            both = arrays.advance(many, wanted, tape, t, last)
            deal = floats.advance(one, target, path, t, last)
            assert bits(both, j) == bits(deal, None)
            assert [x[j] for x in arrays.own_columns(both.account, tape, t + 1)] == (
                floats.own_columns(deal.account, path, t + 1)
            )
            many, one = both.account, deal.account


def bits(dealt: Dealt, j: int | None) -> list[Any]:
    """Every number of a deal; of path ``j`` when it is of arrays."""
    numbers: list[Any] = []
    account: Account = dealt.account
    values = [account.cash, *account.holding, account.wealth, *dealt.held, dealt.stopped]
    for value in [*values, *dealt.entries]:
        parts = value if isinstance(value, tuple) else (value,)
        numbers += [x[j] if isinstance(x, np.ndarray) else x for x in parts]
    return numbers

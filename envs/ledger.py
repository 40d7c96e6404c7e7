"""The ledger: the only place where money moves, written once for floats, NumPy and torch.

Sums over the K instruments are ordered additions, so that every face adds in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add, mul, sub
from typing import NamedTuple

from .costs import Cost, total_cost
from .namespace import Namespace, X


class Account(NamedTuple):
    """What is owned between two dates.

    ``wealth`` is cash plus holdings at mid plus the position's mark; it is 0 before the deal.
    """

    cash: X
    holding: tuple[X, ...]
    wealth: X


class Period(NamedTuple):
    """What (t, t+1] brings, per path; tuples have one entry per hedge instrument."""

    price: tuple[X, ...]  # mid at t
    next_price: tuple[X, ...]  # mid at t+1 (at a settlement: the payoff)
    carry: tuple[X, ...] | None  # cash paid at t+1 on a unit held, null when nothing pays
    growth: X | None  # e^{r dt} - 1, null when the rate is 0
    cash_flow: X | None  # cash the position pays at t+1 (signed), null when none does on any path
    next_mark: X  # the position's mark at t+1, after that cash flow
    settles: tuple[X, ...] | None  # whether each instrument settles at t+1, null when none does
    cost_level: X | None = None  # what every cost is multiplied by, null when by nothing


class Entries(NamedTuple):
    """The lines of one step. pnl = gains + carry + interest - cost + cash_flow + change of mark."""

    pnl: X
    gains: X
    carry: X
    interest: X
    cost: X
    cash_flow: X
    traded: X  # the value of all trades at mid, bought or sold
    trade: tuple[X, ...]  # at t
    closing: tuple[X, ...] | None = None  # the trades that close the account at t+1


def ordered_sum(terms: Iterable[X]) -> X:
    """First to last, never pairwise."""
    return reduce(add, terms)


def worth(holding: Iterable[X], price: Iterable[X]) -> X:
    """The sum of holding times price, ordered."""
    return reduce(add, map(mul, holding, price))


def open_account(premium: X, mark: X, instruments: int) -> Account:
    """The account just after the deal: the premium as cash, nothing held.

    Its wealth, premium + mark, is the day-one P&L; it belongs to the first step.
    """
    return Account(cash=premium, holding=(0.0 * mark + 0.0,) * instruments, wealth=premium + mark)


def trade_to(
    account: Account,
    target: tuple[X, ...],
    price: tuple[X, ...],
    costs: Sequence[Sequence[Cost]],
    ops: Namespace,
    level: X | None,
) -> tuple[X, X, tuple[X, ...]]:
    """Move the holdings to ``target`` at mid ``price``: ``(cash, cost, trade)`` afterwards."""
    trade = tuple(map(sub, target, account.holding))
    cost = ordered_sum([total_cost(costs[k], d, price[k], ops) for k, d in enumerate(trade)])
    if level is not None:
        cost = level * cost
    return account.cash - worth(trade, price) - cost, cost, trade


def step(
    account: Account,
    target: tuple[X, ...],
    period: Period,
    costs: Sequence[Sequence[Cost]],
    ops: Namespace,
) -> tuple[Account, Entries]:
    """Trade to ``target`` at t, hold it over (t, t+1], settle what falls due at t+1.

    Evidence: the identity P&L = premium + gains + carry + interest - costs + cash flows, to 1e-9,
    in tests/envs/test_ledger.py.
    """
    cash, cost, trade = trade_to(account, target, period.price, costs, ops, period.cost_level)
    interest = carry = cash_flow = 0.0
    if period.growth is not None:
        interest = cash * period.growth
        cash = cash + interest
    if period.carry is not None:
        carry = worth(target, period.carry)
        cash = cash + carry
    if period.cash_flow is not None:
        cash_flow = period.cash_flow
        cash = cash + cash_flow
    gains = worth(target, map(sub, period.next_price, period.price))
    holding = target
    if period.settles is not None:
        due = [ops.where(s, h, 0.0 * h) for s, h in zip(period.settles, target, strict=True)]
        cash = cash + worth(due, period.next_price)
        holding = tuple(map(sub, target, due))
    wealth = cash + worth(holding, period.next_price) + period.next_mark
    pnl, traded = wealth - account.wealth, worth(map(ops.abs, trade), period.price)
    entries = Entries(pnl, gains, carry, interest, cost, cash_flow, traded, trade)
    return Account(cash, holding, wealth), entries


def close(
    account: Account,
    price: tuple[X, ...],
    mark: X,
    costs: Sequence[Sequence[Cost]],
    ops: Namespace,
    level: X | None = None,
) -> tuple[Account, Entries]:
    """Sell every holding at ``price`` less ``level`` costs; the position goes at its ``mark``."""
    nothing = tuple([0.0 * h for h in account.holding])
    cash, cost, trade = trade_to(account, nothing, price, costs, ops, level)
    cash = cash + mark
    pnl, traded = cash - account.wealth, worth(map(ops.abs, trade), price)
    return Account(cash, nothing, cash), Entries(pnl, 0.0, 0.0, 0.0, cost, mark, traded, trade)

"""The ledger: the only place where money moves, written once for floats, NumPy and torch.

Sums over the K instruments are ordered additions, so that every face adds in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
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


class Entries(NamedTuple):
    """The lines of one step. pnl = gains + carry + interest - cost + cash_flow + change of mark."""

    pnl: X
    gains: X
    carry: X
    interest: X
    cost: X
    cash_flow: X
    trade: tuple[X, ...]  # at t
    closing: tuple[X, ...] | None = None  # the trades that close the account at t+1


def ordered_sum(terms: Sequence[X]) -> X:
    """First to last, never pairwise."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


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
) -> tuple[X, X, tuple[X, ...]]:
    """Move the holdings to ``target`` at mid ``price``: ``(cash, cost, trade)`` afterwards."""
    trade = tuple([new - old for new, old in zip(target, account.holding, strict=True)])
    cost = ordered_sum(
        [total_cost(c, d, p, ops) for c, d, p in zip(costs, trade, price, strict=True)]
    )
    paid = ordered_sum([d * p for d, p in zip(trade, price, strict=True)])
    return account.cash - paid - cost, cost, trade


def step(
    account: Account,
    target: tuple[X, ...],
    period: Period,
    costs: Sequence[Sequence[Cost]],
    ops: Namespace,
) -> tuple[Account, Entries]:
    """Trade to ``target`` at t, hold it over (t, t+1], settle what falls due at t+1.

    Evidence: the identity P&L = premium + gains + carry + interest - costs + cash flows, to 1e-9, in
    tests/envs/test_ledger.py.
    """
    cash, cost, trade = trade_to(account, target, period.price, costs, ops)
    interest = carry = cash_flow = 0.0
    if period.growth is not None:
        interest = cash * period.growth
        cash = cash + interest
    if period.carry is not None:
        carry = ordered_sum([h * c for h, c in zip(target, period.carry, strict=True)])
        cash = cash + carry
    if period.cash_flow is not None:
        cash_flow = period.cash_flow
        cash = cash + cash_flow
    moves = zip(target, period.price, period.next_price, strict=True)
    gains = ordered_sum([h * (after - before) for h, before, after in moves])
    holding = target
    if period.settles is not None:
        due = [ops.where(s, h, 0.0 * h) for s, h in zip(period.settles, target, strict=True)]
        cash = cash + ordered_sum([h * p for h, p in zip(due, period.next_price, strict=True)])
        holding = tuple([h - d for h, d in zip(target, due, strict=True)])
    held = ordered_sum([h * p for h, p in zip(holding, period.next_price, strict=True)])
    wealth = cash + held + period.next_mark
    entries = Entries(wealth - account.wealth, gains, carry, interest, cost, cash_flow, trade)
    return Account(cash, holding, wealth), entries


def close(
    account: Account,
    price: tuple[X, ...],
    mark: X,
    costs: Sequence[Sequence[Cost]],
    ops: Namespace,
) -> tuple[Account, Entries]:
    """Sell every holding at ``price`` less cost and close the position out at its ``mark``."""
    nothing = tuple([0.0 * h for h in account.holding])
    cash, cost, trade = trade_to(account, nothing, price, costs, ops)
    cash = cash + mark
    pnl = cash - account.wealth
    return Account(cash, nothing, cash), Entries(pnl, 0.0, 0.0, 0.0, cost, mark, trade)

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
from .nested import mapped


class Account(NamedTuple):
    """What is owned between two dates.

    ``wealth`` is cash plus holdings at mid plus the position's mark; it is 0 before the deal.
    ``pending`` are the target holdings that were ordered and not yet dealt, oldest first, and
    ``displacement`` how far transient impact has moved what the hedger deals at, as fractions of
    each instrument's mid price; empty where a scenario has no such friction.
    """

    cash: X
    holding: tuple[X, ...]
    wealth: X
    pending: tuple[tuple[X, ...], ...] = ()
    displacement: tuple[X, ...] = ()

    @property
    def ordered(self) -> tuple[X, ...]:
        """The holdings once every order is dealt."""
        return self.pending[-1] if self.pending else self.holding


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


class Frictions(NamedTuple):
    """What a date costs beside the terms of a cost (`envs.frictions`); null: nothing.

    Tuples have one entry per instrument.
    """

    spread: tuple[X, ...] | None  # what the terms of a cost are multiplied by
    slippage: tuple[X, ...] | None  # the fraction of the price that a traded unit loses
    decay: tuple[X, ...] | None  # what is left of a displacement at t+1
    borrow: tuple[X, ...] | None  # due at t+1 on a unit that is short, as a fraction of the price
    funding: X | None  # the interest that borrowed cash pays over (t, t+1] beyond growth
    lost: X | None  # at t+1, of the price of what was bought of the counterparty
    transient: tuple[float, ...]  # displacement that a unit traded makes
    permanent: tuple[float, ...]  # log-move of the price that a unit traded makes
    bought: tuple[bool, ...]  # which instruments are bought of the counterparty
    capital: float  # cash that is there beside the account's


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


def select(condition: X, chosen: Account, other: Account, ops: Namespace) -> Account:
    """The first account where the condition holds, else the other."""
    return mapped(lambda a, b: ops.where(condition, a, b), chosen, other)  # type: ignore[no-any-return]


def trade_to(
    account: Account,
    target: tuple[X, ...],
    price: tuple[X, ...],
    costs: Sequence[Sequence[Cost]],
    ops: Namespace,
    level: X | None,
    frictions: Frictions | None = None,
) -> tuple[X, X, tuple[X, ...]]:
    """Move the holdings to ``target`` at mid ``price``: ``(cash, cost, trade)`` afterwards."""
    trade = tuple(map(sub, target, account.holding))
    charges = [total_cost(costs[k], d, price[k], ops) for k, d in enumerate(trade)]
    if frictions is not None and frictions.spread is not None:
        charges = list(map(mul, frictions.spread, charges))
    cost = ordered_sum(charges)
    if level is not None:
        cost = level * cost
    if frictions is not None:
        cost = cost + _beyond_terms(trade, price, account.displacement, frictions, ops)
    return account.cash - worth(trade, price) - cost, cost, trade


def _beyond_terms(
    trade: tuple[X, ...],
    price: tuple[X, ...],
    displacement: tuple[X, ...],
    frictions: Frictions,
    ops: Namespace,
) -> X:
    """Slippage, and impact by the formulas of `frictions.impact.Impact`."""
    cost = 0.0 * price[0]
    if frictions.slippage is not None:
        cost = cost + worth(map(ops.abs, map(mul, trade, frictions.slippage)), price)
    for k, moved in enumerate(displacement):
        if frictions.transient[k]:
            half = 0.5 * frictions.transient[k] * trade[k]
            cost = cost + trade[k] * (moved + half) * price[k]
    for k, rate in enumerate(frictions.permanent):
        if rate:
            paid = (ops.exp(rate * trade[k]) - 1.0) / rate
            cost = cost + (paid - trade[k]) * price[k]
    return cost


def step(
    account: Account,
    target: tuple[X, ...],
    period: Period,
    costs: Sequence[Sequence[Cost]],
    ops: Namespace,
    frictions: Frictions | None = None,
) -> tuple[Account, Entries]:
    """Trade to ``target`` at t, hold it over (t, t+1], settle what falls due at t+1.

    Evidence: the identity P&L = premium + gains + carry + interest - costs + cash flows, to 1e-9,
    in tests/envs/test_ledger.py.
    """
    cash, cost, trade = trade_to(
        account, target, period.price, costs, ops, period.cost_level, frictions
    )
    interest = carry = cash_flow = 0.0
    borrowed, displacement = cash, account.displacement
    if period.growth is not None:
        interest = cash * period.growth
        cash = cash + interest
    if period.carry is not None:
        carry = worth(target, period.carry)
        cash = cash + carry
    if period.cash_flow is not None:
        cash_flow = period.cash_flow
        cash = cash + cash_flow
    if frictions is not None:
        funding = _funding(borrowed, frictions, ops)
        fee = _borrowing(target, period.price, frictions, ops)
        loss = _default(target, period.next_price, frictions, ops)
        cash = cash + funding + fee + loss
        interest, carry, cash_flow = interest + funding, carry + fee, cash_flow + loss
        displacement = _displaced(displacement, trade, frictions)
    gains = worth(target, map(sub, period.next_price, period.price))
    holding = target
    if period.settles is not None:
        due = [ops.where(s, h, 0.0 * h) for s, h in zip(period.settles, target, strict=True)]
        cash = cash + worth(due, period.next_price)
        holding = tuple(map(sub, target, due))
    wealth = cash + worth(holding, period.next_price) + period.next_mark
    pnl, traded = wealth - account.wealth, worth(map(ops.abs, trade), period.price)
    entries = Entries(pnl, gains, carry, interest, cost, cash_flow, traded, trade)
    return Account(cash, holding, wealth, account.pending, displacement), entries


def _funding(cash: X, frictions: Frictions, ops: Namespace) -> X:
    """What borrowed cash pays beyond the rate, negative."""
    if frictions.funding is None:
        return 0.0
    return ops.minimum(cash + frictions.capital, 0.0) * frictions.funding


def _borrowing(
    holding: tuple[X, ...], price: tuple[X, ...], frictions: Frictions, ops: Namespace
) -> X:
    """The fee on what is sold short, negative."""
    if frictions.borrow is None:
        return 0.0
    short = [ops.minimum(units, 0.0) for units in holding]
    return worth(map(mul, short, frictions.borrow), price)


def _default(
    holding: tuple[X, ...], price: tuple[X, ...], frictions: Frictions, ops: Namespace
) -> X:
    """What a counterparty that defaults does not pay on what was bought of it, negative."""
    if frictions.lost is None:
        return 0.0
    zero = 0.0 * price[0]
    bought = [
        ops.maximum(units, 0.0) if counted else zero
        for units, counted in zip(holding, frictions.bought, strict=True)
    ]
    return -frictions.lost * worth(bought, price)


def _displaced(
    displacement: tuple[X, ...], trade: tuple[X, ...], frictions: Frictions
) -> tuple[X, ...]:
    """What transient impact has left at t+1."""
    if frictions.decay is None:
        return displacement
    moved = map(add, displacement, map(mul, frictions.transient, trade))
    return tuple(map(mul, moved, frictions.decay))


def close(
    account: Account,
    price: tuple[X, ...],
    mark: X,
    costs: Sequence[Sequence[Cost]],
    ops: Namespace,
    level: X | None = None,
    frictions: Frictions | None = None,
) -> tuple[Account, Entries]:
    """Sell every holding at ``price`` less ``level`` costs; the position goes at its ``mark``."""
    nothing = tuple([0.0 * h for h in account.holding])
    cash, cost, trade = trade_to(account, nothing, price, costs, ops, level, frictions)
    cash = cash + mark
    pnl, traded = cash - account.wealth, worth(map(ops.abs, trade), price)
    closed = account._replace(cash=cash, holding=nothing, wealth=cash)
    return closed, Entries(pnl, 0.0, 0.0, 0.0, cost, mark, traded, trade)

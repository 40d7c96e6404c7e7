"""The position along the paths: its marks, Greeks and cash flows on the decision dates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from .client_orders import Orders
from .instruments import CashFlows, Leg
from .markets import MarketPaths
from .scenario import Scenario
from .valuation import cash_flows, exercises, listed, payoff, settlement, value


@dataclass(frozen=True)
class PositionMarks:
    """Sums over the legs and client orders; each ``[T+1, N]`` on the decision dates and the end.

    ``deltas`` has one entry per asset, ``cash_flow`` counts the close-out at the end, ``pays``
    tells on which dates any path pays, ``premium`` is the cash received at time 0, ``[N]``.
    ``bought`` is what the legs that were bought of a counterparty are worth, and pay as they
    expire; null where there is none.
    """

    mark: Tensor
    deltas: tuple[Tensor, ...]
    gamma: Tensor
    vega: Tensor
    theta: Tensor
    cash_flow: Tensor
    pays: tuple[bool, ...]
    premium: Tensor
    bought: Tensor | None = None

    def after_default(self, lost: Tensor) -> PositionMarks:
        """The same where a counterparty pays all but the fraction ``lost [T+1, N]`` of it."""
        assert self.bought is not None  # a scenario with a counterparty has it
        paid = self.cash_flow - lost * self.bought
        return replace(self, cash_flow=paid, pays=(False, *[True] * (len(paid) - 1)))


def mark_position(
    scenario: Scenario, paths: MarketPaths, dates: list[int], orders: Orders | None = None
) -> PositionMarks:
    """Value legs and orders on the market's dates and keep the decision ``dates``.

    An order is paid for, and in the mark, on the date it is dealt. Cash flows that fall between
    decision dates are carried to the next one with interest.
    """
    shape = (len(dates), paths.spot.shape[1])
    sums = _Sums(paths.spot.new_zeros(shape), [False] * len(dates), len(paths.assets))
    if scenario.counterparty is not None:
        sums.bought = torch.zeros_like(sums.cash_flow)
    for leg in scenario.position.legs:
        _add(sums, scenario, leg, paths, dates)
    alive = any(settlement(leg.claim, paths.times) is None for leg in scenario.position.legs)
    if orders is not None:
        alive |= _deal(sums, scenario, orders, paths, dates)
    price, gamma, vega, theta = sums.greeks
    premium = scenario.position.premium
    received = -price[0] if premium == "mark" else torch.full_like(price[0], premium)
    if alive:
        sums.cash_flow[-1] += price[-1]
        price[-1] = 0.0
        sums.pays[-1] = True
    zero = price.new_zeros(()).expand_as(price)
    return PositionMarks(
        mark=price,
        deltas=tuple(zero if delta is None else delta for delta in sums.deltas),
        gamma=gamma,
        vega=vega,
        theta=theta,
        cash_flow=sums.cash_flow,
        pays=tuple(sums.pays),
        premium=received,
        bought=sums.bought,
    )


class _Sums:
    """Running sums over the legs; what no leg has touched takes no memory."""

    def __init__(self, cash_flow: Tensor, pays: list[bool], assets: int) -> None:
        self.cash_flow, self.pays = cash_flow, pays
        self.deltas: list[Tensor | None] = [None] * assets
        self.greeks: list[Tensor] = []
        self.bought: Tensor | None = None

    def add(self, asset: int, values: list[Tensor], others: tuple[tuple[int, Tensor], ...]) -> None:
        """Add price, delta, gamma, vega and theta of a leg, and its deltas to other assets."""
        price, delta, *higher = values
        for j, values_of in ((asset, delta), *others):
            total = self.deltas[j]
            self.deltas[j] = values_of if total is None else total.add_(values_of)
        terms = [price, *higher]
        pairs = zip(self.greeks, terms, strict=True)
        self.greeks = [a.add_(b) for a, b in pairs] if self.greeks else terms

    def start(self, asset: int) -> None:
        """Zeros to add to, where nothing has been added yet."""
        if self.deltas[asset] is None:
            self.deltas[asset] = torch.zeros_like(self.cash_flow)
        if not self.greeks:
            self.greeks = [torch.zeros_like(self.cash_flow) for _ in range(4)]


def _deal(
    sums: _Sums, scenario: Scenario, orders: Orders, paths: MarketPaths, dates: list[int]
) -> bool:
    """Add what clients trade, from the date it is dealt; whether any outlives the episode."""
    flow, alive = orders.flow, False
    sums.start(flow.asset)
    delta = sums.deltas[flow.asset]
    assert delta is not None
    for j, (moneyness, tenor) in enumerate(orders.choices):
        for row, date in enumerate(dates):
            bought, sold = orders.bought[row, j], orders.sold[row, j]
            dealt = bought + sold
            if not dealt.any():
                continue
            option = listed(scenario, flow.option, (moneyness, tenor, flow.asset), paths, date)
            net, expiry = bought - sold, option.expiry
            greeks = option.greeks(scenario)
            sums.cash_flow[row] += (flow.spread * dealt - net) * greeks[0][0]
            sums.pays[row] = True
            last = len(dates)
            if expiry is not None:
                last = _row(dates, date + expiry)
                paid = net * option.payoff(expiry)
                sums.cash_flow[last] += paid * _wait(scenario, paths, dates[last], date + expiry)
                sums.pays[last] = True
            kept = [other - date for other in dates[row:last]]
            for total, greek in zip((sums.greeks[0], delta, *sums.greeks[1:]), greeks, strict=True):
                total[row:last] += net * greek[kept]
            alive |= expiry is None
    return alive


def _add(sums: _Sums, scenario: Scenario, leg: Leg, paths: MarketPaths, dates: list[int]) -> None:
    claim, quantity = leg.claim, leg.quantity
    at: slice | list[int] = slice(None) if len(dates) == len(paths.times) else dates
    greeks = value(scenario, claim, paths)
    values = [quantity * g[at] for g in greeks[:5]]
    others = tuple((j, quantity * delta[at]) for j, delta in greeks.others)
    everything = [*values, *(delta for _, delta in others)]
    date = settlement(claim, paths.times)
    taken = exercises(scenario, claim, paths)
    if taken is not None:
        _exercise(sums, scenario, leg, paths, dates, taken[:date], everything)
    early = cash_flows(claim, paths)
    if early is not None:
        _pay_early(sums, scenario, leg, paths, dates, early, everything)
    if date is not None:
        row = _row(dates, date)
        paid = quantity * payoff(claim, paths, date)
        if taken is not None:
            paid = paid * ~taken[1:date].any(dim=0)
        sums.cash_flow[row] += paid * _wait(scenario, paths, dates[row], date)
        sums.pays[row] = True
        for entry in everything:
            entry[row:] = 0.0
        if sums.bought is not None and quantity > 0:
            sums.bought[row] += paid.clamp(min=0)
    if sums.bought is not None and quantity > 0:
        sums.bought += values[0].clamp(min=0)
    sums.add(claim.asset, values, others)


def _exercise(
    sums: _Sums,
    scenario: Scenario,
    leg: Leg,
    paths: MarketPaths,
    dates: list[int],
    taken: Tensor,
    values: list[Tensor],
) -> None:
    """Pay what the holder takes before maturity, from the first date on, and end the leg there."""
    gone = taken.clone()
    gone[0] = False  # an option exercised as it is sold is no deal
    gone = gone.cumsum(dim=0) > 0
    for row, (before, date) in enumerate(pairwise(dates), start=1):
        for t in range(before + 1, min(date, len(taken) - 1) + 1):
            first = gone[t] & ~gone[t - 1]
            paid = leg.quantity * leg.claim.exercise_value(paths.assets[leg.claim.asset].spot[t])
            sums.cash_flow[row] += first * paid * _wait(scenario, paths, date, t)
            sums.pays[row] = True
        if date < len(taken):
            for entry in values:
                entry[row].masked_fill_(gone[date], 0.0)


def _pay_early(
    sums: _Sums,
    scenario: Scenario,
    leg: Leg,
    paths: MarketPaths,
    dates: list[int],
    early: CashFlows,
    values: list[Tensor],
) -> None:
    """Pay what falls due before maturity, and end the leg where that ends it."""
    for row, (before, date) in enumerate(pairwise(dates), start=1):
        for t in range(before + 1, min(date, len(early.paid) - 1) + 1):
            wait = _wait(scenario, paths, date, t)
            sums.cash_flow[row] += leg.quantity * early.paid[t] * wait
            sums.pays[row] = True
        if date < len(early.over):
            for entry in values:
                entry[row].masked_fill_(early.over[date], 0.0)


def _row(dates: list[int], date: int) -> int:
    """The first decision date at or after a market date."""
    return next(row for row, other in enumerate(dates) if other >= date)


def _wait(scenario: Scenario, paths: MarketPaths, until: int, date: int) -> Tensor:
    """Interest from a market date to a later one, ``[1 or N]``."""
    wait = paths.times[until] - paths.times[date]
    return torch.exp(scenario.market.rate * wait).to(paths.spot.dtype)

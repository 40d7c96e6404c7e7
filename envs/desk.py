"""The desk: a scenario's trading rules bound once to a namespace, shared by every face."""

from __future__ import annotations

from collections.abc import Sequence
from operator import sub
from typing import NamedTuple

from .action import Centre, DiscreteAction, GreekAction
from .instruments import Future
from .ledger import (
    Account,
    Entries,
    Frictions,
    Period,
    close,
    open_account,
    ordered_sum,
    select,
    step,
    worth,
)
from .namespace import Namespace, X
from .own_features import OWN_FEATURES, own_features
from .scenario import Scenario
from .tape import At, Tape
from .view import View

NO_GREEK = 1e-30  # a squared Greek below it is none; float32 holds it
SMALLEST_MARGIN = 1e-12  # money: nothing held needs none


class Dealt(NamedTuple):
    """One step's outcome."""

    account: Account
    entries: Entries
    requested: tuple[X, ...]  # the target holdings before the limits
    held: tuple[X, ...]  # the holdings over (t, t+1]
    stopped: X  # whether the loss limit or a margin call ended the episode; False without either
    ordered: tuple[X, ...]  # what will be held once every order is dealt, within the limits
    tape: Tape  # as it goes on: another one where trades move the market


class Desk:
    """Opens accounts, turns actions into holdings, applies limits and keeps the ledger."""

    def __init__(self, scenario: Scenario, ops: Namespace, view: View | None = None) -> None:
        self.scenario, self.ops = scenario, ops
        self.view = scenario.view if view is None else view
        scenario.check_features(self.view)
        self.costs = scenario.costs
        self.limits = scenario.limits
        self.bounds = [(limits.lower or 0.0, limits.upper or 0.0) for limits in self.limits]
        self.action, self.width = self.view.action, self.view.action.width
        self.contract = scenario.contract
        numbered = self.action.of if isinstance(self.action, DiscreteAction) else self.action
        self.greek = numbered.greek if isinstance(numbered, GreekAction) else None
        self.numbers = self.action.steered(self.contract) * self.width
        self.features = scenario.features_of(self.view)
        self.own = tuple(name for name in self.features if name in OWN_FEATURES)
        self.sees_gap, self.sees_pnl = "gap" in self.own, "pnl" in self.own
        self.nets = tuple(name for name in self.own if name in ("net_gamma", "net_vega"))
        self.options, listings = self.contract.options, self.contract.listings
        # Whose numbers each instrument follows: all contracts of one hedge the same.
        closing = range(len(listings), self.contract.hedges)
        self.hedge_of = [i for i, count in enumerate(listings) for _ in range(count)] + [*closing]
        self.further_holdings = [  # what an environment's info has beside the first delta-one's
            *((k, f"option_holding_{k}") for k in range(self.options)),
            *((k, f"holding_{k}") for k in range(self.options + 1, len(self.costs))),
        ]
        self.loss_limit, self.liquidate = scenario.loss_limit, scenario.liquidate
        self.margin, self.capital = scenario.financing.margin, scenario.capital or 0.0
        self.delay = scenario.execution.delay
        impacts = [hedge.impact for hedge in scenario.columns]
        self.transient = tuple([0.0 if each is None else each.transient for each in impacts])
        self.permanent = tuple([0.0 if each is None else each.permanent for each in impacts])
        self.bought = tuple([k < self.options for k in range(len(impacts))])
        self.margined = tuple([isinstance(h.instrument, Future) for h in scenario.hedges])

    @property
    def may_stop(self) -> bool:
        """Whether an episode may end before its calendar."""
        if self.loss_limit is not None:
            return True
        return self.margin is not None and self.margin.maintenance > 0

    def open(self, tape: Tape) -> Account:
        """The accounts at the start of the tape's episodes."""
        account = open_account(tape.premium, tape.mark[0], len(self.costs))
        nothing = account.holding
        return account._replace(
            pending=(nothing,) * self.delay, displacement=nothing if any(self.transient) else ()
        )

    def standing(self, holding: tuple[X, ...], wealth: X) -> Account:
        """Accounts with these holdings, all they have ordered, and no impact left of any trade."""
        nothing = tuple([0.0 * units for units in holding])
        left = nothing if any(self.transient) else ()
        return Account(wealth, holding, wealth, (holding,) * self.delay, left)

    def frictions(self, tape: Tape, at: At) -> Frictions | None:
        """What a date costs beside the terms of a cost; null where nothing does."""
        paths = tape.frictions_at(at)
        if paths is None:
            return None
        return Frictions(
            spread=paths.spread,
            slippage=paths.slippage,
            decay=paths.decay,
            borrow=paths.borrow,
            funding=paths.funding,
            lost=tape.lost_after(at),
            transient=self.transient,
            permanent=self.permanent,
            bought=self.bought,
            margined=self.margined,
            capital=self.capital,
        )

    def neutral(self, tape: Tape, at: At, options: Sequence[X]) -> list[X]:
        """The delta-one holdings that make position plus ``options`` holdings delta-neutral."""
        deltas = tape.delta
        centres = [-deltas[0][at]] if len(deltas) == 1 else [-delta[at] for delta in deltas]
        if options:
            for k, (holding, closes) in enumerate(zip(options, tape.closes, strict=True)):
                if closes is not None:
                    centres[closes] = centres[closes] - holding * tape.option_delta[k][at]
        return centres

    def targets(self, action: tuple[X, ...], account: Account, tape: Tape, at: At) -> tuple[X, ...]:
        """The target holdings that an action asks for, options first, delta-one last."""
        first, width, size, ops = self.options, self.width, self.contract.size, self.ops
        target, bounds, base = self.action.target, self.bounds, tape.base
        closed = None if tape.closed is None else tape.closed_at(at)
        net = None if self.greek is None else self._net(self.greek, account, tape, at)
        centres: list[X] = []
        chosen: list[X] = []
        admissible: list[X] = []
        for k, held in enumerate(account.ordered):
            if k == first:
                centres = self.neutral(tape, at, admissible)
            if closed is not None and closed[k] is True:
                chosen.append(held)
                admissible.append(held)
                continue
            i = self.hedge_of[k]
            numbers = action[i * width : (i + 1) * width]
            neutral = None if k < first else centres[k - first]
            if net is not None and k < first:
                neutral = self._without(net, k, held, tape, at)
            centre: Centre = None if neutral is None else (neutral, neutral)
            if base is not None:
                centre = self._based(base[k], at, neutral)
            wanted = target(numbers, held, centre, bounds[k], size, ops)
            chosen.append(wanted if closed is None else ops.where(closed[k], held, wanted))
            if k < first:
                admissible.append(self.limits[k].apply(chosen[k], held, ops))
        return tuple(chosen)

    def _net(self, greek: str, account: Account, tape: Tape, at: At) -> X:
        """The gamma or vega of the position and the options held."""
        own, each = (
            (tape.gamma, tape.option_gamma) if greek == "gamma" else (tape.vega, tape.option_vega)
        )
        net = own[at]
        for holding, option in zip(account.ordered, each, strict=False):
            net = net + holding * option[at]
        return net

    def _without(self, net: X, k: int, held: X, tape: Tape, at: At) -> X:
        """The holding of option k that leaves nothing of a net Greek; one without it, as it is."""
        each = tape.option_gamma if self.greek == "gamma" else tape.option_vega
        own = each[k][at]
        return held - net * own / self.ops.maximum(own * own, NO_GREEK)

    @staticmethod
    def _based(edges: tuple[X, X], at: At, neutral: X) -> tuple[X, X]:
        """The base's edges; a delta-one instrument's are counted from the delta-neutral holding."""
        lower = edges[0][at] if neutral is None else neutral + edges[0][at]
        if edges[1] is edges[0]:
            return lower, lower
        return lower, edges[1][at] if neutral is None else neutral + edges[1][at]

    def limited(self, requested: tuple[X, ...], holding: tuple[X, ...]) -> tuple[X, ...]:
        """The requested holdings within each instrument's limits when ``holding`` is held now."""
        ops, triples = self.ops, zip(self.limits, requested, holding, strict=True)
        return tuple([limits.apply(asked, held, ops) for limits, asked, held in triples])

    def admissible(
        self, requested: tuple[X, ...], account: Account, tape: Tape, at: At
    ) -> tuple[X, ...]:
        """The requested holdings within the limits; nothing of what has settled for good.

        Where nothing can be traded they are the present ones, and they are scaled down to what the
        initial margin allows.
        """
        ops = self.ops
        held = self.limited(requested, account.holding)
        if self.margin is not None:
            held = self._within_margin(held, account, tape, at)
        closed = None if tape.frictions is None else tape.frictions.closed
        if closed is not None:
            pairs = zip(account.holding, held, strict=True)
            held = tuple([ops.where(closed[at], now, then) for now, then in pairs])
        kept = None if tape.closed is None else tape.closed_at(at)
        if kept is not None:
            held = tuple(
                [
                    h if c is True else n if c is False else ops.where(c, h, n)
                    for c, h, n in zip(kept, account.holding, held, strict=True)
                ]
            )
        settled = tape.settled_at(at) if tape.expires else None
        if settled is not None:
            held = tuple([ops.where(s, 0.0 * h, h) for s, h in zip(settled, held, strict=True)])
        return held

    def _within_margin(
        self, held: tuple[X, ...], account: Account, tape: Tape, at: At
    ) -> tuple[X, ...]:
        """The same, scaled down until ``initial sum |h| price <= equity``, on whole lots."""
        assert self.margin is not None
        ops, price = self.ops, [prices[at] for prices in tape.price]
        needed = self.margin.initial * worth(map(ops.abs, held), price)
        equity = ops.maximum(self.capital + account.wealth, 0.0)
        share = ops.minimum(equity / ops.maximum(needed, SMALLEST_MARGIN), 1.0)
        scaled = tuple([units * share for units in held])
        pairs = zip(scaled, self.limits, strict=True)
        return tuple([limits.towards_zero(units, ops) for units, limits in pairs])

    def advance(
        self, account: Account, requested: tuple[X, ...], tape: Tape, at: At, last: X
    ) -> Dealt:
        """Limit the requested holdings, keep the books over (t, t+1]; ``last``: is t+1 the end?"""
        ops, due = self.ops, requested
        if self.delay:
            order = self.limited(requested, account.ordered)
            due, pending = account.pending[0], (*account.pending[1:], order)
            account = account._replace(pending=pending)
        held = self.admissible(due, account, tape, at)
        if tape.response is not None:
            tape = tape.response(tape, tuple(map(sub, held, account.holding)), at)
        period = tape.period(at)
        frictions = None if tape.frictions is None else self.frictions(tape, at)
        after, entries = step(account, held, period, self.costs, ops, frictions)
        may_stop = self.may_stop
        stopped = self._stopped(after, period) if may_stop else False
        if may_stop or (self.liquidate and last is not False):
            ends = (stopped | last) if self.liquidate else stopped
            closed, closing = close(
                *(after, period.next_price, period.next_mark, self.costs, ops, period.cost_level),
                None if frictions is None else self.frictions(tape, _after(at)),
            )
            after = select(ends, closed, after, ops)
            entries = _merge(ends, entries, closing, ops)
        ordered = account.ordered if self.delay else held
        return Dealt(after, entries, requested, held, stopped, ordered, tape)

    def _stopped(self, after: Account, period: Period) -> X:
        """Where a loss limit or a maintenance margin ends the episode."""
        stopped: X = False
        if self.loss_limit is not None:
            stopped = after.wealth <= -self.loss_limit
        if self.margin is not None and self.margin.maintenance > 0:
            exposure = worth(map(self.ops.abs, after.holding), period.next_price)
            stopped |= self.capital + after.wealth < self.margin.maintenance * exposure
        return stopped

    def net_delta(self, held: tuple[X, ...], tape: Tape, at: At) -> X:
        """Of position and holdings together to the first delta-one's asset, in its units."""
        first = self.options
        return held[first] - self.neutral(tape, at, held[:first])[0]

    def in_breach(self, dealt: Dealt, tape: Tape, at: At) -> X:
        """1 where the delta after trading is outside the scenario's range, 0 without one."""
        if self.scenario.delta_range is None:
            return 0.0
        lower, upper = [edge * self.contract.size for edge in self.scenario.delta_range]
        net = self.net_delta(dealt.held, tape, at)
        return 1.0 * ((net < lower) | (net > upper))

    def own_columns(self, account: Account, tape: Tape, at: At) -> list[X]:
        """The observation's own features."""
        neutral: Sequence[X] = ()
        if self.sees_gap:
            neutral = self.neutral(tape, at, account.ordered[: self.options])
        net = None
        if self.nets:
            greeks = [(name, name.removeprefix("net_")) for name in self.nets]
            net = {name: self._net(greek, account, tape, at) for name, greek in greeks}
        return own_features(self.own, account, neutral, self.contract, self.ops, net)

    def clipped(self, dealt: Dealt) -> X:
        """How far the limits moved the requested holdings, summed over instruments, in units."""
        return ordered_sum(map(self.ops.abs, map(sub, dealt.requested, dealt.ordered)))


def _after(at: At) -> At:
    return at + 1 if isinstance(at, int) else (at[0] + 1, at[1])


def _merge(ends: X, entries: Entries, closing: Entries, ops: Namespace) -> Entries:
    """The step's lines plus, where the episode ends, those of the closing."""
    zero = 0.0 * closing.cost
    return entries._replace(
        pnl=entries.pnl + ops.where(ends, closing.pnl, zero),
        cost=entries.cost + ops.where(ends, closing.cost, zero),
        cash_flow=entries.cash_flow + ops.where(ends, closing.cash_flow + zero, zero),
        traded=entries.traded + ops.where(ends, closing.traded, zero),
        closing=tuple([ops.where(ends, trade, 0.0 * trade) for trade in closing.trade]),
    )

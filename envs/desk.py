"""The desk: a scenario's trading rules bound once to a namespace, shared by every face."""

from __future__ import annotations

from collections.abc import Sequence
from operator import sub
from typing import NamedTuple

from .action import Centre, DiscreteAction, GreekAction
from .ledger import Account, Entries, close, open_account, ordered_sum, step
from .namespace import Namespace, X
from .observation import OWN_FEATURES, own_features
from .scenario import Scenario
from .tape import At, Tape
from .view import View

NO_GREEK = 1e-30  # a squared Greek below it is none; float32 holds it


class Dealt(NamedTuple):
    """One step's outcome."""

    account: Account
    entries: Entries
    requested: tuple[X, ...]  # the target holdings before the limits
    held: tuple[X, ...]  # the holdings over (t, t+1]
    stopped: X  # whether the loss limit ended the episode; False without one


class Desk:
    """Opens accounts, turns actions into holdings, applies limits and keeps the ledger."""

    def __init__(self, scenario: Scenario, ops: Namespace, view: View | None = None) -> None:
        self.scenario, self.ops = scenario, ops
        self.view = scenario.view if view is None else view
        scenario.check_action(self.view)
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
        self.sees_gap = "gap" in self.own
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

    def open(self, tape: Tape) -> Account:
        """The accounts at the start of the tape's episodes."""
        return open_account(tape.premium, tape.mark[0], len(self.costs))

    def neutral(self, tape: Tape, at: At, options: Sequence[X]) -> list[X]:
        """The delta-one holdings that make position plus ``options`` holdings delta-neutral."""
        centres = [-delta[at] for delta in tape.delta]
        if options:
            for k, (holding, closes) in enumerate(zip(options, tape.closes, strict=True)):
                if closes is not None:
                    centres[closes] = centres[closes] - holding * tape.option_delta[k][at]
        return centres

    def targets(self, action: tuple[X, ...], account: Account, tape: Tape, at: At) -> tuple[X, ...]:
        """The target holdings that an action asks for, options first, delta-one last."""
        first, width, size, ops = self.options, self.width, self.contract.size, self.ops
        target, bounds, base = self.action.target, self.bounds, tape.base
        closed = tape.closed_at(at)
        net = None if self.greek is None else self._net(self.greek, account, tape, at)
        centres: list[X] = []
        chosen: list[X] = []
        admissible: list[X] = []
        for k, held in enumerate(account.holding):
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
        for holding, option in zip(account.holding, each, strict=False):
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

    def admissible(
        self, requested: tuple[X, ...], account: Account, tape: Tape, at: At
    ) -> tuple[X, ...]:
        """The requested holdings within the limits; nothing of what has settled for good."""
        ops, holding = self.ops, account.holding
        held = tuple(
            [limits.apply(requested[k], holding[k], ops) for k, limits in enumerate(self.limits)]
        )
        closed = tape.closed_at(at)
        if closed is not None:
            held = tuple(
                [
                    h if c is True else n if c is False else ops.where(c, h, n)
                    for c, h, n in zip(closed, holding, held, strict=True)
                ]
            )
        settled = tape.settled_at(at)
        if settled is not None:
            held = tuple([ops.where(s, 0.0 * h, h) for s, h in zip(settled, held, strict=True)])
        return held

    def advance(
        self, account: Account, requested: tuple[X, ...], tape: Tape, at: At, last: X
    ) -> Dealt:
        """Limit the requested holdings, keep the books over (t, t+1]; ``last``: is t+1 the end?"""
        ops = self.ops
        held = self.admissible(requested, account, tape, at)
        period = tape.period(at)
        after, entries = step(account, held, period, self.costs, ops)
        stopped: X = False
        if self.loss_limit is not None:
            stopped = after.wealth <= -self.loss_limit
        if self.loss_limit is not None or (self.liquidate and last is not False):
            ends = (stopped | last) if self.liquidate else stopped
            closed, closing = close(
                *(after, period.next_price, period.next_mark, self.costs, ops, period.cost_level)
            )
            after = _select(ends, closed, after, ops)
            entries = _merge(ends, entries, closing, ops)
        return Dealt(after, entries, requested, held, stopped)

    def own_columns(self, account: Account, tape: Tape, at: At) -> list[X]:
        """The observation's own features."""
        held = account.holding[: self.options]
        neutral = self.neutral(tape, at, held) if self.sees_gap else ()
        net = {name: self._net(name.removeprefix("net_"), account, tape, at) for name in self.nets}
        return own_features(
            self.own, account.holding, neutral, account.wealth, self.contract, self.ops, net
        )

    def clipped(self, dealt: Dealt) -> X:
        """How far the limits moved the requested holdings, summed over instruments, in units."""
        return ordered_sum(map(self.ops.abs, map(sub, dealt.requested, dealt.held)))


def _select(ends: X, closed: Account, going: Account, ops: Namespace) -> Account:
    return Account(
        cash=ops.where(ends, closed.cash, going.cash),
        holding=tuple(
            [ops.where(ends, a, b) for a, b in zip(closed.holding, going.holding, strict=True)]
        ),
        wealth=ops.where(ends, closed.wealth, going.wealth),
    )


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

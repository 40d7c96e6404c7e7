"""The rollout: one hedger over one batch of episodes, in NumPy or differentiably in torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from .desk import Dealt, Desk
from .episodes import Episodes
from .hedger import Hedger, Known, Observations, stack
from .ledger import Account, Entries, ordered_sum, select
from .markets import MarketPaths
from .namespace import NUMPY, TORCH, Namespace, X
from .response import Response, responding
from .scenario import Scenario
from .tape import Tape


@dataclass(frozen=True)
class Outcome:
    """What a hedger's episodes came to; arrays are ``[N]``, money, unless said otherwise.

    pnl = premium + gains + carry + interest - cost + cash_flow. ``turnover`` is the sum of |trade|
    price over the spot at time 0; ``trades`` counts trades; ``clipped`` is how far the limits moved
    the requested holdings, in units; ``breach`` counts the dates at which the delta of position and
    holdings was outside the scenario's range. On request are recorded ``holding`` ``[T, N, K]``,
    ``wealth`` ``[T+1, N]``, ``going`` ``[T, N]``, whether a path had not yet stopped, ``lines``,
    the ledger's own of every step by name, each ``[T, N]``, and ``market``, the prices as the
    hedger's trades have moved them; null where they move none.
    """

    pnl: X
    premium: X
    gains: X
    carry: X
    interest: X
    cost: X
    cash_flow: X
    turnover: X
    trades: X
    clipped: X
    breach: X
    holding: X | None = None
    wealth: X | None = None
    going: X | None = None
    lines: dict[str, X] | None = None
    market: MarketPaths | None = None


def rollout(
    scenario: Scenario,
    episodes: Episodes,
    hedger: Hedger,
    *,
    differentiable: bool = False,
    record: bool = False,
    desk: Desk | None = None,
) -> Outcome:
    """Hedge all episodes (torch, from `simulate` or `mark`) with one hedger.

    In NumPy the ledger is float64; with ``differentiable`` it runs in torch at the episodes' dtype
    and gradients flow from the outcome to the hedger. A ``desk`` given trades in the place of the
    scenario's own.

    Raises:
        ValueError: for holdings of the wrong shape or with NaN or infinities.
    """
    tape = responding(scenario, episodes, Tape.of_tensors if differentiable else Tape.of)
    arrays = episodes if differentiable else episodes.numpy()
    ops: Namespace = TORCH if differentiable else NUMPY
    desk = Desk(scenario, ops) if desk is None else desk
    known = Known(scenario, arrays, tape, Observations(episodes, not differentiable))
    account = desk.open(tape)
    lines = _Lines(tape, ops, account)
    going: X = None
    holdings, wealths = [], [account.wealth]
    active: list[X] = []
    booked: list[dict[str, X]] = []
    state = hedger.start(episodes.paths)
    for t in range(tape.steps):
        target, state = hedger.act(known._at(t, account), state)
        requested = columns_of(hedger, target, episodes)
        dealt = desk.advance(account, requested, tape, t, t == tape.steps - 1)
        if going is not None:
            dealt = _frozen_where_stopped(going, account, dealt, ops)
        lines.add(dealt, desk, tape, t, going)
        if record:
            active.append(0.0 * account.wealth == 0.0 if going is None else going)
            booked.append(_booked(dealt.entries, active[-1], ops))
        account = dealt.account
        if dealt.tape is not tape:
            tape = dealt.tape
            assert isinstance(tape.response, Response)
            moved = tape.response.episodes
            observed = Observations(moved, not differentiable)
            known._moved(moved if differentiable else moved.numpy(), tape, observed)
        if desk.may_stop:
            ended = dealt.stopped
            going = ~ended if going is None else going & ~ended
        if record:
            holdings.append(stack(dealt.held))
            wealths.append(account.wealth)
    outcome = lines.outcome(account)
    if not record:
        return outcome
    stacked = torch.stack if differentiable else np.stack
    by_name = {name: stacked([line[name] for line in booked]) for name in booked[0]}
    return replace(
        outcome,
        holding=stacked(holdings),
        wealth=stacked(wealths),
        going=stacked(active),
        lines=by_name,
        market=tape.response.market if isinstance(tape.response, Response) else None,
    )


def _booked(entries: Entries, going: X, ops: Namespace) -> dict[str, X]:
    """The ledger's lines of a step ``[N]``, money; nothing on paths that had stopped."""
    zero = 0.0 * entries.pnl
    return {
        name: ops.where(going, line + zero, zero)
        for name, line in entries._asdict().items()
        if not isinstance(line, tuple) and line is not None
    }


class _Lines:
    """Adds up the ledger's lines over the steps."""

    def __init__(self, tape: Tape, ops: Namespace, account: Account) -> None:
        zero = 0.0 * account.wealth
        self.premium, self.spot0, self.ops = tape.premium, tape.spot[0], ops
        self.gains = self.carry = self.interest = self.cost = self.cash_flow = zero
        self.turnover = self.trades = self.clipped = self.breach = zero

    def add(self, dealt: Dealt, desk: Desk, tape: Tape, t: int, going: X) -> None:
        """Add one step, but nothing on paths that had already stopped."""
        ops, lines = self.ops, dealt.entries
        clipped = desk.clipped(dealt)
        count = self._count(lines.trade)
        if lines.closing is not None:
            count = count + self._count(lines.closing)
        names = ("gains", "carry", "interest", "cost", "cash_flow")
        values = [getattr(lines, name) for name in names]
        values += [lines.traded / self.spot0, count, clipped, desk.in_breach(dealt, tape, t)]
        own = ("turnover", "trades", "clipped", "breach")
        for name, value in zip((*names, *own), values, strict=True):
            total = getattr(self, name)
            if going is not None:
                value = ops.where(going, value + 0.0 * total, 0.0 * total)
            setattr(self, name, total + value)

    def _count(self, trade: tuple[X, ...]) -> X:
        return ordered_sum([1.0 * (d != 0) for d in trade])

    def outcome(self, account: Account) -> Outcome:
        """The totals."""
        return Outcome(
            pnl=account.wealth,
            premium=self.premium,
            gains=self.gains,
            carry=self.carry,
            interest=self.interest,
            cost=self.cost,
            cash_flow=self.cash_flow,
            turnover=self.turnover,
            trades=self.trades,
            clipped=self.clipped,
            breach=self.breach,
        )


def columns_of(hedger: Hedger, target: X, episodes: Episodes) -> tuple[X, ...]:
    """A hedger's target holdings instrument by instrument.

    Raises:
        ValueError: for the wrong shape, NaN or infinities.
    """
    shape = (episodes.paths, episodes.contract.instruments)
    if tuple(target.shape) != shape:
        raise ValueError(
            f"hedger {hedger.name!r} gave holdings of shape {tuple(target.shape)}: give {shape}, "
            "paths by hedge instruments"
        )
    finite = torch.isfinite(target) if isinstance(target, torch.Tensor) else np.isfinite(target)
    if not bool(finite.all()):
        raise ValueError(f"hedger {hedger.name!r} gave a holding that is NaN or infinite")
    return tuple(target[:, k] for k in range(shape[1]))


def _frozen_where_stopped(going: X, before: Account, dealt: Dealt, ops: Namespace) -> Dealt:
    """Paths that had stopped keep their account: nothing more happens to them, nothing is held."""

    def keep(new: X, old: X) -> X:
        return ops.where(going, new, old)

    account = select(going, dealt.account, before, ops)
    held = tuple(map(keep, dealt.held, before.holding))
    return dealt._replace(account=account, held=held, stopped=dealt.stopped & going)

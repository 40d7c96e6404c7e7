"""Terminal wealth in torch: a rollout without the lines that only a report reads."""

from __future__ import annotations

import torch
from torch import Tensor

from .desk import Desk
from .episodes import Episodes
from .hedger import Hedger, Known, Observations
from .ledger import Account, close, step, worth
from .namespace import X
from .rollout import rollout
from .tape import Tape


def terminal_wealth(desk: Desk, episodes: Episodes, hedger: Hedger) -> Tensor:
    """The P&L ``[N]`` of torch ``episodes``, whose gradient flows to the hedger.

    Where no date depends on earlier ones but through the holdings, these are chosen date by date
    and `ledger.step` then keeps the books of all dates in one call: it is linear in cash, so that
    the cash which each date leaves is carried to the end with interest. Else it is the rollout.

    Evidence: equal to the rollout's P&L in tests/envs/test_terminal_wealth.py.

    Raises:
        ValueError: from the rollout, for holdings of the wrong shape or not finite.
    """
    tape = Tape.of_tensors(episodes)
    if desk.sees_pnl or not books_apart(desk, tape):
        outcome = rollout(desk.scenario, episodes, hedger, differentiable=True, desk=desk)
        wealth: Tensor = outcome.pnl
        return wealth
    return booked(desk, tape, _holdings(desk, tape, episodes, hedger))


def books_apart(desk: Desk, tape: Tape) -> bool:
    """Whether a date's books need nothing of earlier dates but cash and holdings."""
    return not (tape.expires or desk.may_stop or desk.scenario.frictions)


def _holdings(desk: Desk, tape: Tape, episodes: Episodes, hedger: Hedger) -> tuple[Tensor, ...]:
    """What is held over each step, ``[T, N]`` per instrument."""
    known = Known(desk.scenario, episodes, tape, Observations(episodes, False))
    account = desk.open(tape)
    state = hedger.start(episodes.paths)
    chosen: list[tuple[X, ...]] = []
    for t in range(tape.steps):
        target, state = hedger.act(known._at(t, account), state)
        held = desk.admissible(target.unbind(-1), account, tape, t)
        account = account._replace(holding=held)
        chosen.append(held)
    return tuple(map(torch.stack, zip(*chosen, strict=True)))


def booked(desk: Desk, tape: Tape, held: tuple[Tensor, ...]) -> Tensor:
    """The wealth ``[N]`` at the end of what was held, ``[T, N]`` per instrument.

    Every date's books from cash 0, added up: for those that stand apart.
    """
    before = tuple([torch.cat([torch.zeros_like(h[:1]), h[:-1]]) for h in held])
    dates, _ = step(Account(0.0, before, 0.0), held, tape.all_periods(), desk.costs, desk.ops)
    cash, received = dates.cash, tape.premium
    if tape.growth is not None:
        left = (1.0 + tape.growth).flip(0).cumprod(0).flip(0)  # from each date to the end
        cash = torch.cat([cash[:-1] * left[1:], cash[-1:]])
        received = received * left[0]
    price = tuple([p[-1] for p in tape.arrival or tape.price])
    last = tuple([h[-1] for h in held])
    total = received + cash.sum(0)
    wealth: Tensor = total + worth(last, price) + tape.mark[-1]
    if desk.liquidate:
        level = None if tape.cost_level is None else tape.cost_level[0]
        open_ = Account(total, last, wealth)
        closed, _ = close(open_, price, tape.mark[-1], desk.costs, desk.ops, level)
        wealth = closed.wealth
    return wealth

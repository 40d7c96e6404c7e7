"""One decision of a hedger, on one date of given episodes."""

from __future__ import annotations

from dataclasses import dataclass

from .desk import Desk
from .episodes import Episodes
from .hedger import Hedger, Known, Observations
from .ledger import trade_to, worth
from .namespace import NUMPY, X
from .rollout import columns_of
from .scenario import Scenario
from .tape import Tape


@dataclass(frozen=True)
class Decision:
    """What a hedger decides; per instrument an array ``[N]``, in units.

    Attributes:
        before: the holdings it found.
        requested: its target.
        held: the target within the limits.
        trade: what is traded; ``cost`` is money, ``[N]``.
    """

    before: tuple[X, ...]
    requested: tuple[X, ...]
    held: tuple[X, ...]
    trade: tuple[X, ...]
    cost: X


def decide(
    scenario: Scenario,
    episodes: Episodes,
    hedger: Hedger,
    t: int,
    holding: tuple[X, ...],
    pnl: X,
) -> Decision:
    """Ask a hedger at decision date ``t`` who then holds ``holding`` and has earned ``pnl``.

    On the dates before it the hedger hedges the episodes as in a rollout, so that what it remembers
    is what it would; then its account is replaced by the one given, with no order under way. Its
    trades do not move these prices. Evidence:
    tests/envs/test_decision.py (on a rollout's own account it is the rollout's decision).

    Raises:
        ValueError: from the hedger, or for holdings of the wrong shape or not finite.
    """
    tape, desk = Tape.of(episodes), Desk(scenario, NUMPY)
    known = Known(scenario, episodes.numpy(), tape, Observations(episodes, True))
    account = desk.open(tape)
    state = hedger.start(episodes.paths)
    for s in range(t):
        target, state = hedger.act(known._at(s, account), state)
        dealt = desk.advance(account, columns_of(hedger, target, episodes), tape, s, False)
        account = dealt.account
    price = tuple(p[t] for p in tape.price)
    cash = pnl - worth(holding, price) - tape.mark[t]
    pending = (holding,) * len(account.pending)
    account = account._replace(cash=cash, holding=holding, wealth=pnl, pending=pending)
    target, _ = hedger.act(known._at(t, account), state)
    requested = columns_of(hedger, target, episodes)
    held = desk.admissible(requested, account, tape, t)
    level = None if tape.cost_level is None else tape.cost_level[0]
    frictions = desk.frictions(tape, t)
    _, cost, trade = trade_to(account, held, price, desk.costs, NUMPY, level, frictions)
    return Decision(holding, requested, held, trade, cost)

"""What a learner sees of its own books: columns that are filled at every step.

Every one is clipped to [-5, 5]. Evidence: tests/envs/test_observation.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Protocol

from .contract import Contract
from .namespace import Namespace, X

BOUND = 5.0

OWN_FEATURES: dict[str, str] = {
    "holding": "each holding, once every order is dealt, in position sizes; of options on the run "
    "all contracts together",
    "net_gamma": "gamma of the position and the options held, scaled as `gamma`",
    "net_vega": "vega of the position and the options held, scaled as `vega`",
    "gap": "each such delta-one holding less the delta-neutral one, in position sizes",
    "pnl": "marked P&L so far in units of the money scale",
    "pending": "holdings now and after each order under way but the last, in position sizes",
    "displacement": "transient impact on each instrument's price, over that of trading the size",
}


class Owned(Protocol):
    """What own features are made of, numbers or ``[N]``; tuples have one entry per instrument."""

    @property
    def holding(self) -> tuple[X, ...]:
        """The holdings now."""

    @property
    def ordered(self) -> tuple[X, ...]:
        """The holdings once every order under way is dealt."""

    @property
    def wealth(self) -> X:
        """The marked P&L so far."""

    @property
    def pending(self) -> tuple[tuple[X, ...], ...]:
        """The holdings after each order under way, oldest first."""

    @property
    def displacement(self) -> tuple[X, ...]:
        """Of each price, as a fraction of it."""


def own_features(
    names: Sequence[str],
    account: Owned,
    neutral: Sequence[X],
    contract: Contract,
    ops: Namespace,
    net: Mapping[str, X] | None = None,
) -> list[X]:
    """The own features' columns in the order of `columns`.

    ``neutral`` has the centres of `gap`, ``net`` what is asked for of `net_gamma` and `net_vega`.
    """
    clip, columns = ops.clip, []
    for name in names:
        if net is not None and name in net:
            columns.append(clip(net[name] * _NET_SCALES[name](contract), -BOUND, BOUND))
        else:
            for value in _FORMULAS[name](account, neutral, contract):
                columns.append(clip(value, -BOUND, BOUND))
    return columns


_NET_SCALES: dict[str, Callable[[Contract], float]] = {
    "net_gamma": lambda c: c.one_step_move / c.size,
    "net_vega": lambda c: 1 / (c.size * c.spot * c.horizon**0.5),
}


def _holding(account: Owned, neutral: Sequence[X], contract: Contract) -> list[X]:
    ordered, size = account.ordered, contract.size
    if len(ordered) == 1:  # the usual case, without a loop: a single environment is told apart
        return [ordered[0] / size]
    held, first = [], 0
    for count in contract.listings:
        held.append(reduce(add, ordered[first : first + count]))
        first += count
    return [units / size for units in (*held, *ordered[first:])]


def _gap(account: Owned, neutral: Sequence[X], contract: Contract) -> list[X]:
    size, held = contract.size, account.ordered[contract.options :]
    if len(held) == 1:
        return [(held[0] - neutral[0]) / size]
    return [(units - centre) / size for units, centre in zip(held, neutral, strict=True)]


def _pnl(account: Owned, neutral: Sequence[X], contract: Contract) -> list[X]:
    return [account.wealth / contract.scale]


def _pending(account: Owned, neutral: Sequence[X], contract: Contract) -> list[X]:
    dates = (account.holding, *account.pending[:-1])
    return [units / contract.size for held in dates for units in held]


def _displacement(account: Owned, neutral: Sequence[X], contract: Contract) -> list[X]:
    pairs = zip(account.displacement, contract.transient, strict=True)
    return [moved / (rate * contract.size) for moved, rate in pairs if rate]


_FORMULAS: dict[str, Callable[[Owned, Sequence[X], Contract], list[X]]] = {
    "holding": _holding,
    "gap": _gap,
    "pnl": _pnl,
    "pending": _pending,
    "displacement": _displacement,
}

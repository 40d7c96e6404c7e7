"""What a learner sees of its own books: columns that are filled at every step.

Every one is clipped to [-5, 5]. Evidence: tests/envs/test_observation.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .contract import Contract
from .namespace import Namespace, X

BOUND = 5.0

OWN_FEATURES: dict[str, str] = {
    "holding": "each holding, once every order is dealt, in position sizes",
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
) -> list[X]:
    """The own features' columns in the order of `columns`; ``neutral`` has the centres of `gap`."""
    return [
        ops.clip(value, -BOUND, BOUND)
        for name in names
        for value in _FORMULAS[name](account, neutral, contract)
    ]


def _holding(account: Owned, neutral: Sequence[X], contract: Contract) -> list[X]:
    return [units / contract.size for units in account.ordered]


def _gap(account: Owned, neutral: Sequence[X], contract: Contract) -> list[X]:
    pairs = zip(account.ordered[contract.options :], neutral, strict=True)
    return [(units - centre) / contract.size for units, centre in pairs]


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

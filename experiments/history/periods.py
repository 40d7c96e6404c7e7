"""Parts of a history that a backtest is told by: calendar years, and the crises that users know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.objectives import Objective
from .contracts import Contract

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Crisis:
    """A stretch of days when equity markets fell hard.

    Attributes:
        name: begins with its year.
        first, last: its days, as ISO dates.
    """

    name: str
    first: str
    last: str


CRISES = (
    Crisis("2008 credit crisis", "2008-09-15", "2009-03-09"),
    Crisis("2010 flash crash", "2010-05-06", "2010-07-02"),
    Crisis("2011 downgrade", "2011-07-22", "2011-10-03"),
    Crisis("2015 devaluation", "2015-08-17", "2016-02-11"),
    Crisis("2018 February", "2018-01-26", "2018-02-08"),
    Crisis("2018 fourth quarter", "2018-10-03", "2018-12-24"),
)


@dataclass(frozen=True)
class Period:
    """How hedgers did in some months, money a month; too few for intervals.

    Attributes:
        name: a year, or a crisis.
        crises: the crises that the months touch.
        months: how many.
        hedgers: by name, ``mean`` P&L, its ``std``, the ``worst`` P&L and the ``risk``.
    """

    name: str
    crises: tuple[str, ...]
    months: int
    hedgers: dict[str, dict[str, float]]

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "crises": list(self.crises)}


def by_year(
    objective: Objective, cut: Sequence[Contract], pnl: Mapping[str, Floats]
) -> list[Period]:
    """Months by the calendar year that they begin in; P&L is ``[n]`` by hedger."""
    years = np.array([int(str(contract.dates[0])[:4]) for contract in cut])
    return [_period(objective, str(year), years == year, cut, pnl) for year in np.unique(years)]


def by_crisis(
    objective: Objective, cut: Sequence[Contract], pnl: Mapping[str, Floats]
) -> list[Period]:
    """The months that share a step with each crisis; crises without a month are left out."""
    found = []
    for crisis in CRISES:
        inside = np.array([_touches(contract, crisis) for contract in cut])
        if inside.any():
            found.append(_period(objective, crisis.name, inside, cut, pnl))
    return found


def _touches(contract: Contract, crisis: Crisis) -> bool:
    first, last = np.datetime64(crisis.first), np.datetime64(crisis.last)
    return bool(contract.dates[0] < last and contract.dates[-1] >= first)


def _period(
    objective: Objective,
    name: str,
    inside: NDArray[np.bool_],
    cut: Sequence[Contract],
    pnl: Mapping[str, Floats],
) -> Period:
    months = [contract for contract, chosen in zip(cut, inside, strict=True) if chosen]
    crises = [c.name for c in CRISES if any(_touches(month, c) for month in months)]
    hedgers = {}
    for hedger, values in pnl.items():
        own = values[inside]
        hedgers[hedger] = {
            "mean": float(own.mean()),
            "std": float(own.std()),
            "worst": float(own.min()),
            "risk": objective.risk(-own),
        }
    return Period(name, tuple(crises), len(months), hedgers)

"""Months of real prices: when each option is sold and expires, in units worth 100 at its start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .price_history import FEWEST_STEPS, Dates, Floats, PriceHistory

DAYS_IN_YEAR = 365  # calendar days in a year, for the times of a contract
SCALE = 100.0  # spot at the start of every contract


@dataclass(frozen=True, eq=False)
class Contract:
    """The T trading steps of a history that one option lives on, rescaled.

    Attributes:
        start: row of the history at which the option is sold.
        end: row of the history at which it expires, T rows later.
        dates: trading days, shape [T+1].
        times: years since the start, calendar days / 365, shape [T+1].
        spot: close in units worth 100 at the start, shape [T+1], so that a risk aversion per unit
            of money means the same at any level of prices.
        vol: vol per sqrt(year) known at each day's close, shape [T+1].
        vol_source: source of the vol at the start; that of later days may differ, as it does in
            the one contract that is alive when the VIX begins.
    """

    start: int
    end: int
    dates: Dates
    times: Floats
    spot: Floats
    vol: Floats
    vol_source: str

    @property
    def steps(self) -> int:
        """Trading steps T from the start to expiry."""
        return self.end - self.start


def contracts(history: PriceHistory, days: int | None = 30) -> list[Contract]:
    """Cut a history into complete contracts that do not overlap, one after the other.

    By ``days`` a contract starts at a trading day and expires at the last one within that many
    calendar days; the next one starts at the first trading day that is ``days`` or more after it
    (if each started at the expiry before, all would soon run from Friday to Friday, 28 days). It is
    complete when the history reaches ``days`` calendar days past its start. With null it runs as
    listed monthly options do, from one month's third Friday to the next one's, or the last trading
    day before where that is a holiday; the next starts at the close at which it expires.

    Args:
        history: the closes and vols.
        days: the most calendar days from start to expiry; null: from third Friday to third Friday.

    Raises:
        ValueError: ``days`` is below 2, a contract would have fewer than 2 steps, or the history is
            too short for one contract.

    Evidence: tests/experiments/history/test_contracts.py, on the S&P 500 and on any calendar.
    """
    if days is not None and days < FEWEST_STEPS:
        raise ValueError(f"days is {days}; a contract of 2 steps needs at least {FEWEST_STEPS}")
    cut = []
    for start, end in _third_fridays(history) if days is None else _of_days(history, days):
        if end - start < FEWEST_STEPS:
            within = "to the next third Friday" if days is None else f"within {days} days"
            raise ValueError(
                f"{history.name}: the contract that starts on {history.dates[start]} has "
                f"{end - start} trading step(s) {within} and must have at least "
                f"{FEWEST_STEPS}: ask for more days or fill the gap in the data"
            )
        cut.append(_contract(history, start, end))
    if not cut:
        length = "from third Friday to third Friday" if days is None else f"of {days} days"
        raise ValueError(
            f"{history.name}: {history.dates[0]} to {history.dates[-1]} is too short for one "
            f"contract {length}: give a longer history or ask for fewer days"
        )
    return cut


def by_steps(cut: Sequence[Contract]) -> dict[int, list[Contract]]:
    """Contracts by their number of trading steps T, so that each group stacks to [T+1, N].

    Groups come with T increasing; inside a group the order stays.
    """
    groups: defaultdict[int, list[Contract]] = defaultdict(list)
    for contract in sorted(cut, key=lambda contract: contract.steps):
        groups[contract.steps].append(contract)
    return dict(groups)


def _of_days(history: PriceHistory, days: int) -> list[tuple[int, int]]:
    """First and last rows of contracts of at most ``days`` days."""
    found, start = [], 0
    while start < len(history.dates) and history.dates[start] + days <= history.dates[-1]:
        end = int(np.searchsorted(history.dates, history.dates[start] + days, side="right")) - 1
        found.append((start, end))
        start = int(np.searchsorted(history.dates, history.dates[start] + days))
    return found


def _third_fridays(history: PriceHistory) -> list[tuple[int, int]]:
    """First and last rows of contracts from third Friday to third Friday."""
    first, last = history.dates[[0, -1]].astype("datetime64[M]")
    months: NDArray[np.datetime64] = np.arange(first, last + 1)
    fridays = np.busday_offset(months.astype("datetime64[D]"), 2, roll="forward", weekmask="Fri")
    within = fridays[(fridays >= history.dates[0]) & (fridays <= history.dates[-1])]
    rows = (np.searchsorted(history.dates, within, side="right") - 1).tolist()
    return list(pairwise(rows))


def _contract(history: PriceHistory, start: int, end: int) -> Contract:
    """Rows start to end of the history as a contract; its arrays are its own."""
    rows = slice(start, end + 1)
    dates, close = history.dates[rows].copy(), history.close[rows]
    return Contract(
        start=start,
        end=end,
        dates=dates,
        times=(dates - dates[0]).astype(np.float64) / DAYS_IN_YEAR,
        spot=SCALE * (close / close[0]),  # in this order spot[0] is 100 to the last bit
        vol=history.vol[rows].copy(),
        vol_source=str(history.vol_source[start]),
    )

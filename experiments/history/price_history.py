"""Real prices: daily closes, each marked at a vol known on its day."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 21  # log returns in the trailing estimate: a month of trading days
MINIMUM = 10  # log returns a day needs behind it before the trailing estimate is used
TRADING_DAYS = 252  # trading days in a year, for the trailing estimate
FEWEST_STEPS = 2  # trading steps a contract must have
FEWEST_DAYS = FEWEST_STEPS + 1  # days a history must have: one contract of the fewest steps
HIGHEST_QUOTE = 5.0  # an implied vol above 500 % is taken for one written in percent

Dates = NDArray[np.datetime64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PriceHistory:
    """Daily closes of one underlying, D days, each with the vol that its options are marked at.

    Attributes:
        dates: trading days, strictly increasing, datetime64[D] of shape [D].
        close: closing price in units of currency, above 0, shape [D].
        vol: vol per sqrt(year) known at that day's close, above 0, shape [D].
        vol_source: where that vol comes from, shape [D]: ``vix``, ``file`` or ``trailing``.
        name: what reports call the underlying.

    Raises:
        ValueError: lengths differ, there are fewer than 3 days, dates do not increase, or a close
            or vol is not a finite number above 0.
    """

    dates: Dates
    close: Floats
    vol: Floats
    vol_source: NDArray[np.str_]
    name: str

    def __post_init__(self) -> None:
        if self.dates.dtype != np.dtype("datetime64[D]"):
            raise ValueError(f"{self.name}: dates are {self.dates.dtype}; give datetime64[D]")
        shapes = [column.shape for column in (self.dates, self.close, self.vol, self.vol_source)]
        if set(shapes) != {(len(self.dates),)}:
            raise ValueError(f"{self.name}: shapes {shapes}; give each date one value of a kind")
        if len(self.dates) < FEWEST_DAYS:
            raise ValueError(f"{self.name}: {len(self.dates)} days; give at least {FEWEST_DAYS}")
        _check_dates(self.name, [f"day {row}" for row in range(len(self.dates))], self.dates)
        for column, values in (("close", self.close), ("vol", self.vol)):
            for row in np.flatnonzero(~(np.isfinite(values) & (values > 0)))[:1]:
                where = f"{self.name}, day {row} ({self.dates[row]})"
                raise ValueError(f"{where}: {column} {values[row]} is not a finite number above 0")


def sp500() -> PriceHistory:
    """The S&P 500 from January 1999 to December 2018, as it ships inside the ``arch`` package.

    A day is marked at its own VIX where that is known (from 3 January 2014), else at
    `trailing_vol`; the first 10 days have too short a past and are left out. The VIX is the root of
    a 30-day variance-swap rate, so it usually stands above at-the-money implied vol, and its close
    is struck a quarter of an hour after the index's.

    Raises:
        ImportError: the extra ``data`` is not installed.

    Evidence: tests/experiments/history/test_price_history.py compares known closes of both indices,
    and alters every price and vol after a day to see that nothing up to that day changes.
    """
    try:
        from arch.data import sp500 as index
        from arch.data import vix
    except ImportError as error:
        raise _extra_missing("The S&P 500 history") from error
    prices = index.load()
    percent = vix.load()["vix"].reindex(prices.index).to_numpy(np.float64)
    dates = prices.index.to_numpy().astype("datetime64[D]")
    close = prices["Close"].to_numpy(np.float64)  # as quoted: nothing learnt later is in it
    return _marked("S&P 500", dates, close, percent / 100, "vix")


def from_file(path: str | Path, max_gap_days: int = 7) -> PriceHistory:
    """A history from the user's own CSV or Parquet file.

    Columns: ``date`` (ISO 8601 in a CSV; a time of day is dropped), ``close`` and optionally
    ``implied_vol`` (per sqrt(year): 0.2, not 20), in capitals or not. Without the last, days are
    marked at `trailing_vol` and the first 10 are left out. Other columns are ignored.

    Args:
        path: a file that ends in ``.csv`` or ``.parquet``.
        max_gap_days: the most calendar days from one row to the next.

    Raises:
        ValueError: the file is missing, unreadable or of another type; a column is missing or
            doubled; a date or number cannot be read, is NaN or not above 0; rows are unsorted,
            duplicated, too far apart or too few. It names file, row, value, rule and mend.
        ImportError: Parquet without the extra ``data``.

    Evidence: every refusal is one case of tests/experiments/history/test_price_history.py.
    """
    if max_gap_days < 1:
        raise ValueError(f"max_gap_days is {max_gap_days}; it must be at least 1")
    table = _read(Path(path))
    for required in ("date", "close"):
        table.find(required)
    has_quotes = table.find("implied_vol", optional=True)
    needed = FEWEST_DAYS + (0 if has_quotes else MINIMUM)
    if len(table.rows) < needed:
        raise ValueError(f"{path}: {len(table.rows)} rows; give a history of at least {needed}")
    dates = np.array(table.column("date", _as_date), dtype="datetime64[D]")
    close = np.array(table.column("close", _as_number), dtype=np.float64)
    quoted = np.full(len(dates), np.nan)
    if has_quotes:
        quoted = np.array(table.column("implied_vol", _as_quote), dtype=np.float64)
    _check_dates(str(path), table.labels, dates, max_gap_days)
    return _marked(Path(path).name, dates, close, quoted, "file")


def trailing_vol(close: Floats) -> Floats:
    """Vol per sqrt(year) from closes up to and including each day's own, shape [D].

    The root of 252 times the mean squared log return over the last 21 returns, or as many as there
    are; NaN before there are 10. The mean return is taken as 0, as is usual over days: John Hull,
    Options, Futures, and Other Derivatives (4th edition, 2000), equation 15.4.

    Evidence: tests/experiments/history/test_price_history.py compares a loop over the definition.
    """
    squares = np.diff(np.log(close)) ** 2
    # Each sum is taken over its own window: a running total would carry rounding from day to day.
    padded = np.concatenate([np.zeros(WINDOW), squares])
    sums = np.lib.stride_tricks.sliding_window_view(padded, WINDOW).sum(axis=1)
    returns = np.minimum(np.arange(len(close)), WINDOW)  # how many there are behind each day
    vol = np.sqrt(TRADING_DAYS * sums / np.maximum(returns, 1))
    return np.where(returns >= MINIMUM, vol, np.nan)


def _marked(name: str, dates: Dates, close: Floats, quoted: Floats, source: str) -> PriceHistory:
    """Mark each day at its quote, or where that is NaN at the trailing estimate."""
    has_quote = np.isfinite(quoted)
    vol = np.where(has_quote, quoted, trailing_vol(close))
    for row in np.flatnonzero(vol == 0)[:1]:
        raise ValueError(
            f"{name}, {dates[row]}: close is {close[row]} and has not moved for "
            f"{min(row, WINDOW)} returns, so its trailing vol is 0 and must be above 0: "
            "correct the closes or add a column implied_vol"
        )
    # Days without a vol can only be the first few; a contract must not start on them.
    first = 0 if has_quote[:MINIMUM].all() else MINIMUM
    vol_source = np.where(has_quote, source, "trailing")
    return PriceHistory(dates[first:], close[first:], vol[first:], vol_source[first:], name)


def _check_dates(
    name: str, labels: Sequence[object], dates: Dates, max_gap_days: int | None = None
) -> None:
    """Refuse dates that go back, stand still, or leap further than asked."""
    gaps = np.diff(dates).astype(np.int64)
    too_long = gaps > max_gap_days if max_gap_days is not None else np.zeros_like(gaps, bool)
    for before in np.flatnonzero((gaps <= 0) | too_long)[:1]:
        after = before + 1
        where = f"{name}, {labels[after]}: date {dates[after]}"
        if gaps[before] == 0:
            raise ValueError(f"{where} is duplicated; keep one row for each date")
        if gaps[before] < 0:
            raise ValueError(f"{where} is below {dates[before]}; sort the rows, oldest first")
        raise ValueError(
            f"{where} is {gaps[before]} days after {dates[before]} and max_gap_days is "
            f"{max_gap_days}; fill the gap or allow more days"
        )


@dataclass(frozen=True)
class _Table:
    """The cells of a file, and what to call each row in an error."""

    path: Path
    header: list[str]
    rows: list[Sequence[object]]
    labels: list[str]

    def find(self, name: str, optional: bool = False) -> bool:
        """Whether there is an optional column; refuse a missing, doubled or misspelt one."""
        if self.header.count(name) > 1:
            raise ValueError(f"{self.path}: there are two columns {name!r}; keep one")
        if name in self.header:
            return True
        near = get_close_matches(name, self.header, n=1)
        if optional and not near:
            return False
        mend = "name it in the first line, with commas between the names"
        if near:
            mend = f"rename {near[0]!r} to it" + (", or drop that column" if optional else "")
        raise ValueError(f"{self.path}: no column {name!r} among {self.header}; {mend}")

    def column(self, name: str, read: Callable[[object], Any]) -> list[Any]:
        """One column, every cell read; an error names the cell."""
        place, date_place = self.header.index(name), self.header.index("date")
        found = []
        for row, label in zip(self.rows, self.labels, strict=True):
            try:
                found.append(read(row[place]))
            except ValueError as error:
                where = f"{self.path}, {label} ({row[date_place]})"
                raise ValueError(f"{where}: {name} {row[place]!r} {error}") from None
        return found


def _read(path: Path) -> _Table:
    """The cells of a CSV or Parquet file, with the names of the columns in lower case."""
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: the name must end in .csv or .parquet; convert the file")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; check the path")
    try:
        header, rows, labels = readers[path.suffix.lower()](path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read ({error}); export it again") from error
    names = [name.strip().lower().replace(" ", "_") for name in header]
    return _Table(path, names, rows, labels)


def _read_csv(path: Path) -> tuple[list[str], list[Sequence[object]], list[str]]:
    """Header, rows of text and their labels; blank lines are skipped."""
    rows: list[Sequence[object]] = []
    labels = []
    with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: spreadsheets write a mark
        lines = csv.reader(file, strict=True)
        header = next(lines, [])
        for cells in filter(None, lines):
            if len(cells) != len(header):
                raise csv.Error(
                    f"line {lines.line_num} has {len(cells)} cells between commas and the first "
                    f"line {len(header)}"
                )
            rows.append(cells)
            labels.append(f"line {lines.line_num}")
    return header, rows, labels


def _read_parquet(path: Path) -> tuple[list[str], list[Sequence[object]], list[str]]:
    """Header, rows of Python objects and their labels."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise _extra_missing("A Parquet file") from error
    try:
        with parquet.ParquetFile(path) as file:
            table = file.read()
    except pyarrow.ArrowException as error:
        raise OSError(str(error)) from error
    columns = [column.to_pylist() for column in table.columns]
    labels = [f"row {row}" for row in range(1, table.num_rows + 1)]
    return list(table.column_names), list(zip(*columns, strict=True)), labels


def _as_date(value: object) -> date:
    """A day from ISO text or from what Parquet gives; a ValueError that ends the sentence."""
    if isinstance(value, str):
        with suppress(ValueError):  # still text then, and refused below
            value = datetime.fromisoformat(value.strip())
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    raise ValueError("is not a date; write it as YYYY-MM-DD")


def _as_number(value: object) -> float:
    """A finite number above 0; a ValueError that ends the sentence."""
    try:
        number = float(value)  # type: ignore[arg-type]  # what is no number is refused just below
    except (TypeError, ValueError):
        raise ValueError("is not a number; write it like 1234.5, or drop the row") from None
    if not (isfinite(number) and number > 0):
        raise ValueError("is not a finite number above 0; correct it or drop the row")
    return number


def _as_quote(value: object) -> float:
    """An implied vol per sqrt(year); a ValueError that ends the sentence."""
    number = _as_number(value)
    if number > HIGHEST_QUOTE:
        raise ValueError(f"is above {HIGHEST_QUOTE:g} and may be in percent; divide it by 100")
    return number


def _extra_missing(what: str) -> ImportError:
    return ImportError(f"{what} needs the extra 'data': pip install 'deephedge[data]'")

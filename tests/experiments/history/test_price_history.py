from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import arch.data.sp500
import arch.data.vix
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from deephedge.experiments.history.contracts import Contract, contracts
from deephedge.experiments.history.price_history import (
    PriceHistory,
    from_file,
    sp500,
    trailing_vol,
)

Table = Sequence[Sequence[str]]
FIXTURE = HealthCheck.function_scoped_fixture  # a folder may serve all examples: they overwrite
FIXED = settings(derandomize=True, deadline=None, suppress_health_check=[FIXTURE])


@pytest.fixture(scope="module")
def index() -> PriceHistory:
    return sp500()


@pytest.fixture(scope="module")
def months(index: PriceHistory) -> list[Contract]:
    return contracts(index)


def made_up(days: int = 60, seed: int = 0, vol: bool = False) -> list[list[str]]:
    """A header and rows of weekdays from 1 January 2015, as text: what a good CSV holds."""
    rng = np.random.default_rng(seed)
    weekdays = np.busday_offset("2015-01-01", np.arange(days))
    close = 50 * np.exp(np.cumsum(0.01 * rng.standard_normal(days)))
    columns = [["date", *weekdays.astype(str)], ["close", *close.astype(str)]]
    if vol:
        columns.append(["implied_vol", *rng.uniform(0.1, 0.3, days).astype(str)])
    return [list(map(str, row)) for row in zip(*columns, strict=True)]


def write(path: Path, table: Table) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(table)
    return path


def known_on(history: PriceHistory, day: np.datetime64) -> list[Any]:
    rows = history.dates <= day
    columns = (history.dates, history.close, history.vol, history.vol_source)
    return [column[rows].tolist() for column in columns]


GOOD = made_up(vol=True)


def test_sp500_runs_over_the_trading_days_of_1999_to_2018(index: PriceHistory) -> None:
    # 5,031 closes from 4 January ship with arch; the first 10 have too short a past to be marked.
    assert len(index.dates) == 5031 - 10
    assert index.dates[[0, -1]].astype(str).tolist() == ["1999-01-19", "2018-12-31"]
    assert np.is_busday(index.dates).all()
    closed = np.array(["1999-07-05", "2001-09-11", "2012-10-29", "2018-12-05"], "M8[D]")
    assert not np.isin(closed, index.dates).any()


def test_sp500_closes_and_marks_are_those_published(index: PriceHistory) -> None:
    days = np.array(["2001-09-10", "2001-09-17", "2008-10-15", "2015-08-24", "2018-02-05"], "M8[D]")
    rows = np.searchsorted(index.dates, days)
    published = [1092.54, 1038.77, 907.84, 1893.21, 2648.94]
    assert index.close[rows] == pytest.approx(published, abs=0.005)
    # The VIX rose by more than a third on both last days: a mark that is a day late fails.
    assert index.vol[rows[3:]] == pytest.approx([0.4074, 0.3732])
    has_vix = index.dates >= np.datetime64("2014-01-03")
    assert index.vol_source.tolist() == np.where(has_vix, "vix", "trailing").tolist()


def test_a_day_without_a_vix_is_marked_at_the_trailing_estimate(
    monkeypatch: pytest.MonkeyPatch, index: PriceHistory
) -> None:
    vix = arch.data.vix.load()
    vix.loc["2016-03-01", "vix"] = np.nan
    monkeypatch.setattr(arch.data.vix, "load", lambda: vix)
    history = sp500()
    (row,) = np.flatnonzero(history.vol_source != index.vol_source)
    returns = np.diff(np.log(history.close[row - 21 : row + 1]))
    assert str(history.dates[row]) == "2016-03-01" and history.vol_source[row] == "trailing"
    assert history.vol[row] == pytest.approx(np.sqrt(252 * np.mean(returns**2)))
    np.testing.assert_array_equal(np.delete(history.vol, row), np.delete(index.vol, row))


@pytest.mark.parametrize("row", [0, 9, 10, 21, 2500, 3774, 3775, 4500, 5029])
def test_sp500_up_to_a_day_does_not_depend_on_what_comes_later(
    monkeypatch: pytest.MonkeyPatch, row: int, index: PriceHistory, months: list[Contract]
) -> None:
    prices, vix, rng = arch.data.sp500.load(), arch.data.vix.load(), np.random.default_rng(row)
    day = prices.index[row]
    prices.loc[prices.index > day, "Close"] *= rng.uniform(0.5, 2, 5030 - row)
    vix.loc[vix.index > day, "vix"] *= 1.5
    monkeypatch.setattr(arch.data.sp500, "load", lambda: prices)
    monkeypatch.setattr(arch.data.vix, "load", lambda: vix)
    altered, now = sp500(), np.datetime64(day, "D")
    assert known_on(altered, now) == known_on(index, now)
    assert altered.close[-1] != index.close[-1] and altered.vol[-1] != index.vol[-1]
    for contract, before in zip(contracts(altered), months, strict=True):
        known = contract.dates <= now
        np.testing.assert_array_equal(contract.spot[known], before.spot[known])
        np.testing.assert_array_equal(contract.vol[known], before.vol[known])


def test_trailing_vol_is_its_definition() -> None:
    close = 100 * np.exp(np.cumsum(0.02 * np.random.default_rng(1).standard_normal(80)))
    vol = trailing_vol(close)
    assert np.isnan(vol[:10]).all()
    for day in range(10, 80):
        squares = [np.log(close[i] / close[i - 1]) ** 2 for i in range(max(day - 20, 1), day + 1)]
        assert len(squares) == min(day, 21)
        assert vol[day] == pytest.approx(np.sqrt(252 * sum(squares) / len(squares)), rel=1e-12)


def by_hand(**changes: Any) -> PriceHistory:
    columns: dict[str, Any] = {"close": [1.0, 2.0, 3.0], "vol": [0.2] * 3, "vol_source": ["x"] * 3}
    columns |= {"dates": np.arange("2020-01-01", "2020-01-04", dtype="M8[D]")} | changes
    return PriceHistory(**{name: np.array(column) for name, column in columns.items()}, name="mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"close": [1.0, 2.0]}, "shapes .*; give each date one value"),
        ({"vol": [[0.2]] * 3}, "shapes .*; give each date one value"),
        ({"close": [1.0, np.nan, 2.0]}, r"day 1 \(2020-01-02\): close nan is not a finite"),
        ({"close": [1.0, 2.0, -2.0]}, r"day 2 \(2020-01-03\): close -2.0 is not a finite"),
        ({"vol": [0.0, 0.2, 0.2]}, r"day 0 \(2020-01-01\): vol 0.0 is not a finite"),
        ({"vol": [np.inf, 0.2, 0.2]}, r"day 0 \(2020-01-01\): vol inf is not a finite"),
        ({"dates": np.array([9, 8, 10], "M8[D]")}, "day 1: date 1970-01-09 is below 1970-01-10"),
        ({"dates": np.array([8, 8, 10], "M8[D]")}, "day 1: date 1970-01-09 is duplicated"),
        ({"dates": np.array([8, 9, 10], "M8[s]")}, r"dates are datetime64\[s\]; give date.*\[D\]"),
        ({"dates": np.zeros(0, "M8[D]"), "close": [], "vol": [], "vol_source": []}, "0 days; give"),
    ],
)
def test_a_history_refuses_impossible_columns(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^mine[:,] {message}"):
        by_hand(**changes)


def test_the_sp500_comes_back_from_the_files_that_pandas_writes(
    tmp_path: Path, index: PriceHistory
) -> None:
    frame = arch.data.sp500.load()  # Date is its index; Open, High, Low, Close, Adj Close, Volume
    frame.to_csv(tmp_path / "index.csv")
    frame.to_parquet(tmp_path / "index.parquet")
    trailing = index.vol_source == "trailing"
    for name in ("index.csv", "index.parquet"):
        history = from_file(tmp_path / name)  # the longest gap, in September 2001, is 7 days
        assert history.name == name and set(history.vol_source) == {"trailing"}
        np.testing.assert_array_equal(history.dates, index.dates)
        np.testing.assert_array_equal(history.close, index.close)
        np.testing.assert_array_equal(history.vol[trailing], index.vol[trailing])


def test_an_implied_vol_column_is_the_mark_from_the_first_row_on(tmp_path: Path) -> None:
    history = from_file(write(tmp_path / "mine.csv", GOOD))
    assert history.dates.astype(str).tolist() == [row[0] for row in GOOD[1:]]
    assert history.close.tolist() == [float(row[1]) for row in GOOD[1:]]
    assert history.vol.tolist() == [float(row[2]) for row in GOOD[1:]]
    assert set(history.vol_source) == {"file"}
    assert [c.steps for c in contracts(from_file(write(tmp_path / "3.csv", GOOD[:4])), 4)] == [2]


def test_a_spreadsheets_csv_reads_as_the_plain_one(tmp_path: Path) -> None:
    plain = from_file(write(tmp_path / "plain.csv", made_up()))
    rows = [[f"{row[0]} 16:00:00-05:00", row[1]] for row in made_up()[1:]]
    path = write(tmp_path / "Sheet.CSV", [[" DATE ", "Close"], *rows])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\r\n")
    assert known_on(from_file(path), plain.dates[-1]) == known_on(plain, plain.dates[-1])


@pytest.mark.parametrize(
    "day_type",
    [pa.date32(), pa.timestamp("ns"), pa.timestamp("ms", tz="America/New_York"), pa.string()],
    ids=str,
)
def test_parquet_reads_as_a_csv_does(tmp_path: Path, day_type: pa.DataType) -> None:
    plain = from_file(write(tmp_path / "plain.csv", GOOD))
    days, close, vol = zip(*GOOD[1:], strict=True)
    moments = [datetime.fromisoformat(f"{day}T21:00+00:00") for day in days]
    dates = pa.array(moments, pa.timestamp("us", "UTC")).cast(day_type)
    numbers = {"close": list(map(float, close)), "implied_vol": list(map(float, vol))}
    parquet.write_table(pa.table({"date": dates, **numbers}), tmp_path / "mine.parquet")
    read = from_file(tmp_path / "mine.parquet")
    assert known_on(read, read.dates[-1]) == known_on(plain, plain.dates[-1])


@FIXED
@given(row=st.integers(1, 59), vol=st.booleans())
def test_a_file_up_to_a_row_ignores_later_rows(tmp_path: Path, row: int, vol: bool) -> None:
    table, other = made_up(vol=vol), made_up(seed=1, vol=vol)
    before = from_file(write(tmp_path / "before.csv", table))
    after = from_file(write(tmp_path / "after.csv", table[: row + 1] + other[row + 1 :]))
    now = np.datetime64(table[row][0])
    assert known_on(before, now) == known_on(after, now)


def headed(*names: str) -> Table:
    return [names, *GOOD[1:]]


def with_cell(column: int, text: str) -> Table:
    table = made_up(vol=True)
    table[4][column] = text  # line 5 of the file, 6 January
    return table


AT = r"line 5 \(2015-01-06\)"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], r"no column 'date' among \[\]; name it in the first line"),
        (GOOD[1:], "no column 'date' .*; name it in the first line"),
        (headed("date", "x", "implied_vol"), "no column 'close' .*; name it in the first line"),
        (headed("dates", "close", "implied_vol"), "no column 'date' .*; rename 'dates' to it$"),
        (headed("date", "closing", "y"), "no column 'close' .*; rename 'closing' to it$"),
        (headed("date", "close", "ImpliedVol"), "'implied_vol' .*; rename 'impliedvol' to it, or"),
        (headed("date", "close", "Close"), "there are two columns 'close'; keep one"),
        ([[";".join(row)] for row in GOOD], r"among \['date;close;implied_vol'\]; .* commas"),
        ([*GOOD[:5], GOOD[5][:2]], "line 6 has 2 cells between commas and the first line 3"),
        ([GOOD[0], *GOOD[:0:-1]], "line 3: date 2015-03-24 is below 2015-03-25; sort the rows"),
        ([*GOOD[:9], GOOD[3]], "line 10: date 2015-01-05 is below 2015-01-12; sort the rows"),
        ([*GOOD[:9], GOOD[8]], "line 10: date 2015-01-12 is duplicated; keep one row"),
        (GOOD[:9] + GOOD[15:], "line 10: date 2015-01-21 is 9 days after 2015-01-12 and max_gap_d"),
        (with_cell(0, "01/06/2015"), "line 5 .*: date '01/06/2015' is not a date; write it as YYY"),
        (with_cell(0, ""), "line 5 .*: date '' is not a date; write it as YYYY-MM-DD"),
        (with_cell(1, "0"), f"{AT}: close '0' is not a finite number above 0; correct it or drop"),
        (with_cell(1, "-3.5"), f"{AT}: close '-3.5' is not a finite number above 0; correct it"),
        (with_cell(1, "NaN"), f"{AT}: close 'NaN' is not a finite number above 0; correct it"),
        (with_cell(1, "inf"), f"{AT}: close 'inf' is not a finite number above 0; correct it"),
        (with_cell(1, ""), f"{AT}: close '' is not a number; write it like 1234.5, or drop"),
        (with_cell(1, "1.234,5"), f"{AT}: close '1.234,5' is not a number; write it like 1234.5"),
        (with_cell(2, "nan"), f"{AT}: implied_vol 'nan' is not a finite number above 0"),
        (with_cell(2, ""), f"{AT}: implied_vol '' is not a number; write it like"),
        (with_cell(2, "18.2"), f"{AT}: implied_vol '18.2' is above 5 and may be in percent; div"),
        (GOOD[:3], "2 rows; give a history of at least 3"),
        (made_up(12), "12 rows; give a history of at least 13"),
        (GOOD[:1], "0 rows; give a history of at least 3"),
        (
            [["date", "close"], *([row[0], "7.5"] for row in GOOD[1:])],
            "2015-01-15: close is 7.5 and has not moved for 10 returns, .* add a column implied_v",
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, table: Table, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        from_file(write(tmp_path / "mine.csv", table))
    assert "mine.csv" in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "there is no such file; check the path"),
        ("mine.csv.gz", b"", "the name must end in .csv or .parquet; convert the file"),
        ("wide.csv", "date,close\n".encode("utf-16"), r"cannot be read \(.*\); export it again"),
        ("quote.csv", b'date,close\n"2020-01-01,5\n', r"cannot be read \(unexpected end of data"),
    ],
)
def test_what_is_not_a_csv_or_parquet_file_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        from_file(tmp_path / name)


def test_a_bad_parquet_file_is_refused_as_a_csv_is(tmp_path: Path) -> None:
    path, days = tmp_path / "mine.parquet", [date(2020, 1, 1 + row) for row in range(20)]
    cases: list[tuple[list[Any], Any, str]] = [
        (days, None, r"row 20 \(2020-01-20\): close None is not a number"),
        (days, np.nan, r"row 20 \(2020-01-20\): close nan is not a finite number above 0"),
        (list(range(20)), 1.0, r"row 1 \(0\): date 0 is not a date; write it as YYYY-MM-DD"),
    ]
    for dates, last, message in cases:
        parquet.write_table(pa.table({"date": dates, "close": [1.0] * 19 + [last]}), path)
        with pytest.raises(ValueError, match=f"mine.parquet, {message}"):
            from_file(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 50):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="cannot be read"):
            from_file(path)


def test_the_gap_allowed_is_the_users(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", GOOD[:9] + GOOD[15:])
    assert len(from_file(path, max_gap_days=9).dates) == 60 - 6
    with pytest.raises(ValueError, match="is 9 days after 2015-01-12 and max_gap_days is 8; fill"):
        from_file(path, max_gap_days=8)
    with pytest.raises(ValueError, match="max_gap_days is 0; it must be at least 1"):
        from_file(path, max_gap_days=0)


def test_without_the_extra_a_csv_is_read_and_the_rest_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.parquet").touch()
    extras = ("arch", "pandas", "pyarrow")
    for name in [name for name in sys.modules if name.split(".")[0] in extras]:
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails now
    assert len(from_file(write(tmp_path / "mine.csv", made_up())).dates) == 50
    with pytest.raises(ImportError, match=r"S&P 500 .* pip install 'deephedge\[data\]'"):
        sp500()
    with pytest.raises(ImportError, match=r"Parquet .* pip install 'deephedge\[data\]'"):
        from_file(tmp_path / "mine.parquet")

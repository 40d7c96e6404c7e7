"""Contracts: complete, one after the other, of the past alone, whatever the calendar."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deephedge.experiments.history.contracts import Contract, by_steps, contracts
from deephedge.experiments.history.price_history import PriceHistory, sp500

FIXED = settings(derandomize=True, deadline=None)


@pytest.fixture(scope="module")
def index() -> PriceHistory:
    return sp500()


@pytest.fixture(scope="module")
def months(index: PriceHistory) -> list[Contract]:
    return contracts(index)


def test_sp500_contracts_are_monthly_complete_and_do_not_overlap(
    index: PriceHistory, months: list[Contract]
) -> None:
    assert len(months) == 239  # 12 a year
    for contract, following in pairwise(months):
        assert contract.end <= following.start <= contract.end + 1
        assert following.start == np.searchsorted(index.dates, contract.dates[0] + 30)
    for contract in months:
        assert contract.dates[-1] <= contract.dates[0] + 30 < index.dates[contract.end + 1]
        assert 15 <= contract.steps <= 22
    assert index.dates[months[-1].end] + 30 > index.dates[-1]  # one more would be incomplete


def test_a_contract_is_a_copy_of_its_days(index: PriceHistory, months: list[Contract]) -> None:
    for contract in months:
        rows = slice(contract.start, contract.end + 1)
        np.testing.assert_array_equal(contract.dates, index.dates[rows])
        np.testing.assert_array_equal(contract.vol, index.vol[rows])
        assert contract.vol_source == index.vol_source[contract.start]
        assert contract.spot[0] == 100.0 and contract.times[0] == 0.0
        money = contract.spot * index.close[contract.start] / 100
        np.testing.assert_allclose(money, index.close[rows], rtol=1e-14)
        days = [(day.item() - contract.dates[0].item()).days for day in contract.dates]
        np.testing.assert_array_equal(contract.times, np.array(days) / 365)
        assert (np.diff(contract.times) > 0).all()
        for array in (contract.times, contract.spot, contract.vol):
            assert array.dtype == np.float64 and array.shape == (contract.steps + 1,)
        assert not np.shares_memory(contract.vol, index.vol)
        assert not np.shares_memory(contract.dates, index.dates)
    # The unit of the prices changes nothing.
    dearer = contracts(replace(index, close=7 * index.close))
    for contract, other in zip(months, dearer, strict=True):
        np.testing.assert_allclose(contract.spot, other.spot, rtol=1e-14)


@FIXED
@given(st.lists(st.integers(1, 9), min_size=30), st.integers(18, 60), st.integers(3, 31))
def test_contracts_never_wait_for_the_future(gaps: list[int], days: int, known: int) -> None:
    dates, rows = np.datetime64("2020-01-01") + np.cumsum([0, *gaps]), len(gaps) + 1
    columns = (dates, np.linspace(50, 60, rows), np.full(rows, 0.2), np.full(rows, "file"))
    so_far = PriceHistory(*(column[:known] for column in columns), "known")
    if dates[-1] < dates[0] + days:
        with pytest.raises(ValueError, match="is too short for one contract"):
            contracts(PriceHistory(*columns, "made up"), days)
        return
    whole = contracts(PriceHistory(*columns, "made up"), days)
    for contract, following in pairwise(whole):
        assert dates[following.start] == min(d for d in dates if d >= contract.dates[0] + days)
    for contract in whole:
        assert contract.dates[-1] == max(day for day in dates if day <= contract.dates[0] + days)
    complete = [(c.start, c.end) for c in whole if c.dates[0] + days <= so_far.dates[-1]]
    if complete:
        assert [(c.start, c.end) for c in contracts(so_far, days)] == complete


def test_contracts_group_by_their_steps_and_each_group_stacks(months: list[Contract]) -> None:
    groups = by_steps(months)
    assert all(fewer < more for fewer, more in pairwise(groups))
    assert sorted(c.start for group in groups.values() for c in group) == [c.start for c in months]
    for steps, group in groups.items():
        assert all(first.start < second.start for first, second in pairwise(group))
        assert np.stack([c.spot for c in group], axis=1).shape == (steps + 1, len(group))


def test_contracts_of_an_impossible_length_are_refused(index: PriceHistory) -> None:
    with pytest.raises(ValueError, match="days is 1; a contract of 2 steps needs at least 2"):
        contracts(index, 1)
    with pytest.raises(ValueError, match=r"on 1999-01-\d\d has 1 trading .* ask for more days"):
        contracts(index, 2)
    with pytest.raises(ValueError, match="1999-01-19 to 2018-12-31 is too short for one contract"):
        contracts(index, 8000)


def third_friday(year: int, month: int) -> date:
    """By counting days."""
    fridays = [
        day
        for day in (date(year, month, 1) + timedelta(days=n) for n in range(28))
        if day.weekday() == 4
    ]
    return fridays[2]


def test_listed_contracts_run_from_third_friday_to_third_friday(index: PriceHistory) -> None:
    listed = contracts(index, days=None)
    assert len(listed) == 238 and {c.steps for c in listed} <= set(range(17, 26))
    days = set(index.dates.tolist())
    for contract in listed:
        for day in contract.dates[[0, -1]].tolist():
            due = third_friday(day.year, day.month)
            assert day == due or (due not in days and day == due - timedelta(days=1))  # Good Friday
    moved = [c.dates[-1].item() for c in listed if c.dates[-1].item().weekday() == 3]
    assert moved == [date(2000, 4, 20), date(2003, 4, 17), date(2008, 3, 20), date(2014, 4, 17)]
    for contract, following in pairwise(listed):
        assert contract.end == following.start  # the next is sold as the last expires
    assert str(listed[0].dates[0]) == "1999-02-19" and str(listed[-1].dates[-1]) == "2018-12-21"


@pytest.mark.parametrize("row", [60, 333, 1000])
def test_listed_contracts_never_wait_for_the_future(index: PriceHistory, row: int) -> None:
    columns = ("dates", "close", "vol", "vol_source")
    so_far = replace(index, **{name: getattr(index, name)[:row] for name in columns})
    known = [(c.start, c.end) for c in contracts(so_far, None)]
    assert known == [(c.start, c.end) for c in contracts(index, None)][: len(known)]
    assert len(known) >= row // 21 - 2


def test_too_short_for_a_listed_contract(index: PriceHistory) -> None:
    columns = ("dates", "close", "vol", "vol_source")
    short = replace(index, **{name: getattr(index, name)[:30] for name in columns})
    with pytest.raises(ValueError, match="too short for one contract from third Friday to third"):
        contracts(short, None)

"""Calendars: dates in years, weekends, decision dates, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from deephedge.envs.calendar import Calendar, TradingDaysCalendar, UniformCalendar

PATHS = 20_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def whole_days(calendar: Calendar, paths: int = PATHS, seed: int = 0) -> np.ndarray:
    """The dates of a trading-days calendar as whole days, [steps + 1, paths]."""
    days = calendar.times(paths, generator(seed)).numpy() * 365
    np.testing.assert_allclose(days, np.rint(days), atol=1e-9)
    return np.rint(days).astype(int)


def test_uniform_dates_are_equally_spaced_over_the_days() -> None:
    calendar = UniformCalendar(steps=30, days=30)
    times = calendar.times(7, generator())
    assert times.dtype == torch.float64
    assert times.shape == (31, 1)
    np.testing.assert_allclose(times[:, 0], np.linspace(0, 30 / 365, 31), rtol=1e-15)
    assert calendar.fixed
    assert calendar.horizon == float(times[-1, 0]) == 30 / 365


def test_a_year_of_uniform_dates_need_not_be_whole_days() -> None:
    times = UniformCalendar(steps=4, days=365 / 12).times(1, generator())
    np.testing.assert_allclose(times[:, 0] * 48, np.arange(5), rtol=1e-14)


@pytest.mark.parametrize(
    ("steps", "every", "decisions"),
    [
        (5, 1, (0, 1, 2, 3, 4)),
        (6, 3, (0, 3)),
        (7, 3, (0, 3, 6)),  # the last period is the shorter one
        (3, 5, (0,)),
    ],
)
def test_decision_dates_are_every_nth_and_never_the_end(
    steps: int, every: int, decisions: tuple[int, ...]
) -> None:
    for calendar in (
        UniformCalendar(steps=steps, decide_every=every, days=10),
        TradingDaysCalendar(steps=steps, decide_every=every),
    ):
        assert calendar.decisions == decisions


def test_weekends_fall_every_five_closes_on_each_path() -> None:
    days = whole_days(TradingDaysCalendar(steps=21))
    assert days.shape == (22, PATHS)
    assert (days[0] == 0).all()
    gaps = np.diff(days, axis=0)
    assert set(np.unique(gaps)) == {1, 3}
    weekends = gaps == 3
    # Any five steps in a row hold one weekend, so its place repeats.
    assert (weekends[5:] == weekends[:-5]).all()
    assert (weekends[:5].sum(axis=0) == 1).all()


def test_the_first_close_is_on_any_weekday_alike() -> None:
    gaps = np.diff(whole_days(TradingDaysCalendar(steps=5)), axis=0)
    first_weekend = (gaps == 3).argmax(axis=0)
    counts = np.bincount(first_weekend, minlength=5)
    assert stats.chisquare(counts).pvalue > 1e-5


@pytest.mark.parametrize("steps", [1, 4, 5, 21, 252])
def test_the_horizon_is_the_mean_length_within_two_days(steps: int) -> None:
    calendar = TradingDaysCalendar(steps=steps)
    last = whole_days(calendar)[-1]
    assert np.ptp(last) <= 2
    standard_error = last.std() / PATHS**0.5
    assert abs(last.mean() / 365 - calendar.horizon) <= (4 * standard_error + 1e-9) / 365
    assert not calendar.fixed


def test_dates_depend_on_the_generator_alone() -> None:
    calendar = TradingDaysCalendar(steps=9)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = calendar.times(50, generator(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(calendar.times(50, generator(3)), first)
    assert not torch.equal(calendar.times(50, generator(4)), first)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"steps": 0, "days": 30}, "steps"),
        ({"steps": 30, "days": 0}, "days"),
        ({"steps": 30, "days": -1}, "days"),
        ({"steps": 30, "days": float("nan")}, "days"),
        ({"steps": 30, "days": float("inf")}, "days"),
        ({"steps": 30.5, "days": 30}, "steps"),
        ({"steps": 30, "days": 30, "decide_every": 0}, "decide_every"),
        ({"steps": 30}, "days"),
        ({"steps": 30, "days": 30, "years": 1}, "years"),
    ],
)
def test_impossible_calendars_are_refused(keys: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        UniformCalendar(**keys)

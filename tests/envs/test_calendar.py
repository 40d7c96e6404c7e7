"""Calendars: dates in years, weekends, decision dates, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from deephedge.envs.calendar import (
    Calendar,
    TradingDaysCalendar,
    TradingHoursCalendar,
    UniformCalendar,
)
from deephedge.envs.markets import GeometricBrownianMotion

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
        TradingHoursCalendar(days=1, per_day=steps + 1, decide_every=every),
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


# Trading hours ----------------------------------------------------------------------------------

HOURS = TradingHoursCalendar(
    days=12, per_day=4, session_hours=6.0, overnight=0.25, weekend=0.5, first_weekday=2
)
SESSION = 7 / 365 / (5 + 4 * 0.25 + 0.5)  # years of variance


def test_sessions_are_where_they_are_in_a_week() -> None:
    times = HOURS.times(7, generator())
    assert times.dtype == torch.float64
    assert times.shape == (HOURS.steps + 1, 1) == (48, 1)
    hours = times[:, 0].numpy() * 365 * 24
    opens, *within = hours.reshape(12, 4).T
    # From a Wednesday on; a weekend is two days longer.
    np.testing.assert_allclose(opens / 24, [0, 1, 2, 5, 6, 7, 8, 9, 12, 13, 14, 15], atol=1e-9)
    for k, dates in enumerate(within, start=1):
        np.testing.assert_allclose(dates - opens, 2.0 * k, atol=1e-9)
    assert HOURS.fixed
    assert HOURS.horizon == pytest.approx(float(times[-1, 0]))
    dates = HOURS.dates()
    assert dates is not None
    assert torch.equal(dates, times[:, 0])


def test_nights_and_weekends_have_their_own_variance() -> None:
    times = HOURS.times(1, generator())
    clock = HOURS.clock(times)
    assert clock.shape == times.shape
    assert float(clock[0]) == 0.0
    steps = clock.diff(dim=0)[:, 0].numpy() / SESSION
    gaps = steps[3::4]
    np.testing.assert_allclose(gaps, [0.25, 0.25, 0.5, *[0.25] * 4, 0.5, *[0.25] * 3], rtol=1e-9)
    np.testing.assert_allclose(np.delete(steps, np.s_[3::4]), 1 / 3, rtol=1e-9)


@pytest.mark.parametrize("first", [0, 3, None])
@pytest.mark.parametrize(("overnight", "weekend"), [(0.2, 0.4), (0.0, 0.0), (3.0, 0.0)])
def test_a_week_has_its_share_of_a_years_variance(
    first: int | None, overnight: float, weekend: float
) -> None:
    calendar = TradingHoursCalendar(
        days=11, per_day=3, overnight=overnight, weekend=weekend, first_weekday=first
    )
    times = calendar.times(500, generator())
    clock = calendar.clock(times)
    assert bool((times.diff(dim=0) > 0).all())
    assert bool((clock.diff(dim=0) >= 0).all())
    opens = slice(0, None, 3)  # from an open to the one five sessions later
    np.testing.assert_allclose((times[opens][5:] - times[opens][:-5]) * 365, 7.0, rtol=1e-12)
    np.testing.assert_allclose((clock[opens][5:] - clock[opens][:-5]) * 365, 7.0, rtol=1e-12)


def test_the_first_session_is_on_any_weekday_alike() -> None:
    calendar = TradingHoursCalendar(days=6, per_day=2)
    times = calendar.times(PATHS, generator(1))
    assert times.shape == (12, PATHS)
    nights = times.diff(dim=0)[1::2].numpy() * 365
    weekends = nights > 2
    assert (weekends.sum(axis=0) == 1).all()
    assert stats.chisquare(np.bincount(weekends.argmax(axis=0), minlength=5)).pvalue > 1e-5
    jumps = calendar.clock(times).diff(dim=0)[1::2].numpy() * 365
    unit = 7 / (5 + 4 * calendar.overnight + calendar.weekend)
    expected = np.where(weekends, calendar.weekend, calendar.overnight) * unit
    np.testing.assert_allclose(jumps, expected, rtol=1e-9)
    assert not calendar.fixed
    assert calendar.dates() is None


@pytest.mark.parametrize("days", [1, 4, 5, 6, 23])
@pytest.mark.parametrize("first", [None, 0, 4])
def test_the_horizon_of_trading_hours_is_the_mean_length(days: int, first: int | None) -> None:
    calendar = TradingHoursCalendar(days=days, per_day=2, first_weekday=first)
    last = calendar.times(PATHS, generator(2))[-1].numpy() * 365
    standard_error = last.std() / last.size**0.5
    assert abs(last.mean() - calendar.horizon * 365) <= 4 * standard_error + 1e-9


def test_prices_move_by_the_clock_and_drift_by_the_calendar() -> None:
    calendar = TradingHoursCalendar(days=7, per_day=3, overnight=0.3, weekend=0.9)
    times = calendar.times(PATHS, generator(3))
    market = GeometricBrownianMotion(drift=0.4, sigma=0.3)
    paths = market.simulate(times, PATHS, generator(4), clock=calendar.clock(times))
    session = 7 / 365 / (5 + 4 * 0.3 + 0.9)
    gaps = (times.diff(dim=0) * 365 > 2).numpy()
    moves = paths.log_spot.diff(dim=0).numpy()
    for step, move in enumerate(moves):
        for over_weekend in (False, True):
            x = move[gaps[step] == over_weekend]
            if not x.size:
                continue
            share = 0.5 if step % 3 != 2 else 0.9 if over_weekend else 0.3
            variance = 0.3**2 * session * share
            error = variance * (2 / x.size) ** 0.5
            assert abs(x.var(ddof=1) - variance) < 4 * error
    relative = (paths.spot * torch.exp(-0.4 * times)).numpy() / market.spot
    errors = relative.std(axis=1) / PATHS**0.5
    assert (np.abs(relative.mean(axis=1) - 1)[1:] < 4 * errors[1:]).all()


def test_dates_of_other_calendars() -> None:
    uniform = UniformCalendar(steps=6, days=6)
    dates = uniform.dates()
    assert dates is not None
    assert torch.equal(dates, uniform.times(1, generator())[:, 0])
    assert TradingDaysCalendar(steps=6).dates() is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"days": 0, "per_day": 2}, "days"),
        ({"days": 5, "per_day": 1}, "per_day"),
        ({"days": 5, "per_day": 2, "session_hours": 24.0}, "session_hours"),
        ({"days": 5, "per_day": 2, "overnight": -0.1}, "overnight"),
        ({"days": 5, "per_day": 2, "weekend": -0.1}, "weekend"),
        ({"days": 5, "per_day": 2, "first_weekday": 5}, "first_weekday"),
        ({"days": 5, "per_day": 2, "steps": 9}, "steps"),
        ({"days": 1001, "per_day": 100}, "100099 steps and at most 100000"),
    ],
)
def test_impossible_trading_hours_are_refused(keys: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TradingHoursCalendar(**keys)

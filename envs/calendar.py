"""When the market moves and when a hedger may trade."""

from __future__ import annotations

import bisect
from abc import abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from .part import Kind

DAYS_PER_YEAR = 365.0
WEEK = 7 / DAYS_PER_YEAR
MOST_STEPS = 100_000

Steps = Annotated[int, Field(ge=1, le=MOST_STEPS)]
NonNegative = Annotated[float, Field(ge=0)]


class Calendar(Kind):
    """The market's dates in years from the start, and the decision dates among them.

    A kind has ``steps``, the number of market steps, as a field or works it out.
    """

    if TYPE_CHECKING:
        # A field must not shadow an attribute of its parent, so at run time there is none.
        @property
        @abstractmethod
        def steps(self) -> int:
            """T."""

    decide_every: Annotated[int, Field(ge=1)] = 1

    @abstractmethod
    def times(self, paths: int, generator: torch.Generator) -> Tensor:
        """Dates in years, float64 ``[steps + 1, 1]``, or ``[steps + 1, paths]`` if they differ."""

    def clock(self, times: Tensor) -> Tensor | None:
        """The dates in years of variance, shaped as `times`; null: they are the same."""
        return None

    @property
    @abstractmethod
    def horizon(self) -> float:
        """The (mean) length of an episode in years."""

    @property
    @abstractmethod
    def fixed(self) -> bool:
        """Whether all paths share one set of dates."""

    def dates(self) -> Tensor | None:
        """The dates in years that all paths share, float64 ``[steps + 1]``; null: they differ."""
        return self.times(1, torch.Generator())[:, 0] if self.fixed else None

    def check_date(self, key: str, years: float, every: int) -> bool:
        """Whether a date of ``years`` is within the episode.

        Raises:
            ValueError: naming the ``key``, if it lies between every n-th dates.
        """
        dates, near = self._decision_dates(key, years, every)
        if years > dates[-1] + near:
            return False
        if years < dates[1] - near:
            raise ValueError(
                f"{key} {years:g} years is before the first step, {dates[1]:g} years: lengthen it "
                "or take more steps"
            )
        if min(abs(years - date) for date in dates) > near:
            after = bisect.bisect(dates, years)
            raise ValueError(
                f"{key} {years:.6g} years falls between the dates {dates[after - 1]:.6g} and "
                f"{dates[after]:.6g}: choose one of them"
            )
        return True

    def check_rolls(self, key: str, tenor: float) -> None:
        """Refuse what is listed anew at its expiry unless every expiry is a decision date.

        Raises:
            ValueError: naming the ``key`` and the first expiry that is none.
        """
        every = self.decide_every
        if not self.check_date(key, tenor, every):
            return
        dates, near = self._decision_dates(key, tenor, every)
        due = tenor
        for before, date in pairwise(dates):
            if date > due + near:
                raise ValueError(
                    f"{key} {tenor:.6g} years has an expiry, {due:.6g} years, that falls between "
                    f"the dates {before:.6g} and {date:.6g}: choose one that fits all the way"
                )
            if date > due - near:
                due = date + tenor

    def check_listings(self, key: str, tenor: float, every: int) -> None:
        """Refuse an option of every decision date unless it expires on an n-th date, or later.

        Raises:
            ValueError: naming the ``key`` and the first listing that does not.
        """
        dates, near = self._decision_dates(key, tenor, every)
        for listing in self._decision_dates(key, tenor, self.decide_every)[0][:-1]:
            due = listing + tenor
            if due < dates[-1] - near and min(abs(due - date) for date in dates) > near:
                raise ValueError(
                    f"{key} {tenor:.6g} years, listed at {listing:.6g}, expires between two dates: "
                    "choose a multiple of a step, or one beyond the end"
                )

    def _decision_dates(self, key: str, years: float, every: int) -> tuple[list[float], float]:
        """Every n-th date and the last, in years, and how near to one of them is on it."""
        shared = self.dates()
        if shared is None:
            mend = "leave maturities out, the option then expires with the episode"
            if key.endswith("tenor"):
                mend = "choose a calendar whose dates do not"
            raise ValueError(
                f"{key} {years:g} on a calendar whose dates differ from path to path: {mend}"
            )
        dates = [*shared[:-1:every].tolist(), float(shared[-1])]
        return dates, 1e-6 * self.horizon / self.steps

    @property
    def decisions(self) -> tuple[int, ...]:
        """The indices of the market dates at which a hedger may trade."""
        return tuple(range(0, self.steps, self.decide_every))


class UniformCalendar(Calendar):
    """``steps`` market steps of equal length over ``days`` calendar days (a year has 365)."""

    kind: Literal["uniform"] = "uniform"
    steps: Steps
    days: Annotated[float, Field(gt=0)]

    def times(self, paths: int, generator: torch.Generator) -> Tensor:
        """Equally spaced dates, ``[steps + 1, 1]``."""
        grid = torch.arange(self.steps + 1, dtype=torch.float64) / self.steps
        return (grid * self.horizon)[:, None]

    @property
    def horizon(self) -> float:
        """The length of an episode in years."""
        return self.days / DAYS_PER_YEAR

    @property
    def fixed(self) -> bool:
        """Always true."""
        return True


class TradingDaysCalendar(Calendar):
    """Closing prices of ``steps`` weekdays in a row, the first on a random weekday.

    Steps are 1/365 of a year long and three times that over a weekend, so the horizon differs from
    path to path by up to two days.
    """

    kind: Literal["trading-days"] = "trading-days"
    steps: Steps

    def times(self, paths: int, generator: torch.Generator) -> Tensor:
        """Dates in years, ``[steps + 1, paths]``."""
        first = torch.randint(0, 5, (1, paths), generator=generator, device=generator.device)
        weekday = first + torch.arange(self.steps + 1, device=generator.device)[:, None]
        days = weekday + 2 * (weekday // 5) - first
        return days.double() / DAYS_PER_YEAR

    @property
    def horizon(self) -> float:
        """The mean length of an episode in years."""
        return self.steps * 7 / 5 / DAYS_PER_YEAR

    @property
    def fixed(self) -> bool:
        """Always false: the weekends fall differently."""
        return False


class TradingHoursCalendar(Calendar):
    """``per_day`` dates a session, from its open to its close, on ``days`` weekdays in a row.

    The first date is the first open, the last the last close, the dates of a session are equally
    spaced. ``first_weekday`` counts from 0, a Monday; null draws it for every path, and then the
    weekends fall differently. Dates are years of 365 days. Variance runs on a clock of its own:
    ``overnight`` and ``weekend`` are that of a night and of a weekend as multiples of a session's,
    and a week of five sessions has 7/365 of a year's, so that vols keep their meaning.

    Source: French and Roll, "Stock Return Variances", 1986: a session's variance is over six times
    a weekend's, and an hour of it 13 times an hour of the night. Evidence:
    tests/envs/test_calendar.py.
    """

    kind: Literal["trading-hours"] = "trading-hours"
    days: Annotated[int, Field(ge=1)]
    per_day: Annotated[int, Field(ge=2)]
    session_hours: Annotated[float, Field(gt=0, lt=24)] = 6.5
    overnight: NonNegative = 0.2
    weekend: NonNegative = 0.2
    first_weekday: Annotated[int, Field(ge=0, le=4)] | None = None

    @model_validator(mode="after")
    def _few_enough(self) -> TradingHoursCalendar:
        if self.steps > MOST_STEPS:
            raise ValueError(
                f"days {self.days} times per_day {self.per_day} make {self.steps} steps and at "
                f"most {MOST_STEPS} are allowed: take fewer of either"
            )
        return self

    def times(self, paths: int, generator: torch.Generator) -> Tensor:
        """Dates in years, ``[steps + 1, 1]``, or ``[steps + 1, paths]`` with a random weekday."""
        device = generator.device
        if self.first_weekday is None:
            first = torch.randint(0, 5, (1, paths), generator=generator, device=device)
        else:
            first = torch.tensor([[self.first_weekday]], device=device)
        weekday = first + torch.arange(self.days, device=device)[:, None]
        opens = (weekday + 2 * (weekday // 5) - first).double()
        within = torch.linspace(
            0, self.session_hours / 24, self.per_day, dtype=torch.float64, device=device
        )
        return (opens[:, None] + within[:, None]).flatten(0, 1) / DAYS_PER_YEAR

    def clock(self, times: Tensor) -> Tensor:
        """A session's variance in equal parts, a night's and a weekend's at once."""
        steps = times.diff(dim=0)
        session = WEEK / (5 + 4 * self.overnight + self.weekend)
        variance = torch.full_like(steps, session / (self.per_day - 1))
        gaps = slice(self.per_day - 1, None, self.per_day)
        over_weekend = (steps[gaps] > 2 / DAYS_PER_YEAR).double()
        variance[gaps] = (self.overnight + over_weekend * (self.weekend - self.overnight)) * session
        return torch.cat([torch.zeros_like(times[:1]), variance.cumsum(dim=0)])

    @property
    def steps(self) -> int:
        """Those within sessions and those between them."""
        return self.days * self.per_day - 1

    @property
    def horizon(self) -> float:
        """The (mean) length of an episode in years."""
        weekdays = range(5) if self.first_weekday is None else [self.first_weekday]
        weekends = sum((day + self.days - 1) // 5 for day in weekdays) / len(weekdays)
        return (self.days - 1 + 2 * weekends + self.session_hours / 24) / DAYS_PER_YEAR

    @property
    def fixed(self) -> bool:
        """Whether the first weekday is given."""
        return self.first_weekday is not None

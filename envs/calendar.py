"""When the market moves and when a hedger may trade."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from .part import Kind

DAYS_PER_YEAR = 365.0


class Calendar(Kind):
    """The market's dates in years from the start, and the decision dates among them."""

    steps: Annotated[int, Field(ge=1, le=100_000)]
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

    @property
    def decisions(self) -> tuple[int, ...]:
        """The indices of the market dates at which a hedger may trade."""
        return tuple(range(0, self.steps, self.decide_every))


class UniformCalendar(Calendar):
    """``steps`` market steps of equal length over ``days`` calendar days (a year has 365)."""

    kind: Literal["uniform"] = "uniform"
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

"""Execution: what stands between a decision and the trade."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..part import Kind, Part


class Halt(Kind):
    """When no instrument can be traded."""

    @abstractmethod
    def closed(self, log_spot: Tensor) -> Tensor:
        """Where it is closed ``[T+1, N]``, from the first asset's log-prices up to each date."""


class ScheduledHalt(Halt):
    """From the decision date number ``start`` (from 0) on, for ``dates`` of them."""

    kind: Literal["scheduled"] = "scheduled"
    start: Annotated[int, Field(ge=0)]
    dates: Annotated[int, Field(ge=1)] = 1

    def closed(self, log_spot: Tensor) -> Tensor:
        """The same on every path."""
        rows = torch.arange(len(log_spot), device=log_spot.device)
        within = (rows >= self.start) & (rows < self.start + self.dates)
        return within[:, None].expand(log_spot.shape)


class AfterMove(Halt):
    """For ``dates`` decision dates from one at which the spot has moved by ``move`` in a step.

    ``move`` is a fraction; a circuit breaker. Source: Securities and Exchange Commission, "Investor
    Bulletin: Measures to Address Market Volatility", 2012 (7, 13 and 20 % for the S&P 500).
    """

    kind: Literal["after-move"] = "after-move"
    move: Annotated[float, Field(gt=0)]
    dates: Annotated[int, Field(ge=1)] = 1

    def closed(self, log_spot: Tensor) -> Tensor:
        """Where one of the latest steps moved that far either way."""
        far = torch.expm1(log_spot.diff(dim=0)).abs() >= self.move
        closed = torch.zeros(log_spot.shape, dtype=torch.bool, device=log_spot.device)
        for lag in range(min(self.dates, len(far))):
            closed[1 + lag :] |= far[: len(far) - lag]
        return closed


class Execution(Part):
    """Delay, slippage, halts and outages; each is off by default.

    An order given at a decision date is dealt ``delay`` dates later, at the price and costs of that
    date. A unit traded either way loses a random fraction of its price, exponential with mean
    ``slippage``, its own at every date and for every instrument. While a ``halt`` lasts nothing is
    traded, and at each date nothing is with probability ``outage``: the holding stays and an order
    that was due is lost. Accounts are still closed at the end, and by a loss limit or a margin
    call. Evidence: tests/envs/test_execution.py.
    """

    delay: Annotated[int, Field(ge=0)] = 0
    slippage: Annotated[float, Field(ge=0)] = 0.0
    halts: Annotated[tuple[Halt, ...], Field(strict=False)] = ()
    outage: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def check(self, dates: int) -> None:
        """Refuse what never happens within so many decision dates.

        Raises:
            ValueError: for a delay or a halt's start that is not before the last of them.
        """
        for i, halt in enumerate(self.halts):
            if isinstance(halt, ScheduledHalt) and halt.start >= dates:
                raise ValueError(
                    f"execution.halts.{i}: start {halt.start} is after the last decision date, "
                    f"{dates - 1}: start earlier"
                )
        if self.delay >= dates:
            raise ValueError(
                f"execution.delay {self.delay} of {dates} decision dates: nothing would ever be "
                "dealt, so delay less"
            )

    def closed(self, log_spot: Tensor, generator: torch.Generator) -> Tensor | None:
        """Where nothing can be traded ``[T+1, N]``; null: nowhere."""
        masks = [halt.closed(log_spot) for halt in self.halts]
        if self.outage:
            masks.append(_uniform(log_spot, generator) < self.outage)
        return torch.stack(masks).any(dim=0) if masks else None

    def slip(
        self, log_spot: Tensor, instruments: int, generator: torch.Generator
    ) -> tuple[Tensor, ...] | None:
        """The fraction of the price that is lost, ``[T+1, N]`` per instrument; null: none."""
        if not self.slippage:
            return None
        return tuple(
            -self.slippage * torch.log1p(-_uniform(log_spot, generator)) for _ in range(instruments)
        )


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)

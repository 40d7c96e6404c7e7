"""What a market is: prices under the real-world measure, on any dates."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..part import Kind, Part

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class MarketPaths:
    """Prices of one batch.

    Attributes:
        times: dates in years, ``[T+1, 1]`` or ``[T+1, N]``.
        spot: ``[T+1, N]``, money.
        log_spot: ``[T+1, N]``, its logarithm.
        implied_vol: the vol the market quotes, per sqrt(year), broadcastable to ``[T+1, N]``.
        jump: the log-jump of the step that ended at t, ``[T+1, N]``; null where nothing jumps.
        latents: states that only the model knows, each ``[T+1, N]``.
    """

    times: Tensor
    spot: Tensor
    log_spot: Tensor
    implied_vol: Tensor
    jump: Tensor | None = None
    latents: dict[str, Tensor] = field(default_factory=dict)


class Uniform(Part):
    """A parameter drawn anew for every path, uniformly between ``low`` and ``high``."""

    low: Positive
    high: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self

    @property
    def mean(self) -> float:
        """The middle of the range."""
        return (self.low + self.high) / 2


class Market(Kind):
    """A market under the real-world measure.

    ``drift`` is d log E[S] / dt (jumps are compensated), ``rate`` the continuously compounded
    interest on cash, ``dividend`` the continuous dividend yield paid to holders.
    """

    spot: Positive = 100.0
    drift: float = 0.0
    rate: float = 0.0
    dividend: float = 0.0

    @abstractmethod
    def simulate(
        self,
        times: Tensor,
        paths: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
    ) -> MarketPaths:
        """Draw ``paths`` paths on the dates ``times [T+1, 1 or N]`` (years, float64).

        The arrays live on the generator's device.
        """

    @property
    @abstractmethod
    def volatility(self) -> float:
        """The total volatility of log-returns per sqrt(year), jumps included: a scale."""


def draw(
    parameter: float | Uniform, paths: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """A parameter as ``[1, 1]`` when constant, ``[1, N]`` when drawn per path."""
    if isinstance(parameter, Uniform):
        u = torch.rand((1, paths), generator=generator, dtype=dtype, device=generator.device)
        return parameter.low + (parameter.high - parameter.low) * u
    return torch.full((1, 1), parameter, dtype=dtype, device=generator.device)


def accumulate(log_spot0: float, increments: Tensor) -> Tensor:
    """Running sum ``[T+1, N]`` of ``increments [T, N]`` from ``log_spot0``."""
    path = increments.new_empty((increments.shape[0] + 1, increments.shape[1]))
    path[0] = log_spot0
    # Row by row: torch.cumsum over the leading dimension is several times slower.
    rows = path.unbind()
    for before, increment, after in zip(rows, increments.unbind(), rows[1:], strict=False):
        torch.add(before, increment, out=after)
    return path

"""What a market is: prices under the real-world measure, on any dates."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

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
        implied_vol: the at-the-money vol that the market quotes for the end of the batch, per
            sqrt(year), broadcastable to ``[T+1, N]``.
        jump: the log-jump of the step that ended at t, ``[T+1, N]``; null where nothing jumps.
        latents: states that only the model knows, each ``[T+1, N]``.
        skew: slope of the quoted vol in log(strike / forward), as `implied_vol`; null: flat.
        clock: the dates in years of variance, shaped as `times`; null: they are the same.
        expected: what the model expects of ``S_{t+1} / S_t`` at t, ``[T, 1 or N]``; null:
            ``exp(drift dt)``.
        others: the paths of the market's other assets, in order.
        default: whether the asset's issuer has defaulted, ``[T+1, N]``; null where none can.
    """

    times: Tensor
    spot: Tensor
    log_spot: Tensor
    implied_vol: Tensor
    jump: Tensor | None = None
    latents: dict[str, Tensor] = field(default_factory=dict)
    skew: Tensor | None = None
    clock: Tensor | None = None
    expected: Tensor | None = None
    others: tuple[MarketPaths, ...] = ()
    default: Tensor | None = None

    @property
    def assets(self) -> tuple[MarketPaths, ...]:
        """All A assets, this one first."""
        return (self, *self.others)

    def columns(self, paths: Tensor) -> MarketPaths:
        """The paths of the numbers ``paths [n]``, which may repeat, on arrays of their own."""

        def cut(values: Tensor) -> Tensor:
            return values if values.shape[1] == 1 else values[:, paths]

        def maybe(values: Tensor | None) -> Tensor | None:
            return None if values is None else cut(values)

        return replace(
            self,
            times=cut(self.times),
            spot=self.spot[:, paths],
            log_spot=self.log_spot[:, paths],
            implied_vol=cut(self.implied_vol),
            jump=maybe(self.jump),
            skew=maybe(self.skew),
            clock=maybe(self.clock),
            expected=maybe(self.expected),
            latents={name: cut(values) for name, values in self.latents.items()},
            others=tuple(other.columns(paths) for other in self.others),
        )

    @property
    def variance_time(self) -> Tensor:
        """The clock that variance runs on, ``[T+1, 1 or N]``."""
        return self.times if self.clock is None else self.clock

    def at(self, rows: slice | list[int]) -> MarketPaths:
        """Some of the dates, to value claims on: without jumps and expectations."""

        def cut(values: Tensor) -> Tensor:
            return values if len(values) == 1 else values[rows]

        return replace(
            self,
            times=self.times[rows],
            spot=self.spot[rows],
            log_spot=self.log_spot[rows],
            implied_vol=cut(self.implied_vol),
            jump=None,
            latents={name: cut(values) for name, values in self.latents.items()},
            skew=None if self.skew is None else cut(self.skew),
            clock=None if self.clock is None else self.clock[rows],
            expected=None,
            others=tuple(other.at(rows) for other in self.others),
            default=None if self.default is None else self.default[rows],
        )


@dataclass(frozen=True)
class Walk:
    """What a market draws: its paths before drift, with ``E[exp(log_spot)]`` = the spot at 0.

    Attributes:
        log_spot: ``[T+1, N]``; owned by whoever receives it.
        implied_vol, jump, latents, skew, default: as in `MarketPaths`.
        expected: ``E[S_{t+1} / S_t]`` before the market's drift, ``[T, 1 or N]``; null: 1.
        others: the walks of the other assets.
    """

    log_spot: Tensor
    implied_vol: Tensor
    jump: Tensor | None = None
    latents: dict[str, Tensor] = field(default_factory=dict)
    skew: Tensor | None = None
    expected: Tensor | None = None
    others: tuple[Walk, ...] = ()
    default: Tensor | None = None


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
    interest on cash, ``dividend`` the continuous dividend yield paid to holders. A kind writes
    `walk`; `simulate` adds the drift.
    """

    jumps: ClassVar[bool] = False  # whether its paths have `MarketPaths.jump`
    latents: ClassVar[tuple[str, ...]] = ()  # the names in `MarketPaths.latents`
    foresees: ClassVar[bool] = True  # whether E[S_{t+1}] is known at t, as data's is not

    spot: Positive = 100.0
    drift: float = 0.0
    rate: float = 0.0
    dividend: float = 0.0

    def simulate(
        self,
        times: Tensor,
        paths: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
        clock: Tensor | None = None,
    ) -> MarketPaths:
        """Draw ``paths`` paths on the dates ``times [T+1, 1 or N]`` (years, float64).

        Randomness runs on ``clock`` (shaped as ``times``; by default the same): nights and weekends
        may count for less. Drift runs on ``times``. The arrays live on the generator's device.
        """
        times = times.to(generator.device)
        clock = None if clock is None else clock.to(generator.device)
        walk = self.walk(times if clock is None else clock, paths, generator, dtype)
        first, *others = [
            _drifted(w, drift, times, clock)
            for w, drift in zip((walk, *walk.others), self.drifts, strict=True)
        ]
        return replace(first, others=tuple(others)) if others else first

    @abstractmethod
    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Draw the driftless paths on the dates ``clock [T+1, 1 or N]``, on its device."""

    @property
    @abstractmethod
    def volatility(self) -> float:
        """The total volatility of log-returns per sqrt(year), jumps included: a scale."""

    def risk_neutral(self) -> Market:
        """The market under the pricing measure: its drift is ``rate - dividend``.

        Kinds with a risk premium take it off here; kinds without a pricing measure raise TypeError.
        """
        return self.model_copy(update={"drift": self.rate - self.dividend})

    def in_units(self, latents: dict[str, Tensor], unit: Tensor) -> dict[str, Tensor]:
        """The latents where prices before drift count in units of ``unit [N]``."""
        return latents

    @property
    def recorded_steps(self) -> int | None:
        """How many steps its paths have; null: as many as the calendar."""
        return None

    @property
    def recorded_paths(self) -> int | None:
        """How many paths there are to give out once each; null: as many as asked for."""
        return None

    @property
    def spots(self) -> tuple[float, ...]:
        """The spot at time 0 of each asset."""
        return (self.spot,)

    @property
    def drifts(self) -> tuple[float, ...]:
        """The drift of each asset."""
        return (self.drift,)

    @property
    def dividends(self) -> tuple[float, ...]:
        """The dividend yield of each asset."""
        return (self.dividend,)

    @property
    def correlation_matrix(self) -> tuple[tuple[float, ...], ...]:
        """Of the assets' log-returns, jumps included, ``[A][A]``."""
        return ((1.0,),)


def _drifted(walk: Walk, drift: float, times: Tensor, clock: Tensor | None) -> MarketPaths:
    log_spot, expected = walk.log_spot, walk.expected
    dtype = log_spot.dtype
    if drift:
        log_spot = log_spot.add_((drift * (times - times[:1])).to(dtype))
        if expected is not None:
            expected = expected * torch.exp(drift * times.diff(dim=0)).to(dtype)
    return MarketPaths(
        times=times,
        spot=log_spot.exp(),
        log_spot=log_spot,
        implied_vol=walk.implied_vol,
        jump=walk.jump,
        latents=walk.latents,
        skew=walk.skew,
        clock=clock,
        expected=expected,
        default=walk.default,
    )


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

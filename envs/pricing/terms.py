"""Terms: what a claim is priced from, at every date of a batch of paths."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..markets import MarketPaths


@dataclass(frozen=True)
class Terms:
    """The state of the world as a pricer sees it; A assets, the claim's own is ``asset``.

    Attributes:
        paths: the market's paths, of all assets.
        maturity: years, ``[1 or N]``.
        rate: continuously compounded.
        dividends: the yield of each asset.
        quoted: the vol of each asset per sqrt(year of variance), broadcastable to ``[T+1, N]``.
        correlation: of the assets' log-returns, ``[A, A]``; null where there is one asset.
        asset: which one the claim is written on.
    """

    paths: MarketPaths
    maturity: Tensor
    rate: float
    dividends: tuple[float, ...]
    quoted: tuple[Tensor, ...]
    correlation: Tensor | None = None
    asset: int = 0

    def on(self, asset: int) -> Terms:
        """The same for a claim on another asset."""
        return replace(self, asset=asset)

    @property
    def own(self) -> MarketPaths:
        """The paths of the claim's asset."""
        return self.paths.assets[self.asset]

    @property
    def spot(self) -> Tensor:
        """``[T+1, N]``."""
        return self.own.spot

    @property
    def log_spot(self) -> Tensor:
        """``[T+1, N]``."""
        return self.own.log_spot

    @property
    def dividend(self) -> float:
        """Of the claim's asset."""
        return self.dividends[self.asset]

    @property
    def tau(self) -> Tensor:
        """Years to maturity, 0 past it, ``[T+1, 1 or N]``."""
        return (self.maturity - self.paths.times).clamp(min=0).to(self.log_spot.dtype)

    @property
    def last(self) -> int:
        """The date of the maturity, or the last one if the claim outlives the paths."""
        return int((self.paths.times[:, 0] <= self.maturity[0] + 1e-9).sum()) - 1

    @property
    def variance_tau(self) -> Tensor:
        """Years of variance to maturity, 0 past it, ``[T+1, 1 or N]``.

        Beyond the last date a year has a year of variance.
        """
        if self.paths.clock is None:
            return self.tau
        clock, times = self.paths.clock, self.paths.times
        end = clock[self.last] + (self.maturity - times[self.last]).clamp(min=0)
        return (end - clock).clamp(min=0).to(self.log_spot.dtype)

    @property
    def vol(self) -> Tensor:
        """The vol per sqrt(year) over the time left, so that vol^2 tau is the variance left."""
        return self.effective(self.quoted[self.asset])

    def effective(self, quoted: Tensor) -> Tensor:
        """A vol per sqrt(year of variance) as one per sqrt(year) over the time left."""
        if self.paths.clock is None:
            return quoted
        ratio = self.variance_tau / self.tau.clamp(min=torch.finfo(self.tau.dtype).tiny)
        return quoted * ratio.sqrt()

"""Stochastic implied vol: quotes with a life of their own, beside the spot."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from .market import Market, NonNegative, Positive, Walk, accumulate


class StochasticImpliedVol(Market):
    """A spot, the at-the-money vol quoted for it, and the slope of the quotes.

    The logarithm of the quoted vol is an Ornstein-Uhlenbeck process about log ``level``, from
    ``vol``; the skew, the slope of the quotes in log(strike / forward), another about ``skew``,
    from there. The spot moves by the quoted vol over 1 + ``premium``:

        d log v = reversion (log level - log v) dt + vol_of_vol dB
        d k = skew_reversion (skew - k) dt + skew_vol dC
        dS / S = drift dt + v / (1 + premium) dW,   d<W, B> = rho dt, C independent

    Quotes and their correlation with W are exact on any dates; the spot takes each step at the vol
    of its start. Under the pricing measure the premium is 0.

    Source: Schönbucher, "A Market Model for Stochastic Implied Volatility", 1999, for quotes as
    states of their own; the processes are a plain choice. Nothing keeps the quotes free of
    arbitrage. Evidence: tests/envs/test_stochastic_implied_vol.py.
    """

    latents: ClassVar[tuple[str, ...]] = ("variance",)

    kind: Literal["stochastic-implied-vol"] = "stochastic-implied-vol"
    vol: Positive = 0.2
    level: Positive = 0.2
    reversion: Positive = 4.0
    vol_of_vol: NonNegative = 0.8
    rho: Annotated[float, Field(ge=-1, le=1)] = -0.7
    skew: float = -0.3
    skew_reversion: Positive = 8.0
    skew_vol: NonNegative = 0.3

    premium: Annotated[float, Field(gt=-1)] = 0.15

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Normal steps of the quotes by their exact transition, and of the spot beside them."""
        dt = clock.diff(dim=0)
        shape = (len(dt), paths)
        w, b, c = (
            torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
            for _ in range(3)
        )
        # Over a step the spot's driver and the quote's integral of its own are less correlated.
        together = -torch.expm1(-self.reversion * dt) / self.reversion
        rho = self.rho * together / (dt * _variance(self.reversion, dt)).sqrt()
        rho = torch.where(dt > 0, rho, 0.0)  # no time, no move
        own = (1 - rho**2).clamp(min=0).sqrt()  # rounding may leave it below 0
        b = b.mul_(own.to(dtype)).add_(w * rho.to(dtype))
        gap = math.log(self.vol / self.level)
        quoted = _reverting(gap, self.reversion, self.vol_of_vol, dt, b).exp_().mul_(self.level)
        skew = _reverting(0.0, self.skew_reversion, self.skew_vol, dt, c).add_(self.skew)
        variance = (quoted / (1 + self.premium)).square_()
        step = variance[:-1] * dt.to(dtype)
        increments = w.mul_(step.sqrt()).sub_(step, alpha=0.5)
        return Walk(
            accumulate(math.log(self.spot), increments),
            implied_vol=quoted,
            latents={"variance": variance},
            skew=skew,
        )

    def risk_neutral(self) -> StochasticImpliedVol:
        """The spot moves by the quoted vol."""
        return self.model_copy(update={"drift": self.rate - self.dividend, "premium": 0.0})

    @property
    def volatility(self) -> float:
        """The level over 1 + premium."""
        return self.level / (1 + self.premium)


def _variance(reversion: float, dt: Tensor) -> Tensor:
    """Of a step of an Ornstein-Uhlenbeck process of vol 1."""
    return -torch.expm1(-2 * reversion * dt) / (2 * reversion)


def _reverting(start: float, reversion: float, vol: float, dt: Tensor, z: Tensor) -> Tensor:
    """An Ornstein-Uhlenbeck process about 0, ``[T+1, N]``, from its normals ``z [T, N]``."""
    keep = torch.exp(-reversion * dt).to(z.dtype)
    moves = z.mul_((vol * _variance(reversion, dt).sqrt()).to(z.dtype))
    path = z.new_empty((len(dt) + 1, z.shape[1]))
    path[0] = start
    for t, move in enumerate(moves):
        torch.addcmul(move, path[t], keep[t], out=path[t + 1])
    return path

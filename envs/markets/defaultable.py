"""A stock that may default: its price falls at the default and moves on without hazard."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from .gbm import Volatility
from .market import Market, NonNegative, Walk

SURVIVES = 1e-8  # of the price, at least, so that it has a logarithm


class Defaultable(Market):
    """dS / S = (drift + drop h) dt + sigma dW - drop dN, N = 1 from the default on.

    N jumps at the rate h = hazard (S / spot)^-power until it has; then h is 0 and nothing defaults
    any more. ``hazard`` is per year, S in h is the price before drift, ``drop`` is the part of the
    price that is lost at the default (at most 1 - 1e-8, which stands for all of it). Under the
    pricing measure the hazard is ``1 + hazard_premium`` times as high: what bearing it earns.
    With ``power`` 0 the law is exact on any dates; else h is that of the step's start, and the
    price is a martingale before drift all the same.

    Source: Ayache, Forsyth and Vetzal, "Valuation of Convertible Bonds with Credit Risk", 2003,
    section 3 and, for h, their eq. 4.1 (the power law of Muromachi). Evidence:
    tests/envs/test_defaultable.py.
    """

    jumps: ClassVar[bool] = True
    latents: ClassVar[tuple[str, ...]] = ("hazard",)

    kind: Literal["defaultable"] = "defaultable"
    sigma: Volatility = 0.3
    hazard: NonNegative = 0.02
    power: NonNegative = 0.0
    drop: Annotated[float, Field(ge=0, le=1)] = 0.7
    hazard_premium: Annotated[float, Field(ge=-1)] = 0.0

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Normal steps, and an exponential time to the default that h uses up."""
        dt = clock.diff(dim=0).to(dtype)
        log_spot = torch.empty((len(clock), paths), dtype=dtype, device=generator.device)
        jump, hazard = torch.zeros_like(log_spot), torch.zeros_like(log_spot)
        default = torch.zeros_like(log_spot, dtype=torch.bool)
        log_spot[0] = math.log(self.spot)
        left = torch.empty_like(log_spot[0]).exponential_(generator=generator)
        drop = min(self.drop, 1 - SURVIVES)
        for t, step in enumerate(dt):
            hazard[t] = h = self._hazard(log_spot[t], default[t])
            used = torch.minimum(h * step, left)  # of h dt, until the default
            left = left - used
            default[t + 1] = default[t] | ((left <= 0) & (h > 0))
            jump[t + 1] = (default[t + 1] & ~default[t]) * math.log1p(-drop)
            z = torch.randn(paths, generator=generator, dtype=dtype, device=generator.device)
            log_spot[t + 1] = log_spot[t] + jump[t + 1] + drop * used
            log_spot[t + 1] += self.sigma * step.sqrt() * z - self.sigma**2 / 2 * step
        hazard[-1] = self._hazard(log_spot[-1], default[-1])
        vol = log_spot.new_full((1, 1), self.volatility)
        return Walk(log_spot, vol, jump, latents={"hazard": hazard}, default=default)

    def risk_neutral(self) -> Defaultable:
        """The hazard holds its premium."""
        return self.model_copy(
            update={
                "drift": self.rate - self.dividend,
                "hazard": self.priced_hazard,
                "hazard_premium": 0.0,
            }
        )

    @property
    def priced_hazard(self) -> float:
        """At the spot of time 0 under the pricing measure, per year."""
        return (1 + self.hazard_premium) * self.hazard

    @property
    def volatility(self) -> float:
        """Root of sigma^2 + hazard drop^2: of returns, the default included, per sqrt(year)."""
        return math.sqrt(self.sigma**2 + self.hazard * self.drop**2)

    def _hazard(self, log_spot: Tensor, default: Tensor) -> Tensor:
        h = torch.exp(-self.power * (log_spot - math.log(self.spot))) * self.hazard
        return h.masked_fill(default, 0.0)

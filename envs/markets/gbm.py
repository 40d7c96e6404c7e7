"""Geometric Brownian motion."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from .market import Market, Uniform, Walk, accumulate, draw

Volatility = Annotated[float, Field(ge=0)]


class GeometricBrownianMotion(Market):
    """dS / S = drift dt + sigma dW: log-returns are normal, so any dates are exact in distribution.

    Source: Black and Scholes, "The Pricing of Options and Corporate Liabilities", 1973.
    Evidence: tests/envs/test_markets.py.
    """

    kind: Literal["gbm"] = "gbm"
    sigma: Volatility | Uniform = 0.2

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Log S_{t+1} = log S_t - sigma^2 / 2 dt + sigma sqrt(dt) Z."""
        sigma = draw(self.sigma, paths, generator, dtype)
        increments = diffusion(0.0, sigma, clock, paths, generator, dtype)
        return Walk(accumulate(math.log(self.spot), increments), implied_vol=sigma)

    @property
    def volatility(self) -> float:
        """Sigma, or the middle of its range."""
        return self.sigma.mean if isinstance(self.sigma, Uniform) else self.sigma


def diffusion(
    drift: float,
    sigma: Tensor,
    clock: Tensor,
    paths: int,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Tensor:
    """Log-increments ``[T, N]`` of a GBM with ``sigma [1, 1 or N]``."""
    dt = clock.diff(dim=0).to(dtype)
    z = torch.randn((len(dt), paths), generator=generator, dtype=dtype, device=generator.device)
    return z.mul_(sigma * dt.sqrt()).add_((drift - sigma**2 / 2) * dt)

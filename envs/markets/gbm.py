"""Geometric Brownian motion."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from numpy.typing import ArrayLike
from pydantic import Field
from torch import Tensor

from .fit import Fit, checked
from .market import Market, Uniform, Walk, accumulate, draw

Volatility = Annotated[float, Field(ge=0)]

FEWEST = 10  # log-returns of a fit


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

    @classmethod
    def fit(cls, log_returns: ArrayLike, dt: float) -> Fit[GeometricBrownianMotion]:
        """Maximum likelihood, in closed form; ``dt`` years between returns.

        Raises:
            ValueError: if the returns are not finite, fewer than 10 or constant.

        Evidence: tests/envs/test_fit.py.
        """
        returns = checked(log_returns, dt, FEWEST)
        n, std = len(returns), float(returns.std())
        sigma = std / math.sqrt(dt)
        error = sigma / math.sqrt(2 * n)
        market = cls(drift=float(returns.mean()) / dt + sigma**2 / 2, sigma=sigma)
        # The mean of the log-return and its vol are independent; the drift takes from both.
        errors = {"drift": math.hypot(sigma / math.sqrt(n * dt), sigma * error), "sigma": error}
        return Fit(market, errors, -n / 2 * (math.log(2 * math.pi * std**2) + 1), n)

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

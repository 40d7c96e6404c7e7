"""Kou's double exponential jump diffusion."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from .gbm import Volatility, diffusion
from .jumps import scatter
from .market import Market, NonNegative, Positive, Uniform, Walk, accumulate, draw


class Kou(Market):
    """GBM with log-jumps that are exponential on either side, ``intensity`` of them a year.

    A jump goes up with ``up_probability``, by 1 / ``up_rate`` on average, else down, by 1 /
    ``down_rate``. The drift of the diffusion is lowered by intensity (E[e^J] - 1), where
    E[e^J] = p up_rate / (up_rate - 1) + (1 - p) down_rate / (down_rate + 1), so that
    d log E[S] / dt = drift. Under the pricing measure jumps come ``1 + jump_premium`` times as
    often. Source: Kou, "A Jump-Diffusion Model for Option Pricing", 2002, equations 1 and 2.
    Evidence: tests/envs/test_kou.py.
    """

    jumps: ClassVar[bool] = True

    kind: Literal["kou"] = "kou"
    sigma: Volatility | Uniform = 0.16
    intensity: NonNegative = 1.0
    up_probability: Annotated[float, Field(ge=0, le=1)] = 0.4
    up_rate: Annotated[float, Field(gt=1)] = 10.0
    down_rate: Positive = 5.0

    jump_premium: Annotated[float, Field(ge=-1)] = 0.0

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Exact on any dates: the normal increment of each step plus the jumps that fall in it."""
        sigma = draw(self.sigma, paths, generator, dtype)
        p, up, down = self.up_probability, self.up_rate, self.down_rate
        compensator = self.intensity * (p / (up - 1) - (1 - p) / (down + 1))
        increments = diffusion(-compensator, sigma, clock, paths, generator, dtype)
        jump = increments.new_zeros((len(clock), paths))
        scatter(jump[1:], clock, self.intensity, self._sizes(generator, dtype), generator)
        return Walk(
            accumulate(math.log(self.spot), increments.add_(jump[1:])),
            implied_vol=(sigma**2 + self.priced_jump_variance).sqrt(),
            jump=jump,
        )

    def risk_neutral(self) -> Kou:
        """Jumps come ``1 + jump_premium`` times as often."""
        intensity = self.intensity * (1 + self.jump_premium)
        drift = self.rate - self.dividend
        return self.model_copy(update={"drift": drift, "intensity": intensity, "jump_premium": 0.0})

    def _sizes(self, generator: torch.Generator, dtype: torch.dtype) -> Callable[[int], Tensor]:
        def draw(count: int) -> Tensor:
            size = torch.empty(count, dtype=dtype, device=generator.device)
            size.exponential_(generator=generator)
            u = torch.rand(count, dtype=dtype, generator=generator, device=generator.device)
            return torch.where(u < self.up_probability, size / self.up_rate, -size / self.down_rate)

        return draw

    @property
    def _jump_variance(self) -> float:
        p = self.up_probability
        return 2 * self.intensity * (p / self.up_rate**2 + (1 - p) / self.down_rate**2)

    @property
    def priced_jump_variance(self) -> float:
        """The jumps' part in the square of the quoted vol: under the pricing measure."""
        return self._jump_variance * (1 + self.jump_premium)

    @property
    def volatility(self) -> float:
        """Root of sigma^2 + intensity E[J^2]."""
        sigma = self.sigma.mean if isinstance(self.sigma, Uniform) else self.sigma
        return math.sqrt(sigma**2 + self._jump_variance)

"""Bates: Heston's variance with Merton's jumps."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from .heston import SquareRootVariance
from .jumps import normal_sizes, scatter
from .market import NonNegative, Walk, accumulate


class Bates(SquareRootVariance):
    """Heston plus lognormal jumps: ``intensity`` a year, log-jumps of ``jump_mean``, ``jump_std``.

    The drift is lowered by intensity (E[e^J] - 1). Under the pricing measure jumps come
    ``1 + jump_premium`` times as often and variance reverts as in Heston.
    Source: Bates, "Jumps and Stochastic Volatility: Exchange Rate Processes Implicit in Deutsche
    Mark Options", 1996. Evidence: tests/envs/test_heston.py.
    """

    jumps: ClassVar[bool] = True

    kind: Literal["bates"] = "bates"
    intensity: NonNegative = 0.5
    jump_mean: float = -0.07
    jump_std: NonNegative = 0.05
    jump_premium: Annotated[float, Field(ge=-1)] = 0.0

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Heston's scheme plus the jumps that fall in each step, which are exact."""
        log_spot, variance = self.diffuse(clock, paths, generator, dtype)
        jump = torch.zeros_like(log_spot)
        sizes = normal_sizes(self.jump_mean, self.jump_std, generator, dtype)
        scatter(jump[1:], clock, self.intensity, sizes, generator)
        compensator = self.intensity * math.expm1(self.jump_mean + self.jump_std**2 / 2)
        log_spot += accumulate(0.0, jump[1:])
        log_spot -= (compensator * clock).to(dtype)
        quoted = self.mean_variance(variance, clock)
        quoted += self._jump_variance * (1 + self.jump_premium)
        return Walk(log_spot, quoted.sqrt_(), jump, {"variance": variance})

    def risk_neutral(self) -> Bates:
        """kappa_Q and theta_Q, and jumps ``1 + jump_premium`` times as often."""
        return self.model_copy(
            update={
                "drift": self.rate - self.dividend,
                "intensity": self.intensity * (1 + self.jump_premium),
                "jump_premium": 0.0,
                **self.pricing_variance(),
            }
        )

    @property
    def _jump_variance(self) -> float:
        return self.intensity * (self.jump_mean**2 + self.jump_std**2)

    @property
    def volatility(self) -> float:
        """Root of the mean of ``variance`` and ``theta``, plus the jumps' variance."""
        return math.sqrt((self.variance + self.theta) / 2 + self._jump_variance)

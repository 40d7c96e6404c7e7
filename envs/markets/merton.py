"""Merton's jump diffusion."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from .gbm import Volatility, diffusion
from .market import Market, NonNegative, Uniform, Walk, accumulate, draw


class Merton(Market):
    """GBM with lognormal jumps: ``intensity`` a year, log-jumps of ``jump_mean`` and ``jump_std``.

    The drift of the diffusion is lowered by intensity (E[e^J] - 1), so that d log E[S] / dt =
    drift. Under the pricing measure jumps come ``1 + jump_premium`` times as often.
    Source: Merton, "Option Pricing when Underlying Stock Returns are Discontinuous", 1976.
    Evidence: tests/envs/test_markets.py.
    """

    jumps: ClassVar[bool] = True

    kind: Literal["merton"] = "merton"
    sigma: Volatility | Uniform = 0.15
    intensity: NonNegative = 1.2
    jump_mean: float = -0.07
    jump_std: Annotated[float, Field(ge=0)] = 0.05

    jump_premium: Annotated[float, Field(ge=-1)] = 0.0

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Exact on any dates: the normal increment of each step plus the jumps that fall in it."""
        sigma = draw(self.sigma, paths, generator, dtype)
        compensator = self.intensity * math.expm1(self.jump_mean + self.jump_std**2 / 2)
        increments = diffusion(-compensator, sigma, clock, paths, generator, dtype)
        jump = increments.new_zeros((len(clock), paths))
        self._scatter_jumps(jump[1:], clock, generator)
        return Walk(
            accumulate(math.log(self.spot), increments.add_(jump[1:])),
            implied_vol=(sigma**2 + self._jump_variance).sqrt(),
            jump=jump,
        )

    def risk_neutral(self) -> Merton:
        """Jumps come ``1 + jump_premium`` times as often."""
        intensity = self.intensity * (1 + self.jump_premium)
        drift = self.rate - self.dividend
        return self.model_copy(update={"drift": drift, "intensity": intensity, "jump_premium": 0.0})

    def _scatter_jumps(self, jump: Tensor, times: Tensor, generator: torch.Generator) -> None:
        """Add the jumps of all paths to ``jump [T, N]``.

        Jumps are rare, so the points of the Poisson process on paths x time are drawn (their
        number, then their places, uniform) instead of a count for every step: the same law, far
        less work.
        """
        paths = jump.shape[1]
        device = generator.device
        longest = float(times[-1].max())
        mean = torch.tensor(self.intensity * longest * paths, dtype=torch.float64, device=device)
        count = int(torch.poisson(mean, generator=generator))
        path = torch.randint(0, paths, (count,), generator=generator, device=device)
        time = torch.rand(count, dtype=torch.float64, generator=generator, device=device) * longest
        size = torch.randn(count, dtype=jump.dtype, generator=generator, device=device)
        size = size * self.jump_std + self.jump_mean
        ends = times[1:] if times.shape[1] == 1 else times[1:, path]
        step = (time >= ends).sum(dim=0)
        inside = step < len(jump)
        jump.index_put_((step[inside], path[inside]), size[inside], accumulate=True)

    @property
    def _jump_variance(self) -> float:
        return self.intensity * (self.jump_mean**2 + self.jump_std**2)

    @property
    def volatility(self) -> float:
        """Root of sigma^2 + intensity (jump_mean^2 + jump_std^2)."""
        sigma = self.sigma.mean if isinstance(self.sigma, Uniform) else self.sigma
        return math.sqrt(sigma**2 + self._jump_variance)

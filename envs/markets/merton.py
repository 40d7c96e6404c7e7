"""Merton's jump diffusion."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import Field
from scipy import special, stats
from torch import Tensor

from .fit import Fit, Floats, checked, maximise
from .gbm import Volatility, diffusion
from .jumps import normal_sizes, scatter
from .market import Market, NonNegative, Uniform, Walk, accumulate, draw

FEWEST = 250  # log-returns of a fit


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
        sizes = normal_sizes(self.jump_mean, self.jump_std, generator, dtype)
        scatter(jump[1:], clock, self.intensity, sizes, generator)
        return Walk(
            accumulate(math.log(self.spot), increments.add_(jump[1:])),
            implied_vol=(sigma**2 + self.priced_jump_variance).sqrt(),
            jump=jump,
        )

    def risk_neutral(self) -> Merton:
        """Jumps come ``1 + jump_premium`` times as often."""
        intensity = self.intensity * (1 + self.jump_premium)
        drift = self.rate - self.dividend
        return self.model_copy(update={"drift": drift, "intensity": intensity, "jump_premium": 0.0})

    @classmethod
    def fit(cls, log_returns: ArrayLike, dt: float) -> Fit[Merton]:
        """Maximum likelihood of the mixture of normals; ``dt`` years between returns.

        The jumps of a step are taken to be at most two on average.

        Raises:
            ValueError: if the returns are not finite, fewer than 250 or constant.

        Evidence: tests/envs/test_fit.py.
        """
        returns = checked(log_returns, dt, FEWEST)
        scale = float(returns.std())
        count = np.arange(20)[:, None]  # of jumps in a step: more have no chance worth a term

        def natural(theta: Floats) -> Floats:
            sigma, jump_std = scale * np.exp(theta[1]) / math.sqrt(dt), scale * np.exp(theta[4])
            intensity, jump_mean = 2 * special.expit(theta[2]) / dt, theta[3] * scale
            growth = sigma**2 / 2 + intensity * np.expm1(jump_mean + jump_std**2 / 2)
            drift = theta[0] * scale / dt + growth
            return np.array([drift, sigma, intensity, jump_mean, jump_std])

        def log_likelihood(parameters: Floats) -> float:
            drift, sigma, intensity, m, s = parameters
            growth = sigma**2 / 2 + intensity * np.expm1(m + s**2 / 2)
            mean, sd = (drift - growth) * dt + count * m, np.sqrt(sigma**2 * dt + count * s**2)
            chance = stats.poisson.logpmf(count, intensity * dt)
            normal = -(((returns - mean) / sd) ** 2) / 2 - np.log(sd * math.sqrt(2 * math.pi))
            return float(special.logsumexp(chance + normal, axis=0).sum())

        names = ["drift", "sigma", "intensity", "jump_mean", "jump_std"]
        level = float(returns.mean()) / scale
        starts = [[level, -0.2, rare, 0.0, size] for rare, size in ((-5.5, 1.0), (-2.5, 0.4))]
        estimate = maximise(log_likelihood, natural, starts, names, len(returns))
        market = cls.model_validate(estimate.parameters)
        return Fit(market, estimate.errors, estimate.log_likelihood, estimate.observations)

    @property
    def _jump_variance(self) -> float:
        return self.intensity * (self.jump_mean**2 + self.jump_std**2)

    @property
    def priced_jump_variance(self) -> float:
        """The jumps' part in the square of the quoted vol: under the pricing measure."""
        return self._jump_variance * (1 + self.jump_premium)

    @property
    def volatility(self) -> float:
        """Root of sigma^2 + intensity (jump_mean^2 + jump_std^2)."""
        sigma = self.sigma.mean if isinstance(self.sigma, Uniform) else self.sigma
        return math.sqrt(sigma**2 + self._jump_variance)

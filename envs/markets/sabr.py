"""SABR: a lognormal volatility and a power of the forward."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from .heston import STILL, Correlation
from .market import Market, NonNegative, Positive, Walk

ABSORBED = 1e-8  # of the spot at 0: where the forward stays once it is there
QUOTED = 1e-2  # of the spot at 0: the least forward that a vol is quoted for
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(8)
LOG_WEIGHTS = np.log(WEIGHTS / WEIGHTS.sum())


class Sabr(Market):
    """dF = alpha F^beta dW, d alpha = nu alpha dZ, d<W, Z> = rho dt.

    F is the spot before drift: a forward without drift is drawn and the market's drift multiplies
    it. ``alpha`` is the start of the vol process, in money^(1 - beta) per sqrt(year), so that the
    vol at the start is ``alpha spot^(beta - 1)``; ``nu`` is its own vol per sqrt(year).
    ``substeps`` is the number of steps of the scheme in a step of the market.

    With beta = 1 and rho > 0 the continuous F is no martingale (Jourdain, "Loss of martingality in
    asset price models with lognormal stochastic volatility", 2004). On any dates the scheme is one:
    what is lost sits in ever rarer paths as the steps shorten. F is absorbed at ``1e-8 spot``,
    which stands for 0 and is the only bias of its mean.

    Source: Hagan, Kumar, Lesniewski and Woodward, "Managing Smile Risk", 2002.
    Evidence: tests/envs/test_sabr.py.
    """

    latents: ClassVar[tuple[str, ...]] = ("alpha",)

    kind: Literal["sabr"] = "sabr"
    alpha: Positive = 0.2
    beta: Annotated[float, Field(ge=0, le=1)] = 1.0
    rho: Correlation = -0.5
    nu: NonNegative = 1.0
    substeps: Annotated[int, Field(ge=1)] = 1

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Alpha is exact; log F given alpha is normal with the local vol of the step's start.

        The weak order is 2 where beta = 1 and 1 below.
        """
        dt = clock.diff(dim=0) / self.substeps
        log_f = torch.empty((len(clock), paths), dtype=dtype, device=generator.device)
        alpha = torch.empty_like(log_f)
        log_f[0], alpha[0] = math.log(self.spot), self.alpha
        z, w = torch.empty_like(log_f[0]), torch.empty_like(log_f[0])
        for t, scheme in enumerate(self._schemes(dt, dtype)):
            x, a = log_f[t], alpha[t]
            for _ in range(self.substeps):
                z.normal_(generator=generator), w.normal_(generator=generator)
                x, a = self._step(x, a, z, w, scheme)
            log_f[t + 1], alpha[t + 1] = x, a
        return Walk(log_f, self.quoted_vol(log_f, alpha, clock), latents={"alpha": alpha})

    def _schemes(self, dt: Tensor, dtype: torch.dtype) -> list[Scheme]:
        nu = max(self.nu, STILL)
        h = nu**2 * dt
        # Equal weights of alpha^2 before and after that give the mean of its integral exactly.
        half = torch.where(h > 0, (h / 2).tanh() / nu**2, 0.0)
        columns = (dt, nu * dt.sqrt(), h / 2, half)
        return [Scheme(*row) for row in zip(*(c.to(dtype) for c in columns), strict=True)]

    def _step(
        self, x: Tensor, alpha: Tensor, z: Tensor, w: Tensor, c: Scheme
    ) -> tuple[Tensor, Tensor]:
        """Log F and alpha after a step.

        Given both alphas, log F' is normal with the part rho / nu (alpha' - alpha) of alpha's own
        noise and the variance I of the trapezoid; the mean of e^{log F' - log F} over alpha' is
        taken off, by Gauss-Hermite quadrature.
        """
        grown = torch.expm1(z * c.noise - c.half_variance)
        local = alpha if self.beta == 1 else self._local_vol(x, alpha, c)
        variance = local.square() * (1 + (1 + grown).square()) * c.weight
        move = self._alpha_part(local, grown, variance)
        move += math.sqrt(1 - self.rho**2) * variance.sqrt() * w
        move -= variance * ((1 - self.rho**2) / 2)
        move -= self._log_mean(local, c)
        after = alpha + alpha * grown
        floor = math.log(self.spot * ABSORBED)
        return torch.where(x > floor, (x + move).clamp(min=floor), x), after

    def _alpha_part(self, local: Tensor, grown: Tensor, variance: Tensor) -> Tensor:
        return local * grown * (self.rho / max(self.nu, STILL)) - variance * (self.rho**2 / 2)

    def _log_mean(self, local: Tensor, c: Scheme) -> Tensor:
        """Log of the mean of e^{alpha part} over z, ``[N]``."""
        exponents = []
        for z, log_weight in zip(NODES.tolist(), LOG_WEIGHTS.tolist(), strict=True):
            grown = torch.expm1(z * c.noise - c.half_variance)
            variance = local.square() * ((1 + (1 + grown).square()) * c.weight)
            exponents.append(self._alpha_part(local, grown, variance).add_(log_weight))
        return torch.stack(exponents).logsumexp(dim=0)

    def _local_vol(self, x: Tensor, alpha: Tensor, c: Scheme) -> Tensor:
        """The vol of log F that gives F' the variance alpha^2 F^{2 beta} dt, ``[N]``.

        Near 0 the vol alpha F^{beta - 1} is unbounded, and a lognormal step with it has a far
        greater variance than F has.
        """
        variance = (alpha * torch.exp((self.beta - 1) * x)).square() * c.dt
        return (torch.log1p(variance) / c.dt.clamp(min=1e-30)).sqrt()

    def quoted_vol(self, log_f: Tensor, alpha: Tensor, clock: Tensor) -> Tensor:
        """Hagan et al. (2002), eq. 2.18: at the money, for the time to the last date, ``[T+1, N]``.

        A forward below 1 % of the spot at 0 is quoted as if it were there, and where the expansion
        in time turns negative the vol is 0.
        """
        beta, rho, nu = self.beta, self.rho, self.nu
        vol = alpha
        if beta < 1:
            log_f = log_f.clamp(min=math.log(self.spot * QUOTED))
            vol = alpha * torch.exp((beta - 1) * log_f)
        slope = ((1 - beta) ** 2 / 24 * vol + rho * beta * nu / 4) * vol
        slope += (2 - 3 * rho**2) / 24 * nu**2
        tau = (clock[-1:] - clock).to(vol.dtype)
        return (slope * tau).add_(1).clamp_(min=0).mul_(vol)

    def in_units(self, latents: dict[str, Tensor], unit: Tensor) -> dict[str, Tensor]:
        """Alpha is in units of F^(1 - beta)."""
        return {"alpha": latents["alpha"] * unit ** (self.beta - 1)}

    @property
    def volatility(self) -> float:
        """The vol at the start."""
        return float(self.alpha * self.spot ** (self.beta - 1))


class Scheme(NamedTuple):
    """Constants of a step, each ``[1 or N]``: its years, and what alpha does in it.

    Attributes:
        dt: years.
        noise, half_variance: log alpha' - log alpha = noise z - half_variance.
        weight: of alpha^2 + alpha'^2 in the integral of alpha^2.
    """

    dt: Tensor
    noise: Tensor
    half_variance: Tensor
    weight: Tensor

"""Heston's stochastic variance, by Andersen's quadratic-exponential scheme."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from .market import Market, NonNegative, Positive, Walk

Correlation = Annotated[float, Field(ge=-1, le=1)]

SWITCH = 1.5  # psi above which the exponential law stands in for the quadratic one (Andersen)
TINY = 1e-30  # keeps 0 / 0 out where variance is 0 for ever
STILL = 1e-6  # a vol of vol below it is taken as it: the limit at 0 keeps one formula


class SquareRootVariance(Market):
    """dS / S = sqrt(V) dW, dV = kappa (theta - V) dt + vol_of_vol sqrt(V) dB, d<W, B> = rho dt.

    ``variance`` is V at 0; ``theta`` and it are per year, ``kappa`` per year, ``vol_of_vol`` per
    year. Under the pricing measure kappa is ``kappa + variance_premium`` and kappa theta stays, so
    that a negative premium makes variance dearer than it turns out (Heston, 1993: the price of
    variance risk is variance_premium V). ``substeps`` is the number of steps of the scheme in a
    step of the market; where rho > 0 and a step is so long that the martingale correction does not
    exist, as many more are taken as make it exist.
    """

    latents: ClassVar[tuple[str, ...]] = ("variance",)

    kappa: Positive = 2.0
    theta: NonNegative = 0.04
    vol_of_vol: NonNegative = 0.5
    rho: Correlation = -0.7
    variance: NonNegative = 0.04
    variance_premium: float = 0.0
    substeps: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _reverting_under_both_measures(self) -> Self:
        if self.kappa + self.variance_premium <= 0:
            raise ValueError(
                f"kappa {self.kappa} + variance_premium {self.variance_premium} must be positive: "
                f"raise variance_premium above {-self.kappa}"
            )
        return self

    def diffuse(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Driftless log-prices and variances on the dates ``clock``, each ``[T+1, N]``.

        The mean of exp(log-price) is exact on any dates, and so are E[V] and Var[V]. A step of no
        length changes nothing.
        """
        schemes, substeps = self.schemes(clock.diff(dim=0), dtype)
        log_spot = torch.empty((len(clock), paths), dtype=dtype, device=generator.device)
        variance = torch.empty_like(log_spot)
        log_spot[0], variance[0] = math.log(self.spot), self.variance
        z = torch.empty_like(log_spot[0])
        for t, scheme in enumerate(schemes):
            x, v = log_spot[t], variance[t]
            for _ in range(substeps):
                step, after = quadratic_exponential(v, z.normal_(generator=generator), scheme)
                step += z.normal_(generator=generator).mul_(
                    (scheme.before * v + scheme.after * after).sqrt_()
                )
                x, v = step.add_(x), after
            log_spot[t + 1], variance[t + 1] = x, v
        return log_spot, variance

    def schemes(self, dt: Tensor, dtype: torch.dtype) -> tuple[list[Scheme], int]:
        """The constants of every market step, for the number of substeps that is taken."""
        longest, n = dt.amax() if len(dt) else dt.sum(), self.substeps
        while self.constants(longest / n).excess() >= 1:
            n += 1
        columns = self.constants(dt / n)
        return [Scheme(*row) for row in zip(*(c.to(dtype) for c in columns), strict=True)], n

    def constants(self, dt: Tensor) -> Scheme:
        """Andersen's (2008) constants of steps of dt years, float64; K names his."""
        kappa, xi, rho = self.kappa, max(self.vol_of_vol, STILL), self.rho
        decayed = -torch.expm1(-kappa * dt)
        # Weights of V before and after that give the mean of integrated variance exactly.
        x = (kappa * dt).clamp(min=1e-4)
        weight = 1 / -torch.expm1(-x) - 1 / x
        before, after = (1 - rho**2) * (1 - weight) * dt, (1 - rho**2) * weight * dt  # K3, K4
        slope = rho / xi + weight * dt * (kappa * rho / xi - 0.5)  # K2
        return Scheme(
            mean=self.theta * decayed + TINY,
            decay=1 - decayed,
            spread=self.theta * xi**2 * decayed**2 / (2 * kappa),
            spread_slope=xi**2 * (1 - decayed) * decayed / kappa,
            before=before,
            after=after,
            slope=slope,
            tilt=slope + after / 2,
            widest=xi**2 * decayed / kappa,
        )

    def mean_variance(self, variance: Tensor, clock: Tensor) -> Tensor:
        """The mean variance priced in from each date to the last, per year, ``[T+1, N]``.

        theta_Q + (V - theta_Q) (1 - e^{-kappa_Q tau}) / (kappa_Q tau): the fair strike of a
        variance swap, squared. At the last date it is V.
        """
        kappa = self.kappa + self.variance_premium
        x = (kappa * (clock[-1:] - clock)).clamp(min=1e-12)
        weight = -torch.expm1(-x) / x
        theta = (1 - weight) * (self.kappa * self.theta / kappa)
        return (variance * weight.to(variance.dtype)).add_(theta.to(variance.dtype))

    def pricing_variance(self) -> dict[str, float]:
        """The parameters that the variance premium changes, under the pricing measure."""
        kappa = self.kappa + self.variance_premium
        return {"kappa": kappa, "theta": self.kappa * self.theta / kappa, "variance_premium": 0.0}

    @property
    def volatility(self) -> float:
        """Root of the mean of ``variance`` and ``theta``."""
        return math.sqrt((self.variance + self.theta) / 2)


class Heston(SquareRootVariance):
    """Stochastic variance that reverts to a mean and moves against the price.

    Source: Heston, "A Closed-Form Solution for Options with Stochastic Volatility", 1993; the
    scheme: Andersen, "Simple and efficient simulation of the Heston stochastic volatility model",
    2008 (QE with martingale correction). Evidence: tests/envs/test_heston.py.
    """

    kind: Literal["heston"] = "heston"

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Andersen's QE-M; its bias falls with the length of the steps."""
        log_spot, variance = self.diffuse(clock, paths, generator, dtype)
        implied_vol = self.mean_variance(variance, clock).sqrt_()
        return Walk(log_spot, implied_vol, latents={"variance": variance})

    def risk_neutral(self) -> Heston:
        """Variance reverts under the pricing measure: kappa_Q and theta_Q."""
        return self.model_copy(
            update={"drift": self.rate - self.dividend, **self.pricing_variance()}
        )


class Scheme(NamedTuple):
    """Constants of a step, each ``[1 or N]``.

    Attributes:
        mean, decay: E[V'] = mean + decay V.
        spread, spread_slope: Var[V'] = spread + spread_slope V.
        before, after: variance of the log-price given both variances: before V + after V'.
        slope: of the log-price in V'.
        tilt: A, the power of e^{V'} whose mean the martingale correction takes off.
        widest: the greatest Var[V'] / E[V'] over all V.
    """

    mean: Tensor
    decay: Tensor
    spread: Tensor
    spread_slope: Tensor
    before: Tensor
    after: Tensor
    slope: Tensor
    tilt: Tensor
    widest: Tensor

    def excess(self) -> float:
        """Below 1 the correction exists whatever V is.

        It does if A (m + r) / 2 < 1 where psi = r / m > 1.5, hence if A r 5 / 6 < 1, and if
        2 A a < 1 elsewhere, where a <= r / 3. The ratio r of variance to mean is `widest` at most.
        """
        return float(self.tilt * self.widest)


def quadratic_exponential(v: Tensor, z: Tensor, c: Scheme) -> tuple[Tensor, Tensor]:
    """A step of variance: the log-price's move given V', less its last noise, and V', ``[N]``.

    Andersen (2008), sections 3.2 and 4.3, rewritten without quotients of small numbers, so that no
    vol of vol is too low. V' = a (b + z)^2 where psi <= 1.5, else it is 0 or exponential with mean
    g: g (log(m / g) - log U)+. With D = log E[e^{A V'}] - A m the move is
    K2 (V' - m) - (K3 V + K4 m) / 2 - D. Both laws share z and are computed everywhere, each from
    the nearest m and psi that it is made for: NaNs are slow, and so are gathers.
    """
    m = torch.addcmul(c.mean, c.decay, v)
    r = torch.addcmul(c.spread, c.spread_slope, v).div_(m).clamp_(min=TINY)
    psi = r / m
    exponential = (psi > SWITCH).to(m.dtype)

    a = r / psi.clamp_(max=SWITCH).mul_(-2).add_(4).sqrt_().add_(2)
    rest = (m - a).clamp_(min=0)  # a b^2
    y = a * (2 * c.tilt)
    noise = a.sqrt().mul_(z)
    away = rest.sqrt().mul_(2).add_(noise).mul_(noise).sub_(a)
    deficit = torch.log1p(-y).add_(y).mul_(-0.5)
    deficit += rest.mul_(y).mul_(c.tilt).div_(1 - y)

    low = torch.minimum(m, r / SWITCH)
    g = (low + r).mul_(0.5)
    u = torch.special.erfc(z * math.sqrt(0.5)).mul_(0.5)
    tail = (low / g).div_(u).log_().clamp_(min=0).mul_(g)
    power = low * c.tilt
    tilted = torch.log1p(power / (1 - g * c.tilt)).sub_(power)

    away.lerp_(tail.sub_(m), exponential)
    deficit.lerp_(tilted, exponential)
    after = (m + away).clamp_(min=0)
    move = away.mul_(c.slope).sub_(deficit)
    move -= torch.addcmul(c.before * v, c.after, m).mul_(0.5)
    return move, after

"""Characteristic functions of driftless log-returns: Merton, Kou, Heston and Bates."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..markets import Market, Merton
from ..markets.bates import Bates
from ..markets.heston import Heston
from ..markets.kou import Kou

_STILL = 1e-8  # a vol of vol below it is taken as it, so that nothing is divided by 0
STILL_WIDTH = 1e-7  # a diffusion no wider than this is taken as normal: less than 1e-7 is lost


class Ends(NamedTuple):
    """What `Law.transform` holds of E[1] and E[e^X], and the derivatives to tau."""

    mass: float = 1.0
    growth: float = 1.0
    mass_rate: float = 0.0
    growth_rate: float = 0.0


class Transform(NamedTuple):
    """E[exp(i u X)] and its derivatives to the variance (vol squared) and to tau, complex128."""

    value: Tensor
    by_variance: Tensor
    by_tau: Tensor


class Bulk(NamedTuple):
    """The normal part of a law, what X is where nothing jumped.

    Its weight exp(-intensity tau), and X = drift tau - s^2 / 2 + s Z with s = vol sqrt(tau).
    """

    intensity: float
    drift: float


class Law(ABC):
    """The law of X = log(F_tau / F_0) over tau years of variance, E[e^X] = 1, given a vol."""

    @abstractmethod
    def transform(self, u: Tensor, tau: float, vol: Tensor) -> Transform:
        """At ``u`` (real or complex), broadcast with ``vol``; what `bulk` holds is left out."""

    @abstractmethod
    def log_moment(self, p: Tensor, tau: float, vol: Tensor) -> Tensor:
        """The log of E[e^{p X}] for real p, infinite where the moment does not exist."""

    @abstractmethod
    def width(self, tau: float, vol: Tensor) -> Tensor:
        """A length on which the law varies: its standard deviation, jumps counted little."""

    @abstractmethod
    def softness(self, tau: float) -> float:
        """A variance below which the law hardly depends on it."""

    def ends(self, tau: float) -> Ends:
        """`transform` at 0 and at -i."""
        return Ends()

    @property
    def bulk(self) -> Bulk | None:
        """The part that is normal, to be priced by Black's formula; null: none."""
        return None

    def limit(self, tau: float, vol: Tensor) -> Law | None:
        """The law that stands for it where its diffusion is too still for a series."""
        return None


class Jumps(ABC):
    """A compound Poisson process of log-jumps; ``intensity`` a year."""

    intensity: float

    @abstractmethod
    def sizes(self, u: Tensor) -> Tensor:
        """E[exp(i u J)]."""

    @property
    @abstractmethod
    def growth(self) -> float:
        """E[e^J] - 1."""

    @property
    @abstractmethod
    def square(self) -> float:
        """E[J^2]."""

    @property
    @abstractmethod
    def powers(self) -> tuple[float, float]:
        """The open interval of p in which E[e^{p J}] exists."""

    def rate(self, u: Tensor) -> Tensor:
        """The compensated exponent per year: intensity (E[exp(iuJ)] - 1 - i u E[e^J - 1])."""
        return self.intensity * (self.sizes(u) - 1 - 1j * u * self.growth)

    def exists(self, p: Tensor) -> Tensor:
        """Whether E[e^{p J}] does."""
        low, high = self.powers
        return (p > low) & (p < high)


@dataclass(frozen=True)
class LognormalJumps(Jumps):
    """Merton (1976): J is normal."""

    intensity: float
    mean: float
    std: float

    def sizes(self, u: Tensor) -> Tensor:
        """exp(i u mean - u^2 std^2 / 2)."""
        return torch.exp(1j * u * self.mean - 0.5 * (u * self.std) ** 2)

    @property
    def growth(self) -> float:
        """exp(mean + std^2 / 2) - 1."""
        return math.expm1(self.mean + self.std**2 / 2)

    @property
    def square(self) -> float:
        """mean^2 + std^2."""
        return self.mean**2 + self.std**2

    @property
    def powers(self) -> tuple[float, float]:
        """All."""
        return -math.inf, math.inf


@dataclass(frozen=True)
class ExponentialJumps(Jumps):
    """Kou (2002): exponential on either side."""

    intensity: float
    up_probability: float
    up_rate: float
    down_rate: float

    def sizes(self, u: Tensor) -> Tensor:
        """P up / (up - iu) + (1 - p) down / (down + iu)."""
        p, up, down = self.up_probability, self.up_rate, self.down_rate
        return p * up / (up - 1j * u) + (1 - p) * down / (down + 1j * u)

    @property
    def growth(self) -> float:
        """P / (up - 1) - (1 - p) / (down + 1)."""
        p, up, down = self.up_probability, self.up_rate, self.down_rate
        return p / (up - 1) - (1 - p) / (down + 1)

    @property
    def square(self) -> float:
        """2 p / up^2 + 2 (1 - p) / down^2."""
        p = self.up_probability
        return 2 * (p / self.up_rate**2 + (1 - p) / self.down_rate**2)

    @property
    def powers(self) -> tuple[float, float]:
        """Below the rates of the tails."""
        return -self.down_rate, self.up_rate


@dataclass(frozen=True)
class JumpDiffusion(Law):
    """A Brownian motion of the given vol, and jumps (Merton, 1976; Kou, 2002)."""

    jumps: Jumps

    def transform(self, u: Tensor, tau: float, vol: Tensor) -> Transform:
        """Given one jump or more: as tau goes to 0 their law stays smooth, the whole does not."""
        jumps, square = self.jumps, u * u + 1j * u
        quiet = -0.5 * vol**2 * square - jumps.intensity * (1 + 1j * u * jumps.growth)
        loud = jumps.intensity * jumps.sizes(u)
        still = torch.exp(quiet * tau)
        if jumps.intensity * tau < 1:
            value = still * torch.expm1(loud * tau)
        else:
            value = torch.exp((quiet + loud) * tau) - still
        by_tau = quiet * value + loud * (value + still)
        return Transform(value, -0.5 * tau * square * value, by_tau)

    def log_moment(self, p: Tensor, tau: float, vol: Tensor) -> Tensor:
        """Of the whole, `bulk` included: tau (vol^2 (p^2 - p) / 2 + jumps)."""
        exponent = 0.5 * vol**2 * (p * p - p) + self.jumps.rate(-1j * p).real
        return torch.where(self.jumps.exists(p), tau * exponent, math.inf)

    def width(self, tau: float, vol: Tensor) -> Tensor:
        """Of the law given a jump: half a jump at most, for jumps may be of one size."""
        return (vol**2 * tau + 0.05 * self.jumps.square).sqrt()

    def softness(self, tau: float) -> float:
        """None."""
        return 0.0

    def ends(self, tau: float) -> Ends:
        """Less the weight of no jump."""
        rate, grown = self.jumps.intensity, self.jumps.intensity * (1 + self.jumps.growth)
        none, still = math.exp(-rate * tau), math.exp(-grown * tau)
        return Ends(-math.expm1(-rate * tau), -math.expm1(-grown * tau), rate * none, grown * still)

    @property
    def bulk(self) -> Bulk:
        """No jump: the compensator alone."""
        return Bulk(self.jumps.intensity, -self.jumps.intensity * self.jumps.growth)


@dataclass(frozen=True)
class SquareRoot(Law):
    """Heston (1993), with independent jumps: Bates (1996). ``vol`` is the root of V at the start.

    E = exp(A + B V): B' = xi^2 B^2 / 2 - beta B - (u^2 + iu) / 2, A' = kappa theta B, with beta =
    kappa - i rho xi u. The solution is that of Albrecher, Mayer, Schoutens and Tistaert, "The
    Little Heston Trap", 2007, whose logarithm needs no branch (Lord and Kahl, 2010), with
    beta - d = -xi^2 (u^2 + iu) / (beta + d), d^2 = beta^2 + xi^2 (u^2 + iu), so that it stands as
    xi goes to 0.
    """

    kappa: float
    theta: float
    vol_of_vol: float
    rho: float
    jumps: Jumps | None = None

    def _exponents(self, u: Tensor, tau: float) -> tuple[Tensor, Tensor, Tensor]:
        """A and B of the diffusion, and dB/dtau."""
        xi = max(self.vol_of_vol, _STILL)
        beta, square = self.kappa - 1j * self.rho * xi * u, u * u + 1j * u
        d = (beta * beta + xi * xi * square).sqrt()
        down = -square / (beta + d)
        decay, decayed = torch.exp(-d * tau), -torch.expm1(-d * tau)
        c = xi * xi * down / (beta + d)
        b = down * decayed / (1 - c * decay)
        logarithm = torch.log1p(c * decayed / (1 - c))
        a = self.kappa * self.theta * (down * tau - 2 / xi**2 * logarithm)
        return a, b, 0.5 * xi * xi * b * b - beta * b - 0.5 * square

    def transform(self, u: Tensor, tau: float, vol: Tensor) -> Transform:
        """exp(A + B V + jumps)."""
        variance = vol**2
        a, b, slope = self._exponents(u, tau)
        rate = self.jumps.rate(u) if self.jumps else 0.0
        value = torch.exp(a + b * variance + rate * tau)
        by_tau = (self.kappa * self.theta * b + slope * variance + rate) * value
        return Transform(value, b * value, by_tau)

    def log_moment(self, p: Tensor, tau: float, vol: Tensor) -> Tensor:
        """Infinite from the time of explosion on (Andersen and Piterbarg, 2007, prop. 3.1)."""
        u = -1j * p
        a, b, _ = self._exponents(u, tau)
        exponent = a.real + b.real * vol**2
        exists = self._explosion(p) > tau
        if self.jumps:
            exponent = exponent + tau * self.jumps.rate(u).real
            exists = exists & self.jumps.exists(p)
        return torch.where(exists, exponent, math.inf).nan_to_num(nan=math.inf)

    def _explosion(self, p: Tensor) -> Tensor:
        """When E[e^{p X}] ceases to exist, years."""
        xi = max(self.vol_of_vol, _STILL)
        chi = self.rho * xi * p - self.kappa
        square = chi**2 - xi**2 * (p * p - p)
        root = square.abs().sqrt().clamp(min=1e-300)
        angle = 2 / root * (torch.atan2(root, chi))
        real = ((chi + root) / (chi - root).clamp(min=1e-300)).log() / root
        growing = (chi > 0) & ((p < 0) | (p > 1))
        return torch.where(square < 0, angle, torch.where(growing, real, math.inf))

    def _variance(self, tau: float, vol: Tensor) -> Tensor:
        """The diffusion's expected variance."""
        x = max(self.kappa * tau, 1e-12)
        weight = -math.expm1(-x) / x
        return tau * (self.theta * (1 - weight) + vol**2 * weight)

    def width(self, tau: float, vol: Tensor) -> Tensor:
        """Root of the diffusion's expected variance and a hundredth of the jumps'."""
        variance = self._variance(tau, vol)
        if self.jumps:
            variance = variance + 0.01 * tau * self.jumps.intensity * self.jumps.square
        return variance.sqrt()

    def limit(self, tau: float, vol: Tensor) -> Law | None:
        """Jumps alone."""
        if self.jumps is None or float(self._variance(tau, vol)) > STILL_WIDTH**2:
            return None
        return JumpDiffusion(self.jumps)

    def softness(self, tau: float) -> float:
        """What the vol of vol moves the variance by."""
        return 0.25 * self.vol_of_vol**2 * tau + self.theta * self.kappa * tau


def law_of(market: Market) -> Law:
    """The law of a market under its pricing measure.

    Raises:
        TypeError: for a market without a characteristic function here.
    """
    fair = market.risk_neutral()
    if isinstance(fair, Merton):
        return JumpDiffusion(LognormalJumps(fair.intensity, fair.jump_mean, fair.jump_std))
    if isinstance(fair, Kou):
        return JumpDiffusion(
            ExponentialJumps(fair.intensity, fair.up_probability, fair.up_rate, fair.down_rate)
        )
    if isinstance(fair, Heston):
        return SquareRoot(fair.kappa, fair.theta, fair.vol_of_vol, fair.rho)
    if isinstance(fair, Bates):
        jumps = LognormalJumps(fair.intensity, fair.jump_mean, fair.jump_std)
        return SquareRoot(fair.kappa, fair.theta, fair.vol_of_vol, fair.rho, jumps)
    raise TypeError(f"{market.kind} has no characteristic function here")  # type: ignore[attr-defined]

"""Regime switching: vol, drift and jumps that follow a Markov chain."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import Field, model_validator
from scipy import linalg
from torch import Tensor

from ..part import Part
from .fit import Fit, Floats, checked, maximise
from .market import Market, NonNegative, Walk, accumulate

FEWEST = 250  # log-returns of a fit


class Regime(Part):
    """What holds while the chain is in one state.

    GBM of vol ``sigma`` per sqrt(year) with normal log-jumps, ``intensity`` a year, of
    ``jump_mean`` and ``jump_std``, compensated; ``drift`` per year is earned beside the market's.
    """

    drift: float = 0.0
    sigma: NonNegative
    intensity: NonNegative = 0.0
    jump_mean: float = 0.0
    jump_std: NonNegative = 0.0

    @property
    def compensated(self) -> float:
        """Drift of the log-price between jumps."""
        jumps = self.intensity * math.expm1(self.jump_mean + self.jump_std**2 / 2)
        return self.drift - self.sigma**2 / 2 - jumps

    @property
    def variance(self) -> float:
        """Of the log-return per year, jumps included."""
        return self.sigma**2 + self.intensity * (self.jump_mean**2 + self.jump_std**2)


Regimes = Annotated[tuple[Regime, ...], Field(strict=False, min_length=1)]
Row = Annotated[tuple[float, ...], Field(strict=False)]


class RegimeSwitching(Market):
    """A Markov chain in continuous time over ``regimes``, with ``rates[i][j]`` moves a year.

    ``rates`` is the generator: its rows sum to 0. The path starts in the regime ``start``; null: in
    one drawn from the stationary law. The chain moves within steps too: events, moves and jumps,
    are drawn at their own times, and between them the log-price is a Brownian motion, so any dates
    are exact in distribution. Regimes' drifts run on the clock of variance.
    Source: Naik, "Option Valuation and Hedging Strategies with Jumps in the Volatility of Asset
    Returns", 1993; Hamilton, "A New Approach to the Economic Analysis of Nonstationary Time Series
    and the Business Cycle", 1989 (the fit).
    Evidence: tests/envs/test_regime_switching.py.
    """

    jumps: ClassVar[bool] = True
    latents: ClassVar[tuple[str, ...]] = ("regime",)

    kind: Literal["regime-switching"] = "regime-switching"
    regimes: Regimes = (Regime(sigma=0.12), Regime(sigma=0.3))
    rates: Annotated[tuple[Row, ...], Field(strict=False)] = ((-1.5, 1.5), (5.0, -5.0))
    start: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _generator(self) -> RegimeSwitching:
        size = len(self.regimes)
        if len(self.rates) != size or any(len(row) != size for row in self.rates):
            shape = [len(row) for row in self.rates]
            raise ValueError(f"rates have rows of {shape}: give {size} rows of {size}")
        for i, row in enumerate(self.rates):
            if any(rate < 0 for j, rate in enumerate(row) if j != i):
                raise ValueError(f"rates[{i}] is {row}: only its own entry {i} may be negative")
            if abs(sum(row)) > 1e-9 * (1 + abs(row[i])):
                own = row[i] - sum(row)
                raise ValueError(f"rates[{i}] sums to {sum(row):g}: set its entry {i} to {own:g}")
        if np.linalg.matrix_rank(self._rates) < size - 1:
            raise ValueError("rates leave regimes that never reach each other: connect them")
        if self.start is not None and self.start >= size:
            raise ValueError(f"start {self.start}: there are only regimes 0 to {size - 1}")
        return self

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Step by step; in a step only the paths that have an event are looked at again."""
        device = generator.device
        regime = torch.empty((len(clock), paths), dtype=torch.int64, device=device)
        regime[0] = self._first(paths, generator)
        z = torch.randn((len(clock) - 1, paths), generator=generator, dtype=dtype, device=device)
        jump = z.new_zeros((len(clock), paths))
        chain = _Chain(self, paths, generator, dtype)
        for t, dt in enumerate(clock.diff(dim=0).to(dtype).unbind()):
            regime[t + 1] = regime[t]
            mean, variance = chain.step(regime[t + 1], dt.expand(paths), jump[t + 1])
            z[t].mul_(variance.sqrt_()).add_(mean).add_(jump[t + 1])
        drifts = any(one.drift for one in self.regimes)
        return Walk(
            accumulate(math.log(self.spot), z),
            implied_vol=self._by_regime(
                clock[-1:] - clock, self._average_variance, regime, dtype
            ).sqrt_(),
            jump=jump,
            latents={"regime": regime.to(dtype)},
            expected=self._by_regime(clock.diff(dim=0), self._growth, regime[:-1], dtype)
            if drifts
            else None,
        )

    def risk_neutral(self) -> RegimeSwitching:
        """No regime earns more than the rate; the chain moves and jumps as it did."""
        regimes = tuple(one.model_copy(update={"drift": 0.0}) for one in self.regimes)
        return self.model_copy(update={"drift": self.rate - self.dividend, "regimes": regimes})

    @classmethod
    def fit(cls, log_returns: ArrayLike, dt: float, regimes: int = 2) -> Fit[RegimeSwitching]:
        """Maximum likelihood by Hamilton's filter; ``dt`` years between returns.

        The chain is seen at the dates only, as if it kept its regime between them: good while
        rate dt is small. Regimes come without jumps, in the order of their vols; the market's drift
        is 0 and each regime's its whole drift. Errors are named as ``regimes.0.sigma`` and
        ``rates.0.1``.

        Raises:
            ValueError: if the returns are not finite, fewer than 250 or constant, or there are
                fewer than 2 regimes.

        Evidence: tests/envs/test_fit.py.
        """
        returns = checked(log_returns, dt, FEWEST)
        if regimes < 2:
            raise ValueError(f"{regimes} regimes: give at least 2, or fit gbm")
        K, scale = regimes, float(returns.std())
        away = ~np.eye(K, dtype=bool)

        def natural(theta: Floats) -> Floats:
            # Each vol is a factor above the one before: the order of the regimes is fixed.
            sigma = scale / math.sqrt(dt) * np.exp(theta[K])
            sigma = sigma * np.cumprod(np.append(1.0, 1 + np.exp(theta[K + 1 : 2 * K])))
            drift = theta[:K] * scale / dt + sigma**2 / 2
            return np.concatenate([drift, sigma, np.exp(theta[2 * K :]) / dt])

        def log_likelihood(parameters: Floats) -> float:
            Q = _generator(parameters[2 * K :], K)
            sd = parameters[K : 2 * K] * math.sqrt(dt)
            mean = (parameters[:K] - parameters[K : 2 * K] ** 2 / 2) * dt
            return hamilton(returns, mean, sd, linalg.expm(Q * dt), stationary(Q))

        spread = [math.log(0.6)] + [math.log(2.0 / (K - 1))] * (K - 1)
        level = [float(returns.mean()) / scale] * K
        starts = [[*level, *spread, *[math.log(p)] * (K * K - K)] for p in (0.01, 0.1)]
        names = [f"regimes.{i}.drift" for i in range(K)] + [f"regimes.{i}.sigma" for i in range(K)]
        names += [f"rates.{i}.{j}" for i, j in np.argwhere(away).tolist()]
        estimate = maximise(log_likelihood, natural, starts, names, len(returns))
        values = np.array(list(estimate.parameters.values()))
        market = cls(
            regimes=tuple(
                Regime(drift=mu, sigma=sigma)
                for mu, sigma in values[: 2 * K].reshape(2, K).T.tolist()
            ),
            rates=tuple(map(tuple, _generator(values[2 * K :], K).tolist())),
        )
        return Fit(market, estimate.errors, estimate.log_likelihood, estimate.observations)

    @property
    def occupancy(self) -> Floats:
        """The stationary law of the regimes, ``[K]``."""
        return stationary(self._rates)

    @property
    def volatility(self) -> float:
        """Root of the stationary mean of the regimes' variances, jumps included."""
        return math.sqrt(float(self.occupancy @ self._variances))

    @property
    def _rates(self) -> Floats:
        return np.array(self.rates, dtype=np.float64)

    @property
    def _variances(self) -> Floats:
        return np.array([one.variance for one in self.regimes])

    def _first(self, paths: int, generator: torch.Generator) -> Tensor | int:
        if self.start is not None:
            return self.start
        below = torch.as_tensor(self.occupancy.cumsum()[:-1], device=generator.device)
        u = torch.rand(paths, generator=generator, dtype=torch.float64, device=generator.device)
        return torch.bucketize(u, below, right=True)

    def _by_regime(
        self,
        years: Tensor,
        function: Callable[[float], Floats],
        regime: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        """``function(years) [K]`` at each entry's own years and regime, as ``regime [T, N]``."""
        lengths, which = torch.unique(years, return_inverse=True)
        table = np.array([function(one) for one in lengths.tolist()])
        values = torch.as_tensor(table, dtype=dtype, device=regime.device)
        return values.flatten()[which * len(self.regimes) + regime]

    def _growth(self, years: float) -> Floats:
        """E[S_{t + years} / S_t | regime]: row sums of exp((rates + diag(drift)) years)."""
        drift = np.diag([one.drift for one in self.regimes])
        return np.asarray(linalg.expm((self._rates + drift) * years).sum(axis=1))

    def _average_variance(self, years: float) -> Floats:
        """E[variance over the next years | regime] per year; at 0 years, of the regime."""
        if years <= 0:
            return self._variances
        size = len(self.regimes)
        # The corner of the exponential of [[Q, v], [0, 0]] is the integral of exp(Q s) v.
        whole = np.zeros((size + 1, size + 1))
        whole[:size, :size], whole[:size, size] = self._rates, self._variances
        return np.asarray(linalg.expm(whole * years)[:size, size] / years)


class _Chain:
    """The chain of all paths with its jumps, each path drawing its next event when one has passed.

    The time to an event is kept as what is left of a unit exponential, used up at the rate of the
    regime.
    """

    def __init__(
        self, market: RegimeSwitching, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> None:
        def column(values: Any) -> Tensor:
            return torch.as_tensor(np.array(values), dtype=dtype, device=generator.device)

        regimes, rates = market.regimes, market._rates
        leave = -np.diag(rates)
        intensity = np.array([one.intensity for one in regimes])
        self.generator = generator
        self.drift = column([one.compensated for one in regimes])
        self.variance = column([one.sigma**2 for one in regimes])
        self.events = column(leave + intensity)
        # A regime without jumps has none of any size, should rounding ever call for one.
        self.jump_mean = column([one.jump_mean * (one.intensity > 0) for one in regimes])
        self.jump_std = column([one.jump_std * (one.intensity > 0) for one in regimes])
        # Thresholds of one uniform: the regime moved to, or none of them: a jump.
        total = np.where(leave + intensity > 0, leave + intensity, 1)[:, None]
        self.moves = column(np.cumsum(np.where(np.eye(len(rates)) > 0, 0, rates) / total, axis=1))
        self.left = self._exponential(paths)

    def step(self, regime: Tensor, dt: Tensor, jump: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance ``[N]`` of the diffusion over ``dt``; moves regime, adds to jump."""
        mean, variance = self.drift[regime] * dt, self.variance[regime] * dt
        rate = self.events[regime]
        self.left.addcmul_(rate, dt, value=-1)
        hit = (self.left < 0).nonzero()[:, 0]
        while len(hit):
            # The event came before the end: take back what was booked for the time after it.
            before = regime[hit]
            rest = (-self.left[hit] / self.events[before]).minimum(dt[hit])
            mean[hit] -= self.drift[before] * rest
            variance[hit] -= self.variance[before] * rest
            after = self._event(hit, before, jump)
            regime[hit] = after
            mean[hit] += self.drift[after] * rest
            variance[hit] += self.variance[after] * rest
            left = self._exponential(len(hit)) - self.events[after] * rest
            self.left[hit] = left
            hit = hit[left < 0]
        return mean, variance.clamp_(min=0)

    def _event(self, hit: Tensor, before: Tensor, jump: Tensor) -> Tensor:
        """Regimes after an event of the paths ``hit``: a move to another one, or a jump."""
        u = self._uniform(len(hit))
        moves = self.moves[before]
        after = (u[:, None] >= moves).sum(dim=1)
        jumps = after == moves.shape[1]
        z = torch.randn(len(hit), generator=self.generator, dtype=u.dtype, device=u.device)
        size = self.jump_mean[before] + self.jump_std[before] * z
        jump[hit] += torch.where(jumps, size, 0.0)
        return torch.where(jumps, before, after)

    def _uniform(self, count: int) -> Tensor:
        left = self.drift
        return torch.rand(count, generator=self.generator, dtype=left.dtype, device=left.device)

    def _exponential(self, count: int) -> Tensor:
        return self._uniform(count).neg_().log1p_().neg_()


def stationary(rates: Floats) -> Floats:
    """The law ``[K]`` that a generator ``[K, K]`` leaves as it is."""
    size = len(rates)
    system = np.vstack([rates.T, np.ones(size)])
    law = np.linalg.lstsq(system, np.append(np.zeros(size), 1.0), rcond=None)[0]
    return np.asarray(np.maximum(law, 0) / np.maximum(law, 0).sum())


def hamilton(returns: Floats, mean: Floats, sd: Floats, transition: Floats, first: Floats) -> float:
    """Log-likelihood of returns ``[n]`` that are normal given a hidden chain of K regimes.

    Hamilton's filter is a product of n matrices; it is formed in pairs, so that an array operation
    serves half of them at once. ``transition [K, K]`` is that of one step, ``first [K]`` the law of
    the first regime.
    """
    log_density = -0.5 * ((returns[:, None] - mean) / sd) ** 2 - np.log(sd)
    top = log_density.max(axis=1)
    density = np.exp(log_density - top[:, None])
    total = float(top.sum()) - len(returns) / 2 * math.log(2 * math.pi)
    product = transition * density[1:, None, :]
    while len(product) > 1:
        tail = product[len(product) - len(product) % 2 :]
        product = product[: len(product) - len(tail)]
        product = np.concatenate([product[0::2] @ product[1::2], tail])
        size = product.max(axis=(1, 2), keepdims=True)
        product, total = product / size, total + float(np.log(size).sum())
    return total + math.log(float((first * density[0] @ product[0]).sum()))


def _generator(rates: Floats, size: int) -> Floats:
    """The generator with these rates off its diagonal, row by row."""
    Q = np.zeros((size, size))
    Q[~np.eye(size, dtype=bool)] = rates
    Q[np.diag_indices(size)] = -Q.sum(axis=1)
    return Q

"""Rough Bergomi: a lognormal variance driven by a rough Volterra process."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from .market import Market, NonNegative, Positive, Walk, accumulate

Floats = NDArray[np.float64]

MOST_CLOCKS = 256  # distinct clocks of one batch: each needs kernels of its own
NODES = 3  # of the quadrature in time of the quoted vol


class RoughBergomi(Market):
    """V_t = xi exp(eta Y_t - eta^2 Var(Y_t) / 2), Y_t = sqrt(2H) int (t - s)^{H - 1/2} dW_s.

    dS / S = sqrt(V) (rho dW + sqrt(1 - rho^2) dB). H is ``hurst``, xi the flat ``forward_variance``
    per year. Every market step is cut into ``substeps``. Y is discretised by the hybrid scheme: the
    kernel is exact on the cell that ends at t and its average on the cells before. Var(Y_t) is that
    of the discretised Y, so E[V_t] = xi at every step size; the log-price takes the variance at the
    left end of each cell and is a martingale.
    Source: Bayer, Friz and Gatheral, "Pricing under rough volatility", 2016; Bennedsen, Lunde and
    Pakkanen, "Hybrid scheme for Brownian semistationary processes", 2017 (kappa = 1, eq. 2.20).
    Evidence: tests/envs/test_rough_bergomi.py.
    """

    latents: ClassVar[tuple[str, ...]] = ("variance",)

    kind: Literal["rough-bergomi"] = "rough-bergomi"
    hurst: Annotated[float, Field(gt=0, le=0.5)] = 0.07
    eta: NonNegative = 1.9
    rho: Annotated[float, Field(ge=-1, le=1)] = -0.9
    forward_variance: Positive = 0.04
    substeps: Annotated[int, Field(ge=1)] = 1

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """One matrix product of kernel weights with normals; uneven dates included.

        Raises:
            ValueError: if more than 256 different clocks come in one batch.
        """
        cells = (len(clock) - 1) * self.substeps
        device = generator.device
        z = torch.randn((3, cells, paths), generator=generator, dtype=dtype, device=device)
        if clock.shape[1] == 1:
            variance, increments, quoted = self._on(clock[:, 0], *z)
        else:
            columns, which = _distinct(clock)
            steps = len(clock) - 1
            variance, quoted = (z.new_empty((steps + 1, paths)) for _ in range(2))
            increments = z.new_empty((steps, paths))
            for column, dates in enumerate(columns.unbind(1)):
                own = (which == column).nonzero()[:, 0]
                parts = self._on(dates, *z[:, :, own])
                for whole, part in zip((variance, increments, quoted), parts, strict=True):
                    whole[:, own] = part
        return Walk(
            accumulate(math.log(self.spot), increments),
            implied_vol=quoted.sqrt_(),
            latents={"variance": variance},
        )

    @property
    def volatility(self) -> float:
        """Root of the forward variance."""
        return math.sqrt(self.forward_variance)

    def _on(self, clock: Tensor, z: Tensor, own: Tensor, other: Tensor) -> tuple[Tensor, ...]:
        """Variance, log-increments and the expected variance to the end on ``clock [T+1]``.

        ``z`` (of W), ``own`` (of the cell that ends at t) and ``other`` (of B) are normals
        ``[T substeps, N]``; ``other`` is overwritten.
        """
        dates = _refined(clock.double().cpu().numpy(), self.substeps)
        dt = z.new_tensor(np.diff(dates))[:, None]
        scheme = self._scheme(dates)
        # Half the log-variance: its exponential is the vol, and the vol's square the variance.
        half = torch.addmm(z.new_tensor(scheme.level), z.new_tensor(scheme.kernel), z)
        vol = torch.cat(
            [
                half.new_full((1, half.shape[1]), self.volatility),
                half.addcmul_(own, z.new_tensor(scheme.own)).exp_(),
            ]
        )
        left = vol[:-1]
        shock = other.mul_(math.sqrt(1 - self.rho**2)).add_(z, alpha=self.rho).mul_(dt.sqrt())
        increments = shock.addcmul_(left, dt, value=-0.5).mul_(left)
        if self.substeps > 1:
            increments = increments.reshape(-1, self.substeps, z.shape[1]).sum(dim=1)
        variance = vol[:: self.substeps].square()
        return variance, increments, self._expected(dates, z, variance)

    def _scheme(self, dates: Floats) -> _Scheme:
        """Half of eta Y - eta^2 Var(Y) / 2 + log xi at ``dates[1:]``, as weights of normals."""
        H, dt = self.hurst, np.diff(dates)
        kernel = _weights(dates[1:], dates, H)
        # The exact joint law of the cell's own integral and its dW: the part of the integral that
        # dW does not explain (Cholesky), as dW's part is the cell average like any other's.
        own = dt**H * math.sqrt(max(1 - 2 * H / (H + 0.5) ** 2, 0))
        spread = (kernel**2).sum(axis=1) + own**2
        level = math.log(self.forward_variance) - self.eta**2 / 2 * spread
        half = self.eta / 2
        return _Scheme(half * kernel, half * own[:, None], level[:, None] / 2)

    def _expected(self, dates: Floats, z: Tensor, variance: Tensor) -> Tensor:
        """E_t of the average variance from each market date to the end, ``[T+1, N]``.

        The average of xi exp(eta M - eta^2 Var(M) / 2), M the part of Y_u that the increments of W
        up to t tell; Gauss-Legendre in x with u - t = (T - t) x^2, as the kernel is steep at u = t.
        """
        x, weight = np.polynomial.legendre.leggauss(NODES)
        x, weight = (x + 1) / 2, weight * (x + 1) / 2
        coarse = dates[:: self.substeps]
        total = variance.clone()  # at the end only what is there is left
        before = total[:-1].zero_()
        known = dates[None, 1:] <= coarse[:-1, None]
        for node, share in zip(x, weight, strict=True):
            later = coarse[:-1] + (dates[-1] - coarse[:-1]) * node**2
            kernel = self.eta * _weights(later, dates, self.hurst) * known
            level = math.log(self.forward_variance * share) - (kernel**2).sum(axis=1) / 2
            part = torch.addmm(z.new_tensor(level[:, None]), z.new_tensor(kernel), z)
            before.add_(part.exp_())
        return total


class _Scheme(NamedTuple):
    """The discretised process: ``level [M, 1] + kernel [M, M] z + own [M, 1] z'``."""

    kernel: Floats
    own: Floats
    level: Floats


def _weights(at: Floats, dates: Floats, hurst: float) -> Floats:
    """Weights ``[m, M]`` of unit normals of the M cells in Y at the times ``at [m]``.

    The average over a cell of sqrt(2H) (u - s)^{H - 1/2}, times the root of its length; 0 for the
    cells that end after u.
    """
    power = hurst + 0.5
    to = np.maximum(at[:, None] - dates[None], 0) ** power
    # A cell of no length has no weight.
    root = np.sqrt(np.maximum(np.diff(dates), np.finfo(float).tiny))
    weights = math.sqrt(2 * hurst) / power * (to[:, :-1] - to[:, 1:]) / root
    return np.asarray(np.where(dates[None, 1:] <= at[:, None], weights, 0.0))


def _refined(dates: Floats, substeps: int) -> Floats:
    """The dates with every step cut into equal parts."""
    index = np.arange((len(dates) - 1) * substeps + 1) / substeps
    return np.asarray(np.interp(index, np.arange(len(dates)), dates))


def _distinct(clock: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct columns of ``clock [T+1, N]`` and which one each path has ``[N]``."""
    columns: list[Tensor] = []
    which = torch.empty(clock.shape[1], dtype=torch.int64, device=clock.device)
    left = torch.arange(clock.shape[1], device=clock.device)
    # One at a time: calendars have few, and torch.unique would sort them all.
    while len(left):
        if len(columns) == MOST_CLOCKS:
            raise ValueError(
                f"more than {MOST_CLOCKS} different clocks in one batch of rough Bergomi: "
                "give a calendar whose dates are the same on all paths, or on many"
            )
        rest = clock[:, left]
        same = (rest == rest[:, :1]).all(dim=0)
        which[left[same]] = len(columns)
        columns.append(rest[:, 0])
        left = left[~same]
    return torch.stack(columns, dim=1), which

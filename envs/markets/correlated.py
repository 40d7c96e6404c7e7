"""Several assets: correlated geometric Brownian motions, with jumps of their own and in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from ..part import Part
from .gbm import Volatility
from .jumps import normal_sizes, scatter
from .market import Market, NonNegative, Positive, Walk, accumulate

_ROUNDING = 1e-10  # of an eigenvalue or a pivot of a matrix of correlations

Correlation = Annotated[float, Field(ge=-1, le=1)]
Row = Annotated[tuple[Correlation, ...], Field(strict=False)]
Matrix = Annotated[tuple[Row, ...], Field(strict=False)]
Floats = NDArray[np.float64]


class Asset(Part):
    """A further asset: its spot at time 0, real-world drift, dividend yield and vol."""

    spot: Positive = 100.0
    drift: float = 0.0
    dividend: float = 0.0
    sigma: Volatility = 0.2


class JumpingAsset(Asset):
    """A further asset that jumps as `CorrelatedMerton` says."""

    jump_mean: float = -0.07
    jump_std: NonNegative = 0.05
    own_intensity: NonNegative = 0.0


class Breakdown(Part):
    """Diffusions that are correlated otherwise from a date on: ``correlation`` takes over for good.

    The date is ``after`` years, or random: exponential, ``intensity`` a year. Each asset alone
    moves as before. Nobody is told: marks know the market's first correlation only.
    Source: Longin and Solnik, "Extreme Correlation of International Equity Markets", 2001, for
    correlations that rise when it matters. Evidence: tests/envs/test_breakdown.py.
    """

    correlation: Correlation | Matrix
    after: Positive | None = None
    intensity: Positive | None = None

    @model_validator(mode="after")
    def _one_date(self) -> Breakdown:
        if (self.after is None) == (self.intensity is None):
            raise ValueError("breakdown needs a date: give after or intensity, one of them")
        return self

    def share(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Tensor:
        """The part of each step that lies after the date, ``[T, 1 or N]``."""
        if self.intensity is None:
            assert self.after is not None
            date = torch.full((1, 1), self.after, dtype=dtype, device=generator.device)
        else:
            date = torch.empty((1, paths), dtype=dtype, device=generator.device)
            date = date.exponential_(self.intensity, generator=generator)
        passed = (clock - clock[:1]).to(dtype)
        step = passed.diff(dim=0).clamp(min=torch.finfo(dtype).tiny)
        return ((passed[1:] - date) / step).clamp(0, 1)


class CorrelatedMarket(Market):
    """A assets whose diffusions are correlated: the market's own fields and those in ``others``.

    ``correlation`` is one number for every pair, or the whole matrix ``[A][A]``; with a
    ``breakdown`` another one takes over on the way.
    """

    sigma: Volatility = 0.2
    others: tuple[Asset, ...]
    correlation: Correlation | Matrix = 0.5
    breakdown: Breakdown | None = None

    @model_validator(mode="after")
    def _correlations_fit(self) -> CorrelatedMarket:
        checked_matrix("correlation", self.correlation, self.assets)
        if self.breakdown is not None:
            checked_matrix("breakdown.correlation", self.breakdown.correlation, self.assets)
        return self

    @property
    def assets(self) -> int:
        """A."""
        return 1 + len(self.others)

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The diffusion vol of each asset."""
        return (self.sigma, *(asset.sigma for asset in self.others))

    @property
    def spots(self) -> tuple[float, ...]:
        """The spot at time 0 of each asset."""
        return (self.spot, *(asset.spot for asset in self.others))

    @property
    def drifts(self) -> tuple[float, ...]:
        """The drift of each asset."""
        return (self.drift, *(asset.drift for asset in self.others))

    @property
    def dividends(self) -> tuple[float, ...]:
        """The dividend yield of each asset."""
        return (self.dividend, *(asset.dividend for asset in self.others))

    @property
    def volatilities(self) -> tuple[float, ...]:
        """The total vol of each asset's log-returns per sqrt(year)."""
        return tuple(math.sqrt(row[i]) for i, row in enumerate(self._covariance))

    @property
    def volatility(self) -> float:
        """That of the first asset."""
        return self.volatilities[0]

    @property
    def correlation_matrix(self) -> tuple[tuple[float, ...], ...]:
        """Of the assets' log-returns, jumps included, ``[A][A]``; 0 for one that stands still.

        Before any breakdown.
        """
        covariance, vols = self._covariance, self.volatilities
        return tuple(
            tuple(
                1.0 if i == j else float(covariance[i, j]) / (a * b) if a * b else 0.0
                for j, b in enumerate(vols)
            )
            for i, a in enumerate(vols)
        )

    def risk_neutral(self) -> CorrelatedMarket:
        """Each asset's drift is ``rate`` less its own dividend yield."""
        others = tuple(
            asset.model_copy(update={"drift": self.rate - asset.dividend}) for asset in self.others
        )
        return self.model_copy(update={"drift": self.rate - self.dividend, "others": others})

    @property
    @abstractmethod
    def _covariance(self) -> Floats:
        """Of the log-returns of a year, ``[A, A]``."""

    @property
    def _diffusion_covariance(self) -> Floats:
        matrix = checked_matrix("correlation", self.correlation, self.assets)
        return matrix * np.outer(self.sigmas, self.sigmas)

    def _diffusions(
        self,
        drifts: Sequence[float],
        clock: Tensor,
        paths: int,
        generator: torch.Generator,
        dtype: torch.dtype,
    ) -> list[Tensor]:
        """The log-increments ``[T, N]`` of each asset."""
        dt = clock.diff(dim=0).to(dtype)
        root = dt.sqrt()
        matrix = checked_matrix("correlation", self.correlation, self.assets)
        increments = correlated_normals(matrix, (len(dt), paths), generator, dtype)
        if self.breakdown is not None:
            self._break_down(self.breakdown, increments, clock, generator)
        for z, drift, sigma in zip(increments, drifts, self.sigmas, strict=True):
            z.mul_(sigma * root).add_((drift - sigma**2 / 2) * dt)
        return increments

    def _break_down(
        self, broken: Breakdown, normals: list[Tensor], clock: Tensor, generator: torch.Generator
    ) -> None:
        """Turn normals ``[T, N]`` of each asset into the broken ones' after the date; exact.

        Within a step that it falls into variances add up: ``sqrt(1 - f) Z + sqrt(f) Z'``.
        """
        shape, dtype = normals[0].shape, normals[0].dtype
        matrix = checked_matrix("breakdown.correlation", broken.correlation, self.assets)
        after = correlated_normals(matrix, shape, generator, dtype)
        share = broken.share(clock, shape[1], generator, dtype)
        for z, other in zip(normals, after, strict=True):
            z.mul_((1 - share).sqrt()).add_(share.sqrt() * other)


class CorrelatedGBM(CorrelatedMarket):
    """dS_i / S_i = drift_i dt + sigma_i dW_i with d<W_i, W_j> = correlation_ij dt; exact.

    Source: Black and Scholes, 1973; Margrabe, "The Value of an Option to Exchange One Asset for
    Another", 1978. Evidence: tests/envs/test_correlated.py.
    """

    kind: Literal["correlated-gbm"] = "correlated-gbm"
    others: Annotated[tuple[Asset, ...], Field(min_length=1, strict=False)]

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Log S_{t+1} = log S_t - sigma^2 / 2 dt + sigma sqrt(dt) Z for each asset."""
        increments = self._diffusions([0.0] * self.assets, clock, paths, generator, dtype)
        first, *others = [
            Walk(accumulate(math.log(spot), steps), steps.new_full((1, 1), sigma))
            for spot, steps, sigma in zip(self.spots, increments, self.sigmas, strict=True)
        ]
        return Walk(first.log_spot, first.implied_vol, others=tuple(others))

    @property
    def _covariance(self) -> Floats:
        return self._diffusion_covariance


class CorrelatedMerton(CorrelatedMarket):
    """Correlated GBMs that jump together ``intensity`` times a year, and each ``own_intensity``.

    An asset's log-jumps are normal with its ``jump_mean`` and ``jump_std``; those of a common jump
    have correlation ``jump_correlation``, one number or a matrix. Jumps are compensated. Under the
    pricing measure all jumps come ``1 + jump_premium`` times as often.
    Source: Merton, 1976, for each asset; common jumps as in Duffie, Pan and Singleton, "Transform
    Analysis and Asset Pricing for Affine Jump-Diffusions", 2000, section 4.
    Evidence: tests/envs/test_correlated.py.
    """

    jumps: ClassVar[bool] = True

    kind: Literal["correlated-merton"] = "correlated-merton"
    sigma: Volatility = 0.15
    intensity: NonNegative = 1.2
    jump_mean: float = -0.07
    jump_std: NonNegative = 0.05
    own_intensity: NonNegative = 0.0
    others: Annotated[tuple[JumpingAsset, ...], Field(min_length=1, strict=False)]
    jump_correlation: Correlation | Matrix = 0.5

    jump_premium: Annotated[float, Field(ge=-1)] = 0.0

    @model_validator(mode="after")
    def _jump_correlations_fit(self) -> CorrelatedMerton:
        checked_matrix("jump_correlation", self.jump_correlation, self.assets)
        return self

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """Exact on any dates: normal increments plus the jumps that fall in each step."""
        laws = self._jump_laws
        drifts = [-(self.intensity + own) * math.expm1(m + s * s / 2) for m, s, own in laws]
        increments = self._diffusions(drifts, clock, paths, generator, dtype)
        jumps = self._common_jumps(clock, paths, generator, dtype)
        for jump, (m, s, own) in zip(jumps, laws, strict=True):
            scatter(jump[1:], clock, own, normal_sizes(m, s, generator, dtype), generator)
        first, *others = [
            Walk(
                accumulate(math.log(spot), steps.add_(jump[1:])),
                implied_vol=steps.new_full((1, 1), vol),
                jump=jump,
            )
            for spot, steps, jump, vol in zip(
                self.spots, increments, jumps, self.risk_neutral().volatilities, strict=True
            )
        ]
        return Walk(first.log_spot, first.implied_vol, first.jump, others=tuple(others))

    def risk_neutral(self) -> CorrelatedMerton:
        """Jumps, common and own, come ``1 + jump_premium`` times as often."""
        more = 1 + self.jump_premium
        market = super().risk_neutral()
        others = tuple(
            asset.model_copy(update={"own_intensity": before.own_intensity * more})
            for asset, before in zip(market.others, self.others, strict=True)
        )
        return self.model_copy(
            update={
                "drift": market.drift,
                "intensity": self.intensity * more,
                "own_intensity": self.own_intensity * more,
                "others": others,
                "jump_premium": 0.0,
            }
        )

    def _common_jumps(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> list[Tensor]:
        """The common jumps of each asset, ``[T+1, N]``.

        Where n jumps fall into a step their sum is normal, with n times the mean and n times the
        covariance, so that only their number is scattered.
        """
        number = torch.zeros((len(clock), paths), dtype=dtype, device=generator.device)
        scatter(number[1:], clock, self.intensity, number.new_ones, generator)
        places = number.nonzero(as_tuple=True)
        n = number[places]
        matrix = checked_matrix("jump_correlation", self.jump_correlation, self.assets)
        jumps = []
        normals = correlated_normals(matrix, n.shape, generator, dtype)
        for z, (m, s, _) in zip(normals, self._jump_laws, strict=True):
            jump = torch.zeros_like(number)
            jump[places] = m * n + s * n.sqrt() * z
            jumps.append(jump)
        return jumps

    @property
    def _jump_laws(self) -> list[tuple[float, float, float]]:
        """Mean, std and own intensity of each asset's jumps."""
        others = [(a.jump_mean, a.jump_std, a.own_intensity) for a in self.others]
        return [(self.jump_mean, self.jump_std, self.own_intensity), *others]

    @property
    def _covariance(self) -> Floats:
        m, s, own = np.array(self._jump_laws).T
        matrix = checked_matrix("jump_correlation", self.jump_correlation, self.assets)
        common = self.intensity * (np.outer(m, m) + matrix * np.outer(s, s))
        return self._diffusion_covariance + common + np.diag(own * (m**2 + s**2))


def checked_matrix(name: str, correlation: float | Matrix, assets: int) -> Floats:
    """The matrix ``[A, A]`` of ``correlation``, one number or all of them.

    Raises:
        ValueError: if it is not a matrix of correlations; it names the fault and the mend.
    """
    if isinstance(correlation, float | int):
        matrix = np.full((assets, assets), float(correlation))
        np.fill_diagonal(matrix, 1.0)
    else:
        rows = [len(row) for row in correlation]
        if rows != [assets] * assets:
            raise ValueError(
                f"{name} has rows of {rows} numbers and the market {assets} assets: give one "
                f"number, or {assets} rows of {assets}"
            )
        matrix = np.array(correlation)
        for i, j in np.argwhere(matrix != matrix.T)[:1]:
            raise ValueError(
                f"{name} is {matrix[i, j]:g} in row {i}, column {j} and {matrix[j, i]:g} across "
                "the diagonal: make it symmetric"
            )
        for i in np.flatnonzero(np.diag(matrix) != 1)[:1]:
            raise ValueError(f"{name} is {matrix[i, i]:g} in row {i}, column {i}: make it 1")
    lowest = float(np.linalg.eigvalsh(matrix)[0])
    if lowest < -_ROUNDING:
        raise ValueError(
            f"{name} has the eigenvalue {lowest:.3g}, so no {assets} assets have it: bring the "
            "numbers nearer to 0" + _least(correlation, assets)
        )
    return matrix


def _least(correlation: float | Matrix, assets: int) -> str:
    if isinstance(correlation, float | int):
        return f"; one number for {assets} assets is at least {-1 / (assets - 1):.4g}"
    return ""


def correlated_normals(
    matrix: Floats, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype
) -> list[Tensor]:
    """A arrays of standard normals, contiguous, with the correlations ``matrix [A, A]``."""
    device = generator.device
    z = [torch.randn(shape, generator=generator, dtype=dtype, device=device) for _ in matrix]
    root = triangle(matrix)
    for i in reversed(range(len(z))):  # the last first: the earlier ones are still independent
        z[i].mul_(float(root[i, i]))
        for j in range(i):
            z[i].add_(z[j], alpha=float(root[i, j]))
    return z


def triangle(matrix: Floats) -> Floats:
    """The lower triangle L with L L' = ``matrix``, which may be singular."""
    L = np.zeros_like(matrix)
    for j in range(len(matrix)):
        column = matrix[j:, j] - L[j:, :j] @ L[j, :j]
        if column[0] > _ROUNDING:
            L[j:, j] = column / math.sqrt(column[0])
    return L

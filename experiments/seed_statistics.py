"""Statistics over training seeds: the unit of replication is a training, never an episode.

Two errors are kept apart. Another set of seeds would give other policies, and other evaluation
paths other figures of the same policies. All policies are judged on the same paths, so the latter
error is shared by all seeds and does not show in how far they lie apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from .statistics import CONFIDENCE

ENOUGH = 10  # seeds from which on the middle half of them is averaged
TRIMMED = 0.25  # at either end
RESAMPLES = 10_000
ALPHA = 1.0 - CONFIDENCE
SMALLEST = math.log(1e-300)  # a p-value below it is 0

Floats = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Shared:
    """How the evaluation paths move the figures of one agent's policies together.

    Attributes:
        influence: the mean over the policies of the figure's influence, ``[N]``.
        variance: the mean covariance of two policies' figures; of one policy its variance.
    """

    influence: Floats
    variance: float

    @classmethod
    def of(cls, influences: Sequence[Floats]) -> Shared:
        """From the influences ``[N]`` of each policy's figure."""
        n, paths = len(influences), len(influences[0])
        total = np.sum(influences, axis=0)
        squares = float(total @ total)
        own = sum(float(each @ each) for each in influences)
        pairs = squares if n == 1 else (squares - own) / (n - 1)
        return cls(total / n, max(pairs / n, 0.0) / paths**2)

    def covariance(self, other: Shared) -> float:
        """The mean covariance of a policy's figure and one of another agent's."""
        return float(self.influence @ other.influence) / len(self.influence) ** 2


@dataclass(frozen=True)
class OverSeeds:
    """One figure of an agent.

    Attributes:
        values: of each seed's policy, all on the same paths.
        value: their mean; from 10 seeds on their interquartile mean.
        seeds: a 95 % interval for other seeds on these paths; null for one seed.
        both: for other seeds on other paths; null too where the paths have no honest interval.
    """

    values: tuple[float, ...]
    value: float
    seeds: Interval | None
    both: Interval | None

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


def statistic(seeds: int) -> str:
    """What stands for an agent of so many seeds."""
    return "interquartile mean" if seeds >= ENOUGH else "mean"


def over_seeds(
    values: Sequence[float], shared: float | None, generator: np.random.Generator
) -> OverSeeds:
    """A figure of each seed's policy [n], as a figure of the agent.

    Below 10 seeds the mean with Student's t interval. From there the interquartile mean with the
    percentile bootstrap over seeds (Agarwal et al., "Deep reinforcement learning at the edge of the
    statistical precipice", 2021). ``shared`` is the variance that the paths give all policies
    alike, None where it is not known. Its half-width and that of the seeds add as errors do (Zou
    and Donner, "Construction of confidence limits about effect measures", 2008, eq. 2); every
    resample gets a draw of it. Evidence: tests/experiments/test_seed_statistics.py.

    Raises:
        ValueError: for no value.
    """
    if not values:
        raise ValueError("no seed has a value: give at least one")
    found, n = np.asarray(values, dtype=np.float64), len(values)
    value = float(trimmed_mean(found))
    if n == 1:
        return OverSeeds((value,), value, None, None)
    if n < ENOUGH:
        error, freedom = _of_seeds([found])
        seeds = _about(value, _half_width(ALPHA, error, freedom, 0.0))
        both = None
        if shared is not None:
            both = _about(value, _half_width(ALPHA, error, freedom, shared))
        return OverSeeds(tuple(map(float, values)), value, seeds, both)
    resamples = trimmed_mean(found[generator.integers(n, size=(RESAMPLES, n))])
    noise = math.sqrt(shared or 0.0) * generator.standard_normal(RESAMPLES)
    both = None if shared is None else _middle(resamples + noise)
    return OverSeeds(tuple(map(float, values)), value, _middle(resamples), both)


@dataclass(frozen=True)
class Contrast:
    """Two agents, or an agent and a rule.

    Attributes:
        first, second: their names.
        difference: the first's risk less the second's.
        low, high: its 95 % interval, for other seeds and other paths; not corrected.
        p: of no difference, two-sided; null where the paths have no honest interval.
        adjusted: p after Holm's correction for all contrasts of the table.
    """

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None


@dataclass(frozen=True)
class AgentResult:
    """One agent's figures over its training seeds.

    Attributes:
        name: the agent's.
        policies: the names of its hedgers in the evaluation, a seed each.
        risk: in the scenario's objective.
        versus_delta: risk less delta's on the same paths.
        gap_closed: of the way from delta's risk to the optimum's; null where no optimum is known.
        warning: why the paths have no honest interval.
    """

    name: str
    policies: tuple[str, ...]
    risk: OverSeeds
    versus_delta: OverSeeds
    gap_closed: OverSeeds | None
    warning: str | None = None

    def document(self) -> dict[str, Any]:
        """As plain data."""
        gap = self.gap_closed
        return {
            "name": self.name,
            "policies": list(self.policies),
            "risk": self.risk.document(),
            "versus_delta": self.versus_delta.document(),
            "gap_closed": None if gap is None else gap.document(),
            "warning": self.warning,
        }


@dataclass(frozen=True)
class AcrossSeeds:
    """The agents of one evaluation.

    Attributes:
        statistic: what stands for an agent's seeds.
        agents: in the order in which they were asked for.
        contrasts: of each agent with delta and of all pairs; none of an agent with one seed.
    """

    statistic: str
    agents: tuple[AgentResult, ...]
    contrasts: tuple[Contrast, ...]

    def document(self) -> dict[str, Any]:
        """As plain data, for ``--json`` and ``evaluation.json``."""
        return {
            "statistic": self.statistic,
            "agents": [each.document() for each in self.agents],
            "contrasts": [vars(each) for each in self.contrasts],
        }

    def contrast(self, first: str, second: str) -> Contrast | None:
        """The contrast of two names, where there is one."""
        pairs = {(each.first, each.second): each for each in self.contrasts}
        return pairs.get((first, second))


def contrast(
    first: Sequence[float], second: Sequence[float], shared: float
) -> tuple[float, Interval, float]:
    """The difference of two agents' figures, its 95 % interval and its p-value.

    The interval is Welch's, whose seeds are independent samples, from 10 seeds on of interquartile
    means (Yuen, "The two-sample trimmed t for unequal population variances", 1974), and widened as
    in `over_seeds` by the variance ``shared`` that the paths give the difference. The p-value is
    the level at which it ends at 0. One value is that of a rule, which has no seeds.

    Evidence: tests/experiments/test_seed_statistics.py.
    """
    samples = [np.asarray(each, dtype=np.float64) for each in (first, second)]
    difference = float(trimmed_mean(samples[0]) - trimmed_mean(samples[1]))
    error, freedom = _of_seeds(samples)

    def beyond(log_p: float) -> float:
        return _half_width(math.exp(log_p), error, freedom, shared) - abs(difference)

    ends = _about(difference, _half_width(ALPHA, error, freedom, shared))
    if math.isnan(shared):
        return difference, ends, math.nan
    if difference == 0.0:
        return difference, ends, 1.0
    if beyond(SMALLEST) <= 0.0:
        return difference, ends, 0.0
    return difference, ends, math.exp(optimize.brentq(beyond, SMALLEST, 0.0, xtol=1e-12))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values after the correction for making so many tests.

    Holm, "A simple sequentially rejective multiple test procedure", 1979: the chance of a single
    wrong rejection among those at most alpha is at most alpha, however the tests depend.
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(each) for each in adjusted]


def trimmed_mean(values: Floats) -> Any:
    """The mean of values [..., n]; from 10 on of the middle half, as Agarwal et al. cut it."""
    n = values.shape[-1]
    cut = int(TRIMMED * n) if n >= ENOUGH else 0
    return np.sort(values, axis=-1)[..., cut : n - cut].mean(axis=-1)


def standard_error(values: Floats) -> float:
    """Of `trimmed_mean`: from the spread of the values with the ends pulled in (Yuen, 1974)."""
    n = len(values)
    cut = int(TRIMMED * n) if n >= ENOUGH else 0
    ordered = np.sort(values)
    pulled = np.clip(ordered, ordered[cut], ordered[n - 1 - cut])
    kept = n - 2 * cut
    return math.sqrt(float(((pulled - pulled.mean()) ** 2).sum()) / (kept * (kept - 1)))


def _of_seeds(samples: Sequence[Floats]) -> tuple[float, float]:
    """The standard error of a difference of means, and Welch's degrees of freedom."""
    total, weighted = 0.0, 0.0
    for each in samples:
        if len(each) > 1:
            variance = standard_error(each) ** 2
            cut = int(TRIMMED * len(each)) if len(each) >= ENOUGH else 0
            total += variance
            weighted += variance**2 / (len(each) - 2 * cut - 1)
    return math.sqrt(total), math.inf if weighted == 0.0 else total**2 / weighted


def _half_width(p: float, error: float, freedom: float, shared: float) -> float:
    """Of the interval with the chance p to miss: that of the seeds and that of the paths."""
    student, normal = -special.stdtrit(freedom, 0.5 * p), -special.ndtri(0.5 * p)
    return math.hypot(float(student) * error, float(normal) * math.sqrt(shared))


def _about(value: float, half: float) -> Interval:
    return value - half, value + half


def _middle(resamples: Floats) -> Interval:
    low, high = np.quantile(resamples, [0.5 * ALPHA, 1.0 - 0.5 * ALPHA])
    return float(low), float(high)

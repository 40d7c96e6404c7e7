"""Intervals and tests from months that may depend on their neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.objectives import Objective
from ...envs.stream import Role, stream_of
from ..statistics import CONFIDENCE

RESAMPLES = 2000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Resampled:
    """A hedger over months, money.

    Attributes:
        risk: of its losses.
        interval: 95 %, of the block bootstrap; null where the objective sees cause for `caution`.
        difference: its risk less the reference's, null for the reference itself.
        difference_interval: 95 %, the same months resampled for both; null with either's caution,
            as are the two that follow.
        p_value: one-sided, that its risk is not below the reference's.
        adjusted: the same when the best of all hedgers is looked for among so many (`stepwise`).
    """

    risk: float
    interval: tuple[float, float] | None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    p_value: float | None = None
    adjusted: float | None = None


@dataclass(frozen=True)
class BlockBootstrap:
    """Hedgers over the same months, against one of them.

    Attributes:
        reference: that one's name.
        block: the mean number of months in a block.
        resamples: how many.
        variants: how many hedgers were tested against it.
        hedgers: by name.
    """

    reference: str
    block: int
    resamples: int
    variants: int
    hedgers: dict[str, Resampled]

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "reference": self.reference,
            "mean_block": self.block,
            "resamples": self.resamples,
            "variants": self.variants,
            "hedgers": {name: dict(vars(each)) for name, each in self.hedgers.items()},
        }


def block_bootstrap(
    objective: Objective,
    losses: Mapping[str, Floats],
    reference: str = "delta",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> BlockBootstrap:
    """Resample months in blocks, the same for every hedger, and judge each by the objective.

    Every resampled risk counts in standard errors of its own (`standard_error` of the objective's
    influence): the bootstrap-t, whose intervals and tests are right to second order where months
    are few (Hall, "The Bootstrap and Edgeworth Expansion", 1992, chapter 3; for dependent data
    Goetze and Kuensch, 1996). Evidence: tests/experiments/history/test_block_bootstrap.py (coverage
    on months that depend on the one before, and how often pure noise is taken for skill).

    Args:
        objective: the risk.
        losses: by hedger, ``[n]`` months in their order.
        reference: the name among them that the others are compared with.
        seed: of the resampling.
        resamples: how many.
    """
    months = len(losses[reference])
    block = mean_block(months)
    rng = np.random.default_rng(stream_of(seed, Role.BOOTSTRAP))
    whole = np.arange(months)[None]
    rows = np.concatenate([whole, stationary_rows(months, block, resamples, rng)])
    judged = {name: _judged(objective, each, rows) for name, each in losses.items()}
    risks = {name: _studentised(*each, block) for name, each in judged.items()}
    base = judged[reference]
    honest = {name for name, each in losses.items() if objective.caution(each) is None}
    differences = {
        name: _studentised(each[0] - base[0], each[1] - base[1], block)
        for name, each in judged.items()
        if name != reference
    }
    tested = [name for name in differences if {name, reference} <= honest]
    p_values = _p_values([differences[name] for name in tested])
    found = {}
    for name, own in risks.items():
        each = Resampled(own.value, own.interval if name in honest else None)
        if name != reference:
            each = replace(each, difference=differences[name].value)
        if name in tested:
            single, adjusted = p_values[tested.index(name)]
            interval = differences[name].interval
            each = replace(each, difference_interval=interval, p_value=single, adjusted=adjusted)
        found[name] = each
    return BlockBootstrap(reference, block, resamples, len(tested), found)


def _p_values(differences: Sequence[Studentised]) -> list[tuple[float, float]]:
    """Of each alone and adjusted for their number; below the reference is a gain."""
    if not differences:
        return []
    single, adjusted = stepwise(
        -np.array([each.score for each in differences]),
        -np.stack([each.noise for each in differences], axis=1),
    )
    return list(zip(single.tolist(), adjusted.tolist(), strict=True))


@dataclass(frozen=True)
class Studentised:
    """A figure of the months with its bootstrap.

    Attributes:
        value: the figure.
        error: its standard error.
        noise: of the resamples, how far from ``value`` in standard errors of their own, ``[B]``.
    """

    value: float
    error: float
    noise: Floats

    @property
    def score(self) -> float:
        """The value in standard errors; 0 for what never differs from 0."""
        return self.value / self.error if self.error > 0 else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The bootstrap-t's 95 %."""
        tail = 0.5 - 0.5 * CONFIDENCE
        low, high = np.quantile(self.noise, (tail, 1 - tail)).tolist()
        return self.value - high * self.error, self.value - low * self.error


def _judged(objective: Objective, losses: Floats, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Risks ``[B+1]`` and influences ``[B+1, n]`` of the months, first of all as they were."""
    samples = [losses[row] for row in rows]
    risks = np.array([objective.risk(each) for each in samples])
    return risks, np.stack([objective.influence(each) for each in samples])


def _studentised(values: Floats, influences: Floats, block: int) -> Studentised:
    errors = standard_error(influences, block)
    away = values[1:] - values[0]
    noise = np.divide(away, errors[1:], out=np.zeros_like(away), where=errors[1:] > 0)
    return Studentised(float(values[0]), float(errors[0]), noise)


def standard_error(values: Floats, block: float) -> Floats:
    """Of the mean of months that depend on their neighbours, ``[...]`` from ``[..., n]``.

    That of the mean of a resample by `stationary_rows`, in closed form: the root of
    (C_0 + 2 sum (1 - i / n) (1 - 1 / block)^i C_i) / n, C_i the circular autocovariances (Politis
    and Romano, 1994, lemma 1). Evidence: tests/experiments/history/test_block_bootstrap.py.
    """
    months = values.shape[-1]
    centred = values - values.mean(axis=-1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred, axis=-1)) ** 2
    covariance = np.fft.irfft(spectrum, months, axis=-1) / months
    lag = np.arange(months)
    weight = 2 * (1 - lag / months) * (1 - 1 / block) ** lag
    weight[0] = 1
    return np.asarray(np.sqrt(np.maximum((covariance * weight).sum(axis=-1), 0) / months))


def mean_block(months: int) -> int:
    """The mean length of a block of ``months``, their cube root.

    The order that makes the variance estimate best: Hall, Horowitz and Jing, "On blocking rules for
    the bootstrap with dependent data", 1995.
    """
    return max(round(float(np.cbrt(months))), 1)


def stationary_rows(
    months: int, block: float, resamples: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of resampled months, ``[resamples, months]``.

    Blocks begin anywhere, have geometric lengths of mean ``block`` and go on from the last month to
    the first, so that a resample is stationary. Source: Politis and Romano, "The stationary
    bootstrap", 1994. Evidence: tests/experiments/history/test_block_bootstrap.py.
    """
    shape = (resamples, months)
    begins = rng.random(shape) < 1 / block
    begins[:, 0] = True
    places = np.arange(months)
    begun = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    first = np.take_along_axis(rng.integers(months, size=shape), begun, axis=1)
    return np.asarray((first + places - begun) % months)


def stepwise(scores: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """One-sided p-values that a gain is not above 0: each alone, and adjusted for their number.

    The smallest of K p-values is held against the smallest of K that resamples about their centres
    have, the next against the smallest of the rest, and so on; none falls below that of a better
    one. The chance to take any of the truly worthless for skill is then at most the level, however
    they depend on one another. P-values and not scores are compared, so that a hedger whose score
    has a wild law, such as one that holds nothing, weighs no more than another. It deflates by the
    variants it is given: what was tried and left out is not counted.
    Source: Westfall and Young, "Resampling-Based Multiple Testing", 1993, algorithm 2.8 (step-down
    minP); for hedgers against a benchmark Romano and Wolf, "Stepwise multiple testing as formalized
    data snooping", 2005, after White, "A reality check for data snooping", 2000.
    Evidence: tests/experiments/history/test_block_bootstrap.py.

    Args:
        scores: gains in their standard errors, ``[K]``.
        noise: those of the resamples about the gains, ``[B, K]``, jointly.

    Returns:
        The p-values alone and adjusted, each ``[K]``.
    """
    count = len(noise)
    single = (1 + (noise >= scores).sum(axis=0)) / (count + 1)
    # What was observed is one of the B + 1 that every p-value is taken among.
    ordered = np.sort(noise, axis=0)
    below = [np.searchsorted(ordered[:, k], noise[:, k]) for k in range(len(scores))]
    resampled = (count - np.stack(below, axis=1) + (scores >= noise)) / (count + 1)
    order = np.argsort(single, kind="stable")
    # The smallest among each and all that come after it in the order.
    rest = np.minimum.accumulate(resampled[:, order[::-1]], axis=1)[:, ::-1]
    steps = (1 + (rest <= single[order]).sum(axis=0)) / (count + 1)
    adjusted = np.empty_like(scores)
    adjusted[order] = np.maximum.accumulate(steps)
    return single, adjusted

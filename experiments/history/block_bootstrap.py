"""Intervals and tests from months that may depend on their neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
        interval: 95 %, of the block bootstrap.
        difference: its risk less the reference's, null for the reference itself.
        difference_interval: 95 %, the same months resampled for both.
        p_value: one-sided, that its risk is not below the reference's.
        adjusted: the same when the best of all hedgers is looked for among so many (`stepwise`).
    """

    risk: float
    interval: tuple[float, float]
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
        variants: how many hedgers were compared with it.
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

    Intervals run between the 2.5 % and 97.5 % quantiles of the resampled risks. Evidence:
    tests/experiments/history/test_block_bootstrap.py (coverage on months that depend on the one
    before, and how often pure noise is taken for skill).

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
    rows = stationary_rows(months, block, resamples, rng)
    drawn = {
        name: np.array([objective.risk(each[row]) for row in rows]) for name, each in losses.items()
    }
    risks = {name: objective.risk(each) for name, each in losses.items()}
    others = [name for name in losses if name != reference]
    gains = np.array([risks[reference] - risks[name] for name in others])
    resampled = np.stack([drawn[reference] - drawn[name] for name in others], axis=1)
    single, adjusted = stepwise(gains, resampled)
    found = {reference: Resampled(risks[reference], _interval(drawn[reference]))}
    for k, name in enumerate(others):
        found[name] = Resampled(
            risk=risks[name],
            interval=_interval(drawn[name]),
            difference=-float(gains[k]),
            difference_interval=_interval(-resampled[:, k]),
            p_value=float(single[k]),
            adjusted=float(adjusted[k]),
        )
    ordered = {name: found[name] for name in losses}
    return BlockBootstrap(reference, block, resamples, len(others), ordered)


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


def stepwise(gains: Floats, resampled: Floats) -> tuple[Floats, Floats]:
    """One-sided p-values that a gain is not above 0: each alone, and adjusted for their number.

    A gain counts in its own bootstrap standard errors. The best of K is held against the largest of
    K resampled ones about their centres, the next against the largest of the rest, and so on; no
    p-value is below that of a better one. The chance to take any of the truly worthless for skill
    is then at most the level, however they depend on one another. It deflates by the variants it is
    given: what was tried and left out is not counted.
    Source: Romano and Wolf, "Stepwise multiple testing as formalized data snooping", 2005, and
    "Efficient computation of adjusted p-values for resampling-based stepdown multiple testing",
    2016; its first step is White's "A reality check for data snooping", 2000, studentised.
    Evidence: tests/experiments/history/test_block_bootstrap.py.

    Args:
        gains: ``[K]``.
        resampled: ``[B, K]``, jointly.

    Returns:
        The p-values alone and adjusted, each ``[K]``.
    """
    count = len(resampled)
    error = resampled.std(axis=0)
    scale = np.where(error > 0, error, 1.0)  # what never differs from the reference scores 0
    score = np.where(error > 0, gains / scale, 0.0)
    noise = (resampled - gains) / scale
    single = (1 + (noise >= score).sum(axis=0)) / (count + 1)
    order = np.argsort(-score, kind="stable")
    # The largest noise among each and all that come after it in the order.
    rest = np.maximum.accumulate(noise[:, order[::-1]], axis=1)[:, ::-1]
    steps = (1 + (rest >= score[order]).sum(axis=0)) / (count + 1)
    adjusted = np.empty_like(score)
    adjusted[order] = np.maximum.accumulate(steps)
    return single, adjusted


def _interval(values: Floats) -> tuple[float, float]:
    tail = 0.5 - 0.5 * CONFIDENCE
    low, high = np.quantile(values, (tail, 1 - tail)).tolist()
    return low, high

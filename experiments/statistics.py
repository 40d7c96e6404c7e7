"""Statistics: every reported number with its 95 % interval, or with the reason for having none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from ..envs.objectives import Objective, VaR
from ..envs.sample import Losses, centred, checked, rank

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: the estimate.
        low: the lower end of the interval, None where no interval is honest.
        high: the upper end, None together with `low`.
        warning: why there is none, or what else to know.
    """

    value: float
    low: float | None
    high: float | None
    warning: str | None = None


def mean(values: npt.ArrayLike) -> Estimate:
    """The mean of values [N], with Student's t interval (ddof = 1).

    Exact for normal values however few, such as the results of a handful of training seeds. One
    value has no interval.

    Raises:
        ValueError: if the values are empty, not one-dimensional or not finite.
    """
    results = checked(values)
    centre, n = float(results.mean()), len(results)
    if n == 1:
        return Estimate(centre, None, None, "one value has no interval")
    quantile = float(special.stdtrit(n - 1, 0.5 + 0.5 * CONFIDENCE))
    half = quantile * float(results.std(ddof=1)) / math.sqrt(n)
    return Estimate(centre, centre - half, centre + half)


def proportion(hits: npt.NDArray[np.bool_]) -> Estimate:
    """The share of paths [N] that are true, with Wilson's interval: honest at 0 of N too.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927. Evidence:
    tests/experiments/test_statistics.py.

    Raises:
        ValueError: if there are none, or not one-dimensional.
    """
    n, share = len(checked(hits)), float(hits.mean())
    z = float(special.ndtri(0.5 + 0.5 * CONFIDENCE))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2) / (1 + z * z / n)
    # At 0 of N and at N of N the ends are exact, and rounding must not move them past the share.
    return Estimate(share, min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share))


def std(values: Losses) -> Estimate:
    """The population standard deviation of values [N]; its error is that of the fourth moment.

    Raises:
        ValueError: as in `mean`.
    """
    values = checked(values)
    value = float(values.std())
    squares = centred(centred(values) ** 2)
    return _estimate(value, squares / (2.0 * value) if value > 0.0 else squares)


def risk(objective: Objective, losses: Losses) -> Estimate:
    """The risk of losses [N].

    The interval is the delta method's, corrected for skewness; about a VaR it is made of order
    statistics. There is none where the objective sees cause for `caution`. At 10,000 normal,
    lognormal or Student t(5) losses it covers 93 to 97 %, CVaR 99 % included. Evidence:
    tests/experiments/test_statistics.py::test_coverage_of_cvar and its neighbours.

    Raises:
        ValueError: as in `mean`.
    """
    if isinstance(objective, VaR):
        return _quantile(objective, losses)
    return _estimate(objective.risk(losses), objective.influence(losses), objective.caution(losses))


def difference(objective: Objective, losses: Losses, reference: Losses) -> Estimate:
    """The risk of losses [N] less that of the reference [N], hedged on the same paths.

    Paired: what both hedgers suffer from the same path cancels.

    Raises:
        ValueError: if the two differ in length, and as in `mean`.
    """
    losses, reference = checked(losses), checked(reference)
    _same_paths(losses, reference)
    value = objective.risk(losses) - objective.risk(reference)
    influence = objective.influence(losses) - objective.influence(reference)
    return _estimate(value, influence, objective.caution(losses) or objective.caution(reference))


def ratio(objective: Objective, losses: Losses, reference: Losses) -> Estimate:
    """The risk of losses [N] over that of the reference [N], hedged on the same paths.

    Paired as `difference`, by the delta method: the influence of a / b is (a' - (a / b) b') / b.

    Raises:
        ValueError: if the two differ in length, where the reference has no risk, and as in `mean`.
    """
    losses, reference = checked(losses), checked(reference)
    _same_paths(losses, reference)
    base = objective.risk(reference)
    if base <= 0.0:
        raise ValueError(f"a ratio to a risk of {base:g} means nothing: compare by difference")
    value = objective.risk(losses) / base
    influence = (objective.influence(losses) - value * objective.influence(reference)) / base
    return _estimate(value, influence, objective.caution(losses) or objective.caution(reference))


def effectiveness(pnl: Losses, unhedged: Losses) -> Estimate | None:
    """The share of variance hedged away, 1 - var / var unhedged, of P&L [N] on the same paths.

    1 is a perfect hedge; below 0 it adds risk. None where the unhedged P&L does not vary.

    Raises:
        ValueError: if the two differ in length, and as in `mean`.
    """
    pnl, unhedged = checked(pnl), checked(unhedged)
    _same_paths(pnl, unhedged)
    base = float(unhedged.var())
    if base == 0.0:
        return None
    left = float(pnl.var()) / base
    influence = (left * centred(centred(unhedged) ** 2) - centred(centred(pnl) ** 2)) / base
    return _estimate(1.0 - left, influence)


def _estimate(value: float, influence: Losses, warning: str | None = None) -> Estimate:
    """The value with the interval that its influence [N] implies, unless there is a warning.

    Hall, "On the removal of skewness by transformation", 1992: with a = skewness of the
    influence / sqrt(N), the cubic t + a t^2 / 3 + a^2 t^3 / 27 + a / 6 of the studentised error is
    normal to second order, and has the inverse used here. The plain normal interval misses upwards
    too often for tails: CVaR 95 % of 220 lognormal(1) paths, 85 % covered instead of 95 %.
    """
    if warning is not None:
        return Estimate(value, None, None, warning)
    n = len(influence)
    spread = math.sqrt(np.mean(influence * influence))
    if spread == 0.0:
        return Estimate(value, value, value)
    skewness = float(np.mean((influence / spread) ** 3)) / math.sqrt(n)
    normal = float(special.ndtri(0.5 + 0.5 * CONFIDENCE))
    error = spread / math.sqrt(n)
    low = value - error * _studentised(normal, skewness)
    return Estimate(value, low, value - error * _studentised(-normal, skewness))


def _studentised(normal: float, skewness: float) -> float:
    """The studentised error that Hall's transformation takes to a normal quantile."""
    if abs(skewness) < 1e-6:
        return normal
    return float(3.0 * (np.cbrt(1.0 + skewness * (normal - skewness / 6.0)) - 1.0) / skewness)


def _quantile(objective: VaR, losses: Losses) -> Estimate:
    """A VaR between the two order statistics that hold it with at least 95 %, whatever the law.

    The number of losses up to the quantile is binomial (David and Nagaraja, "Order statistics",
    2003, section 7.1).
    """
    losses = checked(losses)
    n, k = len(losses), rank(len(losses), objective.level)
    tail = 0.5 - 0.5 * CONFIDENCE
    low = int(stats.binom.ppf(tail, n, objective.level))
    high = int(stats.binom.ppf(1.0 - tail, n, objective.level)) + 1
    if low < 1 or high > n:
        warning = f"{n} paths are too few to bracket {objective.label}: take more paths"
        return Estimate(objective.risk(losses), None, None, warning)
    ordered = np.partition(losses, [low - 1, k - 1, high - 1])
    return Estimate(float(ordered[k - 1]), float(ordered[low - 1]), float(ordered[high - 1]))


def _same_paths(losses: Losses, reference: Losses) -> None:
    if len(losses) != len(reference):
        raise ValueError(
            f"a paired comparison needs the same paths: {len(losses)} against {len(reference)}"
        )

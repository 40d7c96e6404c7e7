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
ROUNDS, SETTLED = 200, 1e-9  # of the search for an end of a ratio's interval
FURTHEST = 1e9  # from the ratio: an end beyond it is none


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
    if isinstance(objective, VaR):
        return _quantile_difference(objective, losses, reference)
    value = objective.risk(losses) - objective.risk(reference)
    influence = objective.influence(losses) - objective.influence(reference)
    warning = objective.caution(losses) or objective.caution(reference)
    return _estimate(value, influence, warning)


def ratio(objective: Objective, losses: Losses, reference: Losses) -> Estimate:
    """The risk of losses [N] over that of the reference [N], hedged on the same paths.

    Paired as `difference`. There is no interval where the paths hardly tell the reference's risk
    from 0, and none for a VaR.

    Raises:
        ValueError: if the two differ in length, where the reference has no risk, and as in `mean`.
    """
    losses, reference = checked(losses), checked(reference)
    _same_paths(losses, reference)
    base = objective.risk(reference)
    if base <= 0.0:
        raise ValueError(f"a ratio to a risk of {base:g} means nothing: compare by difference")
    warning = objective.caution(losses) or objective.caution(reference)
    if isinstance(objective, VaR):
        warning = f"a ratio of two {objective.label} has no interval: compare by difference"
        return Estimate(objective.risk(losses) / base, None, None, warning)
    own, other = objective.influence(losses), objective.influence(reference)
    return _quotient(objective.risk(losses), own, base, other, warning)


def gap_closed(
    objective: Objective, losses: Losses, reference: Losses, best: Losses
) -> Estimate | None:
    """How much of the way from the reference's risk to the best one the losses [N] have closed.

    (rho(reference) - rho(losses)) / (rho(reference) - rho(best)), all three on the same paths: 0 is
    the reference, 1 the best. None where the paths do not tell the best from the reference.

    Raises:
        ValueError: if they differ in length, and as in `mean`.
    """
    losses = checked(losses)
    _same_paths(losses, reference)
    room = difference(objective, reference, best)
    if room.value <= 0.0 or (room.low is not None and room.low <= 0.0):
        return None
    start = objective.influence(reference)
    return _quotient(
        objective.risk(reference) - objective.risk(losses),
        start - objective.influence(losses),
        room.value,
        start - objective.influence(best),
        objective.caution(losses) or room.warning,
    )


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
    squares = centred(centred(pnl) ** 2), centred(centred(unhedged) ** 2)
    left = _quotient(float(pnl.var()), squares[0], base, squares[1])
    if left.low is None or left.high is None:
        return Estimate(1.0 - left.value, None, None, left.warning)
    return Estimate(1.0 - left.value, 1.0 - left.high, 1.0 - left.low)


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
    standard = influence / spread
    squares = standard * standard
    skewness, kurtosis = float(np.mean(squares * standard)), float(np.mean(squares * squares))
    quantile, slant = _student(_freedom(skewness, kurtosis, n)), skewness / math.sqrt(n)
    error = spread / math.sqrt(n)
    low = value - error * _studentised(quantile, slant)
    return Estimate(value, low, value - error * _studentised(-quantile, slant))


def _freedom(skewness: float, kurtosis: float, n: int) -> float:
    """The degrees of freedom of a variance, from the influence [N] that it is the mean square of.

    2 N / (kurtosis - 1 - skewness^2), which is N for a normal one: Satterthwaite, "An approximate
    distribution of estimates of variance components", 1946, less what of the variance's error goes
    with the mean's, which Hall's correction has. With infinitely many the difference of two CVaR
    99 % of 10,000 paths covers 93.9 %.
    """
    beyond = kurtosis - 1.0 - skewness * skewness
    return 2.0 * n / beyond if beyond > 0.0 else math.inf


def _student(freedom: float) -> float:
    """The upper end of Student's interval."""
    return float(special.stdtrit(freedom, 0.5 + 0.5 * CONFIDENCE))


def _quotient(
    above: float,
    above_influence: Losses,
    below: float,
    below_influence: Losses,
    warning: str | None = None,
) -> Estimate:
    """The ratio of two estimates, a / b with b > 0: the ratios r that the paths allow.

    They are those at which a - r b is not told from 0 (Fieller, "Some problems in interval
    estimation", 1954), corrected for skewness as in `_estimate`. With r = a / b + d and
    e = a' - (a / b) b' of the influences, that of a - r b is e - d b', and at an end b d is minus
    its studentised error. The delta method leaves d out: it covers 92 % for the ratio of two CVaR
    99 % of 10,000 paths. Where b is hardly told from 0 no end settles and there is no interval.
    """
    value = above / below
    if warning is not None:
        return Estimate(value, None, None, warning)
    b = below_influence
    e, n = above_influence - value * b, len(b)
    ee, bb = e * e, b * b
    second = [float(np.mean(x)) for x in (ee, e * b, bb)]
    third = [float(np.mean(x)) for x in (ee * e, ee * b, e * bb, bb * b)]

    def error(d: float, quantile: float) -> float:
        variance = second[0] - 2.0 * d * second[1] + d * d * second[2]
        if not variance > 0.0:
            return 0.0
        cube = third[0] - 3.0 * d * third[1] + 3.0 * d * d * third[2] - d**3 * third[3]
        skewness = cube / variance**1.5 / math.sqrt(n)
        return math.sqrt(variance / n) * _studentised(quantile, skewness) / below

    def end(quantile: float) -> float:
        last, d = math.inf, 0.0
        for _ in range(ROUNDS):
            last, d = d, -error(d, quantile)
            if abs(d - last) <= SETTLED * abs(d):
                return value + d
            if not abs(d) < FURTHEST:
                break
        return math.nan

    spread = math.sqrt(second[0])
    if spread == 0.0:
        return Estimate(value, value, value)
    standard = e / spread
    skewness, kurtosis = (
        float(np.mean(standard * standard * standard)),
        float(np.mean((standard * standard) ** 2)),
    )
    quantile = _student(_freedom(skewness, kurtosis, n))
    low, high = end(quantile), end(-quantile)
    if math.isnan(low) or math.isnan(high):
        return Estimate(value, None, None, "the paths hardly tell the divisor from 0: take more")
    return Estimate(value, low, high)


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


def _quantile_difference(objective: VaR, losses: Losses, reference: Losses) -> Estimate:
    """The difference of two VaR on the same paths, from the interval of each.

    About the difference of their middles; the halves add as errors with the correlation of being
    beyond the VaR (Zou, "Toward using confidence intervals to compare correlations", 2007). A
    density at the VaR and the skewness of being beyond it cover 92.7 % where the law is a mixture.
    """
    own, other = _quantile(objective, losses), _quantile(objective, reference)
    value = own.value - other.value
    if own.low is None or own.high is None or other.low is None or other.high is None:
        return Estimate(value, None, None, own.warning or other.warning)
    beyond = centred((losses > own.value).astype(np.float64))
    beside = centred((reference > other.value).astype(np.float64))
    scale = math.sqrt(float(beyond @ beyond) * float(beside @ beside))
    correlation = float(beyond @ beside) / scale if scale > 0.0 else 0.0
    first, second = (own.high - own.low) / 2.0, (other.high - other.low) / 2.0
    half = math.sqrt(max(first**2 + second**2 - 2.0 * correlation * first * second, 0.0))
    middle = (own.low + own.high - other.low - other.high) / 2.0
    return Estimate(value, min(middle - half, value), max(middle + half, value))


def _same_paths(losses: Losses, reference: Losses) -> None:
    if len(losses) != len(reference):
        raise ValueError(
            f"a paired comparison needs the same paths: {len(losses)} against {len(reference)}"
        )

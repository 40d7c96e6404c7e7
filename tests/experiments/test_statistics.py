"""Statistics: intervals cover what they say, pairs cancel, and dishonest intervals are withheld."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import optimize, stats

from deephedge.envs.objectives import (
    CVaR,
    Entropic,
    Expectile,
    MeanStd,
    Objective,
    Quadratic,
    SemiQuadratic,
    VaR,
)
from deephedge.envs.sample import Losses
from deephedge.experiments import statistics
from deephedge.experiments.statistics import Estimate

Draw = Callable[[np.random.Generator, int], Losses]
PATHS = 10_000
LAWS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "lognormal": lambda rng, n: np.exp(0.5 * rng.standard_normal(n)),
    "t5": lambda rng, n: rng.standard_t(5, n),
}


def ends(estimate: Estimate) -> tuple[float, float, float]:
    assert estimate.low is not None and estimate.high is not None and estimate.warning is None
    return estimate.value, estimate.low, estimate.high


def covers(estimate: Estimate, truth: float) -> bool:
    _, low, high = ends(estimate)
    return low <= truth <= high


def tail_mean(law: str, level: float) -> float:
    """The true CVaR in closed form."""
    z, q = float(stats.norm.ppf(level)), float(stats.t.ppf(level, 5))
    if law == "normal":
        return float(stats.norm.pdf(z)) / (1 - level)
    if law == "t5":
        return float(stats.t.pdf(q, 5)) * (5 + q * q) / 4 / (1 - level)
    return math.exp(0.125) * float(stats.norm.sf(z - 0.5)) / (1 - level)


def coverage(truths: dict[Objective, float], draw: Draw, runs: int, n: int) -> list[float]:
    rng = np.random.default_rng(1)
    hits = np.zeros(len(truths))
    for _ in range(runs):
        losses = draw(rng, n)
        hits += [covers(statistics.risk(o, losses), truth) for o, truth in truths.items()]
    return [float(hit) / runs for hit in hits]


@pytest.mark.parametrize(
    "law", [pytest.param(law, marks=[] if law == "t5" else pytest.mark.slow) for law in LAWS]
)
def test_coverage_of_cvar(law: str) -> None:
    truths: dict[Objective, float] = {
        CVaR(level=level): tail_mean(law, level) for level in (0.95, 0.99)
    }
    # 1,000 runs have a standard error of 0.7 %.
    assert all(0.93 <= hit <= 0.97 for hit in coverage(truths, LAWS[law], 1000, PATHS))


@pytest.mark.slow
def test_coverage_of_other_risks_of_normal_losses() -> None:

    def condition(e: float) -> float:
        excess = float(stats.norm.pdf(e) - e * stats.norm.sf(e))  # E[max(L - e, 0)]
        return 0.9 * excess - 0.1 * (excess + e)

    truths: dict[Objective, float] = {
        Entropic(aversion=0.5): 0.25,
        MeanStd(weight=1.5): 1.5,
        Quadratic(): 1.0,
        Expectile(level=0.9): optimize.brentq(condition, 0.0, 3.0),
        VaR(level=0.95): float(stats.norm.ppf(0.95)),
    }
    assert all(0.93 <= hit <= 0.97 for hit in coverage(truths, LAWS["normal"], 600, PATHS))


def test_coverage_of_a_thin_skewed_tail() -> None:
    # 11 paths beyond the level: the plain normal interval covers 85 % here.
    truth = math.exp(0.5) * float(stats.norm.sf(stats.norm.ppf(0.95) - 1.0)) / 0.05
    hits = coverage(
        {CVaR(level=0.95): truth}, lambda rng, n: np.exp(rng.standard_normal(n)), 2000, 220
    )
    assert 0.93 <= hits[0] <= 0.97


@pytest.mark.slow
def test_coverage_of_differences_of_std_and_of_effectiveness() -> None:
    rng = np.random.default_rng(2)
    runs, correlation = 600, 0.9
    truths = {
        CVaR(level=0.95): 0.3 * tail_mean("normal", 0.95),
        VaR(level=0.95): 0.3 * float(stats.norm.ppf(0.95)),
        MeanStd(weight=1.0): 0.3,
    }
    hits = np.zeros(5)
    for _ in range(runs):
        x, noise = rng.standard_normal((2, PATHS))
        y = 1.3 * (correlation * x + math.sqrt(1 - correlation**2) * noise)
        effectiveness = statistics.effectiveness(x, y)
        assert effectiveness is not None
        hits += [
            *(covers(statistics.difference(o, y, x), truth) for o, truth in truths.items()),
            covers(statistics.std(y), 1.3),
            covers(effectiveness, 1 - 1 / 1.69),
        ]
    # The standard error of 600 runs is 0.9 %.
    assert ((0.92 <= hits / runs) & (hits / runs <= 0.98)).all(), hits / runs


def test_coverage_of_the_mean_of_three_seeds_is_exact() -> None:
    rng = np.random.default_rng(3)
    hits = [covers(statistics.mean(rng.normal(2.0, 0.1, 3)), 2.0) for _ in range(4000)]
    assert np.mean(hits) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


def test_mean_is_students() -> None:
    values = [1.0, 2.0, 4.0, 7.0]
    estimate = statistics.mean(values)
    low, high = stats.t.interval(0.95, 3, loc=3.5, scale=stats.sem(values))
    assert ends(estimate) == pytest.approx((3.5, low, high))


@pytest.mark.parametrize(("hits", "n"), [(0, 50), (3, 50), (25, 50), (50, 50)])
def test_a_proportion_has_the_interval_in_which_a_score_test_accepts(hits: int, n: int) -> None:
    found = statistics.proportion(np.arange(n) < hits)
    assert found.value == hits / n and found.low is not None and found.high is not None
    z = stats.norm.ppf(0.975)

    def score(p: float) -> float:
        return (hits / n - p) ** 2 - z**2 * p * (1 - p) / n

    for end, edge in ((found.low, 0.0), (found.high, 1.0)):
        assert score(end) == pytest.approx(0.0, abs=1e-12) or end == edge
    assert found.low <= found.value <= found.high
    assert found.low < found.high


def test_intervals_of_symmetric_influence_are_the_normal_ones() -> None:
    losses = np.tile([-1.0, 1.0], 50)
    estimate = statistics.risk(MeanStd(weight=0.0), losses)
    assert ends(estimate) == pytest.approx((0.0, -0.1959964, 0.1959964))


def test_skewness_moves_an_interval_up() -> None:
    losses = np.random.default_rng(4).exponential(size=200)
    estimate = statistics.risk(CVaR(level=0.9), losses)
    value, low, high = ends(estimate)
    assert high - value > 1.2 * (value - low)
    mirrored = ends(statistics.risk(MeanStd(weight=0.0), -losses))
    direct = ends(statistics.risk(MeanStd(weight=0.0), losses))
    assert mirrored == pytest.approx((-direct[0], -direct[2], -direct[1]))


def test_studentised_error_inverts_halls_transformation() -> None:
    for a in (-0.8, -1e-5, 0.0, 1e-9, 1e-5, 0.05, 0.8):
        for normal in (-1.96, 0.3, 1.96):
            t = statistics._studentised(normal, a)
            hall = t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6
            assert hall == pytest.approx(normal, abs=1e-6)


def test_var_interval_is_of_order_statistics() -> None:
    losses = np.random.default_rng(5).permutation(np.arange(1.0, 1001.0))
    estimate = statistics.risk(VaR(level=0.9), losses)
    value, low, high = ends(estimate)
    assert value == 900.0
    # The true quantile lies between them unless the count of losses up to it is out of bounds.
    count = stats.binom(1000, 0.9)
    assert count.cdf(low - 1) <= 0.025 < count.cdf(low)
    assert count.sf(high - 1) <= 0.025 < count.sf(high - 2)


def test_too_few_paths_for_a_var_interval() -> None:
    losses = np.random.default_rng(6).normal(size=200)
    estimate = statistics.risk(VaR(level=0.99), losses)
    assert estimate.low is None and estimate.high is None
    assert estimate.warning is not None and "200 paths" in estimate.warning


def test_paired_differences_cancel_what_is_shared() -> None:
    rng = np.random.default_rng(7)
    shared, own = rng.standard_normal((2, PATHS))
    x, y = shared, shared + 0.01 * own + 1.0
    for objective in (CVaR(level=0.95), Entropic(aversion=0.5), VaR(level=0.95)):
        value, low, high = ends(statistics.difference(objective, y, x))
        alone = ends(statistics.risk(objective, y))
        assert value == pytest.approx(objective.risk(y) - objective.risk(x))
        assert 0.0 < high - low < 0.15 * (alone[2] - alone[1])


def test_a_hedger_does_not_differ_from_itself() -> None:
    losses = np.random.default_rng(8).normal(size=500)
    same = statistics.difference(CVaR(level=0.9), losses, losses.copy())
    assert same == Estimate(0.0, 0.0, 0.0)


def test_heavy_entropic_has_a_warning_and_no_interval() -> None:
    objective = Entropic(aversion=5.0)
    light, heavy = np.zeros(1000), np.append(np.zeros(999), 3.0)
    heavies = (
        statistics.risk(objective, heavy),
        statistics.difference(objective, heavy, light),
        statistics.difference(objective, light, heavy),
    )
    for estimate in heavies:
        assert estimate.low is None and estimate.high is None
        assert estimate.warning is not None and "one path carries" in estimate.warning
    assert heavies[0].value == pytest.approx(objective.risk(heavy))
    assert statistics.risk(objective, light) == Estimate(0.0, 0.0, 0.0)


def test_effectiveness() -> None:
    unhedged = np.random.default_rng(9).normal(size=1000)
    half = statistics.effectiveness(0.5 * unhedged + 3.0, unhedged)
    # Proportional P&L: the ratio is known without error.
    assert half is not None and ends(half) == pytest.approx((0.75, 0.75, 0.75))
    assert statistics.effectiveness(unhedged, np.ones(1000)) is None
    perfect = statistics.effectiveness(np.zeros(1000), unhedged)
    assert perfect == Estimate(1.0, 1.0, 1.0)


def test_values_that_do_not_vary_have_no_error() -> None:
    assert statistics.std(np.full(10, 3.0)) == Estimate(0.0, 0.0, 0.0)
    certain = statistics.risk(MeanStd(weight=1.0), np.full(10, 3.0))
    assert ends(certain) == pytest.approx((3.0, 3.0, 3.0), rel=1e-15)
    assert statistics.mean([2.0, 2.0]) == Estimate(2.0, 2.0, 2.0)
    assert statistics.mean([2.0]) == Estimate(2.0, None, None, "one value has no interval")


def test_bad_input_is_refused() -> None:
    ten, eleven = np.zeros(10), np.zeros(11)
    with pytest.raises(ValueError, match="same paths: 10 against 11"):
        statistics.difference(Quadratic(), ten, eleven)
    with pytest.raises(ValueError, match="same paths"):
        statistics.effectiveness(ten, eleven)
    for estimate in (statistics.mean, statistics.std):
        with pytest.raises(ValueError, match="finite"):
            estimate(np.array([1.0, math.nan]))


def test_a_ratio_of_risks_is_paired_and_covers() -> None:
    """Semi-quadratic risk of N(0, s^2) is s / sqrt(2), so that the ratio is 1 / 2."""
    objective, rng, hits = SemiQuadratic(), np.random.default_rng(4), 0
    for _ in range(500):
        common, own = rng.standard_normal((2, 1000))
        losses, reference = common, 2 * (0.8 * common + 0.6 * own)
        hits += covers(statistics.ratio(objective, losses, reference), 0.5)
    assert 0.92 < hits / 500 < 0.98  # 3 standard errors of the count about 95 %
    proportional = statistics.ratio(objective, common, 2 * common)
    assert ends(proportional) == pytest.approx((0.5, 0.5, 0.5))


def test_a_ratio_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="ratio to a risk of 0"):
        statistics.ratio(SemiQuadratic(), np.ones(5), -np.ones(5))

"""Statistics over seeds: against scipy, and intervals that cover seeds and paths together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from deephedge.experiments.seed_statistics import (
    Shared,
    contrast,
    holm,
    over_seeds,
    standard_error,
    trimmed_mean,
)

RISKS = [0.31, 0.24, 0.28, 0.33, 0.27]
TEN = [*RISKS, 0.29, 0.26, 0.3, 0.35, 0.9]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_below_10_seeds_it_is_the_mean_with_students_interval() -> None:
    found = over_seeds(RISKS, 0.0, generator())
    low, high = stats.t.interval(0.95, 4, loc=np.mean(RISKS), scale=stats.sem(RISKS))
    assert found.values == tuple(RISKS) and found.value == pytest.approx(np.mean(RISKS))
    assert found.seeds == pytest.approx((low, high))
    assert found.both == pytest.approx((low, high))  # paths without error add nothing


def test_from_10_it_is_the_interquartile_mean_with_a_bootstrap() -> None:
    found = over_seeds(TEN, 0.0, generator())
    assert found.value == pytest.approx(stats.trim_mean(TEN, 0.25))
    assert found.seeds is not None
    reference = stats.bootstrap(
        (TEN,),
        lambda x, axis: stats.trim_mean(x, 0.25, axis=axis),
        n_resamples=10_000,
        method="percentile",
        rng=generator(1),
    ).confidence_interval
    assert found.seeds == pytest.approx((reference.low, reference.high), abs=0.003)
    assert found.both == found.seeds
    assert found == over_seeds(TEN, 0.0, generator())


def test_one_seed_says_nothing_of_another() -> None:
    found = over_seeds([0.3], 0.01, generator())
    assert (found.value, found.seeds, found.both) == (0.3, None, None)
    with pytest.raises(ValueError, match="no seed"):
        over_seeds([], 0.0, generator())


def test_paths_without_an_honest_interval_leave_that_of_the_seeds() -> None:
    for values in (RISKS, TEN):
        found = over_seeds(values, None, generator())
        assert found.both is None
        assert found.seeds == over_seeds(values, 0.0, generator()).seeds


def test_the_shared_error_of_the_paths_adds_its_variance() -> None:
    """Alone it is normal; beside the seeds' it never makes an interval narrower."""
    for values in ([0.3] * 5, [0.3] * 10):
        found = over_seeds(values, 0.01**2, generator())
        assert found.seeds == pytest.approx((0.3, 0.3))
        assert found.both == pytest.approx((0.3 - 0.0196, 0.3 + 0.0196), abs=6e-4)


def test_what_policies_share_is_the_covariance_of_their_means() -> None:
    rng = generator(3)
    common, own = rng.standard_normal(1000), rng.standard_normal((4, 1000))
    influences = [2.0 * common + each for each in own]
    influences = [each - each.mean() for each in influences]
    shared = Shared.of(influences)
    covariances = np.cov(influences, ddof=0) / 1000
    pairs = covariances[~np.eye(4, dtype=bool)]
    assert shared.variance == pytest.approx(pairs.mean())
    other = Shared.of(influences[:1])
    assert other.variance == pytest.approx(covariances[0, 0])
    assert shared.covariance(other) == pytest.approx(covariances[0].mean())


@pytest.mark.parametrize("seeds", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_intervals_cover_other_seeds_and_other_paths(seeds: int) -> None:
    """Policies of skill N(0, 1), all judged on one draw of paths; means are known."""
    rng, runs, paths = generator(4), 600, 200
    hits = np.zeros(2)
    for _ in range(runs):
        common = 12.0 * rng.standard_normal(paths)
        skills = rng.standard_normal(seeds)
        losses = skills[:, None] + common + 3.0 * rng.standard_normal((seeds, paths))
        values = losses.mean(axis=1)
        shared = Shared.of(list(losses - values[:, None])).variance
        found = over_seeds(list(values), shared, rng)
        assert found.seeds is not None and found.both is not None
        hits += [low <= 0.0 <= high for low, high in (found.seeds, found.both)]
    assert hits[1] / runs == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / runs))
    assert hits[0] / runs < 0.9  # that of the seeds alone is for these paths


def test_two_agents_are_told_apart_by_welch() -> None:
    other = [0.4, 0.35, 0.42]
    difference, (low, high), p = contrast(RISKS, other, 0.0)
    test = stats.ttest_ind(RISKS, other, equal_var=False)
    assert difference == pytest.approx(np.mean(RISKS) - np.mean(other))
    assert p == pytest.approx(test.pvalue)
    ends = test.confidence_interval(0.95)
    assert (low, high) == pytest.approx((ends.low, ends.high))


def test_from_10_seeds_by_yuen() -> None:
    others = [value + 0.05 for value in reversed(TEN)]
    *_, p = contrast(TEN, others, 0.0)
    # scipy cuts as many: a quarter of 10, rounded down
    assert p == pytest.approx(stats.ttest_ind(TEN, others, equal_var=False, trim=0.25).pvalue)


def test_against_a_rule_the_seeds_alone_vary() -> None:
    *_, p = contrast(RISKS, [0.25], 0.0)
    assert p == pytest.approx(stats.ttest_1samp(RISKS, 0.25).pvalue)
    _, (low, high), wider = contrast(RISKS, [0.25], 0.02**2)
    assert wider > p
    half = stats.t.ppf(1 - wider / 2, 4) * stats.sem(RISKS), stats.norm.isf(wider / 2) * 0.02
    assert math.hypot(*half) == pytest.approx(np.mean(RISKS) - 0.25)  # its interval ends at 0
    assert (wider < 0.05) == (low > 0.0 or high < 0.0)
    assert contrast([0.3, 0.3], [0.3], 0.0) == (0.0, (0.0, 0.0), 1.0)
    assert contrast([0.5, 0.5], [0.25], 0.0) == (0.25, (0.25, 0.25), 0.0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_keeps_the_chance_of_a_wrong_rejection() -> None:
    """Five true nulls: at most 5 % of the families have any adjusted p below 5 %."""
    rng = generator(5)
    families = [min(holm(list(rng.random(5)))) < 0.05 for _ in range(4000)]
    assert np.mean(families) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
    plain = [rng.random(5).min() < 0.05 for _ in range(400)]
    assert np.mean(plain) > 0.15


def test_the_error_of_a_trimmed_mean() -> None:
    assert standard_error(np.array(RISKS)) == pytest.approx(stats.sem(RISKS))
    rng = generator(6)
    means = trimmed_mean(rng.standard_normal((20_000, 20)))
    errors = [standard_error(rng.standard_normal(20)) for _ in range(2000)]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(means.std(), rel=0.06)

"""The block bootstrap: its law, its coverage of dependent months, and noise taken for skill."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deephedge.envs.objectives import CVaR, Entropic, MeanVariance
from deephedge.experiments.history.block_bootstrap import (
    block_bootstrap,
    mean_block,
    standard_error,
    stationary_rows,
    stepwise,
)

Array = NDArray[np.float64]
OBJECTIVE = MeanVariance(aversion=0.3)


def autoregressive(rng: np.random.Generator, months: int, rho: float) -> Array:
    """Months of variance 1 whose correlation with those before falls as rho^k."""
    x = rng.standard_normal(months)
    for t in range(1, months):
        x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * x[t]
    return x


def test_blocks_are_geometric_and_go_round() -> None:
    """Each month follows the one before but with chance 1 / block, the last by the first."""
    months, block = 50, 5
    rows = stationary_rows(months, block, 4000, np.random.default_rng(0))
    assert rows.shape == (4000, months) and rows.min() == 0 and rows.max() == months - 1
    follows = (rows[:, 1:] - rows[:, :-1]) % months == 1
    share = 1 - 1 / block + 1 / block / months  # a new block may begin where the old one ended
    assert follows.mean() == pytest.approx(share, abs=4 * np.sqrt(share / follows.size))
    counts = np.bincount(rows.ravel(), minlength=months) / rows.size
    assert np.abs(counts - 1 / months).max() < 5 * np.sqrt(2 * block / months / rows.size)
    assert ((rows[:, :-1] == months - 1) & (rows[:, 1:] == 0)).any()


def test_its_variance_of_a_mean_is_politis_and_romanos() -> None:
    """Their closed form (1994, lemma 1): autocovariances weighted by b_i, on the circle."""
    months, block, rng = 60, 4, np.random.default_rng(1)
    x = autoregressive(rng, months, 0.5)
    centred = x - x.mean()
    circular = [float(centred @ np.roll(centred, -lag)) / months for lag in range(months)]
    stays = 1 - 1 / block
    exact = (
        circular[0]
        + 2 * sum((1 - lag / months) * stays**lag * circular[lag] for lag in range(1, months))
    ) / months
    assert standard_error(np.stack([x, 3 * x]), block) ** 2 == pytest.approx([exact, 9 * exact])
    means = x[stationary_rows(months, block, 20_000, rng)].mean(axis=1)
    assert means.var() == pytest.approx(exact, rel=4 * np.sqrt(2 / 20_000))


def test_blocks_of_one_month_are_the_plain_bootstrap() -> None:
    rows = stationary_rows(30, 1, 2000, np.random.default_rng(2))
    follows = (rows[:, 1:] - rows[:, :-1]) % 30 == 1
    assert follows.mean() == pytest.approx(1 / 30, abs=4 * np.sqrt(1 / 30 / follows.size))
    assert [mean_block(n) for n in (1, 12, 64, 202, 239)] == [1, 2, 4, 6, 6]


def test_the_same_months_are_resampled_for_all() -> None:
    """A hedger that loses a constant less is better by it in every resample."""
    rng = np.random.default_rng(3)
    delta = rng.standard_normal(100)
    losses = {"delta": delta, "cheaper": delta - 0.2, "same": delta.copy()}
    found = block_bootstrap(OBJECTIVE, losses, seed=5, resamples=300)
    cheaper, same = found.hedgers["cheaper"], found.hedgers["same"]
    assert cheaper.difference == pytest.approx(-0.2, abs=1e-12)
    assert cheaper.difference_interval == pytest.approx((-0.2, -0.2), abs=1e-12)
    assert same.difference == 0.0 and same.adjusted == 1.0 and same.p_value == 1.0
    assert found.hedgers["delta"].difference is None and found.variants == 2
    assert found == block_bootstrap(OBJECTIVE, losses, seed=5, resamples=300)
    assert found != block_bootstrap(OBJECTIVE, losses, seed=6, resamples=300)


def test_what_one_month_decides_has_no_interval_and_no_p_value() -> None:
    """As in `evaluate`: where the objective warns, a resampled interval is no better."""
    objective, rng = Entropic(aversion=1), np.random.default_rng(8)
    calm = {name: 0.1 * rng.standard_normal(100) for name in ("delta", "band")}
    crash = calm["band"].copy()
    crash[7] = 30.0
    assert objective.caution(crash) and not objective.caution(calm["delta"])
    found = block_bootstrap(objective, calm | {"crash": crash}, resamples=200)
    wild, alone = found.hedgers["crash"], block_bootstrap(objective, calm, resamples=200)
    assert (wild.interval, wild.difference_interval) == (None, None)
    assert (wild.p_value, wild.adjusted) == (None, None) and wild.difference is not None
    assert found.variants == 1 and found.hedgers["band"] == alone.hedgers["band"]
    beside = block_bootstrap(objective, {"delta": crash, "band": calm["band"]}, resamples=200)
    assert beside.variants == 0 and beside.hedgers["band"].p_value is None
    assert beside.hedgers["band"].interval is not None


def test_stepwise_against_the_definition() -> None:
    """Westfall and Young's steps, one candidate after the other, by loops."""
    rng = np.random.default_rng(4)
    scores = np.array([0.5, 2.6, 1.0, -0.3])
    noise = rng.standard_normal((200, 4)) @ rng.standard_normal((4, 4))
    single, adjusted = stepwise(scores, noise)
    for k in range(4):
        assert single[k] == pytest.approx((1 + sum(noise[:, k] >= scores[k])) / 201, abs=1e-12)
    everything = np.concatenate([scores[None], noise])
    resampled = [[np.mean(everything[:, k] >= row[k]) for k in range(4)] for row in noise]
    left, before = set(range(4)), 0.0
    for k in sorted(left, key=lambda k: single[k]):
        beaten = sum(min(row[j] for j in left) <= single[k] for row in resampled)
        before = max(before, (1 + beaten) / 201)
        assert adjusted[k] == pytest.approx(before, abs=1e-12)
        left.remove(k)
    assert (adjusted >= single).all()
    alone = stepwise(scores[:1], noise[:, :1])
    assert alone[0] == alone[1]  # one variant needs no deflation
    # Of eight, one that beats all resamples does so as easily as the best of eight would.
    many = np.array([9.0, *np.zeros(7)])
    floor = stepwise(many, rng.standard_normal((200, 8)))
    assert floor[0][0] == 1 / 201 and floor[1][0] >= 6 / 201


def test_a_wild_variant_does_not_hide_a_good_one() -> None:
    """Scores of any scale are compared by their own law."""
    rng = np.random.default_rng(9)
    noise = rng.standard_normal((999, 2)) * [1.0, 1.0]
    wild = np.stack([noise[:, 0], np.exp(3 * noise[:, 1])], axis=1)
    scores = np.array([3.2, 0.0])
    assert stepwise(scores, wild)[1][0] < 0.01


def noise_alone(rng: np.random.Generator, months: int, variants: int) -> dict[str, Array]:
    """Hedgers of one law: what all suffer, and as much of their own, both with memory."""
    shared = autoregressive(rng, months, 0.3)
    names = ["delta", *(f"variant {k}" for k in range(variants))]
    return {name: shared + autoregressive(rng, months, 0.2) for name in names}


def test_noise_is_seldom_taken_for_skill_however_many_are_tried() -> None:
    """With 8 variants the best one alone looks good far more often; adjusted, one time in 20."""
    rng, repeats, months = np.random.default_rng(5), 150, 100
    block = mean_block(months)
    single = adjusted = 0
    for _ in range(repeats):
        losses = np.stack(list(noise_alone(rng, months, 8).values()))
        gain = losses[0] - losses[1:]  # of a mean, whose influence is the gain itself
        drawn = gain[:, stationary_rows(months, block, 300, rng)]
        noise = (drawn.mean(axis=2) - gain.mean(axis=1)[:, None]) / standard_error(drawn, block)
        p, q = stepwise(gain.mean(axis=1) / standard_error(gain, block), noise.T)
        single += p.min() <= 0.05
        adjusted += q.min() <= 0.05
    assert single / repeats > 0.15
    assert adjusted / repeats < 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.slow
@pytest.mark.parametrize("variants", [1, 8])
def test_false_positives_at_the_level(variants: int) -> None:
    """Through the objective, as a backtest does it: at most 5 % and not far below."""
    rng, repeats = np.random.default_rng(6), 250
    hits = 0
    for k in range(repeats):
        found = block_bootstrap(OBJECTIVE, noise_alone(rng, 200, variants), seed=k, resamples=300)
        hits += min(e.adjusted for e in found.hedgers.values() if e.adjusted is not None) <= 0.05
    error = np.sqrt(0.05 * 0.95 / repeats)
    assert 0.05 - 3.5 * error < hits / repeats < 0.05 + 3.5 * error


@pytest.mark.slow
@pytest.mark.parametrize(("rho", "least", "most"), [(0.0, 0.91, 0.98), (0.4, 0.86, 0.95)])
def test_coverage_on_months_that_depend_on_the_one_before(
    rho: float, least: float, most: float
) -> None:
    """Of a mean-variance risk over 200 months: 94 %, and 90 % of months that hang together."""
    rng, repeats = np.random.default_rng(7), 400
    true = OBJECTIVE.aversion / 2
    covered = 0
    for k in range(repeats):
        losses = {"delta": autoregressive(rng, 200, rho), "none": np.zeros(200)}
        found = block_bootstrap(OBJECTIVE, losses, seed=k, resamples=300).hedgers["delta"]
        covered += found.interval[0] < true < found.interval[1]
    assert least < covered / repeats < most


def test_tails_too() -> None:
    rng = np.random.default_rng(8)
    losses = {"delta": rng.standard_normal(200), "other": 0.5 * rng.standard_normal(200)}
    other = block_bootstrap(CVaR(level=0.9), losses, resamples=300).hedgers["other"]
    assert other.adjusted is not None and other.adjusted < 0.02
    assert other.difference_interval is not None and other.difference_interval[1] < 0

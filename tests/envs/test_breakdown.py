"""Correlations that break down: their law before and after, each asset alone, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from deephedge.baselines import DeltaHedge, NoHedge
from deephedge.envs import Scenario, ScenarioError, load_scenario, rollout, simulate
from deephedge.envs.markets import Asset, Breakdown, CorrelatedGBM, CorrelatedMerton, JumpingAsset
from deephedge.envs.presets import changed

N = 40_000
CALM, BROKEN = 0.2, -0.6


def market(**broken: Any) -> CorrelatedGBM:
    return CorrelatedGBM(
        sigma=0.3,
        others=(Asset(spot=50.0, sigma=0.15),),
        correlation=CALM,
        breakdown=Breakdown(correlation=BROKEN, **broken) if broken else None,
    )


def returns(drawn: Any, steps: int, years: float = 1.0, seed: int = 1) -> NDArray[np.float64]:
    """Log-returns of each step, ``[2, T, N]``."""
    times = torch.linspace(0, years, steps + 1, dtype=torch.float64)[:, None]
    paths = drawn.simulate(times, N, torch.Generator().manual_seed(seed))
    return np.stack([np.diff(asset.log_spot.numpy(), axis=0) for asset in paths.assets])


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def near(found: float, expected: float) -> bool:
    """Within four standard errors of a sample correlation of normals."""
    return abs(found - expected) < 4 * (1 - expected**2) / math.sqrt(N)


def test_a_given_date_parts_the_correlations() -> None:
    """Also inside a step, where variances add up."""
    one, two = returns(market(after=0.625), 4)
    expected = [CALM, CALM, (CALM + BROKEN) / 2, BROKEN]
    assert all(near(correlation(one[t], two[t]), rho) for t, rho in enumerate(expected))


@pytest.mark.parametrize("steps", [1, 8])
def test_a_random_date_has_the_same_law_on_any_dates(steps: int) -> None:
    """E[cov] = s1 s2 (rho E[min(tau, T)] + rho' (T - E[min(tau, T)])), tau exponential."""
    rate, years = 1.5, 1.0
    one, two = returns(market(intensity=rate), steps, years).sum(axis=1)
    calm = (1 - math.exp(-rate * years)) / rate
    expected = 0.3 * 0.15 * (CALM * calm + BROKEN * (years - calm))
    product = (one - one.mean()) * (two - two.mean())
    assert abs(product.mean() - expected) < 4 * product.std() / math.sqrt(N)
    # Given its date the sum is normal; over dates its product is fat-tailed: E[X^2 Y^2] tells.
    dates = np.minimum(stats.expon.ppf((np.arange(100_000) + 0.5) / 100_000) / rate, years)
    rho = (CALM * dates + BROKEN * (years - dates)) / years
    fourth = (0.3 * 0.15) ** 2 * (1 + 2 * (rho**2).mean())
    squares = (one - one.mean()) ** 2 * (two - two.mean()) ** 2
    assert abs(squares.mean() - fourth) < 4 * squares.std() / math.sqrt(N)


def test_each_asset_alone_moves_as_before() -> None:
    one, two = returns(market(intensity=3.0), 8)
    for series, sigma in ((one, 0.3), (two, 0.15)):
        for t in (0, 5):
            scaled = (series[t] + sigma**2 / 16) / (sigma * math.sqrt(1 / 8))
            assert stats.kstest(scaled, "norm").pvalue > 1e-4
        assert abs(correlation(series[0], series[5])) < 4 / math.sqrt(N)


def test_common_jumps_do_not_break() -> None:
    """Only the diffusions do: with sigma 0 the jumps' correlation is the same after the date."""
    jumping = CorrelatedMerton(
        sigma=1e-9,
        intensity=20.0,
        jump_mean=0.0,
        others=(JumpingAsset(sigma=1e-9, jump_mean=0.0),),
        jump_correlation=0.5,
        breakdown=Breakdown(correlation=-1.0, after=0.5),
    )
    one, two = returns(jumping, 2)
    product = one * two
    expected = 20.0 * 0.5 * 0.5 * 0.05**2
    for t in (0, 1):
        assert abs(product[t].mean() - expected) < 4 * product[t].std() / math.sqrt(N)


def test_without_one_nothing_moves() -> None:
    """A break to the same correlation has the same law; none at all draws no number more."""
    source = torch.Generator().manual_seed(4)
    times = torch.linspace(0, 1, 3, dtype=torch.float64)[:, None]
    market().simulate(times, 5, source)
    plain = torch.Generator().manual_seed(4)
    for _ in range(2):
        torch.randn((2, 5), generator=plain, dtype=torch.float64)
    assert torch.equal(source.get_state(), plain.get_state())
    late = returns(market(after=50.0), 2)
    np.testing.assert_array_equal(late, returns(market(), 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"after": 0.1, "intensity": 2}, "give after or intensity, one of them"),
        ({}, "give after or intensity, one of them"),
        ({"intensity": 2, "correlation": -0.9}, "breakdown.correlation has the eigenvalue"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        changed(
            load_scenario("multi-asset-book"),
            {"market.breakdown": {"correlation": 0.5} | changes},
        )


def book(**changes: Any) -> Scenario:
    return changed(load_scenario("multi-asset-book"), changes)


def test_the_book_has_one_ledger_and_every_delta_is_closed() -> None:
    """The identity to 1e-9; three deltas are 0 after every trade; hedging pays."""
    problem = load_scenario("multi-asset-book")
    episodes = simulate(problem, 2000, torch.Generator().manual_seed(5))
    out = rollout(problem, episodes, DeltaHedge(), record=True)
    lines = out.premium + out.gains + out.carry + out.interest - out.cost + out.cash_flow
    np.testing.assert_allclose(out.pnl, lines, atol=1e-9)
    assert out.holding is not None
    for j, delta in enumerate((episodes.delta, *episodes.other_deltas)):
        np.testing.assert_allclose(out.holding[..., j], -delta.numpy()[:-1], atol=1e-12)
    assert out.pnl.std() < 0.6 * rollout(problem, episodes, NoHedge()).pnl.std()


def test_a_breakdown_costs_a_book_that_is_short_the_basket() -> None:
    """A delta hedger short a basket put gains less when correlations rise: paired, same normals."""
    no_jumps = {"market.intensity": 0, "market.others.1.own_intensity": 0, "hedges.0.costs": []}
    no_jumps |= {"hedges.1.costs": [], "hedges.2.costs": [], "position.legs": [BASKET]}
    means = []
    for rho in (0.4, 0.9):
        problem = book(**no_jumps, **{"market.breakdown": {"correlation": rho, "after": 1e-6}})
        episodes = simulate(problem, 4000, torch.Generator().manual_seed(6))
        pnl = rollout(problem, episodes, DeltaHedge()).pnl
        means.append((pnl.mean(), pnl.std() / math.sqrt(len(pnl))))
    (calm, error), (broken, other) = means
    assert abs(calm) < 4 * error + 0.01  # marked by moments: nearly the model's own price
    assert broken < calm - 4 * (error + other)


BASKET = {
    "quantity": -1,
    "claim": {"kind": "basket-put", "weights": [1 / 3, 2 / 3, 5 / 12], "strike": 100},
}

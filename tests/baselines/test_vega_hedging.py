"""Vega hedging: the ratio by hand, what it removes, its cap where the hedge runs out of vega."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deephedge.baselines import DeltaHedge, DeltaVegaHedge, MinimumVarianceHedge
from deephedge.envs import Episodes, Scenario, load_scenario, simulate
from deephedge.envs.rollout import rollout

WIDE = {f"hedges.{k}.limits": "{lower: -1e9, upper: 1e9}" for k in (0, 1)}
FREE = {f"hedges.{k}.costs": "[]" for k in (0, 1)}


def episodes_of(scenario: Scenario, paths: int, seed: int = 2) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(seed))


def test_the_ratio_and_the_delta_are_the_formulas() -> None:
    """``w = -Vega_P / Vega_H`` and ``-(Delta_P + w Delta_H)``, under SABR."""
    scenario = load_scenario("vega-hedging-sabr", WIDE)
    episodes = episodes_of(scenario, 200)
    held = rollout(scenario, episodes, DeltaVegaHedge(cap=1e9), record=True).holding
    arrays = episodes.numpy()
    ratio = -arrays.vega[:-1] / arrays.hedge_vega[:-1, :, 0]
    closing = -(arrays.delta[:-1] + ratio * arrays.hedge_delta[:-1, :, 0])
    np.testing.assert_allclose(held[..., 0], ratio, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(held[..., 1], closing, rtol=1e-9, atol=1e-9)
    assert ratio[0] == pytest.approx(np.sqrt(0.5), rel=0.02)  # vegas go as the root of the years
    assert np.abs(ratio[-1]).max() < ratio[0].min()  # the short one's vega goes first


def test_delta_and_vega_leave_the_least_and_bartletts_delta_less_than_deltas() -> None:
    scenario = load_scenario("vega-hedging-sabr", FREE)
    episodes = episodes_of(scenario, 4000)
    std = [
        float(rollout(scenario, episodes, rule).pnl.std())
        for rule in (DeltaHedge(), MinimumVarianceHedge(), DeltaVegaHedge())
    ]
    assert std[1] < 0.97 * std[0]
    assert std[2] < 0.6 * std[1]


@pytest.mark.parametrize("cap", [1.0, 2.0])
def test_the_ratio_is_capped_where_the_listed_option_expires_first(cap: float) -> None:
    """Two months against three: the ratio goes to thousands as the listed option's vega goes."""
    changes = WIDE | {"hedges.0.instrument.option.maturity": "0.16666666666666666"}
    scenario = load_scenario("vega-hedging-sabr", changes)
    episodes = episodes_of(scenario, 500)
    free, capped = (
        rollout(scenario, episodes, DeltaVegaHedge(cap=most), record=True) for most in (1e9, cap)
    )
    assert np.abs(free.holding[:14, :, 0]).max() > 1000
    assert np.abs(capped.holding[..., 0]).max() == cap
    np.testing.assert_array_equal(capped.holding[..., 0], np.clip(free.holding[..., 0], -cap, cap))
    assert not capped.holding[14:, :, 0].any()  # it has expired
    assert capped.pnl.std() < free.pnl.std()

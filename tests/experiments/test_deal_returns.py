"""The piecewise beta: an exact line, and deals that break when the index falls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deephedge.envs.markets import Asset, Deal
from deephedge.experiments.deal_returns import piecewise_beta


def test_two_lines_that_meet_are_found() -> None:
    market = np.random.default_rng(0).normal(0.0, 0.05, 200)
    line = 0.01 + 0.5 * np.minimum(market + 0.04, 0) + 0.1 * np.maximum(market + 0.04, 0)
    found = piecewise_beta(line, market)
    assert found.down == pytest.approx(0.5)
    assert found.up == pytest.approx(0.1)
    assert found.at_threshold == pytest.approx(0.01)
    noise = np.random.default_rng(1).normal(0.0, 0.02, 200)
    noisy = piecewise_beta(line + noise, market)
    assert abs(noisy.down - 0.5) < 4 * noisy.down_error
    assert abs(noisy.up - 0.1) < 4 * noisy.up_error
    assert 0 < noisy.up_error < noisy.down_error


def test_a_deal_has_a_beta_in_falling_markets_only_if_breaks_are_correlated() -> None:
    """Monthly returns in excess of the rate: like index puts sold (Mitchell and Pulvino, 2001)."""
    times = torch.tensor([0.0, 1 / 12], dtype=torch.float64)[:, None]
    found = {}
    for correlation in (0.0, 0.8):
        deal = Deal(rate=0.04, others=(Asset(drift=0.04, sigma=0.16),), correlation=correlation)
        paths = deal.simulate(times, 40_000, torch.Generator().manual_seed(0))
        target, index = (
            (asset.spot[1] / asset.spot[0] - 1).numpy() - 0.04 / 12 for asset in paths.assets
        )
        found[correlation] = piecewise_beta(target, index)
    assert abs(found[0.0].down) < 4 * found[0.0].down_error
    assert abs(found[0.0].up) < 4 * found[0.0].up_error
    assert found[0.8].down > 2.5 * found[0.8].up > 0
    assert found[0.8].down - found[0.8].up > 10 * found[0.8].down_error


def test_a_threshold_with_nothing_below_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"threshold -1 has 0 of 5 market returns below it"):
        piecewise_beta([0.0] * 5, [0.01] * 5, threshold=-1.0)

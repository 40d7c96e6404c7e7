"""Feedback: a crowd of delta hedgers raises or lowers realised vol, and keeps the martingale."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from deephedge.envs import Scenario, ScenarioError, load_scenario, simulate
from deephedge.envs.frictions import Crowd
from deephedge.envs.pricing.black_scholes import black_scholes

PATHS = 20_000


def crowded(quantity: float, impact: float, preset: str = "short-call", **more: str) -> Scenario:
    legs = f"[{{quantity: {quantity}, claim: {{kind: call, strike: 100}}}}]"
    return load_scenario(preset, {"crowd": f"{{impact: {impact}, legs: {legs}}}"} | more)


def first_gamma(sigma: float, years: float) -> float:
    log_spot = torch.tensor([[math.log(100.0)]], dtype=torch.float64)
    tau, vol = (torch.full_like(log_spot, x) for x in (years, sigma))
    return float(black_scholes(log_spot, 100.0, tau, vol, sign=1).gamma)


@pytest.mark.parametrize("quantity", [-1.0, 1.0])
def test_realised_vol_follows_the_first_order_formula(quantity: float) -> None:
    """Frey and Stremme: sigma (1 - impact S Gamma), here over the first step, exactly to 1 / (1 +).

    The crowd's Gamma is quantity times the call's.
    """
    impact = 0.01
    scenario = crowded(quantity, impact)
    spot = simulate(scenario, PATHS, torch.Generator().manual_seed(0)).spot
    step = torch.log(spot[1] / spot[0])
    realised = float(step.std() * math.sqrt(365))
    strength = impact * 100 * quantity * first_gamma(0.2, 30 / 365)
    error = realised / math.sqrt(2 * PATHS)
    assert realised == pytest.approx(0.2 / (1 + strength), abs=4 * error)
    assert realised == pytest.approx(0.2 * (1 - strength), abs=4 * error + 0.2 * strength**2)
    assert (realised > 0.2 + 4 * error) == (quantity < 0)


def test_the_larger_the_crowd_the_more_vol() -> None:
    vols = []
    for quantity in (0.5, 1.0, 2.0, 4.0):
        scenario = crowded(-quantity, 0.01)
        spot = simulate(scenario, 4000, torch.Generator().manual_seed(0)).log_spot
        vols.append(float(spot.diff(dim=0).square().sum(dim=0).mean()))
    assert vols == sorted(vols)


def test_discounted_prices_stay_martingales_with_drift_and_jumps() -> None:
    more = {"market.rate": "0.04", "market.drift": "0.3"}
    scenario = crowded(-3.0, 0.01, "short-call-jumps", **more)
    spot = simulate(scenario, PATHS, torch.Generator().manual_seed(0)).spot
    end = spot[-1] * math.exp(-0.3 * 30 / 365)
    error = float(end.std()) / math.sqrt(PATHS)
    assert float(end.mean()) == pytest.approx(100, abs=4 * error)


def test_without_a_crowd_nothing_changes() -> None:
    with_none = simulate(load_scenario("short-call"), 50, torch.Generator().manual_seed(1))
    tiny = simulate(crowded(-1.0, 1e-12), 50, torch.Generator().manual_seed(1))
    np.testing.assert_allclose(tiny.spot, with_none.spot, rtol=1e-10)


def test_a_fifth_of_the_liquidity_is_always_left() -> None:
    crowd = crowded(-1.0, 1.0).crowd
    assert isinstance(crowd, Crowd)
    gamma: Tensor = torch.tensor([-10.0, -0.001, 0.0, 5.0])
    found = crowd.amplified(torch.full((4,), 100.0), gamma)
    assert found.tolist() == pytest.approx([5.0, 1 / 0.9, 1.0, 1 / 501])


@pytest.mark.parametrize(
    ("crowd", "words"),
    [
        ("{impact: 0, legs: [{quantity: 1, claim: {kind: call, strike: 1}}]}", "greater than 0"),
        ("{impact: 1, legs: []}", "at least 1 item"),
        (
            "{impact: 1, legs: [{quantity: 1, claim: {kind: asian-call, strike: 1}}]}",
            "give the crowd European claims on the first asset",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(crowd: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_scenario("short-call", {"crowd": crowd})

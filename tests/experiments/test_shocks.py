"""Shocks: the struck path does what the shock's name says."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from deephedge.baselines import DeltaHedge
from deephedge.envs import Scenario, load_scenario, mark, rollout
from deephedge.envs.episodes import market_paths
from deephedge.envs.markets import MarketPaths
from deephedge.experiments.attribution import attribute
from deephedge.experiments.shocks import (
    SHOCKS,
    Crash,
    Gap,
    OneFactor,
    RegimeFlip,
    Shock,
    TradingHalt,
    VolShift,
    WideSpreads,
)


def drawn(scenario: Scenario, paths: int = 64, seed: int = 0) -> MarketPaths:
    return market_paths(scenario, paths, torch.Generator().manual_seed(seed))


def returns(paths: MarketPaths) -> torch.Tensor:
    return paths.log_spot.diff(dim=0)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("short-call")


@pytest.mark.parametrize("shock", SHOCKS.values(), ids=SHOCKS)
def test_nothing_is_touched_before_the_date_and_prices_stay_consistent(shock: Shock) -> None:
    scenario = load_scenario("exchange-option")
    paths = drawn(scenario)
    copies = [asset.log_spot.clone() for asset in paths.assets]
    if shock.refusal(scenario) is not None:
        scenario = load_scenario("short-call-jumps")
        paths = drawn(scenario)
        copies = [asset.log_spot.clone() for asset in paths.assets]
    struck = shock.strike(scenario, paths)
    for before, copy, after in zip(paths.assets, copies, struck.assets, strict=True):
        assert torch.equal(before.log_spot, copy)  # what was given is not written on
        torch.testing.assert_close(after.log_spot.exp(), after.spot)
        assert torch.equal(after.log_spot[:16], before.log_spot[:16])


def test_a_crash_takes_its_share_within_one_step(scenario: Scenario) -> None:
    paths = drawn(scenario)
    struck = Crash(fall=0.2047, vol=4.13, at=0.5).strike(scenario, paths)
    factor = struck.spot / paths.spot
    torch.testing.assert_close(factor[:16], torch.ones_like(factor[:16]))
    torch.testing.assert_close(factor[16:], torch.full_like(factor[16:], 1 - 0.2047))
    assert struck.jump is not None
    assert torch.count_nonzero(struck.jump) == 64
    torch.testing.assert_close(struck.jump[16], torch.full((64,), math.log(1 - 0.2047)).double())
    quoted = struck.implied_vol.expand_as(struck.spot)
    assert (quoted[:16] == 0.2).all()
    torch.testing.assert_close(quoted[16:], torch.full((15, 64), 0.2 * 4.13).double())


def test_1987_is_in_the_registry_with_its_figure() -> None:
    assert SHOCKS["crash-1987"] == Crash(fall=0.2047, vol=4.13)
    assert SHOCKS["crash"] == Crash(fall=0.2)


def test_a_crash_is_attributed_to_a_jump(scenario: Scenario) -> None:
    struck = Crash().strike(scenario, drawn(scenario))
    found = attribute(scenario, struck, DeltaHedge())
    step = np.flatnonzero(found.parts["jump"].any(axis=1))
    assert step.tolist() == [15] and (found.parts["jump"][15] < 0).all()
    assert abs(found.parts["unexplained"][15]).max() < 0.1 < abs(found.parts["jump"]).max()


def test_a_gap_leaps_over_the_strike_from_either_side(scenario: Scenario) -> None:
    paths = drawn(scenario)
    struck = Gap(beyond=0.05).strike(scenario, paths)
    above = paths.spot[15] > 100
    assert 0 < above.sum() < 64
    expected = torch.where(above, 95.0, 105.0).double()
    torch.testing.assert_close(struck.spot[16], expected)
    torch.testing.assert_close(returns(struck)[16:], returns(paths)[16:])


@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_a_vol_shift_in_a_gbm_is_the_gbm_of_that_vol(drift: float) -> None:
    """From the same draws, path by path; without one the paths are what they were."""
    calm = load_scenario("short-call", {"market.drift": str(drift)})
    rough = load_scenario("short-call", {"market.drift": str(drift), "market.sigma": "0.3"})
    paths = drawn(calm)
    struck = VolShift(times=1.5, at=0.0).strike(calm, paths)
    torch.testing.assert_close(struck.spot, drawn(rough).spot)
    torch.testing.assert_close(struck.implied_vol[1:], torch.full_like(struck.spot[1:], 0.3))
    torch.testing.assert_close(VolShift(times=1.0).strike(calm, paths).spot, paths.spot)


@pytest.mark.parametrize(
    "name", ["short-call-jumps", pytest.param("heston-call", marks=pytest.mark.slow)]
)
def test_a_vol_shift_scales_moves_and_keeps_the_mean(name: str) -> None:
    scenario = load_scenario(name)
    paths = drawn(scenario, 20_000)
    struck = VolShift(times=2.0).strike(scenario, paths)
    before, after = returns(paths)[15:], returns(struck)[15:]
    assert float(after.std() / before.std()) == pytest.approx(2.0, rel=0.02)
    end = struck.spot[-1]
    error = float(end.std()) / math.sqrt(len(end))
    assert float(end.mean()) == pytest.approx(100.0, abs=5 * error)


def test_a_regime_flip_calms_the_rough_and_roughens_the_calm() -> None:
    scenario = load_scenario("sp500-call")
    paths = drawn(scenario, 256)
    struck = RegimeFlip(times=2.0).strike(scenario, paths)
    calm = (paths.implied_vol[0] <= scenario.market.volatility).numpy()
    assert 0 < calm.sum() < 256
    ratio = (struck.implied_vol[-1] / paths.implied_vol[0]).numpy()
    np.testing.assert_allclose(ratio, np.where(calm, 2.0, 0.5))
    spread = returns(struck)[12:].std(dim=0) / returns(paths)[12:].std(dim=0)
    np.testing.assert_allclose(spread.numpy(), np.where(calm, 2.0, 0.5), rtol=0.1)


def test_wide_spreads_multiply_the_cost_and_nothing_else(scenario: Scenario) -> None:
    paths = drawn(scenario)
    wide = WideSpreads().charge(mark(scenario, paths))
    calm, rough = (rollout(scenario, e, DeltaHedge()) for e in (mark(scenario, paths), wide))
    np.testing.assert_allclose(rough.cost, 10 * calm.cost, rtol=1e-12)
    np.testing.assert_allclose(rough.gains, calm.gains, rtol=1e-12)


def test_in_a_halt_nothing_is_traded(scenario: Scenario) -> None:
    shock = TradingHalt(days=4.0)
    paths = shock.strike(scenario, drawn(scenario))
    episodes = shock.charge(mark(shock.marked(scenario), paths))
    held = np.asarray(rollout(scenario, episodes, DeltaHedge(), record=True).holding)[..., 0]
    trades = np.diff(held, axis=0)
    assert (trades[14:18] == 0).all()  # at the dates 15 to 18
    assert (trades[13] != 0).all() and (trades[18] != 0).all()


def test_all_assets_move_as_one_and_keep_mean_and_vol() -> None:
    scenario = load_scenario("exchange-option")
    paths = drawn(scenario, 512)
    struck = OneFactor(at=0.5).strike(scenario, paths)
    lead, before, after = returns(paths), returns(paths.others[0]), returns(struck.others[0])
    for t in range(15, 30):
        both = torch.corrcoef(torch.stack([lead[t], after[t]]))
        assert float(both[0, 1]) == pytest.approx(1.0, abs=1e-9)
    torch.testing.assert_close(after[15:].std(dim=1), before[15:].std(dim=1))
    torch.testing.assert_close(after.mean(dim=1), before.mean(dim=1))
    calm = torch.corrcoef(torch.stack([lead[3], after[3]]))
    assert float(calm[0, 1]) < 0.9


def test_what_cannot_be_struck_says_why(scenario: Scenario) -> None:
    assert "one asset" in str(OneFactor().refusal(scenario))
    assert "strike" in str(Gap().refusal(load_scenario("exchange-option")))


def test_the_shock_of_the_page_runs(root: Path, scenario: Scenario) -> None:
    page = (root / "docs/stress.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    try:
        exec(compile(block, "page", "exec", dont_inherit=True), {"__name__": "page"})
        paths = drawn(scenario)
        struck = SHOCKS["rally"].strike(scenario, paths)
        torch.testing.assert_close(struck.spot[16:], 1.1 * paths.spot[16:])
        assert struck.jump is not None and torch.count_nonzero(struck.jump) == 64
    finally:
        SHOCKS.pop("rally", None)
        Shock.kinds.pop("rally", None)

"""The market maker's worked example: the hand arithmetic, and the ledger that is published."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from deephedge.envs import Episodes, Scenario, load_scenario, mark, simulate
from deephedge.envs.markets import MarketPaths

SIGMAS = 4.0
CALLS, SPOT, VOL, YEARS = 10_000, 100.0, 0.30, 0.265


@pytest.fixture
def script(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``docs/market_maker.py``, which finds the scripts beside it."""
    monkeypatch.syspath_prepend(root / "docs")
    spec = importlib.util.spec_from_file_location("market_maker", root / "docs/market_maker.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def episodes_of(scenario: Scenario, paths: int) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(4))


def d1(spot: float, strike: float, vol: float = VOL, years: float = YEARS) -> float:
    spread = vol * math.sqrt(years)
    return math.log(spot / strike) / spread + spread / 2


def call(spot: float, strike: float, vol: float = VOL, years: float = YEARS) -> float:
    up = d1(spot, strike, vol, years)
    return float(spot * norm.cdf(up) - strike * norm.cdf(up - vol * math.sqrt(years)))


STRIKE = float(brentq(lambda strike: norm.cdf(d1(SPOT, strike)) - 0.60, 80, 120))


def test_the_strike_that_gives_the_delta_gives_the_gamma() -> None:
    scenario = load_scenario("market-maker")
    (leg,) = scenario.position.legs
    assert leg.claim.strike == pytest.approx(STRIKE, abs=5e-4)  # type: ignore[attr-defined]
    assert pytest.approx(97.317, abs=5e-4) == STRIKE
    episodes = episodes_of(scenario, 2)
    assert float(episodes.delta[0, 0]) == pytest.approx(6_000, abs=0.5)
    assert float(episodes.gamma[0, 0]) == pytest.approx(0.025 * CALLS, rel=0.001)


def test_the_hand_arithmetic(script: ModuleType) -> None:
    """A $2 move brings $500 and 500 shares, a day costs $432, 40 adjustments $2,000."""
    scenario = load_scenario("market-maker")
    found = script.hand(scenario, episodes_of(scenario, 2))
    assert found["gamma_of_2"] == pytest.approx(0.5 * 0.025 * CALLS * 2**2, rel=0.001)
    assert found["shares_of_2"] == pytest.approx(500, rel=0.001)
    assert found["fees"] == 40 * 50
    # Theta is -(sigma S)^2 Gamma / 2 a year; 20 trading days are 28 of 365.
    decay = 0.5 * (VOL * SPOT) ** 2 * 250.18
    assert found["theta_day"] == pytest.approx(decay * 28 / 365 / 20, rel=1e-4)
    assert found["theta_day"] == pytest.approx(432, abs=0.5)
    # The move that pays a day's theta is a day's standard deviation.
    assert found["breakeven_move"] == pytest.approx(VOL * SPOT * math.sqrt(1.4 / 365), rel=1e-4)
    # What the second order leaves out: 486 shares and $491, not 500 and $500.
    sold = CALLS * float(norm.cdf(d1(102, STRIKE)) - 0.60)
    assert sold == pytest.approx(486, abs=0.5)
    gain = CALLS * (call(102, STRIKE) - call(100, STRIKE) - 0.60 * 2)
    assert gain == pytest.approx(491, abs=0.5)


def test_one_move_up_and_back_through_the_ledger(script: ModuleType) -> None:
    """$2 up and $2 down on one day: twice $500 or so, less a day's theta and two fees."""
    scenario = load_scenario("market-maker", {"calendar.steps": "2", "calendar.days": "1.4"})
    spot = torch.tensor([[100.0], [102.0], [100.0]], dtype=torch.float64)
    times = torch.tensor([[0.0], [0.7], [1.4]], dtype=torch.float64) / 365
    vol = torch.full((1, 1), VOL, dtype=torch.float64)
    paths = MarketPaths(times=times, spot=spot, log_spot=spot.log(), implied_vol=vol)
    steps = script.steps_of(scenario, mark(scenario, paths), "delta")
    day = 1.4 / 365
    up, back = call(102, STRIKE, years=YEARS - day / 2), call(100, STRIKE, years=YEARS - day)
    sold = -CALLS * norm.cdf(d1(102, STRIKE, years=YEARS - day / 2))
    by_hand = CALLS * (back - call(100, STRIKE)) - 6_000 * 2 - sold * 2 - 2 * 50
    assert steps["pnl"].sum() == pytest.approx(by_hand, abs=1)
    assert up > back
    assert steps["gamma"].sum() == pytest.approx(1_000, rel=0.03)
    assert steps["theta"].sum() == pytest.approx(-432, rel=0.01)
    assert steps["fees"].sum() == -100
    assert abs(steps["rest"].sum()) < 30


@pytest.mark.parametrize("vol", [0.15, 0.30, 0.45])
def test_the_parts_add_up_and_the_mean_is_known(script: ModuleType, vol: float) -> None:
    """``E[P&L] = 10,000 (C(w) - C(0.30)) - fees``, w the vol realised for 28 days, then 0.30."""
    scenario = script.scenario_at(vol)
    episodes = episodes_of(scenario, 3000)
    lived = 28 / 365
    mixed = math.sqrt((vol**2 * lived + VOL**2 * (YEARS - lived)) / YEARS)
    due = CALLS * (call(SPOT, 97.317, mixed) - call(SPOT, 97.317))
    for rule in script.RULES.values():
        steps: dict[str, NDArray[np.float64]] = script.steps_of(scenario, episodes, rule)
        parts = sum(steps[part] for part in script.PARTS)
        np.testing.assert_allclose(parts, steps["pnl"], rtol=0, atol=1e-6)
        earned = (steps["pnl"] - steps["fees"]).sum(axis=0)
        assert abs(earned.mean() - due) < SIGMAS * earned.std() / math.sqrt(3000)
    assert (due > 0) == (vol > VOL)


def test_the_page_prints_the_committed_ledger(root: Path, script: ModuleType) -> None:
    document = json.loads(script.RESULTS.read_text(encoding="utf-8"))
    page = script.PAGE.read_text(encoding="utf-8")
    start, end = script.LEDGER
    assert page.partition(start)[2].partition(end)[0] == f"\n{script.ledger(document)}\n"
    every_step = document["accounts"]["0.30"]["every step"]
    assert every_step["trades"] == 40 and every_step["fees"] == -2_000

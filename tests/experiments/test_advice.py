"""Advice: what the hedger itself would do with today's book."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deephedge.baselines import BandHedge, DeltaHedge, parse_baseline
from deephedge.envs import Limits, load_scenario
from deephedge.envs.namespace import SCALAR
from deephedge.envs.pricing.black_scholes import black_scholes
from deephedge.experiments.advice import BookState, advise, binding, read_state

Deephedge = Callable[..., Any]


def delta_of(spot: float, days_left: float, vol: float) -> float:
    log_spot = torch.tensor([[spot]], dtype=torch.float64).log()
    tau = torch.tensor([[days_left / 365]], dtype=torch.float64)
    greeks = black_scholes(log_spot, 100.0, tau, torch.full_like(tau, vol), sign=1)
    return float(greeks.delta[0, 0])


def test_delta_today_is_black_scholes_of_today() -> None:
    scenario = load_scenario("short-call")
    state = BookState(days=12, spot=103.5, holdings=(0.4,), pnl=-0.3)
    found = advise(scenario, DeltaHedge(), state)
    (order,) = found.orders
    assert order.target == pytest.approx(delta_of(103.5, 18, 0.2), abs=1e-12)
    assert order.trade == pytest.approx(order.target - 0.4)
    assert found.cost == pytest.approx(0.002 * order.trade * 103.5)
    assert found.greeks["before"]["delta"] == pytest.approx(0.4 - order.target)
    assert found.greeks["after"]["delta"] == pytest.approx(0.0, abs=1e-12)
    assert order.binding == ()


def test_todays_vol_is_what_a_market_marking_sees() -> None:
    scenario = load_scenario("short-call", {"marking": "{kind: market-vol}"})
    state = BookState(days=12, spot=103.5, holdings=(0.0,), vol=0.35)
    found = advise(scenario, DeltaHedge(), state)
    assert found.orders[0].target == pytest.approx(delta_of(103.5, 18, 0.35), abs=1e-12)


def test_the_book_not_the_past_decides_what_a_band_trades() -> None:
    scenario = load_scenario("short-call")
    neutral = delta_of(103.5, 18, 0.2)
    for held, after in ((neutral + 0.04, neutral + 0.04), (neutral + 0.2, neutral + 0.05)):
        state = BookState(days=12, spot=103.5, holdings=(held,))
        (order,) = advise(scenario, BandHedge(width=0.05), state).orders
        assert order.after == pytest.approx(after, abs=1e-12)


def test_memory_is_of_the_path_to_today() -> None:
    """Every fifth date: at date 12 it wants what it wanted at date 10, on the prices then."""
    scenario = load_scenario("short-call")
    history = tuple(100 + 0.3 * i for i in range(12))
    state = BookState(days=12, spot=103.5, holdings=(0.4,), history=history)
    (order,) = advise(scenario, parse_baseline("delta:every=5"), state).orders
    assert order.target == pytest.approx(delta_of(history[10], 20, 0.2), abs=1e-12)


@pytest.mark.parametrize(
    ("limits", "target", "before", "words"),
    [
        (Limits(lower=-1, upper=0.5), 0.8, 0.0, ["upper 0.5: 0.8 becomes 0.5"]),
        (Limits(lower=-0.2, upper=1), -0.8, 0.0, ["lower -0.2: -0.8 becomes -0.2"]),
        (Limits(max_trade=0.1), 0.8, 0.5, ["max_trade 0.1: 0.8 becomes 0.6"]),
        (Limits(lot=0.25), 0.8, 0.5, ["lot 0.25: 0.8 becomes 0.75"]),
        (Limits(max_trade=0.5, upper=0.75), 1.5, 0.5, ["max_trade", "upper"]),
        (Limits(lower=-1, upper=1), 0.8, 0.5, []),
    ],
)
def test_which_limits_bind(limits: Limits, target: float, before: float, words: list[str]) -> None:
    bounded = limits.bounded(2.0)
    after = float(bounded.apply(target, before, SCALAR))
    found = binding(bounded, target, before, after, False)
    assert len(found) == len(words)
    assert all(text.startswith(word) for text, word in zip(found, words, strict=True))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("days: 3\nspot: 100\n", "holdings: field required"),
        ("days: 3\nspot: -1\nholdings: [0]\n", "spot"),
        ("days: 3\nspot: 100\nholdings: [0]\ncash: 2\n", "cash: extra inputs"),
        ("days: 30\nspot: 100\nholdings: [0]\n", "days 30"),
        ("days: 3\nspot: [100, 90]\nholdings: [0]\n", "spot: 2 numbers where 1 are needed"),
        ("days: 3\nspot: 100\nholdings: [0, 1]\n", "holdings: 2 numbers"),
        ("days: 3\nspot: 100\nholdings: [0]\nhistory: [100]\n", "history: 1 numbers where 3"),
    ],
)
def test_a_bad_state_is_one_line(text: str, word: str, deephedge: Deephedge) -> None:
    Path("state.yaml").write_text(text)
    ran = deephedge("advise", "delta", "--scenario", "short-call", "--state", "state.yaml")
    assert ran.code == 2
    assert ran.err.count("\n") == 1 and word in ran.err, ran.err


def test_the_command(deephedge: Deephedge) -> None:
    Path("state.yaml").write_text("days: 6\nspot: 101\nholdings: [0.1]\npnl: 0.2\n")
    assert read_state(Path("state.yaml")).pnl == 0.2
    arguments = ["--scenario", "short-call", "--set", "calendar.steps=5", "--state", "state.yaml"]
    document = deephedge("advise", "static", *arguments, "--json").json
    assert document["orders"][0]["before"] == 0.1
    shown = deephedge("advise", "delta", *arguments).out
    assert "cost of the trade" in shown and "limit: none binds" in shown
    missing = deephedge("advise", "delta", "--scenario", "short-call", "--state", "no.yaml")
    assert missing.code == 2 and "cannot be read" in missing.err


@pytest.mark.slow
def test_a_run_advises(deephedge: Deephedge, finished_run: Path) -> None:
    Path("state.yaml").write_text("days: 6\nspot: 101\nholdings: [0.1]\n")
    arguments = ["--scenario", "short-call", "--set", "calendar.steps=5", "--state", "state.yaml"]
    (order,) = deephedge("advise", str(finished_run), *arguments, "--json").json["orders"]
    assert -2 <= order["after"] <= 2 and order["trade"] == order["after"] - 0.1

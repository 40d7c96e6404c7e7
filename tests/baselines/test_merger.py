"""Rules for deals: Kelly's size by search, the put and the acquirer to the cent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from deephedge.baselines import (
    DeltaGammaHedge,
    ExchangeRatioHedge,
    KellySize,
    NoHedge,
    ProtectivePut,
    parse_baseline,
)
from deephedge.envs import Known, Scenario, load_scenario, parse_scenario, rollout, simulate
from deephedge.envs.namespace import X

Tree = dict[str, Any]
UNDERLYING: Tree = {"instrument": {"kind": "underlying"}}
PUT: Tree = {"instrument": {"kind": "listed-option", "option": {"kind": "put", "strike": 46.0}}}
ACQUIRER: Tree = {"instrument": {"kind": "underlying", "asset": 1}}
STOCK: Tree = {
    "offer": 0.0,
    "ratio": 0.83,
    "others": [{"spot": 60.0, "drift": 0.04, "sigma": 0.3}],
    "correlation": 0.3,
}


def deal(*hedges: Tree, shares: float = 100.0, steps: int = 4, **market: Any) -> Scenario:
    """Long shares of the target to its closing, without costs."""
    return parse_scenario(
        {
            "name": "deal",
            "market": {"kind": "deal", "rate": 0.04, "premium": 0.5} | market,
            "calendar": {"kind": "uniform", "days": 182.5, "steps": steps},
            "position": {"legs": [{"quantity": shares, "claim": {"kind": "prepaid-forward"}}]},
            "hedges": hedges or [UNDERLYING],
            "marking": {"kind": "model"},
            "capital": 1000.0,
            "objective": {"kind": "quadratic"},
        }
    )


class Diary:
    """Writes down the holdings of a rule."""

    name = "diary"

    def __init__(self, rule: Any) -> None:
        self.rule, self.pages, self.seen = rule, list[Any](), list[Any]()

    def start(self, n: int) -> Any:
        return self.rule.start(n)

    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        target, state = self.rule.act(known, state)
        self.pages.append(np.array(target))
        self.seen.append((np.array(known.spot), known.latent("probability"), known.wealth))
        return target, state


@pytest.mark.parametrize("probability", [None, 0.97, 0.9])
def test_kelly_holds_what_maximises_expected_log_wealth(probability: float | None) -> None:
    """Of a bet that is held to the closing: by search, on the two outcomes."""
    problem = deal(fallback_sigma=0.0)
    rule = KellySize(probability=probability)
    diary = Diary(rule)
    rollout(problem, simulate(problem, 3, torch.Generator().manual_seed(0)), diary)
    own = 100 + diary.pages[0][0, 0]
    p = problem.market.probability if probability is None else probability  # type: ignore[attr-defined]
    offer = 50 * math.exp(-0.02)

    def loss(n: float) -> float:
        good, bad = 1000 + n * (offer - 48.5), 1000 + n * (38 - 48.5)
        return -p * math.log(good) - (1 - p) * math.log(bad)

    best = optimize.minimize_scalar(loss, bounds=(-1900, 95), method="bounded").x
    assert own == pytest.approx(best, abs=0.01)
    half = Diary(KellySize(probability=probability, fraction=0.5))
    rollout(problem, simulate(problem, 3, torch.Generator().manual_seed(0)), half)
    assert 100 + half.pages[0][0, 0] == pytest.approx(own / 2)


def test_kelly_later_keeps_its_view_and_its_wealth() -> None:
    """p from the implied probability and the drift; nothing once the deal is decided."""
    problem = deal(fallback_sigma=0.0, hazard=0.02, spot=47.0, steps=5, closing=0.4)
    diary = Diary(KellySize())
    rollout(problem, simulate(problem, 400, torch.Generator().manual_seed(1)), diary)
    for t in (1, 2, 3):
        spot, q, wealth = diary.seen[t]
        left = 0.4 - 0.1 * t
        alive = math.exp(-0.02 * left)
        x = stats.norm.ppf(np.clip(q / alive, 1e-12, 1 - 1e-6))
        p = alive * stats.norm.cdf(x + 0.5 * math.sqrt(left))
        gain = 50 * math.exp(-0.04 * left) - spot
        loss = spot - 38 * math.exp(0.04 * 0.1 * t)
        inside = (q > 0.01) & (q < 0.99)
        wanted = (np.maximum(1000 + wealth, 0) * (p / loss - (1 - p) / gain))[inside]
        np.testing.assert_allclose(100 + diary.pages[t][inside, 0], wanted, rtol=1e-6)
    np.testing.assert_allclose(diary.pages[4][:, 0], -100, atol=1e-6)


def test_no_view_no_bet() -> None:
    problem = deal(premium=0.0)
    diary = Diary(KellySize())
    rollout(problem, simulate(problem, 5, torch.Generator()), diary)
    np.testing.assert_allclose(diary.pages[0], -100, atol=1e-9)


def test_a_put_bounds_the_loss_given_a_break() -> None:
    """A share and a put are worth the strike at least; the put costs its price with interest."""
    problem = deal(PUT, UNDERLYING)
    episodes = simulate(problem, 2000, torch.Generator().manual_seed(0))
    pnl = np.asarray(rollout(problem, episodes, ProtectivePut()).pnl)
    end, price = episodes.spot[-1].numpy(), float(episodes.price[0, 0, 0])
    grown = math.exp(0.02)
    wanted = 100 * (np.maximum(end, 46) - 48.5 * grown - price * grown)
    np.testing.assert_allclose(pnl, wanted, atol=1e-9)
    half = np.asarray(rollout(problem, episodes, ProtectivePut(cover=0.5)).pnl)
    none = np.asarray(rollout(problem, episodes, NoHedge()).pnl)
    np.testing.assert_allclose(half, (pnl + none) / 2, atol=1e-9)
    assert none.min() < -900 < -500 < pnl.min()


def test_the_exchange_ratio_fixes_the_spread_of_a_deal_that_closes() -> None:
    problem = deal(UNDERLYING, ACQUIRER, **STOCK)
    episodes = simulate(problem, 2000, torch.Generator().manual_seed(0))
    pnl = np.asarray(rollout(problem, episodes, ExchangeRatioHedge()).pnl)
    closed = episodes.latents["probability"][-1].numpy() == 1
    spread = 100 * (0.83 * 60 - 48.5) * math.exp(0.02)
    np.testing.assert_allclose(pnl[closed], spread, atol=1e-9)
    assert 0.02 < 1 - closed.mean() < 0.3
    unhedged = np.asarray(rollout(problem, episodes, NoHedge()).pnl)
    assert unhedged[closed].std() > 100


@pytest.mark.parametrize(
    ("rule", "problem", "words"),
    [
        (KellySize(), load_scenario("short-call"), "take a market of kind deal"),
        (KellySize(), deal().model_copy(update={"capital": None}), "set capital"),
        (KellySize(), deal(ACQUIRER, **STOCK), "list it so"),
        (ProtectivePut(), load_scenario("short-call"), "no shares"),
        (ProtectivePut(), deal(PUT, UNDERLYING, shares=-1.0), "no shares"),
        (ProtectivePut(), deal(), "no put on asset 0"),
        (ExchangeRatioHedge(), deal(), "with a ratio"),
        (ExchangeRatioHedge(), deal(**STOCK), "list its underlying"),
        (DeltaGammaHedge(), deal(PUT, UNDERLYING), "shares have no gamma"),
    ],
)
def test_where_a_rule_does_not_fit_it_says_why(rule: Any, problem: Scenario, words: str) -> None:
    assert words in str(rule.refusal(problem))


def test_the_preset_is_shown_with_the_rules_that_fit(
    kinds_that_fit: Callable[[Scenario], set[str]],
) -> None:
    fit = {"none", "static", "delta", "band", "static-options", "kelly", "protective-put"}
    assert kinds_that_fit(load_scenario("merger-arbitrage")) == fit
    assert parse_baseline("kelly:probability=0.97,fraction=0.5").name.startswith("kelly:")

"""Stock hedges of a convertible bond: what a default leaves, and the least variance of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.baselines import DeltaHedge, JumpToDefaultHedge, OverHedge
from deephedge.baselines.baseline import Baseline
from deephedge.envs import Scenario, load_scenario, parse_scenario, rollout, simulate

BOND: dict[str, Any] = {"kind": "convertible-bond", "coupon": 0.02, "maturity": 5.0}


def convertible(claim: dict[str, Any] | None = None, **changes: Any) -> Scenario:
    """Long a bond for one short step in a market where defaults are common."""
    tree: dict[str, Any] = {
        "name": "convertible",
        "market": {"kind": "defaultable", "hazard": 0.4, "drop": 0.7, "sigma": 0.3},
        "calendar": {"kind": "uniform", "days": 0.5, "steps": 1},
        "position": {"legs": [{"quantity": 2, "claim": claim or BOND}]},
        "hedges": [{"instrument": {"kind": "underlying"}}],
        "marking": {"kind": "model"},
        "objective": {"kind": "quadratic"},
    }
    return parse_scenario(tree | changes)


def first(problem: Scenario, rule: Baseline) -> float:
    class Once:
        name = "once"

        def start(self, n: int) -> None:
            return None

        def act(self, known: Any, state: None) -> tuple[Any, None]:
            self.holding = float(rule.act(known, None)[0][0, 0])
            return rule.act(known, None)

    once = Once()
    rollout(problem, simulate(problem, 2, torch.Generator()), once)
    return once.holding


def test_the_jump_to_default_hedge_has_the_least_variance_of_a_step() -> None:
    """By regression of the bond's P&L on the stock's, over many half-days."""
    problem = convertible()
    episodes = simulate(problem, 100_000, torch.Generator().manual_seed(0))
    bond = (episodes.mark + episodes.cash_flow.cumsum(0)).diff(dim=0)[0].numpy()
    stock = episodes.spot.diff(dim=0)[0].numpy()
    covariance = np.cov(bond, stock)
    slope = covariance[0, 1] / covariance[1, 1]
    rest = (bond - bond.mean() - slope * (stock - stock.mean())) * (stock - stock.mean())
    error = rest.std() / np.sqrt(len(rest)) / covariance[1, 1]
    holding = first(problem, JumpToDefaultHedge())
    assert abs(holding + slope) < 4 * error
    assert abs(holding - first(problem, DeltaHedge())) > 20 * error


def test_over_hedging_multiplies_delta() -> None:
    problem = convertible()
    delta = first(problem, DeltaHedge())
    assert first(problem, OverHedge(over=1.5)) == pytest.approx(1.5 * delta)
    pairs = [(first(problem, OverHedge(over=over)), over) for over in (1.0, 2.0)]
    assert pairs == [(delta, 1.0), (pytest.approx(2 * delta), 2.0)]


def test_nothing_is_held_after_a_default() -> None:
    problem = load_scenario("convertible-arbitrage", {"market.hazard": "3"})
    episodes = simulate(problem, 300, torch.Generator().manual_seed(0))
    gone = (episodes.mark[:-1] == 0).numpy()
    for rule in (JumpToDefaultHedge(), OverHedge()):
        holding = np.asarray(rollout(problem, episodes, rule, record=True).holding)[..., 0]
        assert gone[-1].mean() > 0.5
        assert (holding[gone] == 0).all()
        assert (holding[~gone] < 0).all()


@pytest.mark.parametrize(
    ("rule", "problem", "words"),
    [
        (OverHedge(), load_scenario("short-call"), "no default moves the stock"),
        (
            OverHedge(),
            load_scenario("convertible-arbitrage", {"market.hazard": "0"}),
            "no default moves the stock",
        ),
        (JumpToDefaultHedge(), load_scenario("short-call"), "keep convertible bonds"),
        (JumpToDefaultHedge(), convertible({"kind": "call", "strike": 90.0}), "a Call is worth"),
    ],
)
def test_where_a_rule_does_not_fit_it_says_why(
    rule: Baseline, problem: Scenario, words: str
) -> None:
    assert words in str(rule.refusal(problem))


def test_the_preset_is_shown_with_the_rules_that_fit(
    kinds_that_fit: Callable[[Scenario], set[str]],
) -> None:
    fit = {"none", "static", "delta", "band", "over-hedge", "jump-to-default", "whalley-wilmott"}
    assert kinds_that_fit(load_scenario("convertible-arbitrage")) == fit

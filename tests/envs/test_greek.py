"""The action map greek: the fraction of the option trade that neutralises gamma or vega."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deephedge.baselines import DeltaGammaHedge, DeltaHedge, DeltaVegaHedge
from deephedge.envs import (
    Known,
    Scenario,
    ScenarioError,
    load_scenario,
    parse_scenario,
    rollout,
    simulate,
)
from deephedge.envs.desk import Desk
from deephedge.envs.namespace import NUMPY, TORCH, X
from deephedge.envs.presets import changed

Tree = dict[str, Any]
RULES = {"gamma": DeltaGammaHedge, "vega": DeltaVegaHedge}


class Constant:
    """One number at every date, through the scenario's own view."""

    name = "constant"

    def __init__(self, number: float, scenario: Scenario, *, torch_: bool = False) -> None:
        self.number, self.desk = number, Desk(scenario, TORCH if torch_ else NUMPY)

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        return known.asked(self.desk, (self.number + 0.0 * known.spot,)), None


def scenario(preset: str, greek: str, **changes: Any) -> Scenario:
    action = {"kind": "greek", "greek": greek}
    return changed(load_scenario(preset), {"view.features": None, "view.action": action, **changes})


@pytest.mark.parametrize("greek", ["gamma", "vega"])
@pytest.mark.parametrize("preset", ["market-maker-book", "gamma-hedge-jumps"])
def test_one_is_the_full_hedge_and_minus_one_is_delta(preset: str, greek: str) -> None:
    problem = scenario(preset, greek)
    episodes = simulate(problem, 64, torch.Generator().manual_seed(1))
    kinds = (RULES[greek](), DeltaHedge())
    for number, rule in zip((1.0, -1.0), kinds, strict=True):
        ours, theirs = (
            rollout(problem, episodes, hedger, record=True).holding
            for hedger in (Constant(number, problem), rule)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("number", [-0.5, 0.0, 0.7])
def test_between_them_it_is_the_rule_with_a_ratio(number: float) -> None:
    """The fraction is (1 + a) / 2; in torch too, with a gradient."""
    problem = scenario("market-maker-book", "gamma")
    episodes = simulate(problem, 64, torch.Generator().manual_seed(1))
    rule = DeltaGammaHedge(ratio=(1 + number) / 2)
    ours, theirs = (rollout(problem, episodes, h).pnl for h in (Constant(number, problem), rule))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    hedger = Constant(number, problem, torch_=True)
    hedger.number = torch.tensor(number, dtype=torch.float64, requires_grad=True)  # type: ignore[assignment]
    pnl = rollout(problem, episodes, hedger, differentiable=True).pnl
    (slope,) = torch.autograd.grad(pnl.mean(), hedger.number)
    step = 1e-5
    up, down = (
        rollout(problem, episodes, Constant(number + d, problem)).pnl.mean() for d in (step, -step)
    )
    assert float(slope) == pytest.approx((up - down) / (2 * step), rel=1e-5)


def test_the_trade_ends_at_the_bounds() -> None:
    problem = scenario("gamma-hedge-jumps", "gamma", **{"hedges.0.limits.upper": 0.1})
    episodes = simulate(problem, 64, torch.Generator().manual_seed(1))
    held = rollout(problem, episodes, Constant(0.0, problem), record=True).holding
    assert held is not None
    np.testing.assert_allclose(held[0, :, 0], 0.05)  # half of the way to the bound
    assert held[..., 0].max() <= 0.1


@pytest.mark.parametrize(
    ("preset", "changes"),
    [("short-call", {}), ("exchange-option", {})],
)
def test_it_is_for_one_option_on_the_one_asset(preset: str, changes: Tree) -> None:
    with pytest.raises(ScenarioError, match="it trades one option on the one asset"):
        changed(load_scenario(preset), {"view.action": {"kind": "greek"}, **changes})


def test_a_discrete_choice_of_fractions() -> None:
    tree = load_scenario("market-maker-book").model_dump(mode="json")
    tree["view"]["action"] = {"kind": "discrete", "levels": 5, "of": {"kind": "greek"}}
    problem = parse_scenario(tree)
    action = problem.view.action
    assert action.steered(problem.contract) == 1
    np.testing.assert_array_equal(action.table(1)[:, 0], [-1, -0.5, 0, 0.5, 1])  # type: ignore[attr-defined]

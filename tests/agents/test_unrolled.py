"""Whole episodes in one operation: the numbers and gradients of the same dates under autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from deephedge.agents.pathwise.deep_hedging import Pathwise
from deephedge.agents.pathwise.policy import PathwisePolicy
from deephedge.agents.pathwise.surrogate import SurrogateDesk
from deephedge.agents.pathwise.unrolled import can_unroll
from deephedge.baselines import WhalleyWilmottHedge
from deephedge.envs import Scenario, View, load_scenario, simulate
from deephedge.envs.action import (
    BandAction,
    GreekAction,
    ResidualAction,
    TargetAction,
    TradeAction,
    TriggerAction,
)
from deephedge.envs.learning import LearningProblem
from deephedge.envs.namespace import NUMPY
from deephedge.envs.tape import Tape
from deephedge.envs.terminal_wealth import terminal_wealth

MARKET = ("time_left", "moneyness")
ENTROPIC = {"objective": "{kind: entropic, aversion: 0.1}"}
CASES: dict[str, tuple[str, dict[str, str], View]] = {
    "band": ("short-call", {}, View()),
    "holding": ("short-call", {}, View(features=(*MARKET, "holding"), action=TargetAction())),
    "trade": ("short-call", {}, View(features=(*MARKET, "holding"), action=TradeAction())),
    "residual": ("short-call", {}, View(action=ResidualAction(reach=2.0))),
    "trigger": ("short-call", {}, View(action=TriggerAction())),
    "around a rule": ("short-call", {}, View(action=BandAction(base=WhalleyWilmottHedge()))),
    "the market only": ("short-call", {}, View(features=MARKET, action=BandAction(rest=0.0))),
    "limits": (
        "short-call",
        {"hedges.0.limits": "{lower: -0.2, upper: 0.6, lot: 0.1, max_trade: 0.3}"},
        View(),
    ),
    "rates and cost": (
        "short-call",
        {"market.rate": "0.3", "liquidate": "true", "hedges.0.costs.0.rate": "0.03"},
        View(),
    ),
    "an option": ("gamma-hedge-jumps", ENTROPIC, View()),
    "an option's greek": (
        "gamma-hedge-jumps",
        ENTROPIC,
        View(features=(*MARKET, "holding", "net_gamma"), action=GreekAction()),
    ),
    "wealth": ("short-call", {"objective": "{kind: cvar, level: 0.9}"}, View()),
    "wealth with interest": (
        "short-call",
        {"objective": "{kind: cvar, level: 0.9}", "market.rate": "0.3", "market.dividend": "0.2"},
        View(action=TargetAction()),
    ),
    "wealth of options": ("gamma-hedge-jumps", {}, View()),
    "wealth of a book": ("multi-asset-book", {}, View(action=ResidualAction())),
    "two assets": ("exchange-option", ENTROPIC, View()),
    "a book of assets": ("multi-asset-book", ENTROPIC, View(action=ResidualAction())),
}


def policy_of(scenario: Scenario, view: View) -> PathwisePolicy:
    """Its numbers are, in float64, on both sides of the clip."""
    problem = LearningProblem(scenario, view, NUMPY)
    torch.manual_seed(7)
    policy = PathwisePolicy(
        problem.observation_space, problem.action_space, lambda _: 1e-3, (8, 6), torch.nn.ReLU
    ).double()
    with torch.no_grad():
        last: Any = policy.mu[-1]
        last.weight.mul_(60.0 if scenario.listed else 200.0)
    return policy


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_dates_one_by_one(case: str) -> None:
    preset, changes, view = CASES[case]
    scenario = load_scenario(preset, changes)
    policy, desk = policy_of(scenario, view), SurrogateDesk(scenario, view)
    episodes = simulate(scenario, 50, torch.Generator().manual_seed(2), torch.float64)
    assert can_unroll(desk, Tape.of_tensors(episodes)) and policy.between is not None
    found: list[tuple[Tensor, list[Tensor], Tensor]] = []
    for whole in (True, False):
        hedger = Pathwise(policy, desk)
        wealth = hedger.wealth(episodes) if whole else terminal_wealth(desk, episodes, hedger)
        slopes = torch.autograd.grad((0.1 * wealth * wealth).mean(), list(policy.parameters()))
        found.append((wealth.detach(), list(slopes), torch.stack(hedger.actions)))
    torch.testing.assert_close(found[0], found[1])
    played = found[0][2].abs()
    assert (played == 1.0).any() and (played < 1.0).any()
    assert all(float(slope.abs().max()) > 0 for slope in found[0][1])


def test_in_float32_it_is_the_dates_one_by_one() -> None:
    scenario = load_scenario("short-call")
    policy, desk = policy_of(scenario, View()).float(), SurrogateDesk(scenario)
    episodes = simulate(scenario, 200, torch.Generator().manual_seed(2), torch.float32)
    wealth = Pathwise(policy, desk).wealth(episodes)
    torch.testing.assert_close(wealth, terminal_wealth(desk, episodes, Pathwise(policy, desk)))

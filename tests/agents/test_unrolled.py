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
from deephedge.envs import (
    Episodes,
    Scenario,
    Variation,
    View,
    draw,
    load_scenario,
    simulate,
)
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
    "wealth with fees": (
        "short-call",
        {
            "objective": "{kind: cvar, level: 0.9}",
            "hedges.0.costs": "[{kind: fixed, fee: 0.05}, {kind: proportional, rate: 0.01}]",
        },
        View(action=TriggerAction()),
    ),
    "a clock for every path": ("sp500-call", {}, View()),
    "two assets": ("exchange-option", ENTROPIC, View()),
    "a book of assets": ("multi-asset-book", ENTROPIC, View(action=ResidualAction())),
}


def policy_of(
    scenario: Scenario, view: View, kind: type[torch.nn.Module] = torch.nn.ReLU
) -> PathwisePolicy:
    """Its numbers are, in float64, on both sides of the clip."""
    problem = LearningProblem(scenario, view, NUMPY)
    torch.manual_seed(7)
    policy = PathwisePolicy(
        problem.observation_space, problem.action_space, lambda _: 1e-3, (8, 6), kind
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
    assert can_unroll(desk, Tape.of_tensors(episodes)) and policy.dense_activation is not None
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


def compared(policy: PathwisePolicy, desk: SurrogateDesk, episodes: Episodes, **close: Any) -> None:
    """Wealth and gradients of the one way beside those of the other."""
    found = []
    for whole in (True, False):
        hedger = Pathwise(policy, desk)
        wealth = hedger.wealth(episodes) if whole else terminal_wealth(desk, episodes, hedger)
        found.append((wealth, *torch.autograd.grad(wealth.mean(), list(policy.parameters()))))
    torch.testing.assert_close(*found, **close)


@pytest.mark.parametrize("preset", ["short-call", "delta-hedging"])
def test_in_float32_it_is_the_dates_one_by_one(preset: str) -> None:
    scenario = load_scenario(preset)
    policy, desk = policy_of(scenario, View(), torch.nn.Tanh).float(), SurrogateDesk(scenario)
    episodes = simulate(scenario, 200, torch.Generator().manual_seed(2), torch.float32)
    compared(policy, desk, episodes, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("paths", [1, 24])
def test_varied_episodes(paths: int) -> None:
    """Aversions and costs of their own, which are seen, on one path as on many."""
    scenario = load_scenario("short-call")
    variation = Variation(aversion=(0.01, 1.0), cost=(0.5, 5.0))
    seen = View(features=(*MARKET, "delta", "holding", "pnl", "aversion", "cost_level"))
    generator = torch.Generator().manual_seed(2)
    episodes = draw(scenario, variation, paths, generator, torch.float64)
    compared(policy_of(scenario, seen), SurrogateDesk(scenario, seen), episodes)


def test_what_it_cannot_play_is_played_date_by_date() -> None:
    """A policy with a step of its own, and one of another precision than the episodes."""

    class Halved(PathwisePolicy):
        def play(self, *arguments: Any) -> Any:
            numbers, memory = super().play(*arguments)
            return tuple(0.5 * number for number in numbers), memory

    scenario = load_scenario("short-call")
    episodes = simulate(scenario, 20, torch.Generator().manual_seed(2), torch.float64)
    desk, policy = SurrogateDesk(scenario), policy_of(scenario, View())
    policy.__class__ = Halved
    compared(policy, desk, episodes)
    whole = Pathwise(policy_of(scenario, View()), desk).wealth(episodes)
    assert (Pathwise(policy, desk).wealth(episodes) - whole).abs().max() > 0.1
    compared(policy_of(scenario, View()).float(), desk, episodes)

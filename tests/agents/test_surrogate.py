"""Training where the P&L jumps: the smooth desk beside the exact one, and what is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.agents import AgentSettings, agent_settings, train_agent
from deephedge.agents import training as training_module
from deephedge.agents.pathwise.surrogate import NARROWEST, WIDEST, SurrogateDesk
from deephedge.baselines import DeltaHedge, OptimalHedge, WhalleyWilmottHedge
from deephedge.envs import Episodes, Known, Scenario, View, load_scenario, rollout, simulate
from deephedge.envs.action import BandAction, TriggerAction
from deephedge.envs.costs import Cost, FixedCost, PerUnitCost, ProportionalCost
from deephedge.envs.desk import Desk
from deephedge.envs.namespace import SCALAR, TORCH
from deephedge.envs.terminal_wealth import terminal_wealth

JUMPS: dict[str, dict[str, str]] = {
    "fixed": {"hedges.0.costs": "[{kind: fixed, fee: 0.05}]"},
    "minimum": {"hedges.0.costs": "[{kind: per-unit, fee: 3.0, minimum: 0.3}]"},
    "lot": {"hedges.0.limits": "{lot: 0.1}", "hedges.0.costs.0.rate": "0.03"},
    "loss limit": {"loss_limit": "3", "hedges.0.costs.0.rate": "0.03"},
}


def paths(scenario: Scenario, n: int = 50, dtype: torch.dtype = torch.float64) -> Episodes:
    return simulate(scenario, n, torch.Generator().manual_seed(4), dtype)


class Scaled:
    """Holds a multiple of minus delta, rounded by nobody."""

    name = "scaled"

    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[Any, None]:
        return self.factor * known.neutral, None


@pytest.mark.parametrize("cost", [FixedCost(fee=0.3), PerUnitCost(fee=0.2, minimum=0.1)])
def test_a_smooth_cost_comes_to_the_exact_one(cost: Cost) -> None:
    trade = torch.tensor([-2.0, -0.4, 0.0, 0.01, 0.3, 5.0], dtype=torch.float64)
    trade.requires_grad_()
    price = torch.full_like(trade, 100.0).detach()
    exact = cost.charge(trade, price, TORCH)
    gaps = []
    for width in (1e-1, 1e-3, 1e-5):
        smooth = cost.smoothed(trade, price, width, TORCH)
        assert (smooth <= exact + 1e-12).all() and (smooth >= 0).all() and smooth[2] == 0
        gaps.append(float((exact - smooth).detach().max()))
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 1e-3
    (slope,) = torch.autograd.grad(cost.smoothed(trade, price, 0.05, TORCH).sum(), trade)
    assert torch.isfinite(slope).all()
    assert (slope * trade.sign())[[0, 1, 3, 4, 5]].min() > 0  # a smaller trade is cheaper


def test_what_does_not_jump_is_charged_as_it_is() -> None:
    cost = ProportionalCost(rate=0.01)
    assert cost.smoothed(2.0, 100.0, 0.1, SCALAR) == cost.charge(2.0, 100.0, SCALAR)
    scenario = load_scenario("gamma-hedge-jumps")
    found = [
        terminal_wealth(desk, paths(scenario), Scaled(torch.tensor([[0.0, 0.7]])))
        for desk in (SurrogateDesk(scenario), Desk(scenario, TORCH))
    ]
    assert torch.equal(*found)


def test_the_width_falls_with_the_training() -> None:
    """In position sizes, from the widest to the narrowest; beyond the end it stays."""
    legs = {"position.legs": "[{quantity: -4, claim: {kind: call, strike: 100}}]"}
    scenario = load_scenario("short-call", JUMPS["fixed"] | legs)
    desk = SurrogateDesk(scenario)
    trade, price = torch.tensor(0.2, dtype=torch.float64), torch.tensor(100.0)
    for remaining, width in ((1.0, WIDEST), (0.0, NARROWEST), (-0.1, NARROWEST)):
        desk.narrow(remaining)
        charged = float(desk.costs[0][0].charge(trade, price, TORCH))
        assert charged == pytest.approx(0.05 * 0.2 / (0.2 + 4 * width))


def test_lots_are_kept_and_their_gradient_is_straight_through() -> None:
    """The gradient of held lots is what the gradient of the lots' costs and gains would be."""
    scenario = load_scenario("short-call", JUMPS["lot"])
    desk, episodes = SurrogateDesk(scenario), paths(scenario)
    factor = torch.tensor(0.83, dtype=torch.float64, requires_grad=True)
    wealth = terminal_wealth(desk, episodes, Scaled(factor))
    exact = rollout(scenario, episodes, Scaled(0.83), record=True)
    np.testing.assert_allclose(wealth.detach(), exact.pnl, atol=1e-10)
    assert np.unique(np.asarray(exact.holding).round(6)).size > 5
    (slope,) = torch.autograd.grad(wealth.mean(), factor)
    held, neutral = np.asarray(exact.holding)[..., 0], -episodes.delta[:-1].numpy()
    spot = episodes.spot.numpy()
    trades = np.diff(held, axis=0, prepend=0.0)
    moves = np.diff(neutral, axis=0, prepend=0.0)
    by_hand = neutral * np.diff(spot, axis=0) - 0.03 * np.sign(trades) * moves * spot[:-1]
    assert float(slope) == pytest.approx(by_hand.sum(0).mean(), rel=1e-9)


def test_a_loss_limit_is_left_out() -> None:
    scenario = load_scenario("short-call", {"loss_limit": "1"})
    free, episodes = load_scenario("short-call"), paths(scenario)
    found = terminal_wealth(SurrogateDesk(scenario), episodes, Scaled(1.0)).numpy()
    np.testing.assert_allclose(found, rollout(free, episodes, Scaled(1.0)).pnl, atol=1e-10)
    assert np.abs(found - rollout(scenario, episodes, Scaled(1.0)).pnl).max() > 0.1


def test_a_trigger_is_reached_gradually() -> None:
    """Half-way at the slack; far inside it the holding, far beyond it the edge."""
    scenario = load_scenario("short-call")
    desk = SurrogateDesk(scenario, View(action=TriggerAction(reach=1.0, rest=0.1)))
    exact = TriggerAction(reach=1.0, rest=0.1)
    desk.narrow(0.0)
    for holding, share in ((0.3, 0.5), (0.38, None), (0.12, 1.0), (0.5, 0.0)):
        numbers = (torch.zeros(1),) * 3
        held, centre = torch.tensor([holding]), torch.tensor([0.5])
        arguments = (numbers, held, (centre, centre), (-2.0, 2.0), 1.0, TORCH)
        found = float(desk.action.target(*arguments))
        edge = max(holding, 0.4)
        if share is not None:
            assert found == pytest.approx(holding + share * (edge - holding), abs=0.01)
            if share in (0.0, 1.0):
                assert found == pytest.approx(float(exact.target(*arguments)), abs=0.01)


@pytest.mark.parametrize("changes", JUMPS.values(), ids=JUMPS)
@pytest.mark.parametrize("action", [BandAction(), TriggerAction()], ids=["band", "trigger"])
def test_every_jump_is_trained_through(
    changes: dict[str, str], action: Any, tiny: Callable[..., AgentSettings]
) -> None:
    """To a lower exact risk than the untrained policy's."""
    scenario = load_scenario("short-call", {"calendar.steps": "3"} | changes)
    settings = tiny("deep-hedging", environments=256, steps=768 * 40, action=action, validation=4)
    result = train_agent(scenario, settings)
    assert np.isfinite(result.risk) and result.risk < 0.99 * result.risks[0][1]


@pytest.mark.slow
@pytest.mark.parametrize("fee", [0.02, 0.1])
def test_a_trigger_learns_the_optimum_of_a_fee(fee: float, monkeypatch: Any) -> None:
    """98 % of what lies between delta and the exact optimum, and more than the asymptotic rule."""
    monkeypatch.setattr(training_module, "VALIDATION_PATHS", 8192)
    costs = f"[{{kind: proportional, rate: 0.002}}, {{kind: fixed, fee: {fee}}}]"
    scenario = load_scenario("short-call", {"hedges.0.costs": costs})
    settings = agent_settings(
        "deep-hedging", action=TriggerAction(), steps=12_000_000, environments=2048
    )
    learned = train_agent(scenario, settings).hedger
    episodes = paths(scenario, 100_000)
    delta, optimum, rule, found = (
        scenario.objective.risk(-rollout(scenario, episodes, h).pnl)
        for h in (DeltaHedge(), OptimalHedge(), WhalleyWilmottHedge(), learned)
    )
    assert (delta - found) / (delta - optimum) > 0.98
    assert found < rule

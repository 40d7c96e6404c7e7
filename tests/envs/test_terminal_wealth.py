"""Terminal wealth: what the rollout's ledger, kept date by date, comes to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deephedge.envs import Known, Scenario, load_scenario, rollout, simulate
from deephedge.envs.desk import Desk
from deephedge.envs.namespace import TORCH
from deephedge.envs.terminal_wealth import terminal_wealth

CASES: dict[str, tuple[str, dict[str, str]]] = {
    "plain": ("short-call", {}),
    "rates": ("short-call", {"market.rate": "0.3", "market.dividend": "0.2"}),
    "liquidated": ("short-call", {"liquidate": "true", "market.rate": "0.1"}),
    "premium": ("short-call", {"position.premium": "1.5", "market.rate": "0.1"}),
    "two assets": ("exchange-option", {}),
    "options that expire": ("gamma-hedge-jumps", {}),
    "observed wealth": ("short-call", {"objective": "{kind: cvar, level: 0.9}"}),
    "loss limit": ("short-call", {"loss_limit": "1"}),
    "lots": ("short-call", {"hedges.0.limits": "{lot: 0.1, max_trade: 0.3}"}),
    "spreads and fees": (
        "short-call-jumps",
        {"hedges.0.spread": "{after_jump: 2}", "hedges.0.borrow_fee": "0.1"},
    ),
    "delay": ("short-call", {"execution": "{delay: 1, slippage: 0.001}"}),
    "transient impact": ("short-call", {"hedges.0.impact": "{transient: 0.01}"}),
    "permanent impact": ("short-call", {"hedges.0.impact": "{permanent: 0.01}"}),
    "margin": (
        "short-call",
        {"capital": "30", "financing": "{funding_spread: 0.1, margin: {initial: 0.9}}"},
    ),
    "future": ("short-call", {"hedges.0.instrument": "{kind: future, tenor: 0.5}"}),
}


class Noise:
    """Holds what each path's spot and date say, within and beyond the bounds."""

    name = "noise"

    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[Any, None]:
        wave = known.ops.abs(known.holding) + (known.spot * (1.3 + known.t))[:, None] % 1.7
        return self.factor * wave - 0.5, None


def scenario_of(case: str) -> Scenario:
    preset, changes = CASES[case]
    return load_scenario(preset, changes)


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_rollouts_wealth_and_gradient(case: str) -> None:
    scenario = scenario_of(case)
    episodes = simulate(scenario, 40, torch.Generator().manual_seed(3), torch.float64)
    found = []
    for booked in (True, False):
        factor = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
        if booked:
            wealth = terminal_wealth(Desk(scenario, TORCH), episodes, Noise(factor))
        else:
            wealth = rollout(scenario, episodes, Noise(factor), differentiable=True).pnl
        (wealth * wealth).mean().backward()  # type: ignore[no-untyped-call]
        assert factor.grad is not None
        found.append((wealth.detach().numpy(), float(factor.grad)))
    exact = rollout(scenario, episodes, Noise(0.6))
    assert float(np.std(exact.pnl)) > 0.1 and float(np.mean(exact.cost)) > 0.01
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-9)
    np.testing.assert_allclose(found[0][0], exact.pnl, atol=1e-9)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-9)

"""The edge of a bought option, the gains of its moves and the bill of its decay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from deephedge.baselines import DeltaHedge
from deephedge.envs import load_scenario, simulate
from deephedge.envs.rollout import rollout
from deephedge.experiments.gamma_scalping import edge, gamma_gains, scalp, theta_bill

SIGMAS = 4.0


def test_moves_less_decay_are_the_profit_and_the_capture_tends_to_1() -> None:
    """Hedged at the marks' vol, finer and finer: dV - Delta dS = Theta dt + Gamma dS^2 / 2."""
    unexplained = []
    for steps in (30, 480):
        scenario = load_scenario(
            "gamma-scalping", {"hedges.0.costs": "[]", "calendar.steps": str(steps)}
        )
        episodes = simulate(scenario, 2000, torch.Generator().manual_seed(2))
        pnl = rollout(scenario, episodes, DeltaHedge()).pnl
        gains, bill = gamma_gains(episodes), theta_bill(episodes)
        unexplained.append(float((pnl - gains + bill).std()))
        account = scalp(scenario, episodes, pnl, 0.25)
        assert account.gamma_gains.value == pytest.approx(gains.mean())
        assert account.theta_bill.value == pytest.approx(bill.mean())
        error = pnl.std() / account.edge / np.sqrt(2000)
        assert abs(account.capture.value - 1) < SIGMAS * error
        assert account.pnl.value == pytest.approx(account.capture.value * account.edge)
    assert unexplained[1] < unexplained[0] / 2.5
    assert unexplained[1] < 0.05 * pnl.std() + 0.1


def test_the_bill_of_a_step_is_the_theta_of_the_straddle() -> None:
    """The first day of 63: theta = -S phi(d1) sigma / sqrt(T) of the two, by hand."""
    scenario = load_scenario("gamma-scalping", {"calendar.steps": "1"})
    episodes = simulate(scenario, 4, torch.Generator().manual_seed(2))
    density = np.exp(-(0.05**2) / 2) / np.sqrt(2 * np.pi)  # d1 = 0.2 sqrt(1/4) / 2
    assert theta_bill(episodes) == pytest.approx(100 * density * 0.2 / 0.5 * 0.25)
    move = episodes.spot[1].numpy() - 100
    assert gamma_gains(episodes) == pytest.approx(density / (100 * 0.2 * 0.5) * move**2)


def test_dear_options_have_a_negative_edge_and_interest_counts() -> None:
    # At the money a call is worth 100 (2 N(sigma sqrt(T) / 2) - 1), and a put as much.
    both = 400 * (norm.cdf(0.0625) - norm.cdf(0.05))
    assert edge(load_scenario("gamma-scalping"), 0.25) == pytest.approx(both, abs=1e-9)
    assert edge(load_scenario("gamma-scalping-dear"), 0.2) == pytest.approx(-both, abs=1e-9)
    # By QuantLib-checked prices at r = 5 %, half a year: 9.6349 and 6.8887.
    changes = {"market.rate": "0.05", "calendar.days": "182.5", "position.legs.1.quantity": "1e-12"}
    with_interest = edge(load_scenario("gamma-scalping", changes), 0.3)
    assert with_interest == pytest.approx((9.6349 - 6.8887) * np.exp(0.025), abs=2e-4)


@pytest.mark.parametrize(
    ("preset", "message"),
    [("vega-hedging-sabr", "marked by black-scholes"), ("book-jumps", "to the end")],
)
def test_what_has_no_edge_is_refused(preset: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        edge(load_scenario(preset), 0.2)


def test_nothing_to_capture_is_refused() -> None:
    scenario = load_scenario("gamma-scalping")
    episodes = simulate(scenario, 4, torch.Generator().manual_seed(2))
    with pytest.raises(ValueError, match="the marks' own"):
        scalp(scenario, episodes, np.zeros(4), 0.2)

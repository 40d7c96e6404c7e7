"""The risk of quantiles: the objective's own risk of a sample, with its slopes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.agents.risk_critics import risk_of_quantiles
from deephedge.envs.objectives import (
    CVaR,
    Entropic,
    Expectile,
    MeanStd,
    MeanVariance,
    Objective,
    Quadratic,
    SemiQuadratic,
    VaR,
)
from deephedge.envs.shortfall import Shortfall

OBJECTIVES: list[Objective] = [
    Entropic(aversion=0.4),
    CVaR(level=0.95),
    CVaR(level=0.5),
    CVaR(level=0.07),
    VaR(level=0.95),
    VaR(level=0.5),
    VaR(level=0.001),
    MeanStd(weight=1.5),
    MeanVariance(aversion=0.3),
    Quadratic(),
    SemiQuadratic(),
    Expectile(level=0.9),
    Expectile(level=0.501),
    Shortfall(threshold=1.5, weight=4.0),
]


def by_label(objective: Objective) -> str:
    return objective.label


def sample(rows: int, n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3.0 * torch.randn((rows, n), generator=generator, dtype=torch.float64) + 0.5


@pytest.mark.parametrize("objective", OBJECTIVES, ids=by_label)
@pytest.mark.parametrize("n", [2, 3, 20, 33])
def test_it_is_the_risk_of_each_row_as_a_sample(objective: Objective, n: int) -> None:
    losses = sample(50, n)
    losses[10:20] = losses[10:20].round()  # ties
    losses[20] = 1.25
    found = risk_of_quantiles(objective, losses).numpy()
    expected = [objective.risk(row) for row in losses.numpy()]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=by_label)
def test_its_slopes_are_those_of_the_risk(objective: Objective) -> None:
    """Central differences of `Objective.risk`, which shares no code with it."""
    losses = sample(1, 33, seed=1)[0].requires_grad_()
    (slopes,) = torch.autograd.grad(risk_of_quantiles(objective, losses), losses)
    row, step = losses.detach().numpy(), 1e-5
    for i in range(len(row)):
        move = np.zeros_like(row)
        move[i] = step
        difference = objective.risk(row + move) - objective.risk(row - move)
        assert slopes[i].item() == pytest.approx(difference / (2 * step), abs=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=by_label)
def test_equal_losses_have_finite_slopes(objective: Objective) -> None:
    losses = torch.zeros(8, requires_grad=True)
    (slopes,) = torch.autograd.grad(risk_of_quantiles(objective, losses), losses)
    assert torch.isfinite(slopes).all()


def test_the_quantiles_of_a_law_give_its_risk() -> None:
    """A thousand midpoints of the normal law, against its closed forms."""
    levels = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    losses = 2.0 * torch.special.ndtri(levels) + 1.0
    z = 1.6448536
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    expected = {
        CVaR(level=0.95): 1.0 + 2.0 * density / 0.05,
        VaR(level=0.95): 1.0 + 2.0 * z,
        MeanStd(weight=1.5): 1.0 + 3.0,
        Entropic(aversion=0.4): 1.0 + 0.2 * 4.0,
        Quadratic(): np.sqrt(5.0),
    }
    for objective, value in expected.items():
        assert float(risk_of_quantiles(objective, losses)) == pytest.approx(value, rel=0.005)


def test_an_objective_without_a_formula_is_refused() -> None:
    own: Any = SimpleNamespace(label="own risk")
    with pytest.raises(ValueError, match="own risk has no formula in quantiles: take cvar"):
        risk_of_quantiles(own, torch.zeros(2))

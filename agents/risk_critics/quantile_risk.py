"""The risk of equally likely losses, with gradients: what an actor lowers."""

from __future__ import annotations

import math
from functools import singledispatch

import torch
from torch import Tensor

from ...envs.namespace import TORCH
from ...envs.objectives import (
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
from ...envs.sample import rank
from ...envs.shortfall import Shortfall

LEAST_SQUARE = 1e-24  # money squared: keeps the slope of a root finite at 0


@singledispatch
def risk_of_quantiles(objective: Objective, losses: Tensor) -> Tensor:
    """The risk of ``n`` equally likely losses in every row, money; ``[..., n]`` to ``[...]``.

    Equal to `Objective.risk` of each row as a sample, and differentiable in the losses; the rows
    need not be sorted. Evidence: tests/agents/test_quantile_risk.py.

    Raises:
        ValueError: for an objective that has no formula here.
    """
    raise ValueError(
        f"{objective.label} has no formula in quantiles: take cvar, var, mean-std, mean-variance, "
        "entropic, expectile, quadratic, semi-quadratic or shortfall, or train ppo"
    )


@risk_of_quantiles.register
def _entropic(objective: Entropic, losses: Tensor) -> Tensor:
    a = objective.aversion
    return (torch.logsumexp(a * losses, -1) - math.log(losses.shape[-1])) / a


@risk_of_quantiles.register
def _cvar(objective: CVaR, losses: Tensor) -> Tensor:
    """The mean of the worst 1 - level, the boundary loss counting in part."""
    n = losses.shape[-1]
    upper = torch.arange(1, n + 1, dtype=losses.dtype, device=losses.device)
    beyond = (upper - n * objective.level).clamp(0.0, 1.0)
    return (losses.sort(-1).values * beyond).sum(-1) / (n * (1.0 - objective.level))


@risk_of_quantiles.register
def _var(objective: VaR, losses: Tensor) -> Tensor:
    """The loss at the level."""
    return losses.sort(-1).values[..., rank(losses.shape[-1], objective.level) - 1]


@risk_of_quantiles.register
def _mean_std(objective: MeanStd, losses: Tensor) -> Tensor:
    return losses.mean(-1) + objective.weight * _root(losses.var(-1, correction=0))


@risk_of_quantiles.register
def _mean_variance(objective: MeanVariance, losses: Tensor) -> Tensor:
    return losses.mean(-1) + 0.5 * objective.aversion * losses.var(-1, correction=0)


@risk_of_quantiles.register
def _quadratic(objective: Quadratic, losses: Tensor) -> Tensor:
    return _root((losses * losses).mean(-1))


@risk_of_quantiles.register
def _semi_quadratic(objective: SemiQuadratic, losses: Tensor) -> Tensor:
    shortfall = losses.clamp(min=0.0)
    return _root((shortfall * shortfall).mean(-1))


@risk_of_quantiles.register
def _shortfall(objective: Shortfall, losses: Tensor) -> Tensor:
    each: Tensor = objective.pointwise(losses, (), TORCH)
    return each.mean(-1)


@risk_of_quantiles.register
def _expectile(objective: Expectile, losses: Tensor) -> Tensor:
    """The mean weighted by level above itself and 1 - level below.

    Between two losses the first-order condition is linear, so the weights are constants there:
    they carry no gradient of their own.
    """
    ordered, n = losses.detach().sort(-1).values, losses.shape[-1]
    below = ordered.cumsum(-1)
    number = torch.arange(1, n + 1, dtype=losses.dtype, device=losses.device)
    excess = below[..., -1:] - below - (n - number) * ordered
    balance = objective.level * excess - (1.0 - objective.level) * (number * ordered - below)
    under = (balance >= 0.0).sum(-1, keepdim=True).clamp(min=1)  # losses up to the expectile
    last = ordered.gather(-1, under - 1)
    above = (losses > last).to(losses.dtype)
    weight = objective.level * above + (1.0 - objective.level) * (1.0 - above)
    return (weight * losses).sum(-1) / weight.sum(-1)


def _root(square: Tensor) -> Tensor:
    return square.clamp(min=LEAST_SQUARE).sqrt()

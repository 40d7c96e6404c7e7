"""Feedback: the market's moves as a crowd of delta hedgers amplifies them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .frictions import Crowd
from .markets import MarketPaths
from .scenario import Scenario
from .valuation import gamma_at

LEAST_GROSS_RETURN = 1e-3  # an amplified crash leaves a price


def fed_back(scenario: Scenario, paths: MarketPaths) -> MarketPaths:
    """The first asset's paths with `Crowd`'s feedback; as they are where there is no crowd.

    ``S_{t+1} = S_t (E_t + m_t (R_t - E_t))``: R is the gross return without the crowd, E its
    expectation, m the crowd's `Crowd.amplified` at S_t. So discounted prices that were martingales
    still are. Evidence: tests/envs/test_feedback.py.
    """
    crowd = scenario.crowd
    if crowd is None:
        return paths
    gross = torch.exp(paths.log_spot.diff(dim=0))
    expected = _expected(scenario, paths)
    jump = None if paths.jump is None else paths.jump.clone()
    spots = [paths.spot[0]]
    for t in range(len(gross)):
        multiple = crowd.amplified(spots[t], _gamma(scenario, crowd, paths, t, spots[t]))
        mean = expected[t]
        moved = (mean + multiple * (gross[t] - mean)).clamp(min=LEAST_GROSS_RETURN)
        spots.append(spots[t] * moved)
        if jump is not None:
            size = multiple * torch.expm1(jump[t + 1])
            jump[t + 1] = torch.log1p(size.clamp(min=LEAST_GROSS_RETURN - 1.0))
    spot = torch.stack(spots)
    return replace(paths, spot=spot, log_spot=spot.log(), jump=jump)


def _expected(scenario: Scenario, paths: MarketPaths) -> Tensor:
    """``E[S_{t+1}] / S_t``, ``[T, 1 or N]``; 1 where the market cannot tell."""
    if paths.expected is not None:
        return paths.expected
    drift = scenario.market.drift if scenario.market.foresees else 0.0
    return torch.exp(drift * paths.times.diff(dim=0)).to(paths.spot.dtype)


def _gamma(scenario: Scenario, crowd: Crowd, paths: MarketPaths, t: int, spot: Tensor) -> Tensor:
    """Of the crowd's legs at date t and ``spot [N]``, ``[N]``."""
    parts = [leg.quantity * gamma_at(scenario, leg.claim, paths, t, spot) for leg in crowd.legs]
    return torch.stack(parts).sum(dim=0)

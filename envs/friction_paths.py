"""Frictions along the paths: what each decision date adds to the cost of trading and holding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .frictions import Impact
from .namespace import X
from .scenario import Scenario


class FrictionPaths(NamedTuple):
    """T steps, N paths; tuples have one entry per instrument, null is none of it.

    Attributes:
        closed: where nothing can be traded, ``[T+1, N]``.
        spread: what the terms of each cost are multiplied by, ``[T+1, N]``.
        slippage: the fraction of the price that a traded unit loses, ``[T+1, N]``.
        decay: what is left of a displacement a step later, ``[T, 1 or N]``.
        borrow: due at t+1 on a unit that is short, of the price at t, ``[T, 1 or N]``.
        funding: the interest that borrowed cash pays beyond the rate's, ``[T, 1 or N]``.
        lost: of the price of what was bought of a counterparty, ``[T+1, N]``.
    """

    closed: X | None = None
    spread: tuple[X, ...] | None = None
    slippage: tuple[X, ...] | None = None
    decay: tuple[X, ...] | None = None
    borrow: tuple[X, ...] | None = None
    funding: X | None = None
    lost: X | None = None


class Seen(NamedTuple):
    """What frictions depend on, on the decision dates and the end.

    Times in years ``[T+1, 1 or N]``; the first asset's log-spot ``[T+1, N]``, quoted vol and jumps
    as in `Episodes`; the listed options' deltas ``[T+1, N]``, null for what is none.
    """

    times: Tensor
    log_spot: Tensor
    vol: Tensor
    jump: Tensor | None
    deltas: Sequence[Tensor | None]


def friction_paths(
    scenario: Scenario, seen: Seen, generator: torch.Generator
) -> FrictionPaths | None:
    """The frictions of a batch; null where nothing but costs stands in the way."""
    if not scenario.frictions:
        return None
    execution, like, counterparty = scenario.execution, seen.log_spot, scenario.counterparty
    return FrictionPaths(
        closed=execution.closed(like, generator),
        slippage=execution.slip(like, len(scenario.columns), generator),
        lost=None if counterparty is None else counterparty.lost(seen.times, like, generator),
        spread=_spreads(scenario, seen),
        decay=_decays(scenario, seen),
        borrow=_borrow_fees(scenario, seen),
        funding=_funding(scenario, seen),
    )


def _spreads(scenario: Scenario, seen: Seen) -> tuple[Tensor, ...] | None:
    widening = [hedge.spread for hedge in scenario.columns]
    if not any(widening):
        return None
    like = seen.log_spot
    return tuple(
        torch.ones_like(like)
        if each is None
        else each.level(seen.times, seen.vol, seen.jump, delta, like)
        for each, delta in zip(widening, seen.deltas, strict=True)
    )


def _decays(scenario: Scenario, seen: Seen) -> tuple[Tensor, ...] | None:
    impacts = [hedge.impact for hedge in scenario.columns]
    if not any(impact is not None and impact.transient for impact in impacts):
        return None
    dt = seen.times.diff(dim=0)

    def left(impact: Impact | None) -> Tensor:
        if impact is None or impact.half_life == 0:
            return torch.zeros_like(dt)
        return torch.exp2(-dt / impact.half_life_years)

    return tuple(left(impact).to(seen.log_spot.dtype) for impact in impacts)


def _borrow_fees(scenario: Scenario, seen: Seen) -> tuple[Tensor, ...] | None:
    fees = [hedge.borrow_fee for hedge in scenario.columns]
    if not any(fees):
        return None
    dt = seen.times.diff(dim=0)
    return tuple(torch.expm1(fee * dt).to(seen.log_spot.dtype) for fee in fees)


def _funding(scenario: Scenario, seen: Seen) -> Tensor | None:
    spread, rate = scenario.financing.funding_spread, scenario.market.rate
    if not spread:
        return None
    dt = seen.times.diff(dim=0)
    return (torch.expm1((rate + spread) * dt) - torch.expm1(rate * dt)).to(seen.log_spot.dtype)

"""What a scenario's claims are worth on market paths, and when they pay."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .instruments import AmericanPut, Claim, Path
from .markets import MarketPaths
from .pricing import Greeks
from .scenario import Scenario

NEAR = 1e-6  # of a mean step: a time so near to a date is that date


def value(scenario: Scenario, claim: Claim, paths: MarketPaths) -> Greeks:
    """The claim's marks and Greeks on every market date, ``[T+1, N]``."""
    return scenario.marking.value(claim, maturity_of(claim, paths), scenario.market, paths)


def gamma_at(scenario: Scenario, claim: Claim, paths: MarketPaths, t: int, spot: Tensor) -> Tensor:
    """The gamma ``[N]`` of a European claim at market date t, were the first asset at ``spot``."""
    here = paths.at([t, len(paths.times) - 1])  # the end too: the clock of variance runs to it
    moved = replace(
        here,
        spot=torch.stack([spot, here.spot[1]]),
        log_spot=torch.stack([spot.log(), here.log_spot[1]]),
    )
    return scenario.marking.value(claim, maturity_of(claim, paths), scenario.market, moved).gamma[0]


def exercises(scenario: Scenario, claim: Claim, paths: MarketPaths) -> Tensor | None:
    """Where the holder exercises if he has not yet, ``[T+1, N]``; null if he never may early."""
    if not isinstance(claim, AmericanPut):
        return None
    return scenario.marking.exercises(claim, maturity_of(claim, paths), scenario.market, paths)


def settlement(claim: Claim, times: Tensor) -> int | None:
    """The market date at which the claim pays, null when it outlives the episode."""
    if claim.maturity is None:
        return len(times) - 1
    dates = times[:, 0]
    if claim.maturity > float(dates[-1] + NEAR * (dates[-1] - dates[0]) / max(len(dates) - 1, 1)):
        return None
    return int((dates - claim.maturity).abs().argmin())


def payoff(claim: Claim, paths: MarketPaths, date: int) -> Tensor:
    """What the claim pays ``[N]`` at the market date ``date``, its maturity."""
    until = slice(date + 1)
    assets = tuple(asset.spot[until] for asset in paths.assets)
    return claim.payoff(Path(paths.times[until], assets[claim.asset], assets))


def maturity_of(claim: Claim, paths: MarketPaths) -> Tensor:
    """A claim's maturity in years, ``[1 or N]``.

    Within the episode it is that of the date itself, however it was rounded.
    """
    date = settlement(claim, paths.times)
    return paths.times.new_tensor([claim.maturity]) if date is None else paths.times[date]

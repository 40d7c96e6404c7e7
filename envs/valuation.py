"""What a scenario's claims are worth on market paths, and when they pay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from .instruments import AmericanPut, Call, CashFlows, Claim, Path, Put
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
    return claim.payoff(_path(claim, paths, date))


def cash_flows(claim: Claim, paths: MarketPaths) -> CashFlows | None:
    """What the claim pays before its maturity, up to it or the episode's end; null: nothing."""
    if not claim.pays_early:
        return None
    return claim.cash_flows(_path(claim, paths, settlement(claim, paths.times)))


def _path(claim: Claim, paths: MarketPaths, date: int | None) -> Path:
    """What the claim sees up to a market date; null: the last."""
    until = slice(None if date is None else date + 1)
    assets = tuple(asset.spot[until] for asset in paths.assets)
    default = paths.assets[claim.asset].default
    return Path(
        paths.times[until],
        assets[claim.asset],
        assets,
        None if default is None else default[until],
    )


def maturity_of(claim: Claim, paths: MarketPaths) -> Tensor:
    """A claim's maturity in years, ``[1 or N]``.

    Within the episode it is that of the date itself, however it was rounded.
    """
    date = settlement(claim, paths.times)
    return paths.times.new_tensor([claim.maturity]) if date is None else paths.times[date]


@dataclass(frozen=True)
class Listing:
    """An option listed along the way, whose strike is another on every path.

    Prices are homogeneous in spot and strike, once the market's latents are in the same units: the
    option is valued in units of the listing's spot, where its strike is the same on every path.

    Attributes:
        claim: the option in these units.
        paths: the market's from the listing on, in these units.
        unit: the spot at the listing, ``[N]``.
    """

    claim: Call | Put
    paths: MarketPaths
    unit: Tensor

    def greeks(self, scenario: Scenario) -> list[Tensor]:
        """Price, delta, gamma, vega and theta in money on every date from the listing on."""
        found = value(scenario, self.claim, self.paths)[:5]
        price, delta, gamma, vega, theta = (g.expand_as(self.paths.spot) for g in found)
        return [price * self.unit, delta, gamma / self.unit, vega * self.unit, theta * self.unit]

    @property
    def expiry(self) -> int | None:
        """The market date at which it pays, counted from its listing; null: after the end."""
        return settlement(self.claim, self.paths.times)

    def payoff(self, date: int) -> Tensor:
        """What it pays ``[N]`` at its expiry, money."""
        return payoff(self.claim, self.paths, date) * self.unit


def listed(
    scenario: Scenario,
    option: Literal["call", "put"],
    terms: tuple[float, float, int],
    paths: MarketPaths,
    date: int,
    until: int | None = None,
) -> Listing:
    """The option listed at a market date, its moneyness, tenor and asset being ``terms``.

    It is followed ``until`` a market date; null: to the end.
    """
    moneyness, tenor, asset = terms
    unit = paths.assets[asset].spot[date]
    scaled = _in_units(paths, asset, unit, slice(date, None if until is None else until + 1))
    market, since = scenario.market, paths.times[date] - paths.times[0]
    driftless = unit * torch.exp(-market.drifts[asset] * since).to(unit.dtype)
    scaled = replace(scaled, latents=market.in_units(scaled.latents, driftless))
    kind = Call if option == "call" else Put
    expiry = float(paths.times[date, 0]) + tenor
    return Listing(kind(strike=moneyness, maturity=expiry, asset=asset), scaled, unit)


def _in_units(paths: MarketPaths, asset: int, unit: Tensor, rows: slice) -> MarketPaths:
    """The paths from a date on, with an asset's prices in units of ``unit [N]``."""
    first, *others = paths.at(rows).assets

    def scaled(given: MarketPaths) -> MarketPaths:
        return replace(given, spot=given.spot / unit, log_spot=given.log_spot - unit.log())

    sections = [scaled(p) if j == asset else p for j, p in enumerate([first, *others])]
    return replace(sections[0], others=tuple(sections[1:]))

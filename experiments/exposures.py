"""Exposures: the Greeks of every leg and hedge instrument along the paths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..envs import Scenario
from ..envs.client_orders import Orders, draw_orders
from ..envs.instrument_quotes import Quotes, quote
from ..envs.instruments import Claim, Instrument, Leg, ListedOption, Position, RolledOption
from ..envs.markets import MarketPaths
from ..envs.position_marks import mark_position
from ..envs.valuation import maturity_of, value
from .revaluation import VolMove, shifted_vol, vol_move

TINY = 1e-12
SHIFT = 1e-3  # of the vol, for the central differences of vanna and volga
BUMP = 1e-4  # of the spot, for those of gammas across assets


@dataclass(frozen=True)
class Exposure:
    """What one leg or hedge instrument is exposed to, per unit; rows are dates.

    Attributes:
        assets: each asset with the delta to it, ``[T, N]``.
        gamma, theta, vega: ``[T, N]``; gamma to the asset that comes first.
        curved: the gammas that a claim on several assets has besides, as (asset, asset, gamma
            ``[T, N]``), each pair in both orders.
        move: how its vol moves over each step; null: it stands still.
        vanna, volga: how delta and vega move with the vol, ``[T, N]``; null with ``move``.
    """

    assets: tuple[tuple[int, Tensor], ...]
    gamma: Tensor
    theta: Tensor
    vega: Tensor
    curved: tuple[tuple[int, int, Tensor], ...] = ()
    move: VolMove | None = None
    vanna: Tensor | None = None
    volga: Tensor | None = None

    @property
    def greeks(self) -> dict[str, Tensor]:
        """By name, as `Attribution.greeks`."""
        deltas = {f"delta_{asset}" if asset else "delta": d for asset, d in self.assets}
        return deltas | {"gamma": self.gamma, "vega": self.vega, "theta": self.theta}


def decision_dates(scenario: Scenario, paths: MarketPaths) -> list[int]:
    """The market dates at which accounts are kept, the end included."""
    dates = [*scenario.calendar.decisions, scenario.calendar.steps]
    return dates if len(paths.times) == scenario.calendar.steps + 1 else [*range(len(paths.times))]


def exposures(
    scenario: Scenario, paths: MarketPaths, dates: list[int], held: Tensor
) -> Iterator[tuple[Tensor | float, Exposure]]:
    """Every leg and hedge instrument: how much of it, and what a unit is exposed to."""
    for leg in scenario.position.legs:
        yield 1.0, _leg(scenario, leg, paths, dates)
    if scenario.position.flow is not None:
        yield 1.0, _clients(scenario, paths, dates)
    column = 0
    for instrument in [hedge.instrument for hedge in scenario.hedges]:
        for quotes in quote(scenario, instrument, paths, dates):
            if held[..., column].any():
                yield held[..., column], _instrument(scenario, instrument, paths, dates, quotes)
            column += 1


def _leg(scenario: Scenario, leg: Leg, paths: MarketPaths, dates: list[int]) -> Exposure:
    alone = scenario.model_copy(update={"position": Position(legs=(leg,))})
    book = mark_position(alone, paths, dates)
    claim = leg.claim
    order = [claim.asset, *(a for a in range(len(book.deltas)) if a != claim.asset)]
    exposure = Exposure(
        assets=tuple((asset, book.deltas[asset][:-1]) for asset in order),
        gamma=book.gamma[:-1],
        theta=book.theta[:-1],
        vega=book.vega[:-1],
    )
    if claim.reach != claim.asset:
        curved = _curved(scenario, leg, paths, dates, [*range(claim.reach + 1)])
        alive = exposure.gamma != 0
        exposure = replace(exposure, curved=tuple((i, j, alive * g) for i, j, g in curved))
    exposure = _paced(scenario, claim, paths, dates, exposure, book.mark[:-1])
    return _with_vol(scenario, claim, paths, dates, exposure, leg.quantity)


def _clients(scenario: Scenario, paths: MarketPaths, dates: list[int]) -> Exposure:
    """All client orders together, without the cross effects of a vol that moves."""
    flow = scenario.position.flow
    assert flow is not None
    position = scenario.position.model_copy(update={"legs": ()})
    alone = scenario.model_copy(update={"position": position})
    book = mark_position(alone, paths, dates, client_orders(scenario, paths, dates))
    delta = book.deltas[flow.asset][:-1]
    exposure = Exposure(((flow.asset, delta),), book.gamma[:-1], book.theta[:-1], book.vega[:-1])
    move = vol_move(scenario, paths, dates, flow.asset)
    zero = torch.zeros_like(delta)
    return exposure if move is None else replace(exposure, move=move, vanna=zero, volga=zero)


def client_income(scenario: Scenario, paths: MarketPaths, dates: list[int]) -> Tensor:
    """What clients paid beyond the marks, over each step ``[T, N]``."""
    orders = client_orders(scenario, paths, dates)
    assert orders is not None
    at_mark = replace(orders, flow=orders.flow.model_copy(update={"spread": 0.0}))
    dealt, fair = [mark_position(scenario, paths, dates, each) for each in (orders, at_mark)]
    return (dealt.cash_flow - fair.cash_flow)[1:]


def client_orders(scenario: Scenario, paths: MarketPaths, dates: list[int]) -> Orders | None:
    """The orders that `mark` draws without a generator."""
    generator = torch.Generator(paths.spot.device).manual_seed(0)
    return draw_orders(scenario.position.flow, paths.times[dates], paths.spot, generator)


def _curved(
    scenario: Scenario, leg: Leg, paths: MarketPaths, dates: list[int], assets: list[int]
) -> Iterator[tuple[int, int, Tensor]]:
    """All gammas of a leg on several assets but its own, by central differences of its deltas."""
    claim = leg.claim
    for j in assets:
        up, down = [
            dict([(claim.asset, greeks.delta), *greeks.others])
            for h in (BUMP, -BUMP)
            for greeks in [value(scenario, claim, _bumped(paths, j, h))]
        ]
        step = 2 * BUMP * paths.assets[j].spot[dates][:-1]
        for i in assets:
            if i in up and (i, j) != (claim.asset, claim.asset):
                yield i, j, leg.quantity * (up[i] - down[i])[dates][:-1] / step


def _bumped(paths: MarketPaths, asset: int, share: float) -> MarketPaths:
    """One asset's prices moved by a share of them."""
    factor = torch.ones_like(paths.spot[:1]) * (1.0 + share)
    moved = [
        replace(own, spot=own.spot * factor, log_spot=own.log_spot + factor.log())
        if j == asset
        else own
        for j, own in enumerate(paths.assets)
    ]
    return replace(moved[0], others=tuple(moved[1:]))


def _instrument(
    scenario: Scenario,
    instrument: Instrument,
    paths: MarketPaths,
    dates: list[int],
    quotes: Quotes,
) -> Exposure:
    zero = torch.zeros_like(quotes.price[:-1])
    delta = zero + 1.0 if quotes.delta is None else quotes.delta[:-1]
    given = (quotes.gamma, quotes.theta, quotes.vega)
    gamma, theta, vega = (zero if values is None else values[:-1] for values in given)
    exposure = Exposure(((quotes.asset, delta),), gamma, theta, vega)
    if isinstance(instrument, ListedOption):
        claim = instrument.option
        exposure = _paced(scenario, claim, paths, dates, exposure, quotes.price[:-1])
        return _with_vol(scenario, claim, paths, dates, exposure)
    if not isinstance(instrument, RolledOption):
        return exposure
    move = vol_move(scenario, paths, dates, instrument.asset)
    if move is None:
        return exposure
    (up,), (down,) = [
        quote(*_swap(shifted_vol(scenario, paths, h), instrument), dates) for h in (SHIFT, -SHIFT)
    ]
    assert up.delta is not None and down.delta is not None
    assert up.vega is not None and down.vega is not None
    vanna, volga = (up.delta - down.delta)[:-1], (up.vega - down.vega)[:-1]
    return replace(exposure, move=move, vanna=vanna / (2 * SHIFT), volga=volga / (2 * SHIFT))


def _swap(
    shifted: tuple[Scenario, MarketPaths], instrument: Instrument
) -> tuple[Scenario, Instrument, MarketPaths]:
    return shifted[0], instrument, shifted[1]


def _with_vol(
    scenario: Scenario,
    claim: Claim,
    paths: MarketPaths,
    dates: list[int],
    exposure: Exposure,
    quantity: float = 1.0,
) -> Exposure:
    """With the moves of its vol, vanna and volga where the claim is still alive."""
    move = vol_move(scenario, paths, dates, claim.asset, claim)
    if move is None:
        return exposure
    up, down = [
        value(moved, claim, shifted)
        for h in (SHIFT, -SHIFT)
        for moved, shifted in [shifted_vol(scenario, paths, h)]
    ]
    delta = exposure.assets[0][1]
    alive = (delta != 0) | (exposure.gamma != 0) | (exposure.vega != 0)
    scale = alive * quantity / (2 * SHIFT)
    vanna = (up.delta - down.delta)[dates][:-1] * scale
    volga = (up.vega - down.vega)[dates][:-1] * scale
    return replace(exposure, move=move, vanna=vanna, volga=volga)


def _paced(
    scenario: Scenario,
    claim: Claim,
    paths: MarketPaths,
    dates: list[int],
    exposure: Exposure,
    price: Tensor,
) -> Exposure:
    """With theta's time value on the clock of variance, where there is one.

    The marking spreads the variance left evenly over the time left; a step has its own.
    """
    if paths.clock is None:
        return exposure
    market = scenario.market
    carry = market.rate * price
    for asset, delta in exposure.assets:
        spot = paths.assets[asset].spot[dates][:-1]
        carry = carry - (market.rate - market.dividends[asset]) * spot * delta
    terms = scenario.marking.terms(claim, maturity_of(claim, paths), market, paths)
    pace = (terms.variance_tau / terms.tau.clamp(min=TINY))[dates][:-1]
    step = paths.clock[dates].diff(dim=0) / paths.times[dates].diff(dim=0)
    value_of_time = (exposure.theta - carry) * step / pace.clamp(min=TINY)
    return replace(exposure, theta=carry + value_of_time)

"""The hedge instruments along the paths: prices, Greeks and settlements on the decision dates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .instruments import (
    Future,
    Instrument,
    ListedOption,
    OnTheRunOption,
    RolledOption,
    SpotStruckOption,
    Underlying,
)
from .markets import MarketPaths
from .scenario import Scenario
from .valuation import NEAR, listed, payoff, settlement, value


@dataclass(frozen=True)
class Quotes:
    """One instrument; arrays ``[T+1, N]`` on the decision dates and the end.

    Attributes:
        asset: which one it is written on.
        price: mid; at a settlement for good the payoff, 0 after it.
        arrival: what a holding of the step that ended is worth, where an expiry makes that differ
            from the price at which the next contract trades; null: the price.
        delta: to its asset; null: 1.
        gamma, vega, theta: null: 0.
        carry: cash at t+1 on a unit held, ``[T, N]``; null: none.
        expected: what is expected of ``arrival_{t+1} / price_t``, ``[T, 1 or N]``; null: not known.
        settles: whether it is settled at each date.
        relisted: whether the next contract follows.
        closed: whether it cannot be traded at each date; null: it always can.
    """

    asset: int
    price: Tensor
    settles: tuple[bool, ...]
    arrival: Tensor | None = None
    delta: Tensor | None = None
    gamma: Tensor | None = None
    vega: Tensor | None = None
    theta: Tensor | None = None
    carry: Tensor | None = None
    expected: Tensor | None = None
    relisted: bool = False
    closed: tuple[bool, ...] | None = None


def quote(
    scenario: Scenario, instrument: Instrument, paths: MarketPaths, dates: list[int]
) -> tuple[Quotes, ...]:
    """The quotes on the decision ``dates`` (indices of market dates); one for each contract."""
    if isinstance(instrument, OnTheRunOption):
        return _on_the_run(scenario, instrument, paths, dates)
    return (_QUOTERS[type(instrument)](scenario, instrument, paths, dates),)


def _underlying(
    scenario: Scenario, instrument: Underlying, paths: MarketPaths, dates: list[int]
) -> Quotes:
    spot = _at(paths.assets[instrument.asset].spot, dates)
    yield_ = scenario.market.dividends[instrument.asset]
    dt = _at(paths.times, dates).diff(dim=0)
    return Quotes(
        instrument.asset,
        spot,
        (False,) * len(dates),
        carry=torch.expm1(yield_ * dt).to(spot.dtype) * spot[1:] if yield_ else None,
        expected=_expected(scenario, instrument.asset, paths, dates),
    )


def _expected(
    scenario: Scenario, asset: int, paths: MarketPaths, dates: list[int]
) -> Tensor | None:
    """``E[S_{t+1}] / S_t`` over the steps between decisions, null where the market cannot tell."""
    given = paths.assets[asset].expected
    if given is not None:
        return given if len(dates) == len(paths.times) else None
    if not scenario.market.foresees:
        return None
    dt = _at(paths.times, dates).diff(dim=0)
    return torch.exp(scenario.market.drifts[asset] * dt).to(paths.spot.dtype)


def _listed(
    scenario: Scenario, instrument: ListedOption, paths: MarketPaths, dates: list[int]
) -> Quotes:
    claim = instrument.option
    price, *greeks = [_at(g, dates) for g in value(scenario, claim, paths)[:5]]
    date = settlement(claim, paths.times)
    settles = tuple(date is not None and other == date for other in dates)
    if date is not None:
        row = dates.index(date)
        price, *greeks = (g.clone() for g in (price, *greeks))
        price[row] = payoff(claim, paths, date)
        price[row + 1 :] = 0.0
        for values in greeks:
            values[row:] = 0.0
    delta, gamma, vega, theta = greeks
    return Quotes(claim.asset, price, settles, delta=delta, gamma=gamma, vega=vega, theta=theta)


def _future(scenario: Scenario, instrument: Future, paths: MarketPaths, dates: list[int]) -> Quotes:
    asset, market = instrument.asset, scenario.market
    spot, times = _at(paths.assets[asset].spot, dates), _at(paths.times, dates)
    cost_of_carry = market.rate - market.dividends[asset] + instrument.basis
    rolls = _rolls(times, instrument.tenor)
    listing = torch.tensor(rolls, device=times.device).cumsum(0)
    starts = times[[0, *(row for row, rolled in enumerate(rolls) if rolled)]]
    left = starts[listing] + instrument.tenor - times
    delta = torch.exp(cost_of_carry * left).to(spot.dtype).expand_as(spot)
    price = spot * delta
    # The future that expires is settled at the spot.
    arrival = torch.where(torch.tensor(rolls, device=spot.device)[:, None], spot, price)
    dt = times.diff(dim=0)
    expected = _expected(scenario, asset, paths, dates)
    return Quotes(
        asset,
        price,
        tuple(rolls),
        arrival=arrival if any(rolls) else None,
        delta=delta,
        theta=-cost_of_carry * price if cost_of_carry else None,
        # Buying one ties up no cash: what its price costs in interest comes back.
        carry=torch.expm1(market.rate * dt).to(spot.dtype) * price[:-1] if market.rate else None,
        expected=None if expected is None else expected * torch.exp(-cost_of_carry * dt),
        relisted=True,
    )


def _rolled(
    scenario: Scenario, instrument: RolledOption, paths: MarketPaths, dates: list[int]
) -> Quotes:
    rolls = _rolls(_at(paths.times, dates), instrument.tenor)
    listings = [row for row, rolled in enumerate(rolls) if rolled or row == 0]
    parts, expired = [], {}
    for start, stop in pairwise([*listings, len(dates)]):
        # The expiry is this contract's arrival and the next one's listing.
        price, *greeks = _contract(scenario, instrument, paths, dates[start : stop + 1])
        expired[stop] = price[stop - start :]
        parts.append([values[: stop - start] for values in (price, *greeks)])
    price, delta, gamma, vega, theta = (torch.cat(values) for values in zip(*parts, strict=True))
    arrival = price.clone()
    for row in listings[1:]:
        arrival[row] = expired[row][0]
    return Quotes(
        instrument.asset,
        price,
        tuple(rolls),
        arrival=arrival if any(rolls) else None,
        delta=delta,
        gamma=gamma,
        vega=vega,
        theta=theta,
        relisted=True,
    )


def _contract(
    scenario: Scenario, instrument: RolledOption, paths: MarketPaths, dates: list[int]
) -> list[Tensor]:
    """Price, delta, gamma, vega and theta of the option listed at the first of some dates."""
    terms = _terms(instrument)
    listing = listed(scenario, instrument.option, terms, paths, dates[0], until=dates[-1])
    rows = [date - dates[0] for date in dates]
    return [greek[rows] for greek in listing.greeks(scenario)]


def _on_the_run(
    scenario: Scenario, instrument: OnTheRunOption, paths: MarketPaths, dates: list[int]
) -> tuple[Quotes, ...]:
    """A contract for every decision date, worth nothing before it is listed."""
    contracts = len(scenario.calendar.decisions)
    if len(dates) != contracts + 1:
        raise ValueError(
            f"an on-the-run option on {len(dates) - 1} decision dates, and the scenario has "
            f"{contracts}: set its calendar to the data's dates"
        )
    return tuple(_listed_at(scenario, instrument, paths, dates, row) for row in range(contracts))


def _listed_at(
    scenario: Scenario,
    instrument: OnTheRunOption,
    paths: MarketPaths,
    dates: list[int],
    row: int,
) -> Quotes:
    """The contract that is listed, and traded, at one decision date."""
    listing = listed(scenario, instrument.option, _terms(instrument), paths, dates[row])
    known = [paths.spot.new_zeros((len(dates), paths.spot.shape[1])) for _ in range(5)]
    rows = [date - dates[row] for date in dates[row:]]
    for series, greek in zip(known, listing.greeks(scenario), strict=True):
        series[row:] = greek[rows]
    price, delta, gamma, vega, theta = known
    expiry, last = listing.expiry, len(dates)
    if expiry is not None:
        last = row + rows.index(expiry)
        price[last] = listing.payoff(expiry)
        price[last + 1 :] = 0.0
        for values in (delta, gamma, vega, theta):
            values[last:] = 0.0
    return Quotes(
        instrument.asset,
        price,
        tuple(t == last for t in range(len(dates))),
        delta=delta,
        gamma=gamma,
        vega=vega,
        theta=theta,
        closed=tuple(t != row for t in range(len(dates))),
    )


def _terms(instrument: SpotStruckOption) -> tuple[float, float, int]:
    return instrument.moneyness, instrument.tenor, instrument.asset


def _rolls(times: Tensor, tenor: float) -> list[bool]:
    """Whether the contract listed last expires at each date; the first is listed at date 0."""
    if (times != times[:, :1]).any():
        raise ValueError(
            f"a tenor of {tenor:g} years on dates that differ from path to path: contracts expire "
            "on all paths at once; hedge with an underlying there"
        )
    rolls, dates = [], times[:, 0].tolist()
    listed, near = dates[0], NEAR * (dates[-1] - dates[0]) / (len(dates) - 1)
    for now in dates:
        rolls.append(now > listed + tenor - near)
        listed = now if rolls[-1] else listed
    return rolls


def _at(values: Tensor, dates: list[int]) -> Tensor:
    return values if len(dates) == len(values) else values[dates]


_QUOTERS: dict[type[Instrument], Callable[..., Quotes]] = {
    Underlying: _underlying,
    Future: _future,
    ListedOption: _listed,
    RolledOption: _rolled,
}

"""Revaluation: market paths at other spots and vols, and what the marking makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..envs import Scenario
from ..envs.instruments import Claim
from ..envs.markets import Market, MarketPaths, Uniform
from ..envs.markets.sabr import Sabr
from ..envs.pricing.marking import ModelMarking
from ..envs.valuation import maturity_of

LEAST_VOL = 1e-4  # per sqrt(year), below which no vol is shifted
_TINY = 1e-12


@dataclass(frozen=True)
class VolMove:
    """How the vol that a claim is marked at moves over (t, t+1]; each ``[T, N]``.

    Attributes:
        by_vega: in the vol that vega is the derivative to.
        by_shift: in the vol that `shifted_vol` moves.
    """

    by_vega: Tensor
    by_shift: Tensor


def scaled_spot(paths: MarketPaths, factor: Tensor) -> MarketPaths:
    """Every asset's prices times ``factor``, broadcastable to ``[T+1, N]``."""
    return replace(
        paths,
        spot=paths.spot * factor,
        log_spot=paths.log_spot + factor.log(),
        others=tuple(scaled_spot(other, factor) for other in paths.others),
    )


def shifted_vol(
    scenario: Scenario, paths: MarketPaths, shift: float
) -> tuple[Scenario, MarketPaths]:
    """The scenario and its paths with every vol that a marking reads moved by ``shift``.

    A vol stays above 0.0001. The quoted vols, the root of Heston's variance and SABR's alpha
    F^(beta - 1) are the paths'; a constant marking's vol and the market's sigma the scenario's.
    """
    marking, market = scenario.marking, scenario.market
    if scenario.marking_is_constant:
        vol = getattr(marking, "vol")  # noqa: B009 - a constant marking's own
        marking = marking.model_copy(update={"vol": max(vol + shift, LEAST_VOL)})
    changed = {"marking": marking, "market": _shifted_market(market, shift)}
    return scenario.model_copy(update=changed), _shifted_paths(market, paths, shift)


def _shifted_market(market: Market, shift: float) -> Market:
    sigma = getattr(market, "sigma", None)
    if not isinstance(sigma, float | int):
        return market
    update: dict[str, Any] = {"sigma": max(sigma + shift, LEAST_VOL)}
    others = getattr(market, "others", None)
    if others is not None:
        update["others"] = tuple(
            other.model_copy(update={"sigma": max(other.sigma + shift, LEAST_VOL)})
            for other in others
        )
    return market.model_copy(update=update)


def _shifted_paths(market: Market, paths: MarketPaths, shift: float) -> MarketPaths:
    latents = dict(paths.latents)
    if "variance" in latents:
        root = latents["variance"].clamp(min=0).sqrt() + shift
        latents["variance"] = root.clamp(min=LEAST_VOL) ** 2
    if isinstance(market, Sabr):
        scale = sabr_scale(market, paths)
        latents["alpha"] = (latents["alpha"] + shift / scale).clamp(min=LEAST_VOL)
    return replace(
        paths,
        implied_vol=(paths.implied_vol + shift).clamp(min=LEAST_VOL),
        latents=latents,
        others=tuple(_shifted_paths(market, other, shift) for other in paths.others),
    )


def sabr_scale(market: Sabr, paths: MarketPaths) -> Tensor:
    """F^(beta - 1) ``[T+1, N]``, F the spot before drift: alpha times it is the vol."""
    log_f = paths.log_spot - market.drift * (paths.times - paths.times[:1])
    return torch.exp((market.beta - 1) * log_f)


def vol_move(
    scenario: Scenario,
    paths: MarketPaths,
    dates: list[int],
    asset: int,
    claim: Claim | None = None,
) -> VolMove | None:
    """How an asset's marked vol moves between ``dates``; null where it never does.

    Under a model's marking that vol is the root of the variance (Heston, Bates) or alpha F^(beta -
    1) with F held (SABR); elsewhere the quoted vol, on a skewed surface that of the claim's strike.
    """
    if scenario.marking_is_constant:
        return None
    own, market = paths.assets[asset], scenario.market
    modelled = isinstance(scenario.marking, ModelMarking)
    if modelled and isinstance(market, Sabr):
        return _moves(own.latents["alpha"], sabr_scale(market, own), dates, same=True)
    if modelled and "variance" in own.latents:
        return _moves(own.latents["variance"].clamp(min=0).sqrt(), None, dates, same=True)
    if claim is None:
        return _moves(scenario.marking.quoted_vol(own), None, dates, same=True)
    terms = scenario.marking.terms(claim, maturity_of(claim, paths), market, paths)
    quoted = terms.quoted[asset]
    if terms.paths.clock is None or len(quoted) == 1:
        return _moves(quoted, None, dates, same=True)
    return _moves(quoted, terms.effective(quoted) / quoted.clamp(min=_TINY), dates, same=False)


def _moves(vol: Tensor, scale: Tensor | None, dates: list[int], *, same: bool) -> VolMove | None:
    if len(vol) == 1:
        return None
    moved = vol[dates].diff(dim=0)
    scaled = moved if scale is None else moved * scale[dates][:-1]
    return VolMove(scaled, scaled if same else moved)


def at_the_start(scenario: Scenario) -> tuple[Scenario, MarketPaths]:
    """The scenario with ranges at their middles, and one path, of which only date 0 is read."""
    market = scenario.market
    middles = {name: value.mean for name, value in market if isinstance(value, Uniform)}
    settled = scenario.model_copy(update={"market": market.model_copy(update=middles)})
    generator = torch.Generator().manual_seed(0)
    times = scenario.calendar.times(1, generator)
    clock = scenario.calendar.clock(times)
    return settled, settled.market.simulate(times, 1, generator, torch.float64, clock)

"""Gamma scalping: what a bought option should earn, what its moves brought and its decay cost.

Source: Ahmad and Wilmott, "Which Free Lunch Would You Like Today, Sir?", 2005; the identity behind
it: El Karoui, Jeanblanc-Picque and Shreve, "Robustness of the Black and Scholes Formula", 1998.
Evidence: tests/experiments/test_gamma_scalping.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..envs import Episodes, Scenario
from ..envs.instruments import EuropeanOption, Leg
from ..envs.pricing import ConstantVolMarking, black_scholes
from . import statistics
from .statistics import Estimate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scalp:
    """Where the P&L of hedged options came from; means over paths.

    Attributes:
        edge: what `edge` says they should earn, money.
        pnl: what they earned.
        gamma_gains, theta_bill: of the same paths, whatever the hedge.
        capture: P&L over the edge.
    """

    edge: float
    pnl: Estimate
    gamma_gains: Estimate
    theta_bill: Estimate
    capture: Estimate


def scalp(scenario: Scenario, episodes: Episodes, pnl: Array, vol: float) -> Scalp:
    """The account of a P&L ``[N]`` on ``episodes`` whose vol was ``vol``.

    Raises:
        ValueError: as in `edge`, and where the edge is 0.
    """
    due = edge(scenario, vol)
    if not due:
        raise ValueError(f"a vol of {vol:g} is the marks' own, and there is nothing to capture")
    return Scalp(
        edge=due,
        pnl=statistics.mean(pnl),
        gamma_gains=statistics.mean(gamma_gains(episodes)),
        theta_bill=statistics.mean(theta_bill(episodes)),
        capture=statistics.mean(pnl / due),
    )


def edge(scenario: Scenario, vol: float) -> float:
    """``e^{rT} (V(vol) - V(marks))`` of the book, money at the end of the episode.

    What is earned for certain by hedging all the time, free of cost, at the vol that is realised;
    and on average with any hedge where the asset drifts as money does.

    Raises:
        ValueError: unless the legs are calls and puts that end with the episode, on one asset,
            marked at a constant vol.
    """
    marking, legs = scenario.marking, scenario.position.legs
    plain = all(isinstance(leg.claim, EuropeanOption) for leg in legs)
    to_the_end = all(leg.claim.maturity is None for leg in legs)
    if not (isinstance(marking, ConstantVolMarking) and plain and to_the_end):
        raise ValueError(
            "the edge is that of calls and puts to the end of the episode, marked at a constant "
            "vol: choose such a book, marked by black-scholes"
        )
    if len(scenario.market.spots) > 1:
        raise ValueError("the edge is that of one asset's vol: choose a market with one asset")
    gap = sum(
        leg.quantity * (_price(scenario, leg, vol) - _price(scenario, leg, marking.vol))
        for leg in legs
    )
    return gap * math.exp(scenario.market.rate * scenario.calendar.horizon)


def vol_integral(scenario: Scenario, episodes: Episodes, vol: float) -> Array:
    """``e^{rT} / 2 sum e^{-rt} (vol^2 - marks'^2) S^2 Gamma dt`` of each path ``[N]``, money.

    What hedging at the marks' own vol earns as the steps shorten: its mean is the edge, and how
    much of it a path gives depends on where the path goes. El Karoui et al., 1998; Gamma is the
    marks', at the start of each step.
    """
    arrays, rate = episodes.numpy(), scenario.market.rate
    gap = vol**2 - arrays.vol[: len(arrays.spot) - 1] ** 2
    left = arrays.times[-1] - arrays.times[:-1]
    dollar_gamma = arrays.gamma[:-1] * arrays.spot[:-1] ** 2
    terms = np.exp(rate * left) * gap * dollar_gamma * np.diff(arrays.times, axis=0)
    total: Array = 0.5 * terms.sum(axis=0)
    return total


def gamma_gains(episodes: Episodes) -> Array:
    """``sum Gamma (dS)^2 / 2`` of each path ``[N]``: what the moves were worth, money."""
    arrays = episodes.numpy()
    gains: Array = 0.5 * (arrays.gamma[:-1] * np.diff(arrays.spot, axis=0) ** 2).sum(axis=0)
    return gains


def theta_bill(episodes: Episodes) -> Array:
    """``-sum Theta dt`` of each path ``[N]``: what the waiting cost, money."""
    arrays = episodes.numpy()
    bill: Array = -(arrays.theta[:-1] * np.diff(arrays.times, axis=0)).sum(axis=0)
    return bill


def _price(scenario: Scenario, leg: Leg, vol: float) -> float:
    claim, market = leg.claim, scenario.market
    assert isinstance(claim, EuropeanOption)
    log_spot, tau, vols = (
        torch.tensor(x, dtype=torch.float64)
        for x in (math.log(market.spot), scenario.calendar.horizon, vol)
    )
    dividend = market.dividends[0]
    greeks = black_scholes(
        *(log_spot, claim.strike, tau, vols), sign=claim.sign, rate=market.rate, dividend=dividend
    )
    return float(greeks.price)

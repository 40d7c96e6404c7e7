"""Leland's hedge of a book that is long gamma here and short there."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..envs.costs import ProportionalCost
from ..envs.hedger import Known
from ..envs.instruments import EuropeanOption, Leg, Path
from ..envs.namespace import X
from ..envs.pricing import ConstantVolMarking, black_scholes
from ..envs.scenario import Scenario
from .baseline import Baseline, delta_one_only
from .rule_inputs import (
    as_known,
    as_tensor,
    charges,
    in_instrument,
    need_dates,
    no_vanilla_book,
    several_assets,
)

Floats = NDArray[np.float64]

NODES = 40  # in a standard deviation of the log-forward over the episode
REACH = 5.0  # standard deviations, over the longest leg, on either side of spot and strikes
SAME_DATE = 1e-9  # years within which two dates are one
STABLE = 0.9  # of the longest step at which the explicit scheme is monotone


class HoggardWhalleyWilmottHedge(Baseline):
    """Delta at every date of the value V that pays for its own hedge, for books of mixed gamma.

    V_t + sigma^2 S^2 (Gamma - Le |Gamma|) / 2 + (r - q) S V_S - r V = 0, Gamma = V_SS, with the
    Leland number Le = sqrt(8/pi) lambda / (sigma sqrt(dt)): lambda the proportional cost one way,
    dt the mean step. Where Gamma has one sign it is `leland`; in a butterfly or a spread the sign
    changes with the spot, and what is done here depends on the cost of what will be done there.
    sigma is one number: the vol of a constant marking, else the market's `volatility`. The hedge is
    the marked delta plus what the costs change, so that without costs it is delta itself.

    Source: Hoggard, Whalley and Wilmott, "Hedging Option Portfolios in the Presence of Transaction
    Costs", 1994, where kappa is lambda here and K = Le / 2. Evidence:
    tests/baselines/test_hoggard_whalley_wilmott.py (Leland for one sign, a second scheme, order,
    bounds, the cost of replicating a butterfly).
    """

    kind: Literal["hoggard-whalley-wilmott"] = "hoggard-whalley-wilmott"

    @classmethod
    def variants(cls, scenario: Scenario) -> tuple[Baseline, ...]:
        """Shown where trades have a proportional cost: else it is delta."""
        return (cls(),) if charges(scenario, ProportionalCost) else ()

    def refusal(self, scenario: Scenario) -> str | None:
        """For one asset, European options, gamma of both signs, and Le below 1."""
        return several_assets(scenario) or no_vanilla_book(scenario) or _out_of_scope(scenario)

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = -Delta_t`` less the change of delta at the spot.

        Raises:
            ValueError: on dates other than the scenario's.
        """
        table = hoggard_whalley_wilmott(known.scenario)
        need_dates(known, len(table.extra), self.name)
        extra = as_known(known, table.at(known.t, as_tensor(known.history("log_spot")[-1])))
        return delta_one_only(known, known.neutral - in_instrument(known, extra)), None


class Table(NamedTuple):
    """What the costs change, on T decision dates and n + 1 nodes.

    Attributes:
        value: V less its value without costs, money, ``[T, n + 1]``.
        extra: the change of delta, ``[T, n + 1]``.
        log_forward: the nodes, evenly spaced, of the log of the forward to the end ``[n + 1]``.
        carry: (r - q) times the years left, ``[T]``.
    """

    value: Floats
    extra: Floats
    log_forward: Floats
    carry: Floats

    def at(self, t: int, log_spot: Tensor) -> Tensor:
        """The change of delta at date t ``[N]``, linear between nodes and constant outside."""
        first, last = float(self.log_forward[0]), float(self.log_forward[-1])
        count = len(self.log_forward) - 1
        place = (log_spot + (float(self.carry[t]) - first)) * (count / (last - first))
        place = place.clamp(0, count)
        left = place.detach().floor().clamp(max=count - 1).long()
        row = torch.as_tensor(self.extra[t], dtype=log_spot.dtype, device=log_spot.device)
        return torch.lerp(row[left], row[left + 1], place - left)


def leland_number(scenario: Scenario) -> float:
    """Le = sqrt(8/pi) lambda / (sigma sqrt(dt)); infinite at a vol of 0."""
    terms = scenario.costs[scenario.contract.options]
    rate = sum(term.rate for term in terms if isinstance(term, ProportionalCost))
    step = scenario.calendar.horizon / len(scenario.calendar.decisions)
    vol = _vol(scenario)
    return math.sqrt(8 / math.pi / step) * rate / vol if vol else math.inf


@lru_cache(maxsize=8)
def hoggard_whalley_wilmott(scenario: Scenario, nodes: int = NODES) -> Table:
    """The value of the equation and of the one without costs, backward over the dates.

    In the forward F to the end and in money at the end it is a heat equation without drift,
    U_t + sigma^2 F^2 (U_FF - Le |U_FF|) / 2 = 0. The explicit scheme on nodes even in log F leaves
    what is linear in F as it is, and at the steps that it takes it is monotone: it cannot oscillate
    or leave the bounds of what is paid, and for Le < 1 it converges to the value. Costs nodes^3;
    the error falls as 1 / nodes^2. Source: Barles and Souganidis, "Convergence of approximation
    schemes for fully nonlinear second order equations", 1991.
    """
    dates, due = _dates(scenario), _due(scenario)
    vol, costs, end = _vol(scenario), leland_number(scenario), float(dates[-1])
    rate, dividend = scenario.market.rate, scenario.market.dividends[0]
    log_forward = _nodes(scenario, vol * math.sqrt((1 + costs) * end), end, nodes)
    forward = np.exp(log_forward)
    longest = STABLE * (log_forward[1] - log_forward[0]) ** 2 / (vol**2 * (1 + costs))

    decisions = scenario.calendar.decisions
    events = sorted({*decisions, *due, len(dates) - 1})
    value = np.zeros((2, len(forward))) + _closed_out(scenario, forward, vol)
    gaps = []
    for before, after in reversed(list(pairwise(events))):
        left = end - float(dates[after])
        spot = forward * math.exp((dividend - rate) * left)
        for leg in due.get(after, []):
            value += math.exp(rate * left) * leg.quantity * _payoff(leg, spot)
        years = float(dates[after] - dates[before])
        value = _back(value, forward, vol, costs, years, math.ceil(years / longest))
        if before in decisions:
            gaps.append(value[0] - value[1])
    left_after = end - dates[list(decisions)]
    gap = np.stack(gaps[::-1])
    slope = np.gradient(gap, log_forward, axis=1) / forward
    return Table(
        value=gap * np.exp(-rate * left_after)[:, None],
        extra=slope * np.exp(-dividend * left_after)[:, None],
        log_forward=log_forward,
        carry=(rate - dividend) * left_after,
    )


def _back(
    value: Floats, forward: Floats, vol: float, costs: float, years: float, steps: int
) -> Floats:
    """``value [2, n + 1]`` after the years, with costs and without; linear in F beyond the ends."""
    width = np.diff(forward)
    middle = (width[1:] + width[:-1]) / 2
    half_variance = 0.5 * vol**2 * forward[1:-1] ** 2 * (years / steps)
    number = np.array([[costs], [0.0]])
    value = value.copy()
    for _ in range(steps):
        curve = np.diff(np.diff(value, axis=1) / width, axis=1) / middle
        value[:, 1:-1] += half_variance * (curve - number * np.abs(curve))
    return value


def _out_of_scope(scenario: Scenario) -> str | None:
    """Why the equation says nothing new here, or nothing at all; null where it does."""
    net: dict[tuple[float, float | None], float] = defaultdict(float)
    for leg in scenario.position.legs:
        assert isinstance(leg.claim, EuropeanOption)
        net[leg.claim.strike, leg.claim.maturity] += leg.quantity
    if min(net.values()) >= 0 or max(net.values()) <= 0:
        return "the book's gamma has one sign everywhere, so that it is leland: take leland"
    if not scenario.calendar.fixed:
        return (
            "it is solved on dates that all paths share, and this calendar's differ: take leland, "
            "or a uniform calendar"
        )
    number = leland_number(scenario)
    if number >= 1:
        return (
            f"its Leland number is {number:.3g}, and from 1 on its equation has no solution where "
            "gamma is long: trade less often (calendar.decide_every), or take leland or band"
        )
    return None


def _vol(scenario: Scenario) -> float:
    marking = scenario.marking
    return marking.vol if isinstance(marking, ConstantVolMarking) else scenario.market.volatility


def _dates(scenario: Scenario) -> Floats:
    """All dates of the market, years ``[steps + 1]``."""
    dates = scenario.calendar.dates()
    assert dates is not None
    return dates.numpy()


def _due(scenario: Scenario) -> dict[int, list[Leg]]:
    """The legs that are paid within the episode, by the number of their date."""
    dates, due = _dates(scenario), defaultdict(list)
    for leg in scenario.position.legs:
        maturity = leg.claim.maturity
        if maturity is None or maturity <= dates[-1] + SAME_DATE:
            at = len(dates) - 1 if maturity is None else int(np.abs(dates - maturity).argmin())
            due[at].append(leg)
    return due


def _nodes(scenario: Scenario, spread: float, end: float, nodes: int) -> Floats:
    """Logs of the forward, as far round the spot and all strikes as the longest leg is curved."""
    market, longest = scenario.market, end
    growth = market.rate - market.dividends[0]
    at = [math.log(market.spot) + growth * end]
    for leg in scenario.position.legs:
        assert isinstance(leg.claim, EuropeanOption)
        at.append(math.log(leg.claim.strike))
        longest = max(longest, leg.claim.maturity or end)
    wide = REACH * spread * math.sqrt(longest / end)
    low, high = min(at) - wide, max(at) + wide
    return np.linspace(low, high, math.ceil((high - low) / spread * nodes) + 1)


def _closed_out(scenario: Scenario, spot: Floats, vol: float) -> Floats:
    """What the legs that outlive the episode are marked at then, ``[n + 1]``."""
    market, end, total = scenario.market, float(_dates(scenario)[-1]), np.zeros_like(spot)
    for leg in scenario.position.legs:
        claim = leg.claim
        assert isinstance(claim, EuropeanOption)
        if claim.maturity is not None and claim.maturity > end + SAME_DATE:
            greeks = black_scholes(
                torch.from_numpy(np.log(spot)),
                claim.strike,
                torch.tensor(claim.maturity - end, dtype=torch.float64),
                torch.tensor(vol, dtype=torch.float64),
                sign=claim.sign,
                rate=market.rate,
                dividend=market.dividends[0],
            )
            total += leg.quantity * greeks.price.numpy()
    return total


def _payoff(leg: Leg, spot: Floats) -> Floats:
    path = Path(torch.zeros(1, 1), torch.from_numpy(spot)[None])
    return leg.claim.payoff(path).numpy()

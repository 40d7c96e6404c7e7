"""The cheapest static portfolio that covers the book at every spot, and the hedge that holds it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog

from ..envs.costs import PerUnitCost, ProportionalCost
from ..envs.episodes import simulate
from ..envs.hedger import Known, stack
from ..envs.instruments import (
    Call,
    Claim,
    DigitalCall,
    DigitalPut,
    ListedOption,
    Path,
    Put,
    Underlying,
)
from ..envs.namespace import X
from ..envs.scenario import Hedge, Scenario
from .baseline import Baseline
from .rule_inputs import several_assets

Floats = NDArray[np.float64]
OfSpot = Callable[[Floats], Floats]  # a sum of straight lines between the strikes
OF_SPOT = (Call, Put, DigitalCall, DigitalPut)
NEAR = 1e-6  # of a mean step: a time so near to a date is that date
TOLERANCE = 1e-10  # of the programme's constraints


@dataclass(frozen=True)
class Bound:
    """The cheapest portfolio that covers the book at every spot.

    Attributes:
        cost: of buying it now, money, trading costs included: no premium above it is needed.
        holdings: units of each hedge instrument, ``[K]``.
        cash: what is kept beside them, money now.
    """

    cost: float
    holdings: tuple[float, ...]
    cash: float


class SuperReplicationHedge(Baseline):
    """Holds the portfolio of `super_replication` from the start: it cannot lose beyond the bound.

    P&L + (bound - premium) e^{rT} >= 0 on every path. Evidence:
    tests/baselines/test_super_replication.py (on every path of GBM, Merton and Heston).
    """

    kind: Literal["super-replication"] = "super-replication"

    @classmethod
    def variants(cls, scenario: Scenario) -> tuple[Baseline, ...]:
        """Shown where options are listed: without them it holds the whole underlying."""
        return (cls(),) if scenario.contract.options else ()

    def refusal(self, scenario: Scenario) -> str | None:
        """Where no such portfolio is known, as `super_replication` says."""
        try:
            super_replication(scenario)
        except ValueError as error:
            return str(error)
        return None

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """The `Bound`'s at every date."""
        one = 0.0 * known.spot + 1.0
        return stack(tuple(n * one for n in super_replication(known.scenario).holdings)), None


@lru_cache(maxsize=32)
def super_replication(scenario: Scenario) -> Bound:
    """The least cost now of cash b, underlying and options n that cover what is owed, H(S).

    min over b, n of b + sum of (n_k P_k + c_k |n_k|) with b e^{rT} + sum of (n_k V_k(S) - l_k
    |n_k| S) >= H(S) for every S >= 0; P_k the prices now, V_k what a unit pays, c_k what trading a
    unit costs, l_k the proportional cost of the liquidation of the underlying, if there is one.
    Both sides are straight lines between the strikes, so the limits at both ends of every interval,
    the values at the strikes and 0 and the slopes beyond the last strike are all of them. Of the
    instruments those take part whose value at the end is a function of the spot: the underlying,
    and listed calls, puts and digitals that mature then. Holdings keep to their bounds.

    Sources: El Karoui and Quenez, "Dynamic programming and pricing of contingent claims in an
    incomplete market", 1995; Hobson, "The Skorokhod embedding problem and model-independent bounds
    for option prices", 2011 (the programme and its dual). Evidence:
    tests/baselines/test_super_replication.py (books by hand; the dual over the laws that reprice
    the instruments; covered on every path).

    Raises:
        ValueError: for a book or a scenario outside this, or bounds that leave no such portfolio.
    """
    reason = _refusal(scenario)
    if reason is not None:
        raise ValueError(reason)
    used = [k for k, hedge in enumerate(scenario.hedges) if _of_spot(scenario, hedge)]
    cash, owed, gain, sale = _at_every_spot(scenario, [scenario.hedges[k] for k in used])
    price = _prices(scenario)[used]
    trade = np.array([_cost(scenario.hedges[k], p) for k, p in zip(used, price, strict=True)])
    limits = [scenario.limits[k] for k in used]
    found = linprog(
        [1.0, *(trade + price), *(trade - price)],
        A_ub=-np.column_stack([cash, gain - sale, -gain - sale]),
        b_ub=-owed,
        bounds=[
            (None, None),
            *((0.0, bound.upper) for bound in limits),
            *((0.0, -(bound.lower or 0.0)) for bound in limits),
        ],
        options={"primal_feasibility_tolerance": TOLERANCE},
    )
    if found.x is None:
        raise ValueError(
            "no portfolio within the holdings' bounds covers the book at every spot: widen the "
            "limits in hedges, or list options that cover it"
        )
    bought, sold = found.x[1:].reshape(2, -1)
    n = bought - sold
    # The solver keeps its constraints to a tolerance: the cash makes up the difference.
    uncovered = (owed - gain @ n + sale @ abs(n))[cash > 0]
    least = float(uncovered.max() / cash.max())
    holdings = np.zeros(len(scenario.hedges))
    holdings[used] = n
    return Bound(float(least + price @ n + trade @ abs(n)), tuple(holdings.tolist()), least)


def _at_every_spot(scenario: Scenario, hedges: list[Hedge]) -> tuple[Floats, ...]:
    """Rows of the programme: cash and what is owed ``[M]``; gain and sale of a unit ``[M, K]``.

    Sale is what selling a unit of the underlying at the end costs.
    """
    owed = [(-leg.quantity, leg.claim) for leg in scenario.position.legs]
    listed = [h.instrument.option for h in hedges if isinstance(h.instrument, ListedOption)]
    claims = [*(claim for _, claim in owed), *listed]
    strikes = np.unique([claim.strike for claim in claims if isinstance(claim, OF_SPOT)])
    growth = math.exp(scenario.market.rate * scenario.calendar.horizon)
    one, spot = _rows(np.ones_like, strikes), _rows(np.copy, strikes)
    gain, sale = np.zeros((2, len(one), len(hedges)))
    for k, hedge in enumerate(hedges):
        if isinstance(hedge.instrument, ListedOption):
            gain[:, k] = _rows(_payoff(hedge.instrument.option), strikes)
        else:
            rate, fee = _linear(hedge)
            gain[:, k], sale[:, k] = spot, scenario.liquidate * (rate * spot + fee * one)
    total = [quantity * _rows(_payoff(claim), strikes) for quantity, claim in owed]
    return growth * one, np.sum(total, axis=0), gain, sale


def _rows(of_spot: OfSpot, strikes: Floats) -> Floats:
    """All that a function of straight lines between the strikes has to be compared at, ``[M]``.

    Its values at 0 and at the strikes, its limits at both ends of every interval, and the slope
    beyond the last strike: functions are ordered at every spot if these are.
    """
    knots = np.concatenate([[0.0], strikes])
    left, width = knots[:-1], np.diff(knots)
    first, second = of_spot(left + width / 4), of_spot(left + 3 * width / 4)
    near, far = of_spot(np.array([2.0, 3.0]) * knots[-1])
    ends = [1.5 * first - 0.5 * second, 1.5 * second - 0.5 * first, [2 * near - far]]
    return np.concatenate([of_spot(knots), *ends, [(far - near) / knots[-1]]])


def _payoff(claim: Claim) -> OfSpot:
    """What a claim pays at its maturity, as a function of the spot ``[M]``."""

    def paid(spot: Floats) -> Floats:
        path = Path(torch.zeros(1, 1), torch.from_numpy(spot)[None])
        return np.asarray(claim.payoff(path))

    return paid


def _prices(scenario: Scenario) -> Floats:
    """Mid prices now, ``[K]``, the same on every path."""
    recorded = scenario.market.recorded_paths
    price = simulate(scenario, min(2, recorded or 2), torch.Generator().manual_seed(0)).price[0]
    if (price != price[0]).any():
        raise ValueError("option prices now differ from path to path: give the market one vol")
    return np.asarray(price[0])


def _cost(hedge: Hedge, price: float) -> float:
    """Of trading a unit at a mid price."""
    rate, fee = _linear(hedge)
    return rate * price + fee


def _linear(hedge: Hedge) -> tuple[float, float]:
    """The costs per money and per unit traded."""
    rate = sum(c.rate for c in hedge.costs if isinstance(c, ProportionalCost))
    return rate, sum(c.fee for c in hedge.costs if isinstance(c, PerUnitCost))


def _of_spot(scenario: Scenario, hedge: Hedge) -> bool:
    """Whether an instrument's value at the end is a function of the spot then."""
    instrument = hedge.instrument
    if isinstance(instrument, ListedOption):
        return _pays_at_the_end(scenario, instrument.option)
    return isinstance(instrument, Underlying)


def _pays_at_the_end(scenario: Scenario, claim: Claim) -> bool:
    """Whether it is a call, put or digital that matures when the episode ends."""
    calendar = scenario.calendar
    if claim.maturity is None or type(claim) not in OF_SPOT:
        return type(claim) in OF_SPOT
    return abs(claim.maturity - calendar.horizon) <= NEAR * calendar.horizon / calendar.steps


def _refusal(scenario: Scenario) -> str | None:
    """Why the programme does not know the scenario, with the mend; null where it does."""
    market, several = scenario.market, several_assets(scenario)
    if several is not None:
        return several
    if market.dividends[0]:
        return "the dividends on what is held depend on the path: set market.dividend to 0"
    if market.rate and not scenario.calendar.fixed:
        return "the interest differs from path to path: choose a uniform calendar"
    if scenario.loss_limit is not None:
        return "a loss_limit sells the portfolio before the end: leave it out"
    if scenario.position.flow is not None:
        return "position.flow: what clients will trade can be any number: set it to null"
    for i, leg in enumerate(scenario.position.legs):
        if not _pays_at_the_end(scenario, leg.claim):
            return (
                f"position.legs.{i}: what {type(leg.claim).__name__} pays is no function of the "
                "spot at the end: keep calls, puts and digitals that mature then"
            )
    return _refusal_of_hedges(scenario)


def _refusal_of_hedges(scenario: Scenario) -> str | None:
    """Why trading is not linear in the trade; null where it is."""
    for k, hedge in enumerate(scenario.hedges):
        if hedge.limits.lot is not None or hedge.limits.max_trade is not None:
            return f"hedges.{k}.limits: max_trade and lot are not in the programme: leave them out"
        for cost in hedge.costs:
            per_unit = isinstance(cost, PerUnitCost) and not cost.minimum
            if not per_unit and not isinstance(cost, ProportionalCost):
                return (
                    f"hedges.{k}.costs: not every cost is proportional to the trade: keep "
                    "proportional costs, and per-unit costs without a minimum"
                )
    return None

"""What the programmes read off a scenario, in money at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...envs.costs import FixedCost, PerUnitCost, ProportionalCost
from ...envs.episodes import simulate
from ...envs.instruments import Path
from ...envs.scenario import BOUND_IN_SIZES, Scenario
from .optimum import NoKnownOptimumError

Floats = NDArray[np.float64]

ROUNDING = 1e-12  # of a drift, a year
STARTS = 64  # paths; a start that is drawn shows in one of them


@dataclass(frozen=True)
class Problem:
    """A scenario that `scope` has accepted; arrays over the T decision dates, [T+1] with the end.

    Attributes:
        dates: years from the start, ``[T+1]``.
        clock: years of variance from the start, ``[T+1]``.
        moments: those of all the market's dates, of which ``decisions [T+1]`` are the above.
        growth: e^{r (T - t)}, ``[T+1]``.
        reinvested: e^{q dt}, ``[T]``.
        rate, fee, fixed: cost of a trade: per money, per unit, per trade.
        liquidate: whether what is held at the end is sold at cost.
        bounds: of the holding, units.
        reach: units within which a search for the holdings that the hedge can reach starts.
        martingale: whether holding the underlying gains nothing on average.
        premium: received at time 0, money now.
        owed: what the book owes at the end, of the spot then.
    """

    scenario: Scenario
    dates: Floats
    clock: Floats
    moments: Floats
    decisions: tuple[int, ...]
    growth: Floats
    reinvested: Floats
    rate: float
    fee: float
    fixed: float
    liquidate: bool
    bounds: tuple[float, float]
    reach: float
    martingale: bool
    premium: float
    owed: Callable[[Floats], Floats]

    @property
    def years(self) -> Floats:
        """Of variance in each step, ``[T]``."""
        return np.diff(self.clock)


def problem_of(scenario: Scenario) -> Problem:
    """The problem of a scenario; of its markets' drifts only whether there is any.

    Raises:
        NoKnownOptimumError: where the mark at time 0, and with it the premium, is not one number.
    """
    market, calendar, hedge = scenario.market, scenario.calendar, scenario.hedges[0]
    times = calendar.times(1, torch.Generator())
    clock = calendar.clock(times)
    moments = (times if clock is None else clock)[:, 0].numpy()
    at = [*calendar.decisions, calendar.steps]
    dates = times[at, 0].numpy()
    limits = scenario.limits[0]
    assert limits.lower is not None and limits.upper is not None

    def owed(spot: Floats) -> Floats:
        path = Path(times, torch.from_numpy(spot.ravel())[None])
        legs = scenario.position.legs
        total = sum(-leg.quantity * leg.claim.payoff(path).numpy() for leg in legs)
        return np.asarray(total, dtype=np.float64).reshape(spot.shape)

    return Problem(
        scenario=scenario,
        dates=dates,
        clock=moments[at],
        moments=moments,
        decisions=tuple(at),
        growth=np.exp(market.rate * (dates[-1] - dates)),
        reinvested=np.exp(market.dividends[0] * np.diff(dates)),
        rate=sum(c.rate for c in hedge.costs if isinstance(c, ProportionalCost)),
        fee=sum(c.fee for c in hedge.costs if isinstance(c, PerUnitCost)),
        fixed=sum(c.fee for c in hedge.costs if isinstance(c, FixedCost)),
        liquidate=scenario.liquidate,
        bounds=(limits.lower, limits.upper),
        reach=BOUND_IN_SIZES * scenario.position.size,
        martingale=abs(market.drifts[0] - market.rate + market.dividends[0]) < ROUNDING
        and not any(regime.drift for regime in getattr(market, "regimes", ())),
        premium=_premium(scenario),
        owed=owed,
    )


def _premium(scenario: Scenario) -> float:
    if scenario.position.premium != "mark":
        return scenario.position.premium
    marks = simulate(scenario, STARTS, torch.Generator().manual_seed(0)).premium
    if float(marks.max() - marks.min()) > 1e-9 * (1 + float(marks.abs().max())):
        raise NoKnownOptimumError(
            f"no known optimum: the premium is the mark and that is from {float(marks.min()):g} to "
            f"{float(marks.max()):g} by what is drawn at the start: set position.premium to a "
            "number, or fix the start"
        )
    return float(marks[0])

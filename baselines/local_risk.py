"""The delta that leaves the least variance where the price jumps."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import signal, special

from ..envs.episodes import mark
from ..envs.hedger import Known
from ..envs.instruments import Call, DigitalCall, DigitalPut, Put, Underlying
from ..envs.markets import GeometricBrownianMotion, Kou, MarketPaths, Merton
from ..envs.namespace import X
from ..envs.pricing import ModelMarking
from ..envs.scenario import Hedge, Scenario
from .baseline import Baseline, delta_one_only
from .optimum import NoKnownOptimumError
from .optimum.log_spots import at_spot, log_spots
from .optimum.one_step_law import steady_sigma
from .optimum.problem import problem_of
from .optimum.scope import kind_of
from .rule_inputs import in_instrument, need_dates

Floats = NDArray[np.float64]

PER_STANDARD_DEVIATION = 12  # lattice points of the shortest step
RAREST = 1e-12  # chance of a jump beyond the lattice, either way


class LocalRiskHedge(Baseline):
    """Between the delta of small moves and the slope of jumps, each by its part in the variance.

        h = -[sigma^2 C_S + (1/S) int (e^y - 1) (C(S e^y) - C(S)) nu(dy)]
             / [sigma^2 + int (e^y - 1)^2 nu(dy)]

    with C(t, S) the position's model price and nu(dy) = intensity times the law of a log-jump. It
    is -d<C, S> / d<S, S>: of all holdings the one with the least variance of the position and its
    hedge over the next instant. Jumps are taken as the market has them: C is the price without risk
    premium, of drift rate - dividend and with the true intensity. Where the drift is that, it is
    the hedge of least quadratic risk in continuous time; else the hedge to first order in the
    drift's excess. Costs are not in it, and with few dates ``variance-optimal`` is better.

    Sources: Foellmer and Schweizer, "Hedging of contingent claims under incomplete information",
    1991; Cont and Tankov, "Financial Modelling with Jump Processes", 2004, section 10.4. Evidence:
    tests/baselines/test_local_risk.py (quadrature over Merton's series, limits, a lower std
    of P&L than delta).
    """

    kind: Literal["local-risk"] = "local-risk"

    def refusal(self, scenario: Scenario) -> str | None:
        """For calls, puts and digitals in Merton and Kou."""
        market = scenario.market
        if isinstance(market, GeometricBrownianMotion):
            return "in gbm nothing jumps, so that it is delta: take delta"
        if not isinstance(market, Merton | Kou) or not steady_sigma(market):
            return (
                f"it does not know the jumps of {kind_of(market)} with such parameters: take a "
                "merton or kou market with a positive constant sigma"
            )
        if not market.intensity:
            return "at intensity 0 nothing jumps, so that it is delta: take delta"
        if isinstance(market, Kou) and market.up_rate <= 2:
            return f"at up_rate {market.up_rate:g} jumps have no variance: set it above 2"
        if not scenario.calendar.fixed:
            return "the calendar's dates differ from path to path: choose a uniform calendar"
        reason = _refusal_of_book(scenario)
        if reason is not None:
            return reason
        try:
            _table(scenario)
        except NoKnownOptimumError as error:
            return str(error)
        return None

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t`` at the present spot, over a future's own delta.

        Raises:
            ValueError: on dates other than the scenario's.
        """
        table = _table(known.scenario)
        need_dates(known, len(table.units), self.name)
        units = at_spot(known, table.log_spot, table.units[known.t])
        return delta_one_only(known, in_instrument(known, units)), None


def _refusal_of_book(scenario: Scenario) -> str | None:
    if scenario.position.flow is not None:
        return "position.flow: it knows the legs and not what clients trade: take delta"
    for i, leg in enumerate(scenario.position.legs):
        if type(leg.claim) not in (Call, Put, DigitalCall, DigitalPut):
            return (
                f"position.legs.{i}: it has no model price of a {kind_of(leg.claim)}: keep calls, "
                "puts and digitals, or take delta"
            )
    return None


class _Table(NamedTuple):
    """The holding ``units [T, M]`` of the underlying at ``log_spot [M]``."""

    log_spot: Floats
    units: Floats


class _Jumps(NamedTuple):
    """Chances ``weights [n]`` of the log-jumps ``first step, (first + 1) step, ...``."""

    first: int
    weights: Floats


@lru_cache(maxsize=8)
def _table(scenario: Scenario) -> _Table:
    """The formula on a lattice of log-spots, at every decision date."""
    market = scenario.market
    assert isinstance(market, Merton | Kou)
    bare = _without_premium(scenario, market)
    lattice = log_spots(problem_of(bare), market, PER_STANDARD_DEVIATION)
    step, jumps = lattice.step, _jumps(market, lattice.step)
    size = step * np.arange(jumps.first, jumps.first + len(jumps.weights))
    spread = np.array([lattice.at(t)[i] for t in (0, -1) for i in (0, -1)])
    start, count = float(spread.min()), math.ceil(float(np.ptp(spread)) / step) + 1
    wide = start + step * np.arange(jumps.first, jumps.first + count + len(size) - 1.0)
    value, slope = _model_prices(bare, market, wide)
    here = slice(-jumps.first, count - jumps.first)
    moved = market.intensity * jumps.weights * np.expm1(size)
    landed = signal.fftconvolve(value, moved[None, ::-1], "valid", axes=1)
    variance = steady_sigma(market) ** 2
    spot = np.exp(wide[here])
    jumped = (landed - moved.sum() * value[:, here]) / spot
    total = variance + (moved * np.expm1(size)).sum()
    return _Table(wide[here], -(variance * slope[:, here] + jumped) / total)


def _without_premium(scenario: Scenario, market: Merton | Kou) -> Scenario:
    """The book in its market without risk premium, at model prices, hedged with the underlying."""
    drift = market.rate - market.dividend
    return scenario.model_copy(
        update={
            "market": market.model_copy(update={"drift": drift, "jump_premium": 0.0}),
            "position": scenario.position.model_copy(update={"premium": 0.0}),
            "hedges": (Hedge(instrument=Underlying()),),
            "marking": ModelMarking(),
        }
    )


def _model_prices(scenario: Scenario, market: Merton | Kou, log_spot: Floats) -> list[Floats]:
    """The position's value and delta at each decision date, ``[T, M]`` each."""
    times = scenario.calendar.times(1, torch.Generator())
    place = torch.from_numpy(log_spot).expand(len(times), -1)
    vol = torch.full((1, 1), market.volatility, dtype=torch.float64)
    clock = scenario.calendar.clock(times)
    marked = mark(scenario, MarketPaths(times, place.exp(), place, vol, clock=clock))
    return [marked.mark[:-1].numpy(), marked.delta[:-1].numpy()]


def _jumps(market: Merton | Kou, step: float) -> _Jumps:
    """The law of a log-jump on a lattice, each size shared by its two neighbours.

    So means over the lattice are those of functions linear between its points: a weight is the
    second difference of E[(x - J)^+].
    """
    if isinstance(market, Merton):
        reach = -float(special.ndtri(RAREST)) * market.jump_std
        least, most = market.jump_mean - reach, market.jump_mean + reach
    else:
        least, most = math.log(RAREST) / market.down_rate, -math.log(RAREST) / market.up_rate
    first, last = math.floor(min(least, 0.0) / step), math.ceil(max(most, 0.0) / step)
    x = np.asarray(step * np.arange(first - 1, last + 2), np.float64)
    return _Jumps(first, np.diff(_expected_excess(market, x), 2) / step)


def _expected_excess(market: Merton | Kou, x: Floats) -> Floats:
    """``E[(x - J)^+]`` of a log-jump J."""
    if isinstance(market, Merton):
        above, std = x - market.jump_mean, market.jump_std
        if not std:
            return np.maximum(above, 0.0)
        z = above / std
        density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        return np.asarray(above * special.ndtr(z) + std * density, np.float64)
    p, up, down = market.up_probability, market.up_rate, market.down_rate
    right = x - p / up + (1 - p) / down + p / up * np.exp(-up * np.maximum(x, 0.0))
    left = (1 - p) / down * np.exp(down * np.minimum(x, 0.0))
    return np.where(x > 0, right, left)

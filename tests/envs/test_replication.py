"""Replication: delta hedging reproduces the option as dt -> 0; a fair market pays nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deephedge.envs import Scenario, load_scenario, rollout, simulate
from deephedge.envs.calendar import Calendar, TradingDaysCalendar, UniformCalendar
from deephedge.envs.hedger import Known
from deephedge.envs.instruments import Call, Leg, ListedOption, Position, Put, Underlying
from deephedge.envs.markets import GeometricBrownianMotion, Market, Merton
from deephedge.envs.objectives import CVaR
from deephedge.envs.pricing import ConstantVolMarking
from deephedge.envs.scenario import Hedge

Array = NDArray[np.float64]
SIGMAS = 4.0  # standard errors
SHARE = Hedge(instrument=Underlying())
CARRY = {"rate": 0.06, "dividend": 0.03}


class Neutral:
    """Holds what makes the marked position delta-neutral."""

    name = "neutral"

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[Array, None]:
        holding = np.zeros((len(known.spot), known.contract.instruments))
        holding[:, -1:] = known.neutral
        return holding, None


class Random:
    """Holds anything within the bounds, and looks at the past to choose its size."""

    name = "random"

    def start(self, n: int) -> np.random.Generator:
        return np.random.default_rng(7)

    def act(self, known: Known, state: np.random.Generator) -> tuple[Array, np.random.Generator]:
        n, k = len(known.spot), known.contract.instruments
        trend = np.sign(known.spot - known.history("spot")[0])
        return state.uniform(-1.5, 1.5, (n, k)) + 0.5 * trend[:, None], state


class Nothing:
    name = "nothing"

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[Array, None]:
        return np.zeros((len(known.spot), known.contract.instruments)), None


def scenario(market: Market, calendar: Calendar, **parts: Any) -> Scenario:
    """Short a call at 100, hedged for free, marked at 0.2."""
    defaults: dict[str, Any] = {
        "position": Position(legs=(Leg(quantity=-1.0, claim=Call(strike=100.0)),)),
        "hedges": (SHARE,),
        "marking": ConstantVolMarking(vol=0.2),
        "objective": CVaR(level=0.9),
    }
    return Scenario(name="test", market=market, calendar=calendar, **(defaults | parts))


def pnl(problem: Scenario, hedger: Any, paths: int, seed: int) -> Array:
    generator = torch.Generator().manual_seed(seed)
    outcome: Array = rollout(problem, simulate(problem, paths, generator), hedger).pnl
    return outcome


def z_score(sample: Array, expected: float = 0.0) -> float:
    error = sample.std() / len(sample) ** 0.5
    return float(abs(sample.mean() - expected) / error)


def std_error(sample: Array) -> float:
    """The standard error of a standard deviation."""
    centred = sample - sample.mean()
    variance = centred.var()
    return float(np.sqrt(((centred**4).mean() - variance**2) / len(sample)) / (2 * variance**0.5))


# The option is reproduced -----------------------------------------------------------------------

BOOK = (
    Leg(quantity=-1.0, claim=Call(strike=105.0)),
    Leg(quantity=-2.0, claim=Put(strike=95.0, maturity=0.5)),
)


@pytest.mark.parametrize("drift", [0.03, 0.25], ids=["fair drift", "steep drift"])
@pytest.mark.parametrize("legs", [BOOK[:1], BOOK], ids=["call", "book with an early leg"])
def test_the_hedging_error_falls_with_the_root_of_the_step(
    legs: tuple[Leg, ...], drift: float
) -> None:
    """At no cost, premium = mark, vol = the market's; interest and dividends on the way."""
    market = GeometricBrownianMotion(sigma=0.2, drift=drift, **CARRY)
    steps = np.array([8, 16, 32, 64, 128, 256])
    errors = []
    for n in steps:
        problem = scenario(
            market, UniformCalendar(steps=int(n), days=365), position=Position(legs=legs)
        )
        sample = pnl(problem, Neutral(), 4000, int(n))
        errors.append(sample.std())
        if drift == 0.03:  # the discounted gains of any hedge are then a martingale
            assert z_score(sample) < SIGMAS, n
    slope = np.polyfit(np.log(1 / steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.1)
    assert errors[-1] < 0.1 * pnl(problem, Nothing(), 4000, 1).std()


def test_the_error_vanishes_on_trading_days_too() -> None:
    market = GeometricBrownianMotion(sigma=0.2, drift=0.1, **CARRY)
    spread = [
        pnl(scenario(market, TradingDaysCalendar(steps=n)), Neutral(), 3000, n).std() / n**0.5
        for n in (10, 40, 160)  # the option lives n days, so its error per sqrt(day) must fall
    ]
    slope = np.polyfit(np.log([10, 40, 160]), np.log(spread), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize(
    ("steps", "computed", "formula"), [(21, 0.4275, 0.4452), (84, 0.2174, 0.2226)]
)
def test_derman_and_kamals_hedging_error(steps: int, computed: float, formula: float) -> None:
    """Std of P&L is about sqrt(pi / 4) vega sigma / sqrt(N) (Derman and Kamal, 1999).

    A month at the money. The computed values are an independent simulation's.
    """
    problem = scenario(
        GeometricBrownianMotion(sigma=0.2), UniformCalendar(steps=steps, days=365 / 12)
    )
    episodes = simulate(problem, 30_000, torch.Generator().manual_seed(5))
    assert float(episodes.premium[0]) == pytest.approx(2.303, abs=5e-4)
    vega = float(-episodes.vega[0, 0])
    assert (np.pi / 4) ** 0.5 * vega * 0.2 / steps**0.5 == pytest.approx(formula, abs=5e-5)
    sample = rollout(problem, episodes, Neutral()).pnl
    assert abs(sample.std() - computed) < SIGMAS * 1.5 * std_error(sample)
    assert sample.std() == pytest.approx(formula, rel=0.06)


def test_hedging_at_the_marks_vol_earns_the_difference_to_the_markets() -> None:
    """E[P&L] of a long call is V(realised) - V(implied) without drift, however it is hedged.

    Six months at the money, 0.2 against 0.3: 2.8098 (Ahmad and Wilmott, 2005).
    """
    problem = scenario(
        GeometricBrownianMotion(sigma=0.3),
        UniformCalendar(steps=126, days=365 / 2),
        position=Position(legs=(Leg(quantity=1.0, claim=Call(strike=100.0)),)),
    )
    sample = pnl(problem, Neutral(), 8000, 6)
    assert z_score(sample, 2.8098) < SIGMAS
    assert sample.mean() > 2.6  # far from the 0 of a market that moves as marked


# Nobody gains -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "calendar",
    [
        UniformCalendar(steps=20, days=365),
        UniformCalendar(steps=20, days=365, decide_every=3),
        TradingDaysCalendar(steps=20),
    ],
    ids=["uniform", "every third", "trading days"],
)
@pytest.mark.parametrize(
    "market",
    [
        GeometricBrownianMotion(sigma=0.2, drift=0.03, **CARRY),
        Merton(drift=0.03, intensity=3.0, **CARRY),
    ],
    ids=["gbm", "merton"],
)
def test_shares_are_paid_for(market: Market, calendar: Calendar) -> None:
    """With drift = rate - dividend no holding of shares has an expected gain, jumps or not."""
    problem = scenario(market, calendar)
    traded, alone = (pnl(problem, hedger, 20_000, 8) for hedger in (Random(), Nothing()))
    assert (traded - alone).std() > 1
    assert z_score(traded - alone) < SIGMAS
    if isinstance(market, GeometricBrownianMotion):  # marked at the market's vol: a fair deal
        assert z_score(alone) < SIGMAS
        assert z_score(traded) < SIGMAS


def test_listed_options_at_fair_marks_are_paid_for() -> None:
    market = GeometricBrownianMotion(sigma=0.2, drift=0.03, **CARRY)
    options = (Call(strike=105.0, maturity=0.4), Put(strike=110.0, maturity=1.3))
    hedges = tuple(Hedge(instrument=ListedOption(option=option)) for option in options)
    problem = scenario(market, UniformCalendar(steps=10, days=365), hedges=(*hedges, SHARE))
    sample = pnl(problem, Random(), 20_000, 9)
    assert sample.std() > 1
    assert z_score(sample) < SIGMAS


# Scaling ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-3, 0.01, 50.0])
def test_pnl_scales_with_the_currency(scale: float) -> None:
    """Spot and strikes in cents: P&L in cents, proportional costs included."""
    plain = load_scenario("book-jumps")  # proportional costs
    tree = plain.model_dump()
    tree["market"]["spot"] *= scale
    claims = [leg["claim"] for leg in tree["position"]["legs"]]
    for claim in [*claims, tree["hedges"][0]["instrument"]["option"]]:
        claim["strike"] *= scale
    scaled = Scenario.model_validate(tree)
    first, second = (pnl(problem, Neutral(), 500, 10) for problem in (plain, scaled))
    np.testing.assert_allclose(second, scale * first, rtol=1e-7, atol=1e-9 * scale)

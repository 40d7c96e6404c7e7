"""Closed forms against QuantLib's engines: at least 50 contracts a kind, rates and dividends."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from deephedge.envs.instruments.asian import AsianCall, AsianPut
from deephedge.envs.instruments.barrier import BarrierCall, BarrierPut
from deephedge.envs.instruments.claim import Claim
from deephedge.envs.instruments.digital import DigitalCall, DigitalPut
from deephedge.envs.instruments.forward_start import ForwardStartCall, ForwardStartPut
from deephedge.envs.instruments.several_assets import Exchange
from deephedge.envs.markets import MarketPaths
from deephedge.envs.pricing import Greeks
from deephedge.envs.pricing.barrier import continuous_barrier
from deephedge.envs.pricing.closed_form import closed_form
from deephedge.envs.pricing.lookback import beyond
from deephedge.envs.pricing.terms import Terms

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's types have no __module__, which Python 3.12 reports
    import QuantLib as ql  # noqa: N813

FLOAT64 = torch.float64
TOLERANCE = 1e-7 * 100  # of the spot
RATES = ((0.0, 0.0), (0.05, 0.02), (-0.01, 0.04), (0.03, 0.03))
TODAY = ql.Date(2, 1, 2024)
COUNT = ql.Actual365Fixed()


@pytest.fixture(scope="module", autouse=True)
def quantlib_day() -> Iterator[None]:
    """A fixed evaluation date; QuantLib keeps it in a global, which is put back."""
    settings = ql.Settings.instance()
    before = settings.evaluationDate
    settings.evaluationDate = TODAY
    yield
    settings.evaluationDate = before


def process(spot: float, vol: float, rate: float, dividend: float) -> Any:
    return ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(spot)),
        ql.YieldTermStructureHandle(ql.FlatForward(TODAY, dividend, COUNT)),
        ql.YieldTermStructureHandle(ql.FlatForward(TODAY, rate, COUNT)),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(TODAY, ql.NullCalendar(), vol, COUNT)),
    )


def kind_of(sign: int) -> int:
    return int(ql.Option.Call if sign > 0 else ql.Option.Put)


def priced(
    claim: Claim, spots: list[float], days: list[int], vol: float, rate: float, dividend: float
) -> Greeks:
    """The claim on one path, all days given; today is day 0."""
    spot = torch.tensor(spots, dtype=FLOAT64)[:, None]
    times = torch.tensor(days, dtype=FLOAT64)[:, None] / 365
    quoted = torch.full((1, 1), vol, dtype=FLOAT64)
    paths = MarketPaths(times=times, spot=spot, log_spot=spot.log(), implied_vol=quoted)
    return closed_form(claim, Terms(paths, times[-1], rate, (dividend,), (quoted,)))


def scalar(x: float) -> Tensor:
    return torch.tensor([x], dtype=FLOAT64)


def test_digital() -> None:
    cases = list(itertools.product((1, -1), (80.0, 100.0, 120.0), (7, 365), (0.1, 0.4), RATES))
    assert len(cases) >= 50
    for sign, strike, days, vol, (rate, dividend) in cases:
        claim = (DigitalCall if sign > 0 else DigitalPut)(strike=strike, cash=10.0)
        ours = priced(claim, [100.0, 100.0], [0, days], vol, rate, dividend)
        option = ql.VanillaOption(
            ql.CashOrNothingPayoff(kind_of(sign), strike, 10.0), ql.EuropeanExercise(TODAY + days)
        )
        option.setPricingEngine(ql.AnalyticEuropeanEngine(process(100.0, vol, rate, dividend)))
        theirs = {"price": option.NPV(), "delta": option.delta(), "gamma": option.gamma()}
        theirs |= {"vega": option.vega(), "theta": option.theta()}
        for name, value in theirs.items():
            assert float(getattr(ours, name)[0]) == pytest.approx(value, abs=1e-9), (name, claim)


def test_geometric_asian_new_and_seasoned() -> None:
    days = [0, 11, 20, 49, 50, 91, 120]
    spots = [100.0, 103.0, 97.0, 92.0, 105.0, 110.0, 99.0]
    cases = list(itertools.product((1, -1), (85.0, 100.0, 115.0), (0.1, 0.5), RATES, (0, 3)))
    assert len(cases) >= 50
    for sign, strike, vol, (rate, dividend), past in cases:
        claim = (AsianCall if sign > 0 else AsianPut)(strike=strike, average="geometric")
        ours = priced(claim, spots, days, vol, rate, dividend).price[past]
        product = 1.0
        for spot in spots[1 : past + 1]:
            product *= spot
        dates = [TODAY + day - days[past] for day in days[1:]]
        option = ql.DiscreteAveragingAsianOption(
            ql.Average.Geometric,
            product,
            past,
            dates[past:],
            ql.PlainVanillaPayoff(kind_of(sign), strike),
            ql.EuropeanExercise(dates[-1]),
        )
        world = process(spots[past], vol, rate, dividend)
        option.setPricingEngine(ql.AnalyticDiscreteGeometricAveragePriceAsianEngine(world))
        assert float(ours) == pytest.approx(option.NPV(), abs=TOLERANCE * 1e-3), claim


def test_arithmetic_asian_is_a_close_lower_bound_of_choi() -> None:
    """Choi's sums of lognormals ("Sum of All Black-Scholes-Merton Models", 2018)."""
    days = list(range(0, 366, 61))
    worst = 0.0
    for sign, strike, vol in itertools.product((1, -1), (85.0, 100.0, 115.0), (0.1, 0.3)):
        claim = (AsianCall if sign > 0 else AsianPut)(strike=strike)
        ours = float(priced(claim, [100.0] * len(days), days, vol, 0.05, 0.02).price[0])
        option = ql.DiscreteAveragingAsianOption(
            ql.Average.Arithmetic,
            [TODAY + day for day in days[1:]],
            ql.PlainVanillaPayoff(kind_of(sign), strike),
            ql.EuropeanExercise(TODAY + days[-1]),
        )
        option.setPricingEngine(ql.ChoiAsianEngine(process(100.0, vol, 0.05, 0.02), 15.0))
        worst = max(worst, option.NPV() - ours)
        assert ours <= option.NPV() + 1e-4
    assert worst < 2e-3


KINDS = {
    ("down", "in"): ql.Barrier.DownIn,
    ("down", "out"): ql.Barrier.DownOut,
    ("up", "in"): ql.Barrier.UpIn,
    ("up", "out"): ql.Barrier.UpOut,
}


def test_continuous_barrier_all_eight_kinds() -> None:
    levels = {"down": (80.0, 95.0, 99.9), "up": (100.1, 105.0, 130.0)}
    cases = 0
    for (direction, knock), kind in KINDS.items():
        for sign, strike, level, days, vol, (rate, dividend) in itertools.product(
            (1, -1), (82.0, 100.0, 118.0), levels[direction], (10, 365), (0.12, 0.45), RATES
        ):
            claim = (BarrierCall if sign > 0 else BarrierPut)(
                strike=strike, barrier=level, direction=direction, knock=knock
            )
            ours = continuous_barrier(
                claim, scalar(100.0).log(), scalar(days / 365), scalar(vol), rate, dividend
            )
            option = ql.BarrierOption(
                kind,
                level,
                0.0,
                ql.PlainVanillaPayoff(kind_of(sign), strike),
                ql.EuropeanExercise(TODAY + days),
            )
            option.setPricingEngine(ql.AnalyticBarrierEngine(process(100.0, vol, rate, dividend)))
            assert float(ours) == pytest.approx(option.NPV(), abs=1e-9), (claim, days, vol, rate)
            cases += 1
    assert cases >= 8 * 50


def lookback_cases() -> list[Any]:
    """Beyond (in money), days, vol, rates that differ: QuantLib divides by r - q."""
    differing = [pair for pair in RATES if pair[0] != pair[1]]
    cases = list(itertools.product((0.0, 1.0, 8.0, 30.0), (5, 60, 365), (0.1, 0.4), differing))
    cases += list(itertools.product((3.0,), (30,), (0.2,), [(1e-4, 0.0), (0.0, 1e-4)]))
    assert len(cases) >= 50
    return cases


@pytest.mark.parametrize("side", [1, -1], ids=["maximum", "minimum"])
def test_continuous_lookback(side: int) -> None:
    for far, days, vol, (rate, dividend) in lookback_cases():
        level = 100.0 + side * far
        tau = scalar(days / 365)
        ours = beyond(
            side, scalar(level).log(), tau, vol * tau.sqrt(), scalar(100.0).log(), rate, dividend
        )
        world = process(100.0, vol, rate, dividend)
        exercise = ql.EuropeanExercise(TODAY + days)
        floating = ql.ContinuousFloatingLookbackOption(
            level, ql.FloatingTypePayoff(kind_of(-side)), exercise
        )
        floating.setPricingEngine(ql.AnalyticContinuousFloatingLookbackEngine(world))
        fixed = ql.ContinuousFixedLookbackOption(
            100.0, ql.PlainVanillaPayoff(kind_of(side), level), exercise
        )
        fixed.setPricingEngine(ql.AnalyticContinuousFixedLookbackEngine(world))
        sure = level * torch.exp(-rate * tau) - 100.0 * torch.exp(-dividend * tau)
        case = (far, days, vol, rate, dividend)
        digits = 1e-9 if abs(rate - dividend) > 1e-3 else 1e-6  # theirs cancel
        assert float(side * sure + ours) == pytest.approx(floating.NPV(), abs=digits), case
        assert float(ours) == pytest.approx(fixed.NPV(), abs=digits), case


def test_forward_start() -> None:
    cases = list(itertools.product((1, -1), (0.8, 1.0, 1.2), (30, 200), (0.1, 0.4), RATES))
    cases += [(1, 1.0, 1, 0.2, RATES[1]), (-1, 1.1, 364, 0.2, RATES[1])]
    assert len(cases) >= 50
    for sign, moneyness, start, vol, (rate, dividend) in cases:
        claim = (ForwardStartCall if sign > 0 else ForwardStartPut)(
            start=start / 365, moneyness=moneyness
        )
        ours = priced(claim, [100.0] * 3, [0, start, 365], vol, rate, dividend)
        option = ql.ForwardVanillaOption(
            moneyness,
            TODAY + start,
            ql.PlainVanillaPayoff(kind_of(sign), 100.0),
            ql.EuropeanExercise(TODAY + 365),
        )
        option.setPricingEngine(ql.ForwardEuropeanEngine(process(100.0, vol, rate, dividend)))
        assert float(ours.price[0]) == pytest.approx(option.NPV(), abs=1e-9), claim
        assert float(ours.delta[0]) == pytest.approx(option.delta(), abs=1e-9), claim


def test_exchange() -> None:
    vols = ((0.2, 0.3), (0.1, 0.1), (0.5, 0.2))
    cases = list(itertools.product((0.5, 1.0, 1.4), vols, (-0.6, 0.3, 0.9), (20, 365), RATES))
    assert len(cases) >= 50
    for ratio, (first, second), rho, days, (rate, dividend) in cases:
        yields = (dividend, 0.01)
        times = torch.tensor([[0.0], [days / 365]], dtype=FLOAT64)
        quoted = [torch.full((1, 1), vol, dtype=FLOAT64) for vol in (first, second)]
        assets = [
            MarketPaths(times, x, x.log(), vol)
            for x, vol in zip(
                (torch.full((2, 1), s, dtype=FLOAT64) for s in (100.0, 95.0)), quoted, strict=True
            )
        ]
        paths = MarketPaths(
            times, assets[0].spot, assets[0].log_spot, quoted[0], others=(assets[1],)
        )
        matrix = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=FLOAT64)
        terms = Terms(paths, times[-1], rate, yields, tuple(quoted), matrix)
        ours = closed_form(Exchange(ratio=ratio), terms)
        option = ql.MargrabeOption(1, 1, ql.EuropeanExercise(TODAY + days))
        worlds = (
            process(100.0, first, rate, yields[0]),
            process(95.0 * ratio, second, rate, yields[1]),
        )
        option.setPricingEngine(ql.AnalyticEuropeanMargrabeEngine(*worlds, rho))
        case = (ratio, first, second, rho, days, rate)
        assert float(ours.price[0]) == pytest.approx(option.NPV(), abs=1e-9), case
        assert float(ours.delta[0]) == pytest.approx(option.delta1(), abs=1e-9), case
        ((index, other),) = ours.others
        assert index == 1
        assert float(other[0]) == pytest.approx(ratio * option.delta2(), abs=1e-9), case
        assert float(ours.theta[0]) == pytest.approx(option.theta(), abs=1e-9), case

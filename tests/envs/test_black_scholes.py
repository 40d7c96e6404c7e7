"""Black-Scholes: QuantLib, published values, central differences, laws, and finite everywhere."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import special
from torch import Tensor

from deephedge.envs.pricing import Greeks, black_scholes
from deephedge.envs.pricing.black_scholes import HigherGreeks, higher_greeks

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's types have no __module__, which Python 3.12 reports
    import QuantLib as ql  # noqa: N813

FLOAT64 = torch.float64


def greeks(
    spot: float | Tensor,
    strike: float,
    tau: float | Tensor,
    vol: float | Tensor,
    sign: int = 1,
    rate: float = 0.0,
    dividend: float = 0.0,
) -> Greeks:
    spot, tau, vol = (torch.as_tensor(x, dtype=FLOAT64) for x in (spot, tau, vol))
    return black_scholes(spot.log(), strike, tau, vol, sign=sign, rate=rate, dividend=dividend)


# QuantLib ---------------------------------------------------------------------------------------

# Days, strike, vol, rate, dividend; each as a call and as a put on a spot of 100.
CONTRACTS = list(
    itertools.product(
        (7, 30, 365, 1825),
        (60.0, 100.0, 145.0),
        (0.08, 0.2, 0.6),
        ((0, 0), (0.05, 0.02), (-0.01, 0.07)),
    )
)


@pytest.fixture(scope="module")
def quantlib_day() -> Iterator[ql.Date]:
    """A fixed evaluation date; QuantLib keeps it in a global, which is put back."""
    settings = ql.Settings.instance()
    before, today = settings.evaluationDate, ql.Date(2, 1, 2024)
    settings.evaluationDate = today
    yield today
    settings.evaluationDate = before


def quantlib_greeks(
    today: ql.Date, sign: int, days: int, strike: float, vol: float, rate: float, dividend: float
) -> dict[str, float]:
    """Instrument, analytic engine and process, as a user of QuantLib would build them."""
    count = ql.Actual365Fixed()
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(100.0)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, dividend, count)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, rate, count)),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), vol, count)),
    )
    payoff = ql.PlainVanillaPayoff(ql.Option.Call if sign > 0 else ql.Option.Put, strike)
    option = ql.VanillaOption(payoff, ql.EuropeanExercise(today + days))
    option.setPricingEngine(ql.AnalyticEuropeanEngine(process))
    return {
        "price": option.NPV(),
        "delta": option.delta(),
        "gamma": option.gamma(),
        "vega": option.vega(),
        "theta": option.theta(),
    }


@pytest.mark.parametrize("sign", [1, -1], ids=["call", "put"])
def test_agrees_with_quantlib(sign: int, quantlib_day: ql.Date) -> None:
    assert 2 * len(CONTRACTS) >= 50
    worst: dict[str, tuple[float, tuple[float, ...]]] = {}
    for days, strike, vol, (rate, dividend) in CONTRACTS:
        ours = greeks(100.0, strike, days / 365, vol, sign, rate, dividend)
        theirs = quantlib_greeks(quantlib_day, sign, days, strike, vol, rate, dividend)
        for name, value in theirs.items():
            error = abs(float(getattr(ours, name)) - value)
            worst[name] = max(worst.get(name, (0.0, ())), (error, (days, strike, vol, rate)))
    # 1e-7 of spot is 1e-5; formulas this close to each other differ by rounding alone.
    assert {name: case for name, case in worst.items() if case[0] > 1e-10} == {}


# Published values -------------------------------------------------------------------------------

# Haug, "The Complete Guide to Option Pricing Formulas", 1998; page, value, kind, then
# sign, spot, strike, tau, rate, dividend, vol.
HAUG = [
    ("2-8", 2.1334, "price", 1, 60.0, 65.0, 0.25, 0.08, 0.0, 0.30),
    ("2-8", 2.4648, "price", -1, 100.0, 95.0, 0.5, 0.10, 0.05, 0.20),
    ("2-8", 1.7011, "price", -1, 19.0, 19.0, 0.75, 0.10, 0.10, 0.28),
    ("2-8", 0.0291, "price", 1, 1.56, 1.60, 0.5, 0.06, 0.08, 0.12),
    ("2-8", 4.0870, "price", -1, 75.0, 70.0, 0.5, 0.10, 0.05, 0.35),
    ("11-16", 0.5946, "delta", 1, 105.0, 100.0, 0.5, 0.10, 0.10, 0.36),
    ("11-16", -0.3566, "delta", -1, 105.0, 100.0, 0.5, 0.10, 0.10, 0.36),
    ("11-16", 0.0278, "gamma", 1, 55.0, 60.0, 0.75, 0.10, 0.0, 0.30),
    ("11-16", 18.9358, "vega", -1, 55.0, 60.0, 0.75, 0.10, 0.0, 0.30),
    ("11-16", -31.1924, "theta", -1, 430.0, 405.0, 1 / 12, 0.07, 0.05, 0.20),
]


@pytest.mark.parametrize(
    ("page", "value", "name", "sign", "spot", "strike", "tau", "rate", "dividend", "vol"), HAUG
)
def test_haugs_printed_digits(
    page: str,
    value: float,
    name: str,
    sign: int,
    spot: float,
    strike: float,
    tau: float,
    rate: float,
    dividend: float,
    vol: float,
) -> None:
    ours = float(getattr(greeks(spot, strike, tau, vol, sign, rate, dividend), name))
    assert ours == pytest.approx(value, abs=5.01e-5), f"page {page}"


# Derivatives ------------------------------------------------------------------------------------

GRID = [
    torch.tensor(column, dtype=FLOAT64)
    for column in zip(
        *itertools.product((70.0, 97.0, 100.0, 140.0), (0.02, 0.3, 2.0), (0.1, 0.25, 0.7)),
        strict=True,
    )
]


@pytest.mark.parametrize("sign", [1, -1], ids=["call", "put"])
@pytest.mark.parametrize(("rate", "dividend"), [(0.0, 0.0), (0.05, 0.02), (-0.02, 0.06)])
def test_greeks_are_central_differences(sign: int, rate: float, dividend: float) -> None:
    spot, tau, vol = GRID

    def value(spot: Tensor, tau: Tensor, vol: Tensor) -> Greeks:
        return greeks(spot, 100.0, tau, vol, sign, rate, dividend)

    def central(up: Tensor, down: Tensor, bump: Tensor) -> Tensor:
        return (up - down) / (2 * bump)

    h = {"spot": 1e-5 * spot, "tau": 1e-5 * tau, "vol": 1e-5 * vol}
    ours = value(spot, tau, vol)
    up, down = value(spot + h["spot"], tau, vol), value(spot - h["spot"], tau, vol)
    sooner, later = value(spot, tau + h["tau"], vol), value(spot, tau - h["tau"], vol)
    more, less = value(spot, tau, vol + h["vol"]), value(spot, tau, vol - h["vol"])
    expected = {
        "delta": central(up.price, down.price, h["spot"]),
        "gamma": central(up.delta, down.delta, h["spot"]),
        "vega": central(more.price, less.price, h["vol"]),
        "theta": -central(sooner.price, later.price, h["tau"]),  # calendar time runs against tau
    }
    for name, values in expected.items():
        torch.testing.assert_close(getattr(ours, name), values, rtol=1e-5, atol=1e-6, msg=name)


def test_greeks_are_the_gradients_that_torch_finds() -> None:
    spot, tau, vol = (x.clone().requires_grad_() for x in GRID)
    ours = greeks(spot, 100.0, tau, vol, -1, 0.05, 0.02)
    found = torch.autograd.grad(ours.price.sum(), (spot, tau, vol), retain_graph=True)
    torch.testing.assert_close(found[0], ours.delta, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found[1], -ours.theta, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[2], ours.vega, rtol=1e-9, atol=1e-9)
    (gamma,) = torch.autograd.grad(ours.delta.sum(), spot)
    torch.testing.assert_close(gamma, ours.gamma, rtol=1e-9, atol=1e-12)


def test_theta_has_its_sign_and_solves_the_equation() -> None:
    """Time costs the owner; theta + (r - q) S delta + vol^2 S^2 gamma / 2 = r V (Black-Scholes)."""
    assert (greeks(GRID[0], 100.0, GRID[1], GRID[2]).theta <= 0).all()
    assert float(greeks(100.0, 100.0, 0.1, 0.2).theta) == pytest.approx(-12.6, abs=0.05)
    # A deep put on a non-paying stock gains with time: it earns interest on the strike.
    assert float(greeks(50.0, 100.0, 0.5, 0.2, -1, 0.05).theta) == pytest.approx(4.877, abs=1e-3)
    for sign in (1, -1):
        spot, tau, vol = GRID
        g = greeks(spot, 100.0, tau, vol, sign, 0.05, 0.02)
        left = g.theta + 0.03 * spot * g.delta + 0.5 * (vol * spot) ** 2 * g.gamma
        torch.testing.assert_close(left, 0.05 * g.price, rtol=1e-9, atol=1e-9)


# Laws -------------------------------------------------------------------------------------------

positive = st.floats(1e-3, 1e5)
rates = st.floats(-0.1, 0.2)


@given(
    spot=positive,
    strike=positive,
    tau=st.floats(0, 30),
    vol=st.floats(0, 3),
    rate=rates,
    dividend=rates,
)
@example(spot=100.0, strike=100.0, tau=0.0, vol=0.2, rate=0.0, dividend=0.0)
@example(spot=100.0, strike=100.0, tau=1.0, vol=0.0, rate=0.05, dividend=0.05)
def test_bounds_and_put_call_parity(
    spot: float, strike: float, tau: float, vol: float, rate: float, dividend: float
) -> None:
    call, put = (greeks(spot, strike, tau, vol, sign, rate, dividend) for sign in (1, -1))
    asset, cash = spot * math.exp(-dividend * tau), strike * math.exp(-rate * tau)
    tiny = 1e-10 * max(asset, cash)
    assert abs(float(call.price - put.price) - (asset - cash)) <= tiny
    assert max(asset - cash, 0) - tiny <= call.price <= asset + tiny
    assert max(cash - asset, 0) - tiny <= put.price <= cash + tiny
    carry = math.exp(-dividend * tau)
    assert float(call.delta - put.delta) == pytest.approx(carry, rel=1e-12)
    assert 0 <= call.delta <= carry * (1 + 1e-12)
    for name in ("gamma", "vega"):
        assert float(getattr(call, name)) == float(getattr(put, name)) >= 0


def test_price_rises_with_vol_and_is_convex_in_strike() -> None:
    vol = torch.linspace(0, 2, 201, dtype=FLOAT64)
    for sign in (1, -1):
        prices = greeks(100.0, 105.0, 0.5, vol, sign, 0.03, 0.01).price
        assert (prices.diff() >= 0).all()
        by_strike = torch.stack(
            [greeks(100.0, k, 0.5, 0.2, sign, 0.03, 0.01).price for k in range(50, 160)]
        )
        assert (by_strike.diff(n=2) > 0).all()


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_everything_scales_with_the_currency(scale: float) -> None:
    plain = greeks(104.0, 100.0, 0.1, 0.2, 1, 0.05, 0.02)
    scaled = greeks(104.0 * scale, 100.0 * scale, 0.1, 0.2, 1, 0.05, 0.02)
    powers = {"price": 1, "delta": 0, "gamma": -1, "vega": 1, "theta": 1}
    for name, power in powers.items():
        expected = float(getattr(plain, name)) * scale**power
        assert float(getattr(scaled, name)) == pytest.approx(expected, rel=1e-9), name


# Limits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tau", "vol"), [(0.0, 0.2), (0.0, 0.0), (0.5, 0.0), (1e-30, 0.2)])
@pytest.mark.parametrize("sign", [1, -1], ids=["call", "put"])
def test_without_time_or_vol_the_price_is_intrinsic(tau: float, vol: float, sign: int) -> None:
    rate, dividend = 0.05, 0.02
    asset, cash = math.exp(-dividend * tau), 100 * math.exp(-rate * tau)
    at_the_forward = cash / asset
    spot = torch.tensor([60.0, at_the_forward, 140.0], dtype=FLOAT64)
    g = greeks(spot, 100.0, tau, vol, sign, rate, dividend)
    torch.testing.assert_close(
        g.price, (sign * (spot * asset - cash)).clamp(min=0), atol=1e-9, rtol=0
    )
    in_the_money = [0.0, 0.5, 1.0] if sign > 0 else [1.0, 0.5, 0.0]
    assert g.delta.tolist() == pytest.approx([sign * asset * x for x in in_the_money], abs=1e-3)
    assert (g.gamma == 0).all()
    assert (g.vega == 0).all()
    # What is left of theta is interest and dividends on the sure payment.
    sure = torch.tensor(in_the_money, dtype=FLOAT64) * sign
    torch.testing.assert_close(
        g.theta, sure * (dividend * asset * spot - rate * cash), atol=1e-2, rtol=0
    )


def test_deep_options_are_the_forward_or_nothing() -> None:
    """Delta is 0 or 1 for a call, -1 or 0 for a put, as the spot goes to 0 or beyond bounds."""
    spot = torch.tensor([1e-30, 1e14], dtype=FLOAT64)
    call, put = (greeks(spot, 100.0, 0.5, 0.2, sign) for sign in (1, -1))
    assert call.delta.tolist() == [0.0, 1.0]
    assert put.delta.tolist() == [-1.0, 0.0]
    assert call.price.tolist() == [0.0, pytest.approx(1e14 - 100.0, rel=1e-12)]
    assert put.price.tolist() == [100.0, 0.0]
    assert (call.gamma == 0).all()
    assert (call.vega == 0).all()


def test_hopeless_options_keep_their_digits() -> None:
    """Far out of the money 1 - N(x) has none left; the tail is computed for itself."""
    d1 = torch.tensor([-6.0, -9.0, -15.0, -30.0], dtype=FLOAT64)
    log_moneyness = 0.2 * (d1 - 0.1)  # at vol 0.2 for a year
    g = black_scholes(
        math.log(100.0) + log_moneyness,
        100.0,
        torch.tensor(1.0, dtype=FLOAT64),
        torch.tensor(0.2, dtype=FLOAT64),
        sign=1,
    )
    np.testing.assert_allclose(g.delta, special.ndtr(d1.numpy()), rtol=1e-10)
    assert (g.price > 0).all()


def wild(dtype: torch.dtype) -> list[Tensor]:
    """Every combination of extreme spots (over the strike), times and vols, S = K at expiry too."""
    spots = [1e-30, 1e-12, 1e-3, 0.5, 1 - 1e-7, 1.0, 1 + 1e-7, 2.0, 1e3, 1e12]
    taus = [0.0, 1e-30, 1e-15, 1e-6, 1 / 365, 1.0, 100.0]
    vols = [0.0, 1e-15, 1e-8, 1e-3, 0.2, 3.0, 50.0]
    columns = zip(*itertools.product(spots, taus, vols), strict=True)
    spot, tau, vol = (torch.tensor(c, dtype=FLOAT64) for c in columns)
    return [(spot * 100).log().to(dtype), tau.to(dtype), vol.to(dtype)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("sign", [1, -1], ids=["call", "put"])
@pytest.mark.parametrize(("rate", "dividend"), [(0.0, 0.0), (0.05, 0.02)])
def test_finite_on_a_wild_grid_with_finite_gradients(
    dtype: torch.dtype, sign: int, rate: float, dividend: float
) -> None:
    inputs = [x.requires_grad_() for x in wild(dtype)]
    log_spot, tau, vol = inputs
    g = black_scholes(log_spot, 100.0, tau, vol, sign=sign, rate=rate, dividend=dividend)
    for name, values in list(g._asdict().items())[:5]:
        assert values.dtype == dtype
        assert values.isfinite().all(), name
        gradients = torch.autograd.grad(values.sum(), inputs, retain_graph=True)
        for wrt, gradient in zip(("log_spot", "tau", "vol"), gradients, strict=True):
            assert gradient.isfinite().all(), f"{name} by {wrt}"
    roundoff = 1e-6 if dtype == torch.float32 else 1e-14
    assert (g.price >= 0).all()
    assert (g.gamma >= 0).all()
    assert (g.vega >= 0).all()
    assert (g.delta.abs() <= 1 + roundoff).all()
    assert (g.price <= (log_spot.exp() if sign > 0 else 100.0) * (1 + 10 * roundoff)).all()


def test_float32_agrees_with_float64_to_its_digits() -> None:
    spot, tau, vol = GRID
    exact = black_scholes(spot.log(), 100.0, tau, vol, sign=1, rate=0.05, dividend=0.02)
    single = black_scholes(
        spot.log().float(), 100.0, tau.float(), vol.float(), sign=1, rate=0.05, dividend=0.02
    )
    size = {"price": 100.0, "delta": 1.0, "gamma": 1.0, "vega": 100.0, "theta": 100.0}
    for name, scale in size.items():
        error = (getattr(single, name).double() - getattr(exact, name)).abs().max() / scale
        assert error < 2e-5, name


def test_time_and_vol_broadcast_over_paths() -> None:
    log_spot = torch.full((3, 4), math.log(100.0), dtype=FLOAT64)
    tau = torch.tensor([0.2, 0.1, 0.0], dtype=FLOAT64)[:, None]
    vol = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=FLOAT64)[None]
    block = black_scholes(log_spot, 100.0, tau, vol, sign=1)
    for t, n in itertools.product(range(3), range(4)):
        one = greeks(100.0, 100.0, tau[t, 0], vol[0, n])
        for name in Greeks._fields[:5]:
            value = float(getattr(block, name).expand(3, 4)[t, n])
            assert value == pytest.approx(float(getattr(one, name)), rel=1e-14)


# Rho, vanna and volga ---------------------------------------------------------------------------


def higher(
    spot: float | Tensor,
    strike: float,
    tau: float | Tensor,
    vol: float | Tensor,
    sign: int = 1,
    rate: float = 0.0,
    dividend: float = 0.0,
) -> HigherGreeks:
    spot, tau, vol = (torch.as_tensor(x, dtype=FLOAT64) for x in (spot, tau, vol))
    return higher_greeks(spot.log(), strike, tau, vol, sign=sign, rate=rate, dividend=dividend)


@pytest.mark.parametrize("sign", [1, -1], ids=["call", "put"])
@pytest.mark.parametrize(("rate", "dividend"), [(0.0, 0.0), (0.05, 0.02), (-0.02, 0.06)])
def test_higher_greeks_are_central_differences(sign: int, rate: float, dividend: float) -> None:
    spot, tau, vol = GRID
    ours = higher(spot, 100.0, tau, vol, sign, rate, dividend)
    h, dr = 1e-5 * vol, 1e-5

    def value(vol: Tensor, rate: float) -> Greeks:
        return greeks(spot, 100.0, tau, vol, sign, rate, dividend)

    more, less = value(vol + h, rate), value(vol - h, rate)
    dearer, cheaper = value(vol, rate + dr), value(vol, rate - dr)
    expected = {
        "rho": (dearer.price - cheaper.price) / (2 * dr),
        "vanna": (more.delta - less.delta) / (2 * h),
        "volga": (more.vega - less.vega) / (2 * h),
    }
    for name, values in expected.items():
        size = float(values.abs().max())
        torch.testing.assert_close(getattr(ours, name), values, rtol=1e-6, atol=1e-6 * size)


@pytest.mark.parametrize("sign", [1, -1], ids=["call", "put"])
def test_rho_agrees_with_quantlib(sign: int, quantlib_day: ql.Date) -> None:
    kind = ql.Option.Call if sign > 0 else ql.Option.Put
    for days, strike, vol, (rate, dividend) in CONTRACTS:
        tau = days / 365
        ours = higher(100.0, strike, tau, vol, sign, rate, dividend)
        theirs = ql.BlackCalculator(
            ql.PlainVanillaPayoff(kind, strike),
            100.0 * math.exp((rate - dividend) * tau),
            vol * math.sqrt(tau),
            math.exp(-rate * tau),
        )
        assert float(ours.rho) == pytest.approx(theirs.rho(tau), rel=1e-10, abs=1e-10)


def test_parity_of_the_higher_greeks() -> None:
    """Puts and calls differ by the forward: rho by K tau e^{-r tau}, vanna and volga by nothing."""
    spot, tau, vol = GRID
    call, put = (higher(spot, 100.0, tau, vol, sign, 0.05, 0.02) for sign in (1, -1))
    torch.testing.assert_close(call.rho - put.rho, 100.0 * tau * torch.exp(-0.05 * tau))
    assert torch.equal(call.vanna, put.vanna)
    assert torch.equal(call.volga, put.volga)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("sign", [1, -1], ids=["call", "put"])
def test_higher_greeks_are_finite_on_a_wild_grid(dtype: torch.dtype, sign: int) -> None:
    log_spot, tau, vol = wild(dtype)
    for rate, dividend in ((0.0, 0.0), (0.05, 0.02)):
        found = higher_greeks(log_spot, 100.0, tau, vol, sign=sign, rate=rate, dividend=dividend)
        for name, values in found._asdict().items():
            assert values.dtype == dtype
            assert values.isfinite().all(), name
        for values in (found.vanna, found.volga):
            assert (values[(tau == 0) | (vol == 0)] == 0).all()
        assert (found.rho[tau == 0] == 0).all()

"""Implied vol: to the last digits of the price, over all of the no-arbitrage range."""

from __future__ import annotations

import math
import random
import warnings

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deephedge.envs.pricing.black_scholes import black_scholes
from deephedge.envs.pricing.implied_vol import Reason, implied_vol

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's types have no __module__, which Python 3.12 reports
    import QuantLib as ql  # noqa: N813

FLOAT64 = torch.float64
Number = mpmath.mpf


def tensor(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=FLOAT64)


def exact(
    forward: float, strike: float, tau: float, vol: float, sign: int, discount: float
) -> tuple[Number, Number]:
    """Price and vega to 60 digits."""
    with mpmath.workdps(60):
        f, k, t, v, d = (mpmath.mpf(y) for y in (forward, strike, tau, vol, discount))
        s = v * mpmath.sqrt(t)
        d1 = mpmath.log(f / k) / s + s / 2

        def normal(x: Number) -> Number:
            return mpmath.erfc(-x / mpmath.sqrt(2)) / 2

        price = d * sign * (f * normal(sign * d1) - k * normal(sign * (d1 - s)))
        return price, d * f * mpmath.npdf(d1) * mpmath.sqrt(t)


def wild(count: int) -> list[tuple[float, float, float, float, int, float]]:
    """Forward, strike, tau, vol, sign, discount: total vols 1e-8 to 20, up to 12 of them away."""
    rng = random.Random(0)
    rows = []
    for _ in range(count):
        s, forward = 10 ** rng.uniform(-8, 1.3), 10 ** rng.uniform(-6, 6)
        away = rng.choice((0, 1, 1, 1)) * rng.gauss(0, 1) * s * rng.choice((1, 4, 12))
        away += rng.choice((0, 0, 1)) * rng.gauss(0, 1)
        tau = 10 ** rng.uniform(-12, 2)
        discount = rng.choice((1.0, rng.uniform(0.5, 1.05)))
        strike = forward * math.exp(away)
        rows.append((forward, strike, tau, s / math.sqrt(tau), rng.choice((1, -1)), discount))
    return rows


def test_as_exact_as_its_price_in_a_wild_domain() -> None:
    """At most 1e-10 (1e-13 of the vol) or 8 ulp(price) / vega from the vol, by mpmath."""
    rows = [(row, *exact(*row)) for row in wild(3_000)]
    rows = [row for row in rows if row[1] > 1e-300]
    forward, strike, tau, _, sign, discount = (
        tensor(*column) for column in zip(*(row for row, _, _ in rows), strict=True)
    )
    price = tensor(*(float(p) for _, p, _ in rows))
    found = implied_vol(price, forward, strike, tau, sign=sign, discount=discount)
    solved = 0
    for i, (row, value, vega) in enumerate(rows):
        ulp = math.ulp(float(value))
        allowed = 8 * ulp / vega if vega > 0 else mpmath.inf
        got = float(found.vol[i])
        if math.isnan(got) or got == 0.0:
            # The price is its bound, or next to it: rounding has left no time value to invert.
            out = row[5] * min(row[0], row[1])
            intrinsic = row[5] * max(row[4] * (row[0] - row[1]), 0.0)
            assert (
                min(abs(float(value) - intrinsic), abs(float(value) - intrinsic - out)) <= 4 * ulp
            )
        else:
            solved += 1
            assert abs(got - row[3]) <= max(1e-10, 1e-13 * row[3], allowed), row
    assert solved > 0.75 * len(rows)


def test_agrees_with_quantlib() -> None:
    for forward, strike, tau, vol, sign, discount in wild(400):
        s = vol * math.sqrt(tau)
        if not (1e-3 < s < 3 and abs(math.log(forward / strike)) < 3 * s):
            continue
        kind = ql.Option.Call if sign > 0 else ql.Option.Put
        price = ql.blackFormula(kind, strike, forward, s, discount)
        theirs = ql.blackFormulaImpliedStdDev(
            kind, strike, forward, price, discount, 0.0, s, 1e-14, 1000
        )
        ours = implied_vol(
            tensor(price), tensor(forward), strike, tau, sign=sign, discount=discount
        )
        digits = 1e-13 * price / float(exact(forward, strike, tau, vol, sign, discount)[1])
        assert float(ours.vol) == pytest.approx(theirs / math.sqrt(tau), rel=1e-9, abs=10 * digits)


@given(
    moneyness=st.floats(-3, 3),
    vol=st.floats(0.01, 3),
    tau=st.floats(1e-4, 30),
    sign=st.sampled_from((1, -1)),
)
def test_round_trip(moneyness: float, vol: float, tau: float, sign: int) -> None:
    log_spot = tensor(math.log(100.0) + moneyness)
    g = black_scholes(log_spot, 100.0, tensor(tau), tensor(vol), sign=sign)
    found = implied_vol(g.price, log_spot.exp(), 100.0, tau, sign=sign)
    price, vega = float(g.price), float(g.vega)
    # Black-Scholes itself is right to a few ulp of its larger leg.
    leg = 100 * max(1.0, math.exp(moneyness))
    if 20 * math.ulp(leg) < 0.01 * vega * vol:
        assert float(found.vol) == pytest.approx(vol, abs=1e-10 + 20 * math.ulp(leg) / vega)
    elif int(found.reason) == 0:
        again = black_scholes(log_spot, 100.0, tensor(tau), found.vol, sign=sign)
        assert float(again.price) == pytest.approx(price, abs=20 * math.ulp(leg))


@given(
    price=st.floats(allow_nan=True, allow_infinity=True),
    forward=st.floats(allow_nan=True),
    strike=st.floats(allow_nan=True),
    tau=st.floats(allow_nan=True),
    sign=st.sampled_from((1, -1)),
)
def test_a_vol_or_a_reason_whatever_comes(
    price: float, forward: float, strike: float, tau: float, sign: int
) -> None:
    found = implied_vol(tensor(price), tensor(forward), strike, tau, sign=sign)
    assert bool(found.vol.isnan()) == bool(found.reason != 0)
    assert bool(found.vol.isnan()) or float(found.vol) >= 0


@pytest.mark.parametrize(
    ("price", "forward", "tau", "sign", "reason"),
    [
        (19.99, 120.0, 1.0, 1, Reason.BELOW),
        (-1e-12, 80.0, 1.0, 1, Reason.BELOW),
        (120.0, 120.0, 1.0, 1, Reason.ABOVE),
        (100.0, 80.0, 1.0, -1, Reason.ABOVE),
        (25.0, 120.0, 0.0, 1, Reason.EXPIRED),
        (math.nan, 120.0, 1.0, 1, Reason.INVALID),
        (5.0, -1.0, 1.0, 1, Reason.INVALID),
        (20.0, 120.0, 1.0, 1, Reason.NONE),
    ],
)
def test_reasons(price: float, forward: float, tau: float, sign: int, reason: Reason) -> None:
    found = implied_vol(tensor(price), tensor(forward), 100.0, tau, sign=sign)
    assert int(found.reason) == reason
    assert bool(found.vol.isnan()) == (reason != Reason.NONE)


def test_intrinsic_value_is_no_vol_and_its_neighbour_is_some() -> None:
    found = implied_vol(tensor(20.0, math.nextafter(20.0, 30.0)), tensor(120.0), 100.0, 1.0, sign=1)
    assert float(found.vol[0]) == 0.0
    assert 0 < float(found.vol[1]) < 0.05


def test_broadcasts_and_keeps_the_dtype() -> None:
    price = torch.tensor([[5.0], [8.0]])
    found = implied_vol(price, torch.tensor([100.0, 101.0, 102.0]), 100.0, 0.5, sign=1)
    assert found.vol.shape == found.reason.shape == (2, 3)
    assert found.vol.dtype == torch.float32
    assert (found.vol[1] > found.vol[0]).all()

"""The COS method: QuantLib, quadrature, Merton's series, differences, laws, and its tabulation."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from torch import Tensor

from deephedge.envs.markets import GeometricBrownianMotion, Market, Merton
from deephedge.envs.markets.bates import Bates
from deephedge.envs.markets.heston import Heston
from deephedge.envs.markets.kou import Kou
from deephedge.envs.pricing.characteristic import (
    ExponentialJumps,
    JumpDiffusion,
    Law,
    LognormalJumps,
    SquareRoot,
    law_of,
)
from deephedge.envs.pricing.fourier import Payoff, Profile, black, cosine
from deephedge.envs.pricing.tabulation import tabulate

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's types have no __module__, which Python 3.12 reports
    import QuantLib as ql  # noqa: N813

FLOAT64 = torch.float64
STRIKES = (60.0, 80.0, 100.0, 115.0, 150.0)
each_payoff = pytest.mark.parametrize("payoff", ["put", "below"])


def tensor(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=FLOAT64)


def profile(law: Law, x: Tensor, tau: float, vol: float, payoff: Payoff = "put") -> Profile:
    return Profile(*(y[0] for y in cosine(law, x[None], tau, tensor(vol), payoff)))


# QuantLib ---------------------------------------------------------------------------------------

# Variance, kappa, theta, vol of vol, rho: plain, far from Feller's condition, and others.
HESTONS = [
    (0.04, 1.5, 0.04, 0.5, -0.7),
    (0.04, 1.0, 0.04, 2.0, -0.7),
    (0.01, 0.5, 0.09, 1.0, -0.9),
    (0.25, 3.0, 0.06, 0.3, 0.3),
    (0.0025, 2.0, 0.02, 0.6, -0.5),
]
JUMPS = [None, (0.8, -0.1, 0.15)]
TERMS = list(itertools.product((7, 30, 365, 1825), ((0.05, 0.02), (-0.01, 0.04))))


@pytest.fixture(scope="module")
def quantlib_day() -> Iterator[ql.Date]:
    """A fixed evaluation date; QuantLib keeps it in a global, which is put back."""
    settings = ql.Settings.instance()
    before, today = settings.evaluationDate, ql.Date(2, 1, 2024)
    settings.evaluationDate = today
    yield today
    settings.evaluationDate = before


@pytest.mark.parametrize("jumps", JUMPS, ids=["heston", "bates"])
def test_agrees_with_quantlib(
    jumps: tuple[float, float, float] | None, quantlib_day: ql.Date
) -> None:
    """200 contracts each, calls and puts; QuantLib's adaptive integration at 1e-12."""
    count, worst = ql.Actual365Fixed(), 0.0
    for (v0, kappa, theta, xi, rho), (days, (rate, dividend)) in itertools.product(HESTONS, TERMS):
        curves = [
            ql.YieldTermStructureHandle(ql.FlatForward(quantlib_day, y, count))
            for y in (rate, dividend)
        ]
        arguments = (*curves, ql.QuoteHandle(ql.SimpleQuote(100.0)), v0, kappa, theta, xi, rho)
        if jumps is None:
            model = ql.HestonModel(ql.HestonProcess(*arguments))
            engine = ql.AnalyticHestonEngine(model, 1e-12, 1_000_000)
        else:
            model = ql.BatesModel(ql.BatesProcess(*arguments, *jumps))
            engine = ql.BatesEngine(model, 1e-12, 1_000_000)
        tau = days / 365
        law = SquareRoot(kappa, theta, xi, rho, None if jumps is None else LognormalJumps(*jumps))
        forward = 100 * math.exp((rate - dividend) * tau)
        ours = profile(law, (forward / tensor(*STRIKES)).log(), tau, math.sqrt(v0)).value
        for i, (strike, put) in enumerate(zip(STRIKES, ours.tolist(), strict=True)):
            sign = 1 if i % 2 else -1
            kind = ql.Option.Call if sign > 0 else ql.Option.Put
            option = ql.VanillaOption(
                ql.PlainVanillaPayoff(kind, strike), ql.EuropeanExercise(quantlib_day + days)
            )
            option.setPricingEngine(engine)
            value = strike * put + (forward - strike if sign > 0 else 0.0)
            worst = max(worst, abs(value * math.exp(-rate * tau) - option.NPV()))
    assert worst < 1e-8  # 1e-10 of spot


def test_buehler_et_al_2019() -> None:
    """Their Heston call (section 5.2) is worth 1.69."""
    law = SquareRoot(kappa=1.0, theta=0.04, vol_of_vol=2.0, rho=-0.7)
    for year in (365, 360):
        price = 100 * float(profile(law, tensor(0.0), 30 / year, 0.2).value)
        assert price == pytest.approx(1.69, abs=0.01)


# Jump diffusions --------------------------------------------------------------------------------


def merton_series(
    jumps: LognormalJumps, x: Tensor, tau: float, vol: float, payoff: Payoff
) -> Tensor:
    """Merton (1976): Black's formula given n jumps, weighted."""
    mean, total = jumps.intensity * tau, torch.zeros_like(x)
    for n in range(int(mean + 12 * math.sqrt(mean) + 25)):
        weight = math.exp(n * math.log(mean) - mean - math.lgamma(n + 1))
        deviation = tensor(math.sqrt(vol**2 * tau + n * jumps.std**2))
        shift = n * (jumps.mean + jumps.std**2 / 2) - mean * jumps.growth
        total += weight * black(x + shift, deviation, payoff).value
    return total


@each_payoff
@pytest.mark.parametrize(
    "jumps", [(1.2, -0.07, 0.05), (8.0, 0.1, 0.15), (0.5, -0.3, 0.01), (30.0, 0.0, 0.02)]
)
def test_merton_agrees_with_its_series(jumps: tuple[float, float, float], payoff: Payoff) -> None:
    law = JumpDiffusion(LognormalJumps(*jumps))
    x = torch.linspace(-1, 1, 21, dtype=FLOAT64) + 1e-3
    for tau, vol in itertools.product((1e-6, 1 / 365, 0.1, 1.0, 5.0), (0.0, 0.02, 0.15, 0.5)):
        ours = profile(law, x, tau, vol, payoff).value
        theirs = merton_series(LognormalJumps(*jumps), x, tau, vol, payoff)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-8, msg=f"{tau} {vol}")


def lewis(law: JumpDiffusion, x: float, tau: float, vol: float) -> float:
    """The put by Lewis (2001): 1 - sqrt(k) / pi times an integral along the line Im u = 1/2."""
    jumps = law.jumps

    def integrand(v: float) -> float:
        u = torch.tensor(v - 0.5j, dtype=torch.complex128)
        exponent = -0.5 * vol**2 * (u * u + 1j * u) + jumps.rate(u)
        return float((torch.exp(exponent * tau + 1j * v * x)).real) / (v * v + 0.25)

    total, _ = integrate.quad(integrand, 0, 12 / (vol * math.sqrt(tau)), epsabs=1e-12, limit=2000)
    return 1 - math.exp(x / 2) / math.pi * total


def test_kou_agrees_with_quadrature() -> None:
    """60 contracts; Lewis, "A Simple Option Formula for General Jump-Diffusion", 2001."""
    for jumps, tau, vol in itertools.product(
        (ExponentialJumps(1.0, 0.4, 10.0, 5.0), ExponentialJumps(6.0, 0.3, 25.0, 3.0)),
        (7 / 365, 0.5, 3.0),
        (0.1, 0.3),
    ):
        law = JumpDiffusion(jumps)
        x = (100 / tensor(*STRIKES)).log()
        ours = profile(law, x, tau, vol).value
        for value, place in zip(ours.tolist(), x.tolist(), strict=True):
            assert value == pytest.approx(lewis(law, place, tau, vol), abs=1e-9)


# Derivatives and laws ---------------------------------------------------------------------------

LAWS: dict[str, Law] = {
    "merton": JumpDiffusion(LognormalJumps(1.2, -0.07, 0.05)),
    "kou": JumpDiffusion(ExponentialJumps(3.0, 0.4, 10.0, 5.0)),
    "heston": SquareRoot(1.5, 0.04, 0.5, -0.7),
    "bates": SquareRoot(1.5, 0.04, 0.5, -0.7, LognormalJumps(1.0, -0.1, 0.1)),
}


@each_payoff
@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_derivatives_are_central_differences(law: Law, payoff: Payoff) -> None:
    x = torch.linspace(-0.5, 0.5, 11, dtype=FLOAT64)
    h = 1e-5

    def central(up: Tensor, down: Tensor, bump: float) -> Tensor:
        return (up - down) / (2 * bump)

    for tau, vol in ((0.02, 0.2), (1.0, 0.2), (3.0, 0.1)):
        ours = profile(law, x, tau, vol, payoff)
        right, left = (profile(law, x + y, tau, vol, payoff) for y in (h, -h))
        more, less = (profile(law, x, tau, vol + y, payoff).value for y in (h, -h))
        later, sooner = (profile(law, x, tau * (1 + y), vol, payoff).value for y in (h, -h))
        expected = {
            "first": central(right.value, left.value, h),
            "second": central(right.first, left.first, h),
            "by_variance": central(more, less, h) / (2 * vol),
            "by_tau": central(later, sooner, h * tau),
        }
        for name, values in expected.items():
            torch.testing.assert_close(
                getattr(ours, name), values, rtol=1e-6, atol=1e-6, msg=f"{name} {tau}"
            )


def test_a_heston_without_vol_of_vol_is_black_scholes() -> None:
    law = SquareRoot(kappa=2.0, theta=0.09, vol_of_vol=0.0, rho=-0.7)
    x = torch.linspace(-1, 1, 21, dtype=FLOAT64)
    for tau in (0.01, 1.0, 5.0):
        theirs = black(x, law.width(tau, tensor(0.2)), "put").value
        torch.testing.assert_close(profile(law, x, tau, 0.2).value, theirs, rtol=0, atol=1e-9)


@settings(max_examples=40)
@given(
    kappa=st.floats(1e-2, 20),
    theta=st.floats(0, 1),
    vol_of_vol=st.floats(0, 5),
    rho=st.floats(-1, 1),
    vol=st.floats(0, 1.5),
    tau=st.sampled_from((0.0, 1e-9, 1e-4, 0.02, 0.5, 5.0, 30.0)),
    jumps=st.sampled_from((None, LognormalJumps(2.0, -0.2, 0.3), LognormalJumps(20.0, 0.0, 0.0))),
)
def test_laws_of_a_put_hold_for_wild_square_root_laws(
    kappa: float,
    theta: float,
    vol_of_vol: float,
    rho: float,
    vol: float,
    tau: float,
    jumps: LognormalJumps | None,
) -> None:
    check_laws(SquareRoot(kappa, theta, vol_of_vol, rho, jumps), tau, vol)


@given(
    intensity=st.floats(0, 50),
    p=st.floats(0, 1),
    up=st.floats(1.1, 100),
    down=st.floats(0.5, 100),
    vol=st.floats(0, 1.5),
    tau=st.sampled_from((0.0, 1e-9, 1e-4, 0.02, 0.5, 5.0)),
)
def test_laws_of_a_put_hold_for_wild_jumps(
    intensity: float, p: float, up: float, down: float, vol: float, tau: float
) -> None:
    check_laws(JumpDiffusion(ExponentialJumps(intensity, p, up, down)), tau, vol)


def check_laws(law: Law, tau: float, vol: float) -> None:
    """Finite; bounded; monotone and convex in the strike; the digital between 0 and 1."""
    log_strike = torch.cat(
        [tensor(-700.0, -50.0), torch.linspace(-2, 2, 41, dtype=FLOAT64), tensor(50.0, 700.0)]
    )
    ours = profile(law, -log_strike, tau, vol)
    for name, values in ours._asdict().items():
        assert values.isfinite().all(), name
    digital = profile(law, -log_strike, tau, vol, "below").value
    # Where the transform hardly decays (rho = 1, seconds to expiry) the digital has ripples.
    slack = 1e-3
    assert ((digital >= -slack) & (digital <= 1 + slack)).all()
    near = slice(2, -2)
    strike = log_strike[near].exp()
    put, call = strike * ours.value[near], strike * ours.value[near] + 1 - strike
    fine = 1e-6
    assert (put >= (strike - 1).clamp(min=0) - fine).all()
    assert (put <= strike + fine).all()
    slope = put.diff() / strike.diff()
    assert ((slope >= -1e-4) & (slope <= 1 + 1e-4)).all()
    assert (call.diff() <= fine).all()
    chord = strike.diff()
    convexity = put[:-2] * chord[1:] - put[1:-1] * (chord[1:] + chord[:-1]) + put[2:] * chord[:-1]
    assert (convexity >= -fine).all()


@each_payoff
@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_no_time_leaves_the_payoff(law: Law, payoff: Payoff) -> None:
    x = tensor(-0.1, 0.0, 0.1)
    at_once, soon = profile(law, x, 0.0, 0.2, payoff), profile(law, x, 1e-9, 0.2, payoff)
    intrinsic = (1 - x.exp()).clamp(min=0) if payoff == "put" else tensor(1.0, 0.5, 0.0)
    torch.testing.assert_close(at_once.value, intrinsic, rtol=0, atol=1e-12)
    torch.testing.assert_close(soon.value, intrinsic, rtol=0, atol=1e-4)
    if payoff == "put":
        torch.testing.assert_close(at_once.first, tensor(-math.exp(-0.1), -0.5, 0.0))
        torch.testing.assert_close(soon.first, at_once.first, rtol=0, atol=1e-4)


def test_a_market_without_a_characteristic_function_is_refused() -> None:
    with pytest.raises(TypeError, match="gbm"):
        law_of(GeometricBrownianMotion())


# The tabulation ---------------------------------------------------------------------------------

MARKETS: dict[str, tuple[Market, float]] = {
    "merton": (Merton(), 30 / 365),
    "one size": (Merton(jump_std=0.0, sigma=0.1), 30 / 365),
    "kou": (Kou(), 0.5),
    "heston": (Heston(), 30 / 365),
    "calm": (Heston(vol_of_vol=0.0), 1.0),
    "buehler": (Heston(kappa=1.0, vol_of_vol=2.0), 30 / 365),
    "bates": (Bates(), 0.5),
}
DEAR = ("bates", "buehler")  # whose tables take seconds


def marks(
    market: Market, years: float, steps: int, paths: int, payoff: Payoff
) -> tuple[Profile, Tensor, Tensor, Tensor, float]:
    """The tabulated profile, its log-moneyness, vol and time left, and what it cost in seconds."""
    times = torch.linspace(0, years, steps + 1, dtype=FLOAT64)[:, None]
    drawn = market.simulate(times, paths, torch.Generator().manual_seed(0))
    x, tau = drawn.log_spot - math.log(market.spot), years - times
    vol = torch.full((1, 1), getattr(market, "sigma", 0.0), dtype=FLOAT64)
    if "variance" in drawn.latents:
        vol = drawn.latents["variance"].sqrt()
    start = time.process_time()
    found = tabulate(law_of(market), x, tau, vol, payoff)
    return found, x, vol.expand_as(x), tau[:, 0], time.process_time() - start


@each_payoff
@pytest.mark.parametrize(
    ("market", "years"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.slow] if name in DEAR else [])
        for name, case in MARKETS.items()
    ],
)
def test_the_tabulation_agrees_with_the_series(
    market: Market, years: float, payoff: Payoff
) -> None:
    """To 1e-6 of the strike, extreme paths and the last days included; deltas to 1e-4."""
    found, x, vol, tau, _ = marks(market, years, 10, 3_000, payoff)
    law = law_of(market)
    for t in (0, 1, 5, 8, 9):
        ends = [f(y[t]) for y in (x, vol) for f in (torch.argmin, torch.argmax)]
        some = torch.cat([torch.arange(25), torch.stack(ends), x[t].abs().argmin()[None]])
        exact = cosine(law, x[t, some][:, None], float(tau[t]), vol[t, some], payoff)
        width = law.width(float(tau[t]), vol[t, some])
        # A digital's own value is as steep as a put's delta.
        allowed = (1e-6, 5e-4, 2e-2) if payoff == "put" else (3e-5, 5e-3, 5e-2)
        scales = (torch.ones_like(width), torch.ones_like(width), width)
        if payoff == "below":
            scales = (scales[0], width, width**2)
        for i, (limit, scale) in enumerate(zip(allowed, scales, strict=True)):
            error = (found[i][t, some] - exact[i][:, 0]) * scale
            assert float(error.abs().max()) < limit, (Profile._fields[i], t)
        vega = 2 * vol[t, some] * (found.by_variance[t, some] - exact.by_variance[:, 0])
        assert float(vega.abs().max()) < 1e-4
    intrinsic = (1 - x[-1].exp()).clamp(min=0) if payoff == "put" else (x[-1] < 0).double()
    torch.testing.assert_close(found.value[-1], intrinsic)


def test_the_tabulation_takes_a_vol_and_a_time_for_every_path() -> None:
    law = LAWS["merton"]
    rng = torch.Generator().manual_seed(1)
    x = 0.2 * torch.randn((2, 400), generator=rng, dtype=FLOAT64)
    vol = 0.1 + 0.3 * torch.rand((1, 400), generator=rng, dtype=FLOAT64)
    tau = tensor(0.1, 0.3)[torch.randint(0, 2, (2, 400), generator=rng)]
    found = tabulate(law, x, tau, vol, "put")
    for t, n in itertools.product(range(2), range(0, 400, 40)):
        exact = profile(law, x[t, n][None], float(tau[t, n]), float(vol[0, n]))
        for ours, theirs in zip(found, exact, strict=True):
            assert float(ours[t, n]) == pytest.approx(float(theirs), rel=1e-3, abs=1e-5)
        assert float(found.value[t, n]) == pytest.approx(float(exact.value), abs=1e-6)


def test_the_tabulation_in_single_precision() -> None:
    found, x, vol, tau, _ = marks(Heston(), 30 / 365, 4, 500, "put")
    single = tabulate(law_of(Heston()), x.float(), tau[:, None], vol.float(), "put")
    assert single.value.dtype == torch.float32
    torch.testing.assert_close(single.value.double(), found.value, rtol=0, atol=2e-6)
    torch.testing.assert_close(single.first.double(), found.first, rtol=0, atol=1e-3)


@pytest.mark.slow
def test_a_batch_of_marks_takes_seconds() -> None:
    """31 dates of 100,000 Heston paths; the limit is several times what an idle core needs."""
    *_, seconds = marks(Heston(), 30 / 365, 30, 100_000, "put")
    assert seconds < 15


def test_frequent_jumps_tend_to_black_scholes() -> None:
    """Many small jumps are a diffusion: a check of the jump part by itself."""
    law = JumpDiffusion(LognormalJumps(40_000.0, 0.0, 0.001))
    x = torch.linspace(-0.5, 0.5, 5, dtype=FLOAT64)
    theirs = black(x, tensor(math.sqrt(0.04 + 0.01)), "put").value
    np.testing.assert_allclose(profile(law, x, 1.0, 0.1).value, theirs, atol=1e-5)

"""Hagan's formula: QuantLib, limits, derivatives, and its error against Monte Carlo."""

from __future__ import annotations

import itertools
import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deephedge.envs.pricing.fourier import Payoff, Profile, black
from deephedge.envs.pricing.implied_vol import implied_vol
from deephedge.envs.pricing.sabr import hagan, hagan_vol

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's types have no __module__, which Python 3.12 reports
    import QuantLib as ql  # noqa: N813

FLOAT64 = torch.float64
MONEYNESS = torch.linspace(-0.4, 0.4, 9, dtype=FLOAT64)  # log(forward / strike)
# alpha, beta, rho, nu: on a forward of 100
SABRS = [(0.2, 1.0, -0.5, 1.0), (2.0, 0.5, -0.3, 0.6), (20.0, 0.0, 0.4, 0.3), (0.3, 1.0, 0.0, 0.0)]
each_sabr = pytest.mark.parametrize(("alpha", "beta", "rho", "nu"), SABRS)


def tensor(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=FLOAT64)


@each_sabr
def test_agrees_with_quantlib(alpha: float, beta: float, rho: float, nu: float) -> None:
    for tau, forward in itertools.product((1 / 365, 0.25, 1.0, 5.0), (70.0, 100.0)):
        for strike in (50.0, 80.0, 99.0, 101.0, 140.0):
            ours = hagan_vol(
                tensor(forward).log(),
                tensor(strike).log(),
                tensor(alpha),
                tensor(tau),
                beta=beta,
                rho=rho,
                nu=nu,
            )
            theirs = ql.sabrVolatility(strike, forward, tau, alpha, beta, max(nu, 1e-9), rho)
            assert float(ours) == pytest.approx(theirs, rel=1e-8)


def test_smooth_through_the_money_and_flat_without_nu() -> None:
    at = tensor(100.0).log()
    k = at + torch.linspace(-4e-3, 4e-3, 81, dtype=FLOAT64)
    vols = hagan_vol(at, k, tensor(0.2), tensor(1.0), beta=1.0, rho=-0.5, nu=1.0)
    assert float(vols.diff().diff().abs().max()) < 1e-7  # z passes both of the series' ends
    flat = hagan_vol(at, at + MONEYNESS, tensor(0.2), tensor(0.0), beta=1.0, rho=-0.5, nu=0.0)
    torch.testing.assert_close(flat, torch.full_like(MONEYNESS, 0.2))


@pytest.mark.parametrize("payoff", ["put", "below"])
@each_sabr
def test_derivatives_are_central_differences(
    alpha: float, beta: float, rho: float, nu: float, payoff: Payoff
) -> None:
    """In the forward at a fixed strike and alpha: sticky alpha, the smile's slope included."""
    log_strike = math.log(100.0) - MONEYNESS
    h = 1e-5

    def value(log_forward: float, alpha: float, tau: float) -> Profile:
        at = torch.full_like(MONEYNESS, log_forward)
        return hagan(
            at - log_strike, at, tensor(alpha), tensor(tau), payoff, beta=beta, rho=rho, nu=nu
        )

    at = math.log(95.0)
    ours = value(at, alpha, 0.5)
    up, down = value(at + h, alpha, 0.5), value(at - h, alpha, 0.5)
    more, less = value(at, alpha * (1 + h), 0.5), value(at, alpha * (1 - h), 0.5)
    later, sooner = value(at, alpha, 0.5 + h), value(at, alpha, 0.5 - h)
    vol = alpha * 95.0 ** (beta - 1)
    expected = {
        "first": (up.value - down.value) / (2 * h),
        "second": (up.first - down.first) / (2 * h),
        "by_variance": (more.value - less.value) / (2 * h * vol) / (2 * vol),
        "by_tau": (later.value - sooner.value) / (2 * h),
    }
    for name, values in expected.items():
        torch.testing.assert_close(getattr(ours, name), values, rtol=1e-6, atol=1e-6, msg=name)


@each_sabr
def test_the_digital_is_the_puts_slope_in_the_strike(
    alpha: float, beta: float, rho: float, nu: float
) -> None:
    at, h = torch.full_like(MONEYNESS, math.log(100.0)), 1e-5

    def of(x: Tensor, payoff: Payoff) -> Tensor:
        return hagan(x, at, tensor(alpha), tensor(1.0), payoff, beta=beta, rho=rho, nu=nu).value

    def put(x: Tensor) -> Tensor:
        return 100 * torch.exp(-x) * of(x, "put")

    strike = 100 * torch.exp(-MONEYNESS)
    slope = (put(MONEYNESS - h) - put(MONEYNESS + h)) / (2 * h * strike)
    torch.testing.assert_close(of(MONEYNESS, "below"), slope, rtol=1e-6, atol=1e-7)


def test_an_alpha_that_stays_is_black_scholes() -> None:
    x, at = MONEYNESS, torch.full_like(MONEYNESS, math.log(100.0))
    ours = hagan(x, at, tensor(0.3), tensor(0.5), "put", beta=1.0, rho=-0.5, nu=0.0)
    theirs = black(x, tensor(0.3 * math.sqrt(0.5)), "put")
    for a, b in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@given(
    x=st.floats(-700, 700),
    log_forward=st.floats(-20, 20),
    alpha=st.floats(1e-9, 1e3),
    tau=st.sampled_from((0.0, 1e-12, 1e-6, 0.1, 1.0, 30.0)),
    beta=st.floats(0, 1),
    rho=st.floats(-1, 1),
    nu=st.floats(0, 5),
    payoff=st.sampled_from(("put", "below")),
)
def test_finite_and_bounded_everywhere(
    x: float,
    log_forward: float,
    alpha: float,
    tau: float,
    beta: float,
    rho: float,
    nu: float,
    payoff: Payoff,
) -> None:
    found = hagan(
        tensor(x), tensor(log_forward), tensor(alpha), tensor(tau), payoff,
        beta=beta, rho=rho, nu=nu,
    )  # fmt: skip
    for name, values in found._asdict().items():
        assert values.isfinite().all(), name
    if payoff == "put":
        assert max(-math.expm1(min(x, 0.0)), 0.0) - 1e-9 <= float(found.value) <= 1 + 1e-9


def conditional_monte_carlo(
    x: Tensor,
    alpha: float,
    tau: float,
    generator: torch.Generator,
    *,
    rho: float,
    nu: float,
    paths: int = 100_000,
    steps: int = 400,
) -> tuple[Tensor, Tensor]:
    """Puts (1 - F / K)+ under SABR with beta = 1, ``[M]``, and their standard errors.

    Given the path of alpha, log F_T is normal (Willard, "Calculating Prices and Sensitivities for
    Path-Independent Derivative Securities in Multifactor Models", 1997): with I the integral of
    alpha^2, F shifts by exp(rho / nu (alpha_T - alpha) - rho^2 I / 2) and keeps the variance
    (1 - rho^2) I. Alpha is exact on ``steps`` dates, I the trapezoid's; alpha and its mirror image
    are drawn together, and the shift, whose mean is 1, is the control variate.
    """
    dt = tau / steps
    z = torch.randn((steps, paths), generator=generator, dtype=x.dtype, device=x.device)
    puts, forwards = [], []
    for mirrored in (z, -z):
        log = (nu * math.sqrt(dt) * mirrored - nu**2 * dt / 2).cumsum(dim=0)
        path = alpha * torch.cat([torch.zeros_like(log[:1]), log]).exp()
        square = path * path
        total = dt * (square.sum(dim=0) - (square[0] + square[-1]) / 2)
        shift = rho / nu * (path[-1] - alpha) - rho**2 / 2 * total
        deviation = ((1 - rho**2) * total).sqrt()
        forwards.append(shift.exp())
        puts.append(torch.stack([black(y + shift, deviation, "put").value for y in x]))
    pairs, control = (puts[0] + puts[1]) / 2, (forwards[0] + forwards[1]) / 2 - 1
    slope = ((pairs - pairs.mean(dim=1, keepdim=True)) @ control) / (control @ control)
    pairs = pairs - slope[:, None] * control
    return pairs.mean(dim=1), pairs.std(dim=1) / math.sqrt(paths)


def errors(rho: float, nu: float, tau: float, paths: int) -> tuple[Tensor, Tensor]:
    """Hagan's vol less Monte Carlo's, and its standard error; alpha 0.2, five strikes.

    These lie -2, -1, 0, 1, 2 times alpha sqrt(tau) from the forward in log(forward / strike).
    """
    x = 0.2 * math.sqrt(tau) * tensor(-2, -1, 0, 1, 2)
    rng = torch.Generator().manual_seed(0)
    puts, error = conditional_monte_carlo(x, 0.2, tau, rng, rho=rho, nu=nu, paths=paths)
    vol = implied_vol(puts, x.exp(), 1.0, tau, sign=-1).vol
    vega = black(x, vol * math.sqrt(tau), "put").by_variance * math.sqrt(tau)
    zero = torch.zeros_like(x)
    ours = hagan_vol(zero, zero - x, zero + 0.2, zero + tau, beta=1.0, rho=rho, nu=nu)
    return ours - vol, error / vega


def test_exact_in_the_limit_of_short_times() -> None:
    """The error falls with nu^2 tau; at a month and nu = 0.5 nothing is left but noise."""
    found, noise = errors(-0.5, 0.5, 1 / 12, 4_000)
    assert (found.abs() < 1e-4 + 4 * noise).all()
    assert (noise[1:4] < 2e-4).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nu", "tau", "largest"),
    [
        (0.5, 1 / 12, 1e-4),
        (0.5, 1.0, 3e-3),
        (1.0, 1 / 12, 6e-4),
        (1.0, 1.0, 0.025),
        (1.0, 3.0, 0.12),
    ],
)
def test_the_error_at_longer_times(nu: float, tau: float, largest: float) -> None:
    found, noise = errors(-0.5, nu, tau, 50_000)
    assert (found.abs() < largest + 4 * noise).all(), found


def test_monte_carlo_is_a_martingale_and_tends_to_black_scholes() -> None:
    x = tensor(-0.2, 0.0, 0.2)
    puts, error = conditional_monte_carlo(
        x, 0.2, 1.0, torch.Generator().manual_seed(0), rho=-0.5, nu=1e-3, paths=1_000, steps=50
    )
    theirs = black(x, tensor(0.2), "put").value
    assert ((puts - theirs).abs() < 4 * error + 1e-6).all()

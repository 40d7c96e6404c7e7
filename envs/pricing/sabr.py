"""SABR by Hagan's formula, at each option's own strike and maturity."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .fourier import Payoff, Profile, black

_NEAR = 1e-3  # |z| below which z / chi(z) comes from its series
_ONE = 1 - 1e-8  # a correlation beyond it is taken as it
_WIDEST = 100.0  # total vol, from which every price is at its bound
_BLOCK = 1 << 16


def hagan_vol(
    log_forward: Tensor,
    log_strike: Tensor,
    alpha: Tensor,
    tau: Tensor,
    *,
    beta: float,
    rho: float,
    nu: float,
) -> Tensor:
    """The lognormal implied vol per sqrt(year); all tensors broadcast.

    Hagan, Kumar, Lesniewski and Woodward, "Managing Smile Risk", 2002, equation 2.17a, with
    chi(z) = asinh((z - rho) / sqrt(1 - rho^2)) + asinh(rho / sqrt(1 - rho^2)), and its series at
    the money. An expansion in nu^2 tau: for long times and far strikes it is no longer free of
    arbitrage, and where it turns negative the vol is 0. Its error is tabulated in docs/pricing.md.
    Evidence: tests/envs/test_hagan.py (QuantLib, conditional Monte Carlo, limits).

    Args:
        log_forward: the logarithm of the forward, money.
        log_strike: of the strike.
        alpha: money^(1 - beta) per sqrt(year).
        tau: years of variance.
        beta: the power, 0 to 1.
        rho: the correlation.
        nu: vol of alpha per sqrt(year).
    """
    rho = min(max(rho, -_ONE), _ONE)
    moneyness = log_forward - log_strike
    local = alpha * torch.exp((beta - 1) / 2 * (log_forward + log_strike))
    local = local.clamp(min=1e-50, max=1e50)  # its square must stay a number
    z = nu / local * moneyness
    near = z.abs() < _NEAR
    far = torch.where(near, 1.0, z)
    root = math.sqrt(1 - rho * rho)
    chi = torch.asinh((far - rho) / root) + math.asinh(rho / root)
    series = 1 + z * (-rho / 2 + z * ((2 - 3 * rho**2) / 12 + z * (rho * (5 - 6 * rho**2) / 24)))
    series = series - z**4 * ((225 * rho**4 - 240 * rho**2 + 34) / 720)
    smile = torch.where(near, series, far / chi)
    square = ((1 - beta) * moneyness) ** 2
    term = (
        ((1 - beta) * local) ** 2 / 24
        + (rho * beta * nu / 4) * local
        + (2 - 3 * rho**2) / 24 * nu**2
    )
    level = local / (1 + square / 24 * (1 + square / 80))
    return level * smile * (1 + term * tau).clamp(min=0)


def hagan(
    x: Tensor,
    log_forward: Tensor,
    alpha: Tensor,
    tau: Tensor,
    payoff: Payoff,
    *,
    beta: float,
    rho: float,
    nu: float,
) -> Profile:
    """Black's formula at `hagan_vol`, with full derivatives; `by_variance` is to the vol squared.

    The vol moves with the forward, alpha held: `first` is the sticky-alpha delta (Hagan et al.,
    2002, section 3.3), and the digital put is the derivative of the put in the strike, slope of the
    smile included. The variance of `by_variance` is (alpha forward^(beta - 1))^2.

    Args:
        x: log(forward / strike), ``[T+1, N]``; what follows broadcasts with it.
        log_forward: of the forward in the units of SABR.
        alpha: as in `hagan_vol`.
        tau: years of variance.
        payoff: which.
        beta: the power.
        rho: the correlation.
        nu: vol of alpha.
    """
    given = [y.double().expand_as(x).reshape(-1) for y in (x, log_forward, alpha, tau)]
    # A block's graph stays in the cache; a whole batch's would not even fit the memory.
    rows = [
        _profile(*block, payoff=payoff, constants=(beta, rho, nu))
        for block in zip(*(torch.split(y, _BLOCK) for y in given), strict=True)
    ]
    return Profile(*(torch.cat(c).view(x.shape).to(x.dtype) for c in zip(*rows, strict=True)))


def _profile(
    x: Tensor,
    log_forward: Tensor,
    alpha: Tensor,
    tau: Tensor,
    *,
    payoff: Payoff,
    constants: tuple[float, float, float],
) -> Profile:
    """The same ``[M]``: Black's formula of Hagan's vol, differentiated by torch."""
    beta, rho, nu = constants
    log_strike = log_forward - x
    with torch.enable_grad():
        x, a, k, time = (
            y.detach().clone().requires_grad_()
            for y in (x, alpha, log_strike, tau.clamp(min=1e-14))
        )
        vol = hagan_vol(x + log_strike, k, a, time, beta=beta, rho=rho, nu=nu)
        s = (vol * time.sqrt()).clamp(min=1e-12, max=_WIDEST)
        d2 = x / s - s / 2
        value = _normal(-d2)
        if payoff == "put":
            value = value - torch.exp(x) * _normal(-d2 - s)
        else:
            (skew,) = torch.autograd.grad(s.sum(), k, create_graph=True)
            value = value + torch.exp(-0.5 * d2 * d2) / math.sqrt(2 * math.pi) * skew
        rates = torch.autograd.grad(value.sum(), (x, a, time), create_graph=True)
        (second,) = torch.autograd.grad(rates[0].sum(), x)
    first, by_alpha, by_tau = rates
    by_variance = by_alpha * torch.exp(2 * (1 - beta) * log_forward) / (2 * alpha)
    live = (value, first, second, by_variance, by_tau)
    still = black(x.detach(), torch.zeros_like(tau), payoff)
    dead = (tau <= 0) | (s <= 1e-9)
    return Profile(*(torch.where(dead, a, b.detach()) for a, b in zip(still, live, strict=True)))


def _normal(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(x / -math.sqrt(2))

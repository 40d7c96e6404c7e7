"""Lookback options: the continuous formulas, and their shift for dates that are watched."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..instruments.lookback import FixedLookback, Lookback
from .barrier import SHIFT, SURE
from .black_scholes import Greeks
from .differentiate import black, differentiate, normal, root, scaled_normal
from .fixings import dates_left
from .terms import Terms

_FEW = 7  # terms of the series; the next is below 1e-16 where it is used
_SMALL = 0.5


def lookback(claim: Lookback, terms: Terms) -> Greeks:
    """A lookback over the market's dates, priced at every one of them.

    All four are a sure payment plus what the extremum still adds beyond a level L: `beyond`. Its
    continuous value is corrected for the dates: L is moved away by the factor f = e^{0.5826 vol
    sqrt(dt)} and the result divided by f for a maximum, multiplied for a minimum; dt is the mean
    spacing of the dates left. With one date left it is exact. Source: Broadie, Glasserman and Kou,
    "Connecting Discrete and Continuous Path-Dependent Options", 1999, theorems 3 and 4. Evidence:
    tests/envs/test_claims_quantlib.py, tests/envs/test_claim_laws.py.
    """
    left = dates_left(terms)
    spacing = terms.tau.double() / left.clamp(min=1)
    side, rate, dividend = claim.side, terms.rate, terms.dividend
    extremum = claim.extremum(terms.log_spot).double()
    fixed = isinstance(claim, FixedLookback)
    strike = math.log(claim.strike) if isinstance(claim, FixedLookback) else 0.0
    level = side * (side * extremum).clamp(min=side * strike) if fixed else extremum

    def price(tau: Tensor, vol: Tensor, log_spot: Tensor) -> Tensor:
        s = vol * root(tau)
        shift = side * SHIFT * vol * spacing.sqrt()
        watched = torch.exp(-shift) * beyond(side, level + shift, tau, s, log_spot, rate, dividend)
        asset, cash = log_spot - dividend * tau, level - rate * tau
        more = torch.where(left <= 1, black(asset, cash, s, side), watched)
        discount = torch.exp(-rate * tau)
        if fixed:
            return side * (level.exp() - math.exp(strike)) * discount + more
        return side * (level.exp() * discount - asset.exp()) + more

    return differentiate(price, terms.tau, terms.vol, terms.log_spot)


def beyond(
    side: int,
    level: Tensor,
    tau: Tensor,
    total: Tensor,
    log_spot: Tensor,
    rate: float,
    dividend: float,
) -> Tensor:
    """The value of ``max(max S - L, 0)`` (``side`` +1) or ``max(L - min S, 0)`` (-1).

    The extremum is over all times up to maturity, L = e^level beyond the spot. With s the total
    vol, v = s^2, c = (r - q) / vol^2, l = side (level - log S) and A = (side v / 2 - l) / s it is
    the vanilla option at L plus S e^{-r tau} s e^{c (v / 2 + side l)} o(c s) / (c s), o the odd
    part of h(u) = e^{u A} N(A + u): the textbooks' form, whose 0 / 0 at r = q this resolves.
    Source: Goldman, Sosin and Gatto, "Path Dependent Options: Buy at the Low, Sell at the High",
    1979; Conze and Viswanathan, "Path Dependent Options: The Case of Lookback Options", 1991.
    Evidence: tests/envs/test_claims_quantlib.py, tests/envs/test_claim_laws.py (the limit r = q).
    """
    s = total.clamp(min=SURE)
    drift = (rate - dividend) * tau
    away = (side * (level - log_spot)).clamp(min=0)
    plain = black(log_spot - dividend * tau, level - rate * tau, s, side)
    a = side * s / 2 - away / s
    u = drift / s
    series = u.abs() * (1 + a.abs()) < _SMALL
    near = torch.where(series, u, 0.0)
    lean = near / s * (s.square() / 2 + side * away)
    slow = _odd_part(near, torch.where(series, a, 0.0)) * s * lean.clamp(-600, 600).exp()
    far = torch.where(series, 1.0, u)
    middle = far / s * (s.square() / 2 + side * away)
    fast = scaled_normal(middle + far * a, a + far) - scaled_normal(middle - far * a, a - far)
    reflected = torch.where(series, slow, fast * s / (2 * far))
    more = torch.exp(log_spot - rate * tau) * reflected
    furthest = log_spot + side * (side * drift).clamp(min=0)
    sure = (side * (furthest.exp() - level.exp())).clamp(min=0) * torch.exp(-rate * tau)
    return torch.where(total > SURE, (plain + more).clamp(min=0), sure)


def _odd_part(u: Tensor, a: Tensor) -> Tensor:
    """(h(u) - h(-u)) / (2 u) for h(u) = e^{u a} N(a + u), by its power series.

    h solves h' = a h + n(a) e^{-u^2 / 2}, n the normal density, which links odd and even terms.
    """
    density = torch.exp(-a.square() / 2) / math.sqrt(2 * math.pi)
    even, odd = normal(a), torch.zeros_like(a)
    total, power = torch.zeros_like(a), torch.ones_like(a)
    bell = 1.0
    for k in range(_FEW):
        odd = (a * even + density * bell) / (2 * k + 1)
        total = total + odd * power
        even = a * odd / (2 * k + 2)
        power = power * u.square()
        bell *= -0.5 / (k + 1)
    return total

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

    All four are a sure payment plus what the extremum still adds beyond a level: `beyond`, watched
    on the dates left, at their mean spacing; with one date left that is exact, with more it misses
    terms of order dt (docs/claims/lookback.md has the measured error). Source: Broadie, Glasserman
    and Kou, "Connecting Discrete and Continuous Path-Dependent Options", 1999. Evidence:
    tests/envs/test_claims_quantlib.py, tests/envs/test_claim_laws.py.
    """
    left = dates_left(terms)
    spacing = terms.tau.double() / left.clamp(min=1)
    side, rate, dividend = claim.side, terms.rate, terms.dividend
    level = claim.extremum(terms.log_spot).double()
    strike = claim.strike if isinstance(claim, FixedLookback) else None
    if strike is not None:
        level = side * (side * level).clamp(min=side * math.log(strike))

    def price(tau: Tensor, vol: Tensor, log_spot: Tensor) -> Tensor:
        shift = SHIFT * vol * spacing.sqrt()
        state = (tau, vol * root(tau), log_spot)
        more = beyond(side, level, *state, rate, dividend, shift, left > 1)
        cash, asset = torch.exp(-rate * tau), torch.exp(log_spot - dividend * tau)
        sure = level.exp() * cash - (asset if strike is None else strike * cash)
        return side * sure + more

    return differentiate(price, terms.tau, terms.vol, terms.log_spot)


def beyond(
    side: int,
    level: Tensor,
    tau: Tensor,
    total: Tensor,
    log_spot: Tensor,
    rate: float,
    dividend: float,
    shift: Tensor | float = 0.0,
    looks_before_maturity: Tensor | bool = True,
) -> Tensor:
    """The value of ``max(max S - L, 0)`` (``side`` +1) or ``max(L - min S, 0)`` (-1).

    L = e^level lies beyond the spot. The value is the vanilla option struck at L, for paths that
    end beyond it, plus what the others reached, by reflection. Watched on dates dt apart, with
    ``shift`` d = 0.5826 vol sqrt(dt), only the second part changes: P(S_T < y, max > y) becomes
    that of a maximum above y e^d. Integrated over y > L that is the reflected part at L e^{2 d}
    times e^{-(1 + 2 c) d}, c = (r - q) / vol^2; signs turn for the minimum.
    Source: Goldman, Sosin and Gatto, "Path Dependent Options: Buy at the Low, Sell at the High",
    1979; Conze and Viswanathan, "Path Dependent Options: The Case of Lookback Options", 1991; for
    the shift of joint probabilities Broadie, Glasserman and Kou, "A Continuity Correction for
    Discrete Barrier Options", 1997. Evidence: tests/envs/test_claims_quantlib.py (no shift),
    tests/envs/test_claim_laws.py.
    """
    s = total.clamp(min=SURE)
    drift = (rate - dividend) * tau
    away = (side * (level - log_spot)).clamp(min=0)
    plain = black(log_spot - dividend * tau, level - rate * tau, s, side)
    reflected = torch.exp(log_spot - rate * tau) * _reflected(side, away, s, drift / s, shift)
    furthest = log_spot + side * (side * drift).clamp(min=0)
    sure = (side * (furthest.exp() - level.exp())).clamp(min=0) * torch.exp(-rate * tau)
    return torch.where(total > SURE, plain + reflected * looks_before_maturity, sure)


def _reflected(side: int, away: Tensor, s: Tensor, u: Tensor, shift: Tensor | float) -> Tensor:
    """The reflected part over S e^{-r tau}, ``away`` = |log(L / S)|, s the total vol, u = c s.

    With l = away + 2 shift and A = (side s^2 / 2 - l) / s it is s e^{c (s^2 / 2 + side l)} o(u) / u
    times the shift's factor, o the odd part of h(u) = e^{u A} N(A + u): the textbooks' difference
    of two terms over r - q, whose 0 / 0 this resolves.
    """
    far = away + 2 * shift
    a = side * s / 2 - far / s
    reach = s.square() / 2 + side * (far - 2 * shift)
    series = u.abs() * (1 + a.abs()) < _SMALL
    near = torch.where(series, u, 0.0)
    lift = (near / s * reach - side * shift).clamp(-600, 600).exp()
    slow = s * lift * _odd_part(near, torch.where(series, a, 0.0))
    fast = torch.where(series, 1.0, u)
    lift = fast / s * reach - side * shift
    pair = scaled_normal(lift + fast * a, a + fast) - scaled_normal(lift - fast * a, a - fast)
    return torch.where(series, slow, pair * s / (2 * fast)).clamp(min=0)


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

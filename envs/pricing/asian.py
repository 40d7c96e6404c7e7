"""Asian options on the average over the market's dates."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..instruments.asian import Asian
from .black_scholes import Greeks
from .differentiate import TINY, black, differentiate, normal, root
from .fixings import ahead, dates_left, pace
from .terms import Terms

_NEWTON = 5  # steps; log f is nearly linear
_FAR = 40.0  # standard deviations
_LEAST = 1e-9  # loadings below this are taken as none


def asian(claim: Asian, terms: Terms) -> Greeks:
    """By the kind of average: `geometric` is exact, `arithmetic` a close lower bound."""
    return geometric(claim, terms) if claim.average == "geometric" else arithmetic(claim, terms)


def geometric(claim: Asian, terms: Terms) -> Greeks:
    """Exact: given the fixings so far, the logarithm of the average of m dates is normal.

    At date t its mean is (sum of known logs + (m - t) log S + sum of drifts) / m, its variance the
    sum over the steps k ahead of (m - k + 1)^2 vol^2 dt_k / m^2. Source: Kemna and Vorst, "A
    Pricing Method for Options Based on Average Asset Values", 1990; for discrete dates, Turnbull
    and Wakeman, 1991. Evidence: tests/envs/test_claims_quantlib.py,
    tests/envs/test_claim_laws.py.
    """
    rate, carry = terms.rate, terms.rate - terms.dividend
    left, tau0 = dates_left(terms), terms.tau.double()
    count = float(left[0])
    dt, du = _steps(terms)
    weight = left[:-1]
    drift_time, half_time = ahead(weight * dt), ahead(weight * du) * pace(terms)
    spread = ahead(weight.square() * du) * pace(terms)
    logs = terms.log_spot.double()
    known = torch.cat([torch.zeros_like(logs[:1]), logs[1:].cumsum(dim=0)])

    def price(tau: Tensor, vol: Tensor, log_spot: Tensor) -> Tensor:
        wait = tau - tau0  # all dates ahead come nearer together
        drift = carry * (drift_time + left * wait)
        drift = drift - vol.square() / 2 * (half_time + left * wait)
        variance = vol.square() * (spread + left.square() * wait) / count**2
        mean = (known + left * log_spot + drift) / count
        log_cash = math.log(claim.strike) - rate * tau
        return black(mean + variance / 2 - rate * tau, log_cash, root(variance), claim.sign)

    return differentiate(price, terms.tau, terms.vol, terms.log_spot)


def arithmetic(claim: Asian, terms: Terms) -> Greeks:
    """The lower bound from conditioning on the geometric average of the dates ahead.

    With S_i the spots ahead, F_i their forwards, k = m strike - known fixings and Z the
    standardised sum of log S_i, E[(E[sum S_i | Z] - k)+] = sum F_i N(b_i - z) - k N(-z), where b_i
    is the covariance of log S_i with Z and z solves f(z) = sum F_i e^{b_i z - b_i^2 / 2} = k. What
    is missing is the variance of the sum given Z; docs/claims/asian.md has the measured error.
    Because z is optimal the Greeks need none of its derivatives but in gamma. Source: Rogers and
    Shi, "The Value of an Asian Option", 1995; Curran, "Valuing Asian and Portfolio Options by
    Conditioning on the Geometric Mean Price", 1994. Evidence: tests/envs/test_claims_quantlib.py,
    tests/envs/test_claim_laws.py (Monte Carlo, central differences).
    """
    spot, tau = terms.spot.double(), terms.tau.double()
    steps = len(spot) - 1
    vol = terms.vol.double().expand(steps + 1, -1)
    times, speed = terms.paths.times.double(), pace(terms)
    _, du = _steps(terms)
    short = torch.full_like(spot[0], claim.strike * steps)
    rows = []
    for t in range(steps + 1):
        short = short - spot[t] if t else short
        dates = _DatesAhead(times[t + 1 :] - times[t], du[t:] * speed[t])
        rows.append(_sums(claim.sign, dates, spot[t], short, vol[t], terms.rate - terms.dividend))
    discount = torch.exp(-terms.rate * tau) / steps
    price, delta, gamma, vega, theta = (
        discount * torch.stack(values) for values in zip(*rows, strict=True)
    )
    theta = theta + terms.rate * price
    dtype = terms.spot.dtype
    return Greeks(
        price.to(dtype), delta.to(dtype), gamma.to(dtype), vega.to(dtype), theta.to(dtype)
    )


class _DatesAhead(NamedTuple):
    """Seen from one date: years to each of n dates, and years of variance of each step."""

    after: Tensor  # [n, 1 or N]
    spans: Tensor  # [n, 1 or N]


def _sums(
    sign: int, dates: _DatesAhead, spot: Tensor, short: Tensor, vol: Tensor, carry: float
) -> tuple[Tensor, ...]:
    """Price, delta, gamma, vega and theta ``[N]`` of max(sign (sum S_i - short), 0), undiscounted.

    ``short`` is k, ``spot`` and ``vol`` are today's, ``[N]`` and ``[1 or N]``.
    """
    count, nothing = len(dates.after), torch.zeros_like(spot)
    if not count:
        return ((-sign * short).clamp(min=0), *[nothing] * 4)
    weight = torch.arange(count, 0, -1, dtype=spot.dtype, device=spot.device)[:, None]
    shared = (weight * dates.spans).cumsum(dim=0)  # covariance of log S_i with the sum, per vol^2
    deviation = root(shared.sum(dim=0))
    per_vol = shared / deviation
    b = (vol * per_vol).clamp(min=_LEAST)
    lift = carry * dates.after - b.square() / 2
    k = (short / spot.clamp(min=TINY)).clamp(min=0)
    target = k.clamp(min=torch.finfo(spot.dtype).tiny).log()
    z = (target - math.log(count) - lift.mean(dim=0)) / b.mean(dim=0)  # the geometric average's
    for _ in range(_NEWTON):
        z, share = _newton(z.clamp(-_FAR, _FAR), target, lift, b)
    growth = torch.exp(carry * dates.after)
    held = growth * normal(sign * (b - z))
    delta = sign * held.sum(dim=0)
    value = (spot * delta - sign * short * normal(-sign * z)).clamp(min=0)
    bell = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi) * k * (vol * deviation > _LEAST)
    nearer = vol * (shared * (count**2 / 2) / deviation**3 - count / deviation)  # of b, per year
    return (
        value,
        delta,
        bell / (spot.clamp(min=TINY) * (share * b).sum(dim=0)),
        spot * bell * (share * per_vol).sum(dim=0),
        spot * (bell * (share * nearer).sum(dim=0) - sign * carry * held.sum(dim=0)),
    )


def _newton(z: Tensor, target: Tensor, lift: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """A step towards log f(z) = target, and the share of each date in f ``[n, N]``."""
    exponent = lift + b * z
    top = exponent.amax(dim=0)
    parts = torch.exp(exponent - top)
    total = parts.sum(dim=0)
    share = parts / total
    step = (top + total.log() - target) / (share * b).sum(dim=0)
    return (z - step).clamp(-_FAR, _FAR), share


def _steps(terms: Terms) -> tuple[Tensor, Tensor]:
    """Years and years of variance of each step, ``[T, 1 or N]``."""
    return terms.paths.times.double().diff(dim=0), terms.paths.variance_time.double().diff(dim=0)

"""Implied vol: Black's formula turned round, to the last digits that the price holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]

_ROUNDS = 60  # three or four are the rule; the bracket halves at worst
_ROOT_TWO_PI = math.sqrt(2 * math.pi)
_SERIES = 0.03  # below this half total vol, differences of Mills' ratio come from their series


class Reason(IntEnum):
    """Why a price has no implied vol."""

    NONE = 0  # it has one
    BELOW = 1  # less than the discounted intrinsic value
    ABOVE = 2  # not less than the discounted forward (call) or strike (put)
    EXPIRED = 3  # no time is left
    INVALID = 4  # a number is missing, or a forward, strike or discount is not positive


class ImpliedVol(NamedTuple):
    """``vol`` per sqrt(year), NaN where ``reason`` (`Reason`, int8) is not 0."""

    vol: Tensor
    reason: Tensor


def implied_vol(
    price: Tensor,
    forward: Tensor,
    strike: float | Tensor,
    tau: float | Tensor,
    *,
    sign: int | Tensor,
    discount: float | Tensor = 1.0,
) -> ImpliedVol:
    """The vol at which Black's formula gives ``price``; all arguments broadcast.

    After Jaeckel, "Let's Be Rational", Wilmott, 2015: the out-of-the-money option is solved for,
    its formula is written with Mills' ratio so that nothing cancels, and the objective is chosen so
    that it is nearly straight from end to end: log(-log b) in log s, s = vol sqrt(tau), b the price
    as a share of its bound; for high prices 1 - b in place of b. A third-order step inside a
    bracket then needs three or four rounds. The error is at most 1e-10 (in relative terms 1e-13 if
    that is more) or 8 ulp(price) / vega, whichever is larger. Evidence:
    tests/envs/test_implied_vol.py (mpmath, QuantLib, round trips).

    Args:
        price: money, today's.
        forward: money, at maturity.
        strike: money.
        tau: years (of variance) to maturity.
        sign: +1 for a call, -1 for a put.
        discount: today's value of 1 at maturity.
    """
    dtype = price.dtype
    given = (price, forward, strike, tau, sign, discount)
    tensors = [torch.as_tensor(y, dtype=torch.float64, device=price.device) for y in given]
    shape = np.broadcast_shapes(*(y.shape for y in tensors))
    price, forward, k, time, side, unit = (y.expand(shape) for y in tensors)
    valid = (forward > 0) & (k > 0) & (unit > 0) & price.isfinite() & time.isfinite()
    valid &= forward.isfinite() & k.isfinite() & unit.isfinite()
    gain = side * (forward - k)
    bound = unit * torch.minimum(forward, k)
    time_value = price - unit * gain.clamp(min=0)
    # The share keeps all digits of an out-of-the-money price and of a nearly impossible one.
    share, rest = time_value / bound, (bound - time_value) / bound
    reason = torch.zeros_like(price, dtype=torch.int8)
    reason[rest <= 0] = Reason.ABOVE
    reason[time_value < 0] = Reason.BELOW
    reason[time <= 0] = Reason.EXPIRED
    reason[~valid] = Reason.INVALID
    vol = torch.full_like(price, math.nan)
    vol[(reason == 0) & (time_value == 0)] = 0.0
    solve = (reason == 0) & (time_value > 0)
    moneyness = _log_moneyness(forward[solve], k[solve])
    vol[solve] = _total_vol(moneyness, share[solve], rest[solve]) / time[solve].sqrt()
    return ImpliedVol(vol.to(dtype), reason)


def _log_moneyness(forward: Tensor, strike: Tensor) -> Tensor:
    """Minus |log(forward / strike)|, with all its digits near the money."""
    low, high = torch.minimum(forward, strike), torch.maximum(forward, strike)
    near = low > 0.5 * high
    return torch.where(near, torch.log1p((low - high) / high), low.log() - high.log())


def _total_vol(x: Tensor, share: Tensor, rest: Tensor) -> Tensor:
    """The s with b(x, s) = ``share`` = 1 - ``rest``; ``x`` <= 0."""
    middle = (-2 * x).sqrt() + 1.0
    cheap = share.log() < _log_price(x, middle)[0]
    dear = ~cheap
    result = torch.empty_like(x)
    # Both ends of the price scale are read off the normal tail, which inverts to a quadratic.
    goal, near, reach, root = _tail(share[cheap], x[cheap])
    least = share[cheap] * _ROOT_TWO_PI  # b <= s / sqrt(2 pi)
    first = torch.maximum(-2 * near / (reach + root), least)
    ends = least.clamp(min=1e-320), middle[cheap]
    result[cheap] = _solve(_log_price, near, goal, first, ends)
    goal, near, reach, root = _tail(rest[dear], x[dear])
    ends = middle[dear], 4 * (reach + root) + 8.0
    result[dear] = _solve(_log_rest, near, goal, reach + root, ends)
    return result


def _tail(share: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Its logarithm, ``x``, the d at which exp(-d^2 / 2) is the share, sqrt(d^2 - 2x)."""
    goal = share.log()
    reach = (-2 * goal).clamp(min=0).sqrt()
    return goal, x, reach, (reach * reach - 2 * x).sqrt()


def _solve(
    objective: Objective, x: Tensor, goal: Tensor, first: Tensor, ends: tuple[Tensor, Tensor]
) -> Tensor:
    """The s with objective(x, s) = ``goal``, by Halley's step in log s on log(objective / goal)."""
    low, high = ends
    result = torch.minimum(torch.maximum(first, low), high)
    open_, s = torch.arange(len(x), device=x.device), result.clone()
    for _ in range(_ROUNDS):
        value, slope, bend = objective(x, s)
        ratio = slope / value
        d1 = s * ratio
        newton = (value / goal).log() / d1
        # The second derivative in log s, over the first, is s (bend - ratio) + 1.
        bent = 1 - 0.5 * newton * (s * (bend - ratio) + 1.0)
        new = s * torch.exp(-newton / bent.clamp(min=0.5, max=2.0))
        above = newton > 0
        high, low = torch.where(above, s, high), torch.where(above, low, s)
        new = torch.where((new >= low) & (new <= high), new, (low * high).sqrt())
        result[open_] = new
        # The step is of third order: what moved by less than this has no digit left to gain.
        more = (new / s - 1).abs() > 1e-6
        if not bool(more.any()):
            break
        open_, x, goal, s, low, high = (y[more] for y in (open_, x, goal, new, low, high))
    return result


def _log_price(x: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The log of b(x, s), its derivative in s, and the second derivative over the first.

    b = N(d1) - e^-x N(d2) = phi(d1) (Y(d1) - Y(d2)), Y = N / phi, and db/ds = phi(d1).
    """
    h, t = x / s, s / 2
    d1 = h + t
    spread = _spread(h, t)
    slope = 1 / spread
    value = -0.5 * d1 * d1 + (spread / _ROOT_TWO_PI).log()
    return value, slope, d1 * (h - t) / s - slope


def _log_rest(x: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same of 1 - b = phi(d1) (Y(-d1) + Y(d2))."""
    h, t = x / s, s / 2
    d1 = h + t
    total = _mills(-d1) + _mills(h - t)
    slope = -1 / total
    value = -0.5 * d1 * d1 + (total / _ROOT_TWO_PI).log()
    return value, slope, d1 * (h - t) / s - slope


def _mills(z: Tensor) -> Tensor:
    """Y(z) = N(z) / phi(z); the callers keep z below about 1, where it is of order 1."""
    # Above 30 the value belongs to a branch that is not taken; there it must only stay finite.
    ratio: Tensor = torch.special.erfcx((z / -math.sqrt(2)).clamp(min=-20))
    return math.sqrt(math.pi / 2) * ratio


def _spread(h: Tensor, t: Tensor) -> Tensor:
    """Y(h + t) - Y(h - t); for small t from the odd derivatives Y^(n+1) = h Y^(n) + n Y^(n-1)."""
    plain = _mills(h + t) - _mills(h - t)
    small = (t < _SERIES) & (-h * t < 0.5)
    if not bool(small.any()):
        return plain
    h, t = h[small], t[small]
    before = _mills(h)
    here = 1 + h * before
    term = 2 * t
    total = term * here
    for n in range(1, 9, 2):
        even = h * here + n * before
        before, here = even, h * even + (n + 1) * here
        term = term * t * t / ((n + 1) * (n + 2))
        total = total + term * here
    return plain.masked_scatter(small, total)

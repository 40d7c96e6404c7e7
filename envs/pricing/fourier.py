"""European and digital options by the COS method, from the characteristic function of the model."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .characteristic import Law

Payoff = Literal["put", "below"]

_NEGLIGIBLE = 1e-11  # probability beyond the range, and size of the last term
_MOST_TERMS = 1 << 15
_BLOCK = 1 << 21  # entries of the matrices of cosines held at a time
_STILL = 1e-7  # a law no wider than this is taken as normal: less than 1e-7 is lost
_POWERS = torch.logspace(-1.5, 8, 96, base=10.0, dtype=torch.float64)


class Profile(NamedTuple):
    """A payoff's undiscounted value in units of the strike, and its derivatives.

    Functions of x = log(forward / strike): ``first`` and ``second`` in x, ``by_variance`` in
    the square of the law's vol, ``by_tau`` in the years of variance.
    """

    value: Tensor
    first: Tensor
    second: Tensor
    by_variance: Tensor
    by_tau: Tensor


def cosine(law: Law, x: Tensor, tau: float, vol: Tensor, payoff: Payoff) -> Profile:
    """A put (1 - e^{x + X})+ or a digital put 1{x + X < 0}, for each of V vols.

    Fang and Oosterlee, "A Novel Pricing Method for European Options Based on Fourier-Cosine Series
    Expansions", 2008, equations 19 and 22 to 25. Puts are bounded; calls follow by parity. Two
    things differ. The range is found from Chernoff's bound P(X > b) <= E[e^{pX}] e^{-pb}, least
    over p, for cumulants say too little of tails as heavy as Heston's. The number of terms is
    found where the characteristic function is below 1e-11. The law given no jump, which is normal,
    is priced by Black's formula: its characteristic function hardly decays near expiry.
    Evidence: tests/envs/test_fourier.py (QuantLib, quadrature, Merton's series, differences).

    Args:
        law: of the log-return.
        x: log(forward / strike), ``[V, M]``, float64.
        tau: years of variance.
        vol: ``[V]``, float64, not negative.
        payoff: which.
    """
    rows = [
        join(random_part(law, place, tau, state, payoff), law, place, tau, state, payoff)
        for place, state in zip(x, vol[:, None], strict=True)
    ]
    return Profile(*(torch.stack(column) for column in zip(*rows, strict=True)))


def random_part(law: Law, x: Tensor, tau: float, vol: Tensor, payoff: Payoff) -> Profile:
    """What is not normal (`join` adds it), ``[M]``, for one vol ``[1]``: the cosine series.

    It is exact beyond its range, where it is all or none.
    """
    width = law.width(tau, vol)
    if tau <= 0 or float(width) <= _STILL:
        still = black(x, width if tau > 0 else torch.zeros_like(width), payoff)
        return still if law.bulk is None else Profile(*(torch.zeros_like(x) for _ in still))
    low, high = _range(law, tau, vol)
    u = _frequencies(law, tau, vol, high - low)
    transform = torch.stack(law.transform(u, tau, vol))
    coefficients = (transform * torch.exp(-1j * low * u)).real * (2 / (high - low))
    coefficients[:, 0] /= 2
    distance = (-x - low).clamp(min=0, max=high - low)
    block = max(1, _BLOCK // len(u))
    parts = [_sums(coefficients, u, d, payoff) for d in distance.split(block)]
    within = Profile(*(torch.cat(column) for column in zip(*parts, strict=True)))
    return ended(within, law, x, tau, (-x <= low, -x >= high), payoff)


def ended(
    within: Profile, law: Law, x: Tensor, tau: float, out: tuple[Tensor, Tensor], payoff: Payoff
) -> Profile:
    """``within``, but nothing where the first of ``out``, and all there is where the second."""
    ends = torch.tensor([0, -1j], dtype=torch.complex128, device=x.device)
    still = torch.zeros(1, dtype=torch.float64, device=x.device)
    (mass, growth), _, (mass_rate, growth_rate) = (
        part.real.tolist() for part in law.transform(ends, tau, still)
    )
    none = torch.zeros_like(x)
    if payoff == "put":
        forward = torch.exp(x.clamp(max=0))
        paid = -growth * forward
        every = Profile(mass + paid, paid, paid, none, mass_rate - growth_rate * forward)
    else:
        every = Profile(none + mass, none, none, none, none + mass_rate)
    short, beyond = out
    return Profile(
        *(
            torch.where(beyond, a, torch.where(short, none, b))
            for a, b in zip(every, within, strict=True)
        )
    )


def join(
    part: Profile, law: Law, x: Tensor, tau: float, vol: Tensor, payoff: Payoff
) -> Profile:
    """Add the value given no jump to that of `random_part`; ``vol`` is broadcast with ``x``."""
    bulk = law.bulk
    if bulk is None:
        return part
    deviation = vol * math.sqrt(tau)
    value, first, second, by_deviation, _ = black(x + bulk.drift * tau, deviation, payoff)
    weight = math.exp(-bulk.intensity * tau)
    by_variance = by_deviation * (math.sqrt(tau) / (2 * vol.clamp(min=1e-12)))
    by_tau = first * bulk.drift - value * bulk.intensity
    if tau > 0:
        by_tau = by_tau + by_deviation * vol / (2 * math.sqrt(tau))
    normal = (value, first, second, by_variance, by_tau)
    return Profile(*(a + weight * b for a, b in zip(part, normal, strict=True)))


def black(x: Tensor, deviation: Tensor, payoff: Payoff) -> Profile:
    """Where X is normal; ``by_variance`` holds the derivative in the deviation, ``by_tau`` 0."""
    s = deviation.clamp(min=1e-12)
    d2 = x / s - s / 2
    below = torch.special.ndtr(-d2)
    bell = torch.exp(-0.5 * d2 * d2) / math.sqrt(2 * math.pi) * (deviation > 1e-12)
    density, none = bell / s, torch.zeros_like(d2)
    if payoff == "below":
        return Profile(below, -density, d2 * density / s, density * (d2 + s), none)
    # e^x N(-d1) is formed in logarithms: e^x alone may overflow.
    first = -torch.exp(x + torch.special.log_ndtr(-d2 - s))
    return Profile((below + first).clamp(min=0), first, first + density, bell, none)


def _sums(coefficients: Tensor, u: Tensor, distance: Tensor, payoff: Payoff) -> Profile:
    """The series at ``distance [M]`` from the range's lower end; ``coefficients [3, U]``.

    With d the distance at which x + X = 0, the coefficients of the payoffs are sin(ud) / u and
    (sin(ud) / u - cos(ud) + e^-d) / (1 + u^2); the density's is cos(ud).
    """
    angle = distance[:, None] * u
    cos, sin = torch.cos(angle), torch.sin(angle)
    inverse = torch.where(u > 0, 1 / u, 0.0)
    density = cos @ coefficients[0]

    def below(weights: Tensor) -> Tensor:
        return sin @ (weights * inverse).T + distance[:, None] * weights[:, 0]

    if payoff == "below":
        value, by_variance, by_tau = below(coefficients).unbind(1)
        return Profile(value, -density, -(sin @ (coefficients[0] * u)), by_variance, by_tau)
    weights = coefficients / (1 + u * u)
    put = below(weights) - cos @ weights.T + torch.exp(-distance)[:, None] * weights.sum(dim=1)
    value, by_variance, by_tau = put.unbind(1)
    first = value - below(coefficients[:1])[:, 0]
    return Profile(value, first, first + density, by_variance, by_tau)


def _range(law: Law, tau: float, vol: Tensor) -> tuple[float, float]:
    """Where X lies but for a probability of `_NEGLIGIBLE` on either side."""
    p = _POWERS.to(vol.device)
    up, down = (law.log_moment(sign * p, tau, vol) for sign in (1, -1))
    reach = -math.log(_NEGLIGIBLE)
    return -float(((down + reach) / p).min()), float(((up + reach) / p).min())


def reaches(law: Law, tau: float, vol: Tensor) -> tuple[float, float]:
    """The widest of the ranges of several vols, in their widths: beyond it nothing is random."""
    ranges = [_range(law, tau, one) for one in vol[:, None]]
    widths = law.width(tau, vol).tolist()
    low = min(low / width for (low, _), width in zip(ranges, widths, strict=True))
    high = max(high / width for (_, high), width in zip(ranges, widths, strict=True))
    return low, high


def _frequencies(law: Law, tau: float, vol: Tensor, length: float) -> Tensor:
    """0, pi / length, ... up to where the transform is `_NEGLIGIBLE`."""
    sizes = 2 ** torch.arange(5, math.log2(_MOST_TERMS) + 0.1, 0.25, dtype=torch.float64)
    sizes = sizes.to(vol.device)
    step = math.pi / length
    large = law.transform(sizes * step, tau, vol).value.abs() > _NEGLIGIBLE
    last = int(large.nonzero().max()) if bool(large.any()) else -1
    count = int(sizes[min(last + 1, len(sizes) - 1)])
    return torch.arange(count, dtype=torch.float64, device=vol.device) * step

"""European and digital options by the COS method, from the characteristic function of the model."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .characteristic import STILL_WIDTH, Law

Payoff = Literal["put", "below"]

EXACT = 1e-11  # probability beyond the range, and size of the last term, where no other is given
_NORMAL_REACH = 8.0  # widths; beyond it a normal law is nothing
_MOST_TERMS = 1 << 15
_BLOCK = 1 << 20  # terms times places summed at a time
# 1 is not among them: there Heston's exponent is 0 / 0.
_POWERS = torch.logspace(-1.55, 7.95, 96, base=10.0, dtype=torch.float64)


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


def random_part(
    law: Law, x: Tensor, tau: float, vol: Tensor, payoff: Payoff, size: float = EXACT
) -> Profile:
    """What is not normal (`join` adds it), ``[M]``, for one vol ``[1]``: the cosine series.

    It is exact beyond its range, where it is all or none.
    """
    width = law.width(tau, vol)
    if tau <= 0 or float(width) <= STILL_WIDTH:
        still = black(x, width if tau > 0 else torch.zeros_like(width), payoff)
        return still if law.bulk is None else Profile(*(torch.zeros_like(x) for _ in still))
    if limit := law.limit(tau, vol):
        rest = random_part(limit, x, tau, 0 * vol, payoff, size)
        return join(rest, limit, x, tau, 0 * vol, payoff)
    low, high = _range(law, tau, vol, size)
    u = _frequencies(law, tau, vol, high - low, size)
    transform = torch.stack(law.transform(u, tau, vol))
    coefficients = (transform * torch.exp(-1j * low * u)).real * (2 / (high - low))
    coefficients[:, 0] /= 2
    distance = (-x - low).clamp(min=0, max=high - low)
    block = max(1, _BLOCK // len(u))
    parts = [_sums(coefficients, u, d, payoff) for d in torch.split(distance, block)]
    within = Profile(*(torch.cat(column) for column in zip(*parts, strict=True)))
    return ended(within, law, x, tau, (-x <= low, -x >= high), payoff)


def ended(
    within: Profile, law: Law, x: Tensor, tau: float, out: tuple[Tensor, Tensor], payoff: Payoff
) -> Profile:
    """``within``, but nothing where the first of ``out``, and all there is where the second."""
    mass, growth, mass_rate, growth_rate = law.ends(tau)
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


def join(part: Profile, law: Law, x: Tensor, tau: float, vol: Tensor, payoff: Payoff) -> Profile:
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
    inverse = torch.where(u > 0, 1 / u, 0.0)
    angle = distance * float(u[1])

    def below(sines: Tensor, weights: Tensor) -> Tensor:
        return sines + distance * weights[:, :1]

    if payoff == "below":
        weights = torch.cat([coefficients * inverse, coefficients[:1], coefficients[:1] * u])
        cosines, sines = _trigonometric(weights, angle)
        value, by_variance, by_tau = below(sines[:3], coefficients)
        return Profile(value, -cosines[3], -sines[4], by_variance, by_tau)
    puts, density = coefficients / (1 + u * u), coefficients[:1]
    weights = torch.cat([puts, puts * inverse, density, density * inverse])
    cosines, sines = _trigonometric(weights, angle)
    put = below(sines[3:6], puts) - cosines[:3] + torch.exp(-distance) * puts.sum(1, keepdim=True)
    first = put[0] - below(sines[7:], density)[0]
    return Profile(put[0], first, first + cosines[6], put[1], put[2])


def _trigonometric(weights: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of weights_k cos(k angle) and of weights_k sin(k angle), each ``[J, M]``.

    With k = B m + n the sum over n is a product of matrices, so only B + K / B of the K cosines are
    computed.
    """
    kinds, count = weights.shape
    fine = 2 ** math.ceil(math.log2(count) / 2)
    coarse = -(-count // fine)
    grid = torch.nn.functional.pad(weights, (0, coarse * fine - count)).view(-1, fine).T
    n = torch.arange(max(fine, coarse), dtype=angle.dtype, device=angle.device)
    small, large = angle[:, None] * n[:fine], angle[:, None] * (fine * n[:coarse])
    inner = [(f(small) @ grid).view(-1, kinds, coarse) for f in (torch.cos, torch.sin)]
    cos, sin = torch.cos(large)[..., None], torch.sin(large)[..., None]
    cosines = inner[0] @ cos - inner[1] @ sin
    sines = inner[0] @ sin + inner[1] @ cos
    return cosines[..., 0].T, sines[..., 0].T


def _range(law: Law, tau: float, vol: Tensor, size: float) -> tuple[float, float]:
    """Where X lies but for a probability of ``size`` on either side."""
    p = _POWERS.to(vol.device)
    up, down = (law.log_moment(sign * p, tau, vol) for sign in (1, -1))
    reach = -math.log(size)
    return -float(((down + reach) / p).min()), float(((up + reach) / p).min())


def reaches(law: Law, tau: float, vol: Tensor, size: float) -> tuple[float, float]:
    """The widest of the ranges of several vols, in their widths: beyond it nothing is random."""
    low, high = -_NORMAL_REACH, _NORMAL_REACH
    for one in vol[:, None]:
        width = float(law.width(tau, one))
        if width > STILL_WIDTH:
            start, end = _range(law, tau, one, size)
            low, high = min(low, start / width), max(high, end / width)
    return low, high


def _frequencies(law: Law, tau: float, vol: Tensor, length: float, size: float) -> Tensor:
    """0, pi / length, ... up to where the transform is ``size``."""
    sizes = 2 ** torch.arange(5, math.log2(_MOST_TERMS) + 0.1, 0.25, dtype=torch.float64)
    sizes = sizes.to(vol.device)
    step = math.pi / length
    large = law.transform(sizes * step, tau, vol).value.abs() > size
    last = int(large.nonzero().max()) if bool(large.any()) else -1
    count = int(sizes[min(last + 1, len(sizes) - 1)])
    return torch.arange(count, dtype=torch.float64, device=vol.device) * step

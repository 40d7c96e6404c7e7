"""Model prices of a whole batch: tabulated once for every time left, then read off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .characteristic import Law
from .fourier import Payoff, Profile, black, ended, join, random_part, reaches

_BEND = 1 / 3  # widths from the money within which the table's places lie evenly
_FEWEST, _MOST = (65, 9), (257, 65)  # places in moneyness and in vol
_CALM = 1 / 16  # vols below it share a panel
_KEPT = 2048  # tables
_SIZE = 1e-9  # as `fourier.EXACT`
_LAST = (1e-8, 1e-5, 1e-3)  # of the last terms of value, first and second derivative
_BLOCK = 2048  # paths read off at a time, so that their polynomials stay in the cache


def tabulate(law: Law, x: Tensor, tau: Tensor, vol: Tensor, payoff: Payoff) -> Profile:
    """`fourier.cosine` for ``[T+1, N]`` log-moneynesses, by interpolation.

    For every time left and every panel of vols, from a power of 4 to the next, the series is
    tabulated at Chebyshev's points in asinh(3x / w), w the width of the law given the vol, and in
    log(vol^2 + a little), and the polynomial is evaluated for every path. Its degrees grow until
    its last terms are below 1e-8, so the error is that of tests/envs/test_fourier.py: at most 1e-6
    of the strike (1e-7 is the rule). A table depends on law, time and panel alone, never on the
    batch, and is kept, so that the next batch only reads it.

    Args:
        law: of the log-return.
        x: log(forward / strike), ``[T+1, N]``.
        tau: years of variance, ``[T+1, 1 or N]``.
        vol: the law's vol, broadcastable to ``[T+1, N]``; one number is a panel of its own.
        payoff: which.
    """
    columns = [torch.empty_like(x) for _ in Profile._fields]
    alone = float(vol) if vol.numel() == 1 else None
    vol = vol.expand_as(x)
    for t, times in enumerate(tau.double()):
        for time in times.unique().tolist():
            here = slice(None) if len(times) == 1 else (times == time).nonzero()[:, 0]
            row = _date(law, x[t, here], time, vol[t, here], alone, payoff)
            for column, values in zip(columns, row, strict=True):
                column[t, here] = values
    return Profile(*columns)


def _date(
    law: Law, x: Tensor, tau: float, vol: Tensor, alone: float | None, payoff: Payoff
) -> Profile:
    """The profile of the paths ``[N]`` of one date."""
    if tau <= 0:
        return black(x, torch.zeros_like(x), payoff)
    if alone is not None:
        return _panel(law, x, tau, vol, (alone, alone), payoff)
    columns = [torch.empty_like(x) for _ in Profile._fields]
    power = torch.floor(torch.log2(vol.clamp(min=_CALM / 4)) / 2)
    for number in sorted(set(power.tolist())):
        here = (power == number).nonzero()[:, 0]
        low, high = 4.0**number, 4.0 ** (number + 1)
        panel = (0.0 if high <= _CALM else low, high)
        part = _panel(law, x[here], tau, vol[here], panel, payoff)
        for column, values in zip(columns, part, strict=True):
            column[here] = values
    return Profile(*columns)


def _panel(
    law: Law, x: Tensor, tau: float, vol: Tensor, ends: tuple[float, float], payoff: Payoff
) -> Profile:
    """The profile of paths whose vols lie between two ends."""
    table = _table(law, tau, ends, payoff)
    width = law.width(tau, vol).clamp(min=1e-30)
    z = x / width
    part = table.read(torch.asinh(z / _BEND), vol, width)
    if law.bulk is None:
        value, first, second, *_ = black(x, width, payoff)
        part = part._replace(
            value=part.value + value, first=part.first + first, second=part.second + second
        )
    low, high = table.reaches
    part = ended(part, law, x, tau, (z >= -low, z <= -high), payoff)
    return join(part, law, x, tau, vol, payoff)


@dataclass(frozen=True)
class _Table:
    """Chebyshev coefficients ``[places, 5, vols]`` on the two ``sides``.

    ``reaches`` are the widths beyond which nothing is random.
    """

    coefficients: Tensor
    sides: tuple[float, float]
    logs: tuple[float, float]
    softness: float
    reaches: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """The number of places and of vols."""
        return self.coefficients.shape[0], self.coefficients.shape[2]

    def read(self, place: Tensor, vol: Tensor, width: Tensor) -> Profile:
        """The profile ``[N]``."""
        places, vols = self.shape
        weights = self.coefficients.to(place).reshape(places, -1).T
        parts = []
        for x, v, w in zip(*(torch.split(y, _BLOCK) for y in (place, vol, width)), strict=True):
            values = (weights @ _polynomials(_scaled(x, self.sides), places)).view(5, vols, -1)
            if vols > 1:
                state = (v * v + self.softness).log()
                values = values * _polynomials(_scaled(state, self.logs), vols)
            value, first, second, by_variance, by_tau = values.sum(dim=1)
            parts.append((value, first, second / w, by_variance / w, by_tau / w))
        return Profile(*(torch.cat(column) for column in zip(*parts, strict=True)))


@lru_cache(maxsize=_KEPT)
def _table(law: Law, tau: float, ends: tuple[float, float], payoff: Payoff) -> _Table:
    """The coarsest table on whose last terms are small."""
    softness = law.softness(tau) + 1e-6 * ends[1] ** 2 + 1e-30
    left, right = (math.log(end * end + softness) for end in ends)
    places, vols = _FEWEST
    if right - left < 1e-9:
        left, right, vols = left - 1.0, left + 1.0, 1
    reached = reaches(law, tau, _between(torch.tensor(ends, dtype=torch.float64), 5), _SIZE)
    across = (math.asinh(-reached[1] / _BEND), math.asinh(-reached[0] / _BEND))
    while True:
        place, log = _points(places, across), _points(vols, (left, right))
        vol = (log.exp() - softness).clamp(min=0, max=ends[1] ** 2).sqrt()
        table = _Table(
            _coefficients(_values(law, tau, place, vol, payoff)),
            across,
            (left, right),
            softness,
            reached,
        )
        coarse = _coarse(table.coefficients)
        grown = (
            min(2 * places - 1, _MOST[0]) if coarse[0] else places,
            min(2 * vols - 1, _MOST[1]) if coarse[1] and vols > 1 else vols,
        )
        if grown == (places, vols):
            return table
        places, vols = grown


def _values(law: Law, tau: float, place: Tensor, vol: Tensor, payoff: Payoff) -> Tensor:
    """What is tabulated, ``[places, 5, vols]``: derivatives times the width, to be of order 1."""
    columns = []
    for state in vol[:, None]:
        width = law.width(tau, state).clamp(min=1e-30)
        x = _BEND * torch.sinh(place) * width
        value, first, second, *rates = random_part(law, x, tau, state, payoff, _SIZE)
        if law.bulk is None:
            control = black(x, width, payoff)
            value, first, second = value - control[0], first - control[1], second - control[2]
        columns.append(torch.stack([value, first, *(y * width for y in (second, *rates))], dim=1))
    return torch.stack(columns, dim=2)


def _coarse(coefficients: Tensor) -> tuple[bool, bool]:
    """Whether the last terms are too large, in moneyness and in vol."""
    limits = coefficients.new_tensor(_LAST)
    sizes = coefficients[:, :3].abs()
    places = bool((sizes[-2:].amax(dim=(0, 2)) > limits).any())
    return places, bool((sizes[..., -1].amax(dim=0) > limits).any())


def _between(ends: Tensor, count: int) -> Tensor:
    """Vols from one end to the other."""
    return ends[0] + (ends[1] - ends[0]) * torch.linspace(0, 1, count).to(ends) ** 2


def _points(count: int, ends: tuple[float, float]) -> Tensor:
    """The zeros of the Chebyshev polynomial of degree ``count`` between the ends."""
    angle = (torch.arange(count, dtype=torch.float64) + 0.5) * (math.pi / count)
    return (ends[0] + ends[1]) / 2 - (ends[1] - ends[0]) / 2 * torch.cos(angle)


def _scaled(x: Tensor, ends: tuple[float, float]) -> Tensor:
    return ((2 * x - ends[0] - ends[1]) / (ends[1] - ends[0])).clamp(-1, 1)


def _polynomials(x: Tensor, count: int) -> Tensor:
    """T_0(x), T_1(x), ..., ``[count, N]``."""
    rows = x.new_empty((count, len(x)))
    rows[0] = 1.0
    if count > 1:
        rows[1] = x
    double = 2 * x
    for n in range(2, count):
        torch.mul(double, rows[n - 1], out=rows[n]).sub_(rows[n - 2])
    return rows


def _coefficients(values: Tensor) -> Tensor:
    """The interpolating polynomial's, from values at the points of both dimensions."""
    for axis in (0, 2):
        count = values.shape[axis]
        points = _points(count, (-1.0, 1.0))
        inverse = _polynomials(points, count).to(values.device) * (2 / count)
        inverse[0] /= 2
        values = torch.tensordot(inverse, values.movedim(axis, 0), dims=1).movedim(0, axis)
    return values.contiguous()

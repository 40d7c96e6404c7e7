"""The backward programme of a loss that depends on wealth: state (t, S, holding, wealth)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .lattice import Stage, Stages

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK = 32  # rows whose sums share one matrix product
FEW = 4  # rows whose trades are found together


class Loss(NamedTuple):
    """What the programme lowers the mean of, and its second derivative far out."""

    of: Callable[[Floats], Floats]
    curvature: float


class Grid(NamedTuple):
    """Equal steps of ``holdings [H]``, 0 among them, and of ``levels [U]`` of x, money."""

    holdings: Floats
    levels: Floats

    @property
    def step(self) -> float:
        """Between two levels."""
        return float(self.levels[1] - self.levels[0])


class Edges(NamedTuple):
    """The no-trade band at one date, ``[M, U]``: edges in units, and J at them.

    Below ``lower`` at x - k h buy up to it, above ``upper`` at x + k h sell down to it: along a
    purchase the former does not change, along a sale the latter. Where both are so, which is where
    a gain is punished and cost is welcome, the lower of ``bought`` and ``sold`` is better.
    """

    lower: Floats
    bought: Floats
    upper: Floats
    sold: Floats


class _Placed(NamedTuple):
    """Values ``[M, H, U]`` at x = ``first [M, H]`` + j steps."""

    values: Floats
    first: Floats


def backward(stages: Stages, grid: Grid, loss: Loss) -> tuple[_Placed, list[Edges]]:
    """The least mean loss to come at the start, and the band at each date.

    With x the loss so far, marked at the book's fair value V_t(S), less theta,

        J_t(S, h, x) = min over h' of G_t(S, h', x + k_t |h' - h|),
        G_t(S, h, x) = E[J_{t+1}(S', h, x + V_{t+1}(S') - V_t(S) - h (e^{q dt} F_{t+1} - F_t))],

    and J_T(S, h, x) = loss(x + k_T |h|), the last only if the end liquidates. A
    purchase keeps x - k h, a sale x + k h, and where the loss rises with x, G is convex in (h, x):
    on each such line the best trade is to the nearest edge of an interval.

    The cash -x + V - h F, and not x, is what lies on the points of the grid of a date: cash does
    not change while nothing is traded, so that an expectation needs no interpolation.
    """
    following: _Placed | None = None
    edges: list[Edges] = []
    for stage in reversed(stages):
        held = _expectation(stage, following, grid, loss)
        following, band = _traded(stage, held, grid, loss)
        edges.insert(0, band)
    assert following is not None
    return following, edges


def _expectation(stage: Stage, following: _Placed | None, grid: Grid, loss: Loss) -> _Placed:
    """G, by blocks of rows, each a product with a band of the law's weights."""
    marked = stage.mark[:, None] - stage.forward[:, None] * grid.holdings
    base = np.round((grid.levels[0] - marked) / grid.step).astype(np.int64)
    rows, count = len(stage.mark), len(grid.levels)
    values = np.empty((*base.shape, count))
    width = len(stage.law.weights)
    for top in range(0, rows, BLOCK):
        within = slice(top, min(top + BLOCK, rows))
        size = within.stop - top
        reach = slice(top * stage.stride, (within.stop - 1) * stage.stride + width)
        band = np.zeros((size, reach.stop - reach.start))
        for i in range(size):
            band[i, i * stage.stride : i * stage.stride + width] = stage.law.weights
        for j, h in enumerate(grid.holdings):
            start = base[within, j]
            cash = grid.step * np.arange(start.min(), start.max() + count)
            x = cash + (stage.next_mark[reach] - h * stage.next_forward[reach])[:, None]
            if following is None:
                to_come = loss.of(x + stage.closing[reach, None] * abs(h))
            else:
                row = stage.next_row[reach]
                place = (x - following.first[row, j, None]) / grid.step
                to_come = read(following.values[row, j], place, grid, loss)
            mean = band @ to_come
            chosen = (start - start.min())[:, None] + np.arange(count)
            values[within, j] = np.take_along_axis(mean, chosen, axis=1)
    return _Placed(values, base * grid.step + marked)


def _traded(stage: Stage, held: _Placed, grid: Grid, loss: Loss) -> tuple[_Placed, Edges]:
    """J and the band from G, by blocks of rows that fit into a processor's cache."""
    blocks = []
    for top in range(0, len(stage.mark), FEW):
        rows = slice(top, top + FEW)
        part = _Placed(held.values[rows], held.first[rows])
        blocks.append(_trades(stage.cost[rows, None], part, grid, loss))
    values, *band = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return _Placed(values, held.first), Edges(*band)


def _trades(cost: Floats, held: _Placed, grid: Grid, loss: Loss) -> tuple[Floats, ...]:
    """J ``[m, H, U]`` and the `Edges`: the best end of each line of purchases and of sales."""
    rows, count = len(cost), len(grid.levels)
    x = held.first[:, :, None] + grid.step * np.arange(count)
    values, band = held.values, list[Floats]()
    for sign in (1.0, -1.0):
        paid = sign * cost * grid.holdings
        line = grid.levels + (paid - held.first)[:, :, None]
        flat = held.values.reshape(-1, count)
        along = read(flat, (line / grid.step).reshape(-1, count), grid, loss)
        where, least = _lowest(along.reshape(rows, -1, count), grid.holdings, sign)
        place = ((x - paid[:, :, None] - grid.levels[0]) / grid.step).reshape(rows, -1)
        to_edge = read(least, place, grid, loss).reshape(x.shape)
        edge = _linear(where, place).reshape(x.shape)
        beyond = sign * grid.holdings[:, None] < sign * edge
        values = np.where(beyond, np.minimum(to_edge, values), values)
        band += [where, least]
    return values, *band


def read(values: Floats, place: Floats, grid: Grid, loss: Loss) -> Floats:
    """Row i of ``values [n, U]`` at the places ``[n, C]``, in steps from the first; by cubics.

    Beyond the ends by a parabola of the loss's curvature.
    """
    last, curvature = values.shape[1] - 1, loss.curvature * grid.step**2
    inside = np.clip(place, 0, last)
    left = np.clip(inside.astype(np.int64), 1, last - 2)
    f = inside - left
    offset = (np.arange(len(values)) * values.shape[1])[:, None] + left
    a, b, c, d = (values.reshape(-1).take(offset + i) for i in (-1, 0, 1, 2))
    g, e, k = f + 1, f - 1, f - 2
    cubic = (d * g * e - a * e * k) * f / 6 + (b * e - c * f) * g * k / 2
    beyond = place - inside
    right = (values[:, -1] - values[:, -2] + curvature / 2)[:, None]
    start = (values[:, 1] - values[:, 0] - curvature / 2)[:, None]
    slope = np.where(beyond > 0, right, start)
    return np.asarray(cubic + beyond * (slope + curvature / 2 * beyond), np.float64)


def _linear(values: Floats, place: Floats) -> Floats:
    """Row i of ``values [n, U]`` at the places ``[n, C]``; beyond the ends, what is there."""
    inside = np.clip(place, 0, values.shape[1] - 1)
    left = np.minimum(inside.astype(np.int64), values.shape[1] - 2)
    low, high = (np.take_along_axis(values, left + i, axis=1) for i in (0, 1))
    return np.asarray(low + (inside - left) * (high - low), np.float64)


def _lowest(values: Floats, holdings: Floats, sign: float) -> tuple[Floats, Floats]:
    """Where ``values [M, H, U]`` are least over H, the least trade first; and what they are there.

    By a parabola through the lowest and its neighbours, with at most twice the bend at the next
    point: beside a kink, where that is 0, a parabola would be below the values.
    """
    last = len(holdings) - 1
    lowest = last - values[:, ::-1].argmin(axis=1) if sign < 0 else values.argmin(axis=1)
    middle = np.clip(lowest, 1, last - 1)

    def at(i: Integers) -> Floats:
        return np.take_along_axis(values, i[:, None], axis=1)[:, 0]

    left, centre, right = at(middle - 1), at(middle), at(middle + 1)
    bend, slope = left - 2 * centre + right, (right - left) / 2
    aside = np.clip(middle - np.sign(slope).astype(np.int64), 1, last - 1)
    beside = at(aside - 1) - 2 * at(aside) + at(aside + 1)
    curved = (bend > 0) & (lowest == middle)
    steep = np.where(curved, bend, 1.0)
    dip = slope**2 / (2 * steep) * np.clip(2 * beside / steep, 0.0, 1.0)
    place = np.where(curved, -slope / steep, 0.0)
    where = holdings[lowest] + place * (holdings[1] - holdings[0])
    return where, np.asarray(np.where(curved, centre - dip, at(lowest)), np.float64)

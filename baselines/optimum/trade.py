"""The best trade at one date, and what it leaves to be lost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Trade(NamedTuple):
    """The best trade from every holding, for each of M rows.

    Attributes:
        cost_to_go: J before the trade, ``[M, H]``.
        lower, upper: what is bought up to and sold down to, units, ``[M]``.
        buy_below, sell_above: the holdings below and above which that is done, ``[M]``.
        idle: what it costs to stay where nothing is held, beyond the best trade, ``[M]``: there
            a holding of exactly nothing has no fixed fee ahead of it.
    """

    cost_to_go: Floats
    lower: Floats
    upper: Floats
    buy_below: Floats
    sell_above: Floats
    idle: Floats


def linear_trade(G: Floats, holdings: Floats, k: Floats) -> Trade:
    """``min over h' of k |h' - h| + G(h')``: to the nearest end of an interval, G being convex."""
    away = k[:, None] * holdings
    lower, bought = lowest(G + away, holdings)
    upper, sold = lowest(G - away, holdings)
    upper = np.maximum(lower, upper)
    cost_to_go = np.where(holdings < lower[:, None], bought[:, None] - away, G)
    cost_to_go = np.where(holdings > upper[:, None], sold[:, None] + away, cost_to_go)
    return Trade(cost_to_go, lower, upper, lower, upper, np.zeros_like(lower))


def fixed_trade(G: Floats, holdings: Floats, k: Floats, fixed: float) -> Trade:
    """``min(G(h), fixed + min over h' of k |h' - h| + G(h'))``: two triggers and two targets.

    The last of ``holdings`` is nothing at all: a trade to it is one candidate beside those to the
    others, between which G is smooth.
    """
    held, nothing = holdings[:-1], G[:, -1]
    stay, away = G[:, :-1], k[:, None] * held
    lower, bought = _or_nothing(*lowest(stay + away, held), nothing)
    upper, sold = _or_nothing(*lowest(stay - away, held), nothing)
    upper = np.maximum(lower, upper)
    buying, selling = bought[:, None] - away, sold[:, None] + away
    best = np.where(held <= lower[:, None], np.minimum(stay, fixed + buying), stay)
    best = np.where(held >= upper[:, None], np.minimum(stay, fixed + selling), best)
    moving = np.where(lower > 0, bought, np.where(upper < 0, sold, nothing))
    idle = nothing - fixed - moving
    first = np.minimum(nothing, fixed + moving)
    buy_below = _trigger(stay - buying, held, lower, fixed)
    sell_above = -_trigger((stay - selling)[:, ::-1], -held[::-1], -upper, fixed)
    cost_to_go = np.concatenate([best, first[:, None]], axis=1)
    return Trade(cost_to_go, lower, upper, buy_below, sell_above, idle)


def _or_nothing(target: Floats, least: Floats, nothing: Floats) -> tuple[Floats, Floats]:
    return np.where(nothing < least, 0.0, target), np.minimum(nothing, least)


def _trigger(saved: Floats, holdings: Floats, target: Floats, fixed: float) -> Floats:
    """The holding below ``target`` from which on a trade up to it saves less than ``fixed``.

    The saving is a parabola near the target, so that its root is interpolated; where it never
    reaches the fee the trigger is below every holding.
    """
    rows = np.arange(len(saved))
    worth = (saved >= fixed) & (holdings < target[:, None])
    last = len(holdings) - 1 - worth[:, ::-1].argmax(axis=1)
    following = np.minimum(last + 1, len(holdings) - 1)
    inside = holdings[following] < target
    root = np.sqrt(np.maximum(saved, 0.0))
    far, near = root[rows, last], np.where(inside, root[rows, following], 0.0)
    end = np.where(inside, holdings[following], target)
    part = (far - np.sqrt(fixed)) / np.maximum(far - near, 1e-300)
    trigger = holdings[last] + np.clip(part, 0.0, 1.0) * (end - holdings[last])
    never = 2 * holdings[0] - holdings[-1]
    return np.asarray(np.where(worth.any(axis=1), trigger, never), np.float64)


def lowest(values: Floats, holdings: Floats) -> tuple[Floats, Floats]:
    """Where each row of ``values [M, H]`` is least, and the least value, by a parabola."""
    lowest = values.argmin(axis=1)
    middle = np.clip(lowest, 1, len(holdings) - 2)
    left, centre, right = (
        np.take_along_axis(values, (middle + i)[:, None], axis=1)[:, 0] for i in (-1, 0, 1)
    )
    bend, slope = left - 2 * centre + right, (right - left) / 2
    curved = bend > 0
    vertex = -slope / np.where(curved, bend, 1.0)
    place = np.clip(np.where(curved, vertex, lowest - middle), -1.0, 1.0)
    least = centre + slope * place + bend * place**2 / 2
    where = holdings[middle] + place * (holdings[1] - holdings[0])
    return np.asarray(where, np.float64), np.asarray(least, np.float64)

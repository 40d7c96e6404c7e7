"""The optimal hedges of the programmes: bands, and triggers with targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...envs.hedger import Known
from ...envs.namespace import X
from .optimum import Optimum

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BandOptimum(Optimum):
    """The optimum under linear costs: trades to the nearest edge of the exact no-trade band.

    Attributes:
        log_spot: the lattice at each decision date, ``[T, M]``.
        lower, upper: the band, units of the underlying, ``[T, M]``, or ``[T, R, M]`` where the
            hedger knows one of R states too: below ``lower`` buy up to it, above ``upper`` sell
            down to it, trade nothing between. Edges beyond every holding that the optimal hedge
            reaches are cut there.
        place: where among the states 0 to R - 1 each path is, ``[N]``; null where there are none.
    """

    log_spot: Floats
    lower: Floats
    upper: Floats
    place: Callable[[Known], Floats] | None

    def holding(self, known: Known) -> X:
        """``clip(h_{t-1}, lower_t(S_t), upper_t(S_t))``, edges linear between points."""
        lower, upper = self.at(known, self.lower, self.upper)
        return known.ops.minimum(known.ops.maximum(known.holding[:, -1], lower), upper)

    def at(self, known: Known, *surfaces: Floats) -> tuple[X, ...]:
        """Surfaces like ``lower`` where each path is now, ``[N]`` each."""
        spot, log_spot = known.spot, self.log_spot[known.t]
        numbers = spot.detach().cpu().numpy() if isinstance(spot, torch.Tensor) else spot
        x = np.log(np.asarray(numbers, np.float64))
        if self.place is None:
            values = [np.interp(x, log_spot, surface[known.t]) for surface in surfaces]
        else:
            position = self.place(known)
            values = [_bilinear(position, x, log_spot, surface[known.t]) for surface in surfaces]
        if isinstance(spot, torch.Tensor):
            return tuple(torch.as_tensor(v, dtype=spot.dtype, device=spot.device) for v in values)
        return tuple(values)


@dataclass(frozen=True)
class TriggerOptimum(BandOptimum):
    """The optimum with a fixed fee: a trade is made once it is worth the fee, up to a target.

    Attributes:
        lower, upper: the targets, shaped as in `BandOptimum`.
        buy_below, sell_above: the triggers: holdings below ``buy_below`` are raised to ``lower``,
            those above ``sell_above`` lowered to ``upper``.
        idle: where positive, a holding of exactly nothing is moved into ``[lower, upper]``, else
            not: no fee to sell it is ahead, so that it has a trigger of its own.
    """

    buy_below: Floats
    sell_above: Floats
    idle: Floats

    def holding(self, known: Known) -> X:
        """``lower`` below ``buy_below``, ``upper`` above ``sell_above``, else what is held."""
        ops, held = known.ops, known.holding[:, -1]
        lower, upper, below, above, idle = self.at(
            known, self.lower, self.upper, self.buy_below, self.sell_above, self.idle
        )
        target = ops.where(held > above, upper, held)
        target = ops.where(held < below, lower, target)
        nearest = ops.minimum(ops.maximum(held, lower), upper)
        return ops.where(held == 0, ops.where(idle > 0, nearest, held), target)


def _bilinear(position: Floats, x: Floats, log_spot: Floats, surface: Floats) -> Floats:
    """``surface [R, M]`` at states ``position [N]`` and log-spots ``x [N]``, flat beyond."""
    R, M = surface.shape
    across = np.clip((x - log_spot[0]) / (log_spot[1] - log_spot[0]), 0, M - 1)
    along = np.clip(position, 0, R - 1)
    j = np.minimum(along.astype(np.int64), max(R - 2, 0))
    i = np.minimum(across.astype(np.int64), M - 2)
    down, right, flat = along - j, across - i, surface.ravel()
    near, far = (
        flat[row * M + i] * (1 - right) + flat[row * M + i + 1] * right
        for row in (j, np.minimum(j + 1, R - 1))
    )
    return np.asarray(near * (1 - down) + far * down, np.float64)

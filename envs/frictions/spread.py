"""Liquidity: how much wider spreads are than on a calm day."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ..part import Part

DAYS_PER_YEAR = 365.0
NonNegative = Annotated[float, Field(ge=0)]


class WideningSpread(Part):
    """What multiplies an instrument's costs at each date.

    ``(vol / vol_0)^with_vol (1 + after_jump J) (1 + by_moneyness |1 - 2 |delta||)``: vol is the
    quoted one, J counts the jumps so far, each worth half as much every ``half_life`` days, delta
    is a listed option's, so that its spread is widest far from the money. Source: Bollerslev and
    Melvin, "Bid-ask spreads and volatility in the foreign exchange market", 1994 (vol);
    Christoffersen, Goyenko, Jacobs and Karoui, "Illiquidity premia in the equity options market",
    2018, table 1 (moneyness). Evidence: tests/envs/test_liquidity.py.
    """

    with_vol: NonNegative = 0.0
    after_jump: NonNegative = 0.0
    half_life: Annotated[float, Field(gt=0)] = 2.0
    by_moneyness: NonNegative = 0.0

    def level(
        self, times: Tensor, vol: Tensor, jump: Tensor | None, delta: Tensor | None, like: Tensor
    ) -> Tensor:
        """The multiple ``[T+1, N]``.

        Args:
            times: years, ``[T+1, 1 or N]``.
            vol: quoted, ``[T+1 or 1, 1 or N]``.
            jump: log-jumps since the last date, ``[T+1, N]``; null: none.
            delta: of the listed option, ``[T+1, N]``; null: not an option.
            like: ``[T+1, N]``, for shape and dtype.
        """
        level = ((vol / vol[:1]) ** self.with_vol).to(like.dtype).expand_as(like)
        if self.after_jump and jump is not None:
            level = level * (1.0 + self.after_jump * self._recent(times, jump))
        if self.by_moneyness and delta is not None:
            level = level * (1.0 + self.by_moneyness * (1.0 - 2.0 * delta.abs()).abs())
        return level

    def _recent(self, times: Tensor, jump: Tensor) -> Tensor:
        """Jumps so far, each halved every half-life."""
        years = self.half_life / DAYS_PER_YEAR
        fade = torch.exp2(-times.diff(dim=0) / years).to(jump.dtype)
        count = [(jump[0] != 0).to(jump.dtype)]
        for t in range(1, len(jump)):
            count.append(count[-1] * fade[t - 1] + (jump[t] != 0))
        return torch.stack(count)

"""The contract: the constants of a scenario that features and rewards are scaled by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Contract:
    """Constants of a scenario that features are scaled by.

    Attributes:
        spots: the spot of each asset at time 0, money.
        strikes: one per leg with a strike on the first asset, money.
        maturities: one for each of these, years; null is the end of the episode.
        size: the sum of ``|quantity|``.
        volatility: the market's total vol, per sqrt(year).
        horizon: the (mean) length of an episode, years.
        steps: decision dates in it.
        options: how many of the hedge instruments are listed options (they come first).
        assets: the asset of each hedge instrument.
        aversion: the objective's, 1 / money; null where it has none.
        listings: how many contracts each option hedge has: one, or on the run one a decision date.
        delay: decision dates between an order and its trade.
        transient: displacement of each instrument's price by a unit traded, a fraction of it.
        trade_cost: of trading the size once in the first delta-one instrument at time 0, money.
    """

    spots: tuple[float, ...]
    strikes: tuple[float, ...]
    maturities: tuple[float | None, ...]
    size: float
    volatility: float
    horizon: float
    steps: int
    options: int
    assets: tuple[int, ...]
    listings: tuple[int, ...] = ()
    aversion: float | None = None
    trade_cost: float = 0.0
    delay: int = 0
    transient: tuple[float, ...] = ()

    @property
    def spot(self) -> float:
        """The first asset's spot at time 0, money."""
        return self.spots[0]

    @cached_property
    def instruments(self) -> int:
        """K, how many hedge instruments there are."""
        return len(self.assets)

    @cached_property
    def one_step_move(self) -> float:
        """Money: one standard deviation of the first asset over a mean step."""
        return self.spot * self.volatility * math.sqrt(self.horizon / self.steps)

    @property
    def hedges(self) -> int:
        """How many of the scenario's hedges there are: contracts on the run are one."""
        return len(self.listings) + self.delta_ones

    @property
    def delta_ones(self) -> int:
        """D, how many of them close a delta: all that are not options."""
        return self.instruments - self.options

    @cached_property
    def scale(self) -> float:
        """Money: about the price of an at-the-money option on the whole size."""
        return max(0.4 * self.size * self.spot * self.volatility * math.sqrt(self.horizon), 1e-8)

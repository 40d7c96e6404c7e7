"""Marking: how the position and the listed options are valued along the way."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from ..instruments import Claim, EuropeanOption
from ..markets import Market, MarketPaths
from ..part import Kind
from .black_scholes import Greeks, black_scholes


class Marking(Kind):
    """Gives a claim a value and Greeks at every date."""

    @abstractmethod
    def quoted_vol(self, paths: MarketPaths) -> Tensor:
        """The vol that options are quoted at, broadcastable to ``[T+1, N]``."""

    def value(self, claim: Claim, maturity: Tensor, market: Market, paths: MarketPaths) -> Greeks:
        """Black-Scholes at the quoted vol; ``maturity`` in years, ``[1 or N]``; zero time past it.

        Raises:
            TypeError: for a claim that has no Black-Scholes formula.
        """
        if not isinstance(claim, EuropeanOption):
            raise TypeError(
                f"{type(claim).__name__} has no Black-Scholes mark: give call or put legs"
            )
        dtype = paths.log_spot.dtype
        return black_scholes(
            paths.log_spot,
            claim.strike,
            (maturity - paths.times).clamp(min=0).to(dtype),
            self.quoted_vol(paths).to(dtype),
            sign=claim.sign,
            rate=market.rate,
            dividend=market.dividend,
            spot=paths.spot,
        )


class ConstantVolMarking(Marking):
    """Black-Scholes at one quoted vol, which need not be the market's."""

    kind: Literal["black-scholes"] = "black-scholes"
    vol: Annotated[float, Field(ge=0)]

    def quoted_vol(self, paths: MarketPaths) -> Tensor:
        """``vol`` everywhere."""
        return paths.log_spot.new_full((1, 1), self.vol)


class MarketVolMarking(Marking):
    """Black-Scholes at the vol that the market quotes on the day (data: the recorded vol)."""

    kind: Literal["market-vol"] = "market-vol"

    def quoted_vol(self, paths: MarketPaths) -> Tensor:
        """The market's implied vol."""
        return paths.implied_vol

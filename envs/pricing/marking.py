"""Marking: how the position and the listed options are valued along the way."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..instruments.american import AmericanPut
from ..instruments.claim import Claim
from ..markets import Market, MarketPaths
from ..part import Kind
from .american import exercised
from .black_scholes import Greeks
from .closed_form import closed_form
from .terms import Terms

LEAST_VOL = 0.1  # of a skewed vol, as a fraction of the one at the money


class Marking(Kind):
    """Gives a claim a value and Greeks at every date."""

    @abstractmethod
    def quoted_vol(self, paths: MarketPaths) -> Tensor:
        """The at-the-money vol of an asset's options, broadcastable to ``[T+1, N]``."""

    def value(self, claim: Claim, maturity: Tensor, market: Market, paths: MarketPaths) -> Greeks:
        """Marks and Greeks ``[T+1, N]``; ``maturity`` in years, ``[1 or N]``; zero time past it.

        Raises:
            TypeError: for a claim that has no formula.
        """
        return closed_form(claim, self.terms(claim, maturity, market, paths))

    def exercises(
        self, claim: Claim, maturity: Tensor, market: Market, paths: MarketPaths
    ) -> Tensor:
        """Where the holder of an exercisable claim exercises, ``[T+1, N]``."""
        assert isinstance(claim, AmericanPut)  # the only exercisable kind
        return exercised(self.terms(claim, maturity, market, paths), claim.strike)

    def terms(self, claim: Claim, maturity: Tensor, market: Market, paths: MarketPaths) -> Terms:
        """What the claim is priced from."""
        dtype = paths.log_spot.dtype
        matrix = market.correlation_matrix
        return Terms(
            paths=paths,
            maturity=maturity,
            rate=market.rate,
            dividends=market.dividends,
            quoted=tuple(self.quoted_vol(asset).to(dtype) for asset in paths.assets),
            correlation=torch.tensor(matrix, dtype=dtype) if len(matrix) > 1 else None,
            asset=claim.asset,
        )


class ConstantVolMarking(Marking):
    """Black-Scholes at one quoted vol, which need not be the market's."""

    kind: Literal["black-scholes"] = "black-scholes"
    vol: Annotated[float, Field(ge=0)]

    def quoted_vol(self, paths: MarketPaths) -> Tensor:
        """``vol`` everywhere."""
        return paths.log_spot.new_full((1, 1), self.vol)


class MarketVolMarking(Marking):
    """Black-Scholes at the vol that the market quotes on the day (data: the recorded vol).

    Where the market quotes a skew, an option with a strike is marked at vol + skew log(strike /
    forward), at least a tenth of the vol at the money; its delta is that of a vol that stays with
    the strike.
    """

    kind: Literal["market-vol"] = "market-vol"

    def quoted_vol(self, paths: MarketPaths) -> Tensor:
        """The market's implied vol."""
        return paths.implied_vol

    def terms(self, claim: Claim, maturity: Tensor, market: Market, paths: MarketPaths) -> Terms:
        """What the claim is priced from, with the vol of its own strike."""
        terms = super().terms(claim, maturity, market, paths)
        skew, strike = terms.own.skew, getattr(claim, "strike", None)
        if skew is None or strike is None or claim.path_dependent or claim.exercisable:
            return terms
        at_the_money = terms.quoted[claim.asset]
        forward = terms.log_spot + (terms.rate - terms.dividend) * terms.tau
        slope = skew.to(forward.dtype) * (math.log(strike) - forward)
        vol = torch.maximum(at_the_money + slope, LEAST_VOL * at_the_money)
        quoted = [vol if j == claim.asset else v for j, v in enumerate(terms.quoted)]
        return replace(terms, quoted=tuple(quoted))

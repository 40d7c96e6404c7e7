"""Marking: how the position and the listed options are valued along the way."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..instruments import AmericanPut, Claim, PathClaim, PrepaidForward
from ..markets import CorrelatedGBM, GeometricBrownianMotion, Market, MarketPaths
from ..part import Kind
from .american import american_put, exercised
from .black_scholes import Greeks
from .closed_form import closed_form, has_closed_form
from .model_price import has_model_price, model_price, no_model_price
from .regression import regression
from .terms import Terms

LEAST_VOL = 0.1  # of a skewed vol, as a fraction of the one at the money


class Marking(Kind):
    """Gives a claim a value and Greeks at every date."""

    @abstractmethod
    def quoted_vol(self, paths: MarketPaths) -> Tensor:
        """The at-the-money vol of an asset's options, broadcastable to ``[T+1, N]``."""

    def value(self, claim: Claim, maturity: Tensor, market: Market, paths: MarketPaths) -> Greeks:
        """Marks and Greeks ``[T+1, N]``; ``maturity`` in years, ``[1 or N]``; zero time past it.

        By formula at the quoted vol; a payoff of the user's own by regression in `world`.

        Raises:
            TypeError: for a claim that cannot be marked so.
        """
        terms = self.terms(claim, maturity, market, paths)
        if isinstance(claim, AmericanPut):
            return american_put(terms, claim.strike)
        if isinstance(claim, PathClaim):
            return regression(claim, terms, self.world(market))
        return closed_form(claim, terms)

    def refusal(self, claim: Claim, market: Market) -> str | None:
        """Why the claim cannot be marked so, null if it can."""
        if isinstance(claim, PathClaim):
            try:
                self.world(market).risk_neutral()
            except TypeError as error:
                return str(error)
            return None
        if isinstance(claim, AmericanPut) or has_closed_form(claim):
            return None
        return (
            f"{type(claim).__name__} has no formula: write the payoff as a PathClaim, or register "
            "a pricer with closed_form.register"
        )

    def world(self, market: Market) -> Market:
        """The model in which a claim without a formula is valued: the market's own."""
        return market

    def exercises(
        self, claim: AmericanPut, maturity: Tensor, market: Market, paths: MarketPaths
    ) -> Tensor:
        """Where the holder of an American claim exercises if he has not yet, ``[T+1, N]``."""
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

    def world(self, market: Market) -> Market:
        """Geometric Brownian motion at ``vol``; with several assets the market's own model."""
        if len(market.spots) > 1:
            return market
        fields = {name: getattr(market, name) for name in ("spot", "rate", "dividend")}
        return GeometricBrownianMotion(sigma=self.vol, **fields)


class MarketVolMarking(Marking):
    """Black-Scholes at the vol that the market quotes on the day (data: the recorded vol).

    Where the market quotes a skew, an option with a strike is marked at vol + skew log(strike /
    forward), at least a tenth of the vol at the money; its delta is that of a vol that stays with
    the strike. A payoff of the user's own is valued in the market's model.
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


class ModelMarking(Marking):
    """The market model's own price, under its pricing measure: what a desk with the true model has.

    In geometric Brownian motion every claim with a formula; calls, puts and digitals in Merton,
    Kou, Heston, Bates and SABR; a payoff of the user's own in every model with a pricing measure.
    """

    kind: Literal["model"] = "model"

    def quoted_vol(self, paths: MarketPaths) -> Tensor:
        """The market's implied vol."""
        return paths.implied_vol

    def value(self, claim: Claim, maturity: Tensor, market: Market, paths: MarketPaths) -> Greeks:
        """The model's price and Greeks.

        Raises:
            TypeError: for a claim that has no price in the model.
        """
        if self._as_base(claim, market):
            return super().value(claim, maturity, market, paths)
        return model_price(claim, market, self.terms(claim, maturity, market, paths))

    def refusal(self, claim: Claim, market: Market) -> str | None:
        """Why the claim has no price in the model, null if it has one."""
        if self._as_base(claim, market):
            return super().refusal(claim, market)
        return None if has_model_price(claim, market) else no_model_price(claim, market)

    @staticmethod
    def _as_base(claim: Claim, market: Market) -> bool:
        lognormal = isinstance(market, GeometricBrownianMotion | CorrelatedGBM)
        return lognormal or isinstance(claim, PathClaim | PrepaidForward)

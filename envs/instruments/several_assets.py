"""Claims on several assets: exchange and basket options."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from .claim import Claim, Path

Weight = Annotated[float, Field(gt=0)]


class Exchange(Claim):
    """The right to receive ``asset`` for ``ratio`` units of ``other``.

    Evidence: tests/envs/test_claims.py.
    """

    kind: Literal["exchange"] = "exchange"
    other: Annotated[int, Field(ge=0)] = 1
    ratio: Weight = 1.0

    @model_validator(mode="after")
    def _two_assets(self) -> Exchange:
        if self.other == self.asset:
            raise ValueError(f"asset {self.asset} for itself is no exchange: choose another")
        return self

    def payoff(self, path: Path) -> Tensor:
        """``max(S_T - ratio S'_T, 0)``."""
        return torch.clamp(path.spot[-1] - self.ratio * path.assets[self.other][-1], min=0)

    @property
    def reach(self) -> int:
        """The higher of both."""
        return max(self.asset, self.other)


class Basket(Claim):
    """A call or put on the ``weights`` of the first assets, in units of each.

    ``asset``, one of them, is the one whose delta and gamma are the option's own. Evidence:
    tests/envs/test_claims.py.
    """

    sign: ClassVar[int]  # +1 for a call, -1 for a put

    strike: Annotated[float, Field(gt=0)]
    weights: Annotated[tuple[Weight, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _own_asset_in_basket(self) -> Basket:
        if self.asset >= len(self.weights):
            raise ValueError(
                f"asset {self.asset} is not in a basket of {len(self.weights)}: choose one below "
                f"{len(self.weights)}"
            )
        return self

    def payoff(self, path: Path) -> Tensor:
        """``max(sign (sum of weights S_T - strike), 0)``."""
        spots = [asset[-1] for asset in path.assets[: len(self.weights)]]
        value = torch.stack([w * s for w, s in zip(self.weights, spots, strict=True)]).sum(dim=0)
        return torch.clamp(self.sign * (value - self.strike), min=0)

    @property
    def reach(self) -> int:
        """The last asset with a weight."""
        return len(self.weights) - 1


class BasketCall(Basket):
    """Pays ``max(basket - strike, 0)``."""

    kind: Literal["basket-call"] = "basket-call"
    sign: ClassVar[int] = 1


class BasketPut(Basket):
    """Pays ``max(strike - basket, 0)``."""

    kind: Literal["basket-put"] = "basket-put"
    sign: ClassVar[int] = -1

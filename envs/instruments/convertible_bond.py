"""The convertible bond: a corporate bond that its holder may swap for shares."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from .claim import CashFlows, Claim, Path

NEAR = 1e-9  # years within which a date is a coupon's

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class ConvertibleBond(Claim):
    """``face`` or ``shares`` S at maturity, coupons until then; at a default what is left of it.

    A year's coupons are ``coupon face``, in ``frequency`` parts, the last with the maturity: before
    it the date at or after a coupon's pays it. When the issuer defaults the holder gets
    ``recovery face`` or converts at the price after the default, and the bond is over. It is
    converted at maturity or default only. Evidence: tests/envs/test_convertible_bond.py.
    """

    pays_early: ClassVar[bool] = True

    kind: Literal["convertible-bond"] = "convertible-bond"
    face: Positive = 100.0
    shares: Positive = 0.8
    coupon: NonNegative = 0.0
    frequency: Annotated[int, Field(ge=1, le=12)] = 2
    recovery: Annotated[float, Field(ge=0, le=1)] = 0.4

    @property
    def strike(self) -> float:
        """The price of a share at which converting is as good as the face."""
        return self.face / self.shares

    @property
    def payment(self) -> float:
        """One coupon."""
        return self.coupon * self.face / self.frequency

    def payoff(self, path: Path) -> Tensor:
        """``max(face, shares S_T)`` and the last coupon, unless the issuer has defaulted."""
        paid = torch.clamp(self.shares * path.spot[-1], min=self.face) + self.payment
        return paid if path.default is None else paid * ~path.default[-1]

    def cash_flows(self, path: Path) -> CashFlows:
        """The coupons before the last one, and what the holder gets at a default."""
        over = path.default
        if over is None:
            over = torch.zeros_like(path.spot, dtype=torch.bool)
        maturity = path.times[-1] if self.maturity is None else self.maturity
        due = -self.coupons_left(maturity - path.times).diff(dim=0)
        paid = torch.zeros_like(path.spot)
        paid[1:] = (due * self.payment).to(paid.dtype) * ~over[1:]
        paid[1:] += self.at_default(path.spot[1:]) * (over[1:] & ~over[:-1])
        return CashFlows(paid, over)

    def coupons_left(self, tau: Tensor) -> Tensor:
        """How many coupons are still due ``tau`` years before maturity, but the last."""
        return (torch.ceil((tau - NEAR) * self.frequency) - 1).clamp(min=0)

    def at_default(self, spot: Tensor) -> Tensor:
        """``max(recovery face, shares S)`` at the price S after the default."""
        return torch.clamp(self.shares * spot, min=self.recovery * self.face)

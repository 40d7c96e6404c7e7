"""A company under offer: the deal closes, or it breaks and the price falls."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from scipy import optimize
from torch import Tensor

from .correlated import Asset, Correlation
from .gbm import Volatility
from .market import Market, NonNegative, Positive, Walk, accumulate

FURTHEST = 8.0  # standard deviations of X within which its start is looked for
_TINY = 1e-30  # X over the root of no time is plus or minus infinity


class Deal(Market):
    """Asset 0 is a target that gets its offer B at ``closing`` years, or is left with its fallback.

        S_t = e^{-r (T - t)} E[B 1{closes} + D_T 1{breaks}],  B = offer + ratio A_T

    The deal closes if X_T > 0, X a Brownian motion whose start the spot implies, and if nobody has
    called it off before, which happens at the rate ``hazard`` and drops the price to the fallback
    at once. A, the asset in ``others``, is the acquirer (``ratio`` > 0) or an index, a geometric
    Brownian motion whose own has ``correlation`` with X, so that deals break more often when it
    falls. D is lognormal with ``fallback_sigma``, from ``fallback`` at time 0, grows at the rate
    and is independent of both. With L = e^{-hazard tau}, tau = T - t, q = L Phi(X / sqrt(tau)) and
    q' = L Phi((X + correlation sigma tau) / sqrt(tau)) while the deal lives,

        S_t = q e^{-r tau} offer + q' ratio A_t + (1 - q) D_t,

    a martingale when discounted, exact on any dates. ``premium`` is the real-world drift of X per
    year: what bearing the risk earns; 0 under the pricing measure. After closing the target is
    cash at the rate, or ``ratio`` shares, or the fallback. X alone means news that comes bit by
    bit: the price drifts to B or D and jumps nowhere; breaks at once come from ``hazard``.

    Source: Bester, Martinez and Rosu, "Cash mergers and the volatility smile", 2023, eq. 4 for
    prices given the probability; correlated breaks: Mitchell and Pulvino, "Characteristics of Risk
    and Return in Risk Arbitrage", 2001. Evidence: tests/envs/test_deal.py.
    """

    jumps: ClassVar[bool] = True
    latents: ClassVar[tuple[str, ...]] = ("probability", "offer", "fallback")

    kind: Literal["deal"] = "deal"
    spot: Positive = 48.5
    closing: Positive = 0.5
    offer: NonNegative = 50.0
    ratio: NonNegative = 0.0
    fallback: Positive = 38.0
    fallback_sigma: Volatility = 0.3
    hazard: NonNegative = 0.0
    premium: float = 0.0
    others: Annotated[tuple[Asset, ...], Field(max_length=1, strict=False)] = ()
    correlation: Correlation = 0.0

    @model_validator(mode="after")
    def _possible(self) -> Deal:
        if self.drift or self.dividend:
            raise ValueError(
                f"drift {self.drift:g} and dividend {self.dividend:g} of a target must be 0: it "
                "earns the rate, and more by premium"
            )
        if (self.ratio or self.correlation) and not self.others:
            raise ValueError(
                f"ratio {self.ratio:g} and correlation {self.correlation:g} need an acquirer or "
                "an index: list it in others"
            )
        if self.ratio and any(o.drift != self.rate or o.dividend for o in self.others):
            raise ValueError(
                f"others.0 pays for the target, so its drift must be the rate, {self.rate:g}, and "
                "its dividend 0"
            )
        start_of(self)
        return self

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """The formula at X, A and D, which are drawn exactly."""
        left = (self.closing - clock).clamp(min=0).to(dtype)
        dt, to_closing = clock.diff(dim=0).to(dtype), -left.diff(dim=0)

        def noise() -> Tensor:
            shape, device = (len(dt), paths), generator.device
            return torch.randn(shape, generator=generator, dtype=dtype, device=device)

        def lognormal(start: float, sigma: float, z: Tensor) -> Tensor:
            return accumulate(math.log(start), sigma * dt.sqrt() * z - sigma**2 / 2 * dt)

        z = common = noise()
        if self.others:
            z = noise()
            z = self.correlation * common + math.sqrt(1 - self.correlation**2) * z
        x = accumulate(start_of(self), self.premium * to_closing + to_closing.sqrt() * z)
        fallback = lognormal(self.fallback, self.fallback_sigma, noise()).exp_()
        others = tuple(
            Walk(lognormal(other.spot, other.sigma, common), z.new_full((1, 1), other.sigma))
            for other in self.others
        )
        acquirer = others[0].log_spot.exp() if self.ratio else torch.zeros_like(fallback)
        off = self._called_off(left, paths, generator)

        value = self._price(x, left, acquirer, fallback)
        jump = torch.zeros_like(x)
        jump[1:] = (off[1:] & ~off[:-1]) * (fallback / value).log()[1:]
        expected = None
        if self.premium:
            drifted = x[:-1] + self.premium * to_closing
            mean = self._price(drifted, left[:-1], acquirer[:-1], fallback[:-1])
            expected = torch.where(off[:-1], 1.0, mean / value[:-1])
        return Walk(
            torch.where(off, fallback, value).log(),
            x.new_full((1, 1), self.volatility),
            jump,
            latents={
                "probability": self._probability(x, left).masked_fill(off, 0.0),
                "offer": self._discounted_offer + self.ratio * acquirer,
                "fallback": fallback,
            },
            expected=expected,
            others=others,
        )

    def risk_neutral(self) -> Deal:
        """Without premium, and the other asset's drift is the rate less its dividend."""
        others = tuple(
            other.model_copy(update={"drift": self.rate - other.dividend}) for other in self.others
        )
        return self.model_copy(update={"premium": 0.0, "others": others})

    def in_units(self, latents: dict[str, Tensor], unit: Tensor) -> dict[str, Tensor]:
        """Offer and fallback are money."""
        scaled = {name: latents[name] / unit for name in ("offer", "fallback")}
        return {"probability": latents["probability"], **scaled}

    @property
    def implied_probability(self) -> float:
        """That the deal closes, as the spot implies it: under the pricing measure."""
        return self._probability_at_start(0.0)

    @property
    def probability(self) -> float:
        """That the deal closes, under the real-world measure."""
        return self._probability_at_start(self.premium)

    @property
    def gross_spread(self) -> float:
        """B / S - 1 with the acquirer's price of today."""
        shares = self.ratio * self.others[0].spot if self.ratio else 0.0
        return (self.offer + shares) / self.spot - 1

    @property
    def annualised_spread(self) -> float:
        """(B / S)^(1 / T) - 1."""
        return float((1 + self.gross_spread) ** (1 / self.closing) - 1)

    @property
    def volatility(self) -> float:
        """Of a step from the spot to offer or fallback at closing, per sqrt(year): a scale."""
        q = self.implied_probability
        width = (1 + self.gross_spread) * math.exp(-self.rate * self.closing)
        width -= self.fallback / self.spot
        return abs(width) * math.sqrt(q * (1 - q) / self.closing)

    @property
    def spots(self) -> tuple[float, ...]:
        """The spot at time 0 of each asset."""
        return (self.spot, *(other.spot for other in self.others))

    @property
    def drifts(self) -> tuple[float, ...]:
        """The rate, and the drift of the other asset."""
        return (self.rate, *(other.drift for other in self.others))

    @property
    def dividends(self) -> tuple[float, ...]:
        """The dividend yield of each asset."""
        return (self.dividend, *(other.dividend for other in self.others))

    @property
    def correlation_matrix(self) -> tuple[tuple[float, ...], ...]:
        """Of X and the other asset."""
        rho = self.correlation
        return ((1.0, rho), (rho, 1.0)) if self.others else ((1.0,),)

    @property
    def _discounted_offer(self) -> float:
        return self.offer * math.exp(-self.rate * self.closing)

    def price_at(self, x: float) -> Tensor:
        """The price at time 0 if X were ``x`` there."""
        acquirer = self.others[0].spot if self.ratio else 0.0
        values = (x, self.closing, acquirer, self.fallback)
        return self._price(*(torch.tensor(v, dtype=torch.float64) for v in values))

    def _probability_at_start(self, drift: float) -> float:
        x, left = (torch.tensor(v, dtype=torch.float64) for v in (start_of(self), self.closing))
        return float(self._probability(x, left, drift))

    def _probability(self, x: Tensor, left: Tensor, drift: float | Tensor = 0.0) -> Tensor:
        """The chance q at X = ``x``, ``left`` years from closing, X with ``drift`` until then."""
        reached: Tensor = torch.special.ndtr((x + drift * left) / (left.sqrt() + _TINY))
        return torch.exp(-self.hazard * left) * reached

    def _price(self, x: Tensor, left: Tensor, acquirer: Tensor, fallback: Tensor) -> Tensor:
        """The price before drift while the deal lives, the other arguments so too."""
        q = self._probability(x, left)
        value = q * self._discounted_offer + (1 - q) * fallback
        if not self.ratio:
            return value
        shift = self.correlation * self.others[0].sigma
        return value + self.ratio * acquirer * self._probability(x, left, shift)

    def _called_off(self, left: Tensor, paths: int, generator: torch.Generator) -> Tensor:
        """Whether the deal has been called off by each date, ``[T+1, N]``."""
        if not self.hazard:
            return torch.zeros((len(left), paths), dtype=torch.bool, device=left.device)
        wait = left.new_empty((1, paths)).exponential_(self.hazard, generator=generator)
        return wait < self.closing - left


@lru_cache(maxsize=64)
def start_of(market: Deal) -> float:
    """X at time 0, so that the price there is the market's spot.

    Raises:
        ValueError: for a spot that no probability gives.
    """

    def excess(x: float) -> float:
        return float(market.price_at(x)) - market.spot

    reach = FURTHEST * math.sqrt(market.closing)
    if market.spot <= market.fallback or excess(reach) <= 0:
        raise ValueError(
            f"spot {market.spot:g} must lie between the fallback, {market.fallback:g}, and what "
            f"the offer is worth today, {market.spot + excess(reach):.6g}: move one of them"
        )
    return float(optimize.brentq(excess, -reach, reach, xtol=1e-14))

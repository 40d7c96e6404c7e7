"""Client flow: options that clients trade with the hedger along the way."""

from __future__ import annotations

from math import sqrt
from typing import Annotated, Literal

from pydantic import Field

from ..part import Part
from .claim import Call, Put

Positive = Annotated[float, Field(gt=0)]
Choices = Annotated[tuple[Positive, ...], Field(min_length=1, strict=False)]


class ClientFlow(Part):
    """Client orders arrive as a Poisson process, ``intensity`` a year.

    Each is for ``size`` options on ``asset``. With probability ``buys`` the client buys, and the
    hedger is short. The strike is one of ``moneyness`` times the spot and the time to maturity one
    of ``tenor`` years, each as likely as the others. What has arrived since the last decision date
    is dealt at the next one, the end left out, at a price that is ``spread`` of the mark better for
    the hedger. No order is refused, and none looks at the price.

    Source: Cao, Chen, Farghadani, Hull, Poulos, Wang and Yuan, "Gamma and vega hedging using deep
    distributional reinforcement learning", 2023, section 4.
    Evidence: tests/envs/test_client_flow.py.
    """

    intensity: Positive
    size: Positive = 1.0
    buys: Annotated[float, Field(ge=0, le=1)] = 0.5
    option: Literal["call", "put"] = "call"
    moneyness: Choices = (1.0,)
    tenor: Choices
    spread: Annotated[float, Field(ge=0, lt=1)] = 0.0
    asset: Annotated[int, Field(ge=0)] = 0

    @property
    def claims(self) -> tuple[Call | Put, ...]:
        """One for each moneyness, in units of the spot, as if they matured with the episode."""
        kind = Call if self.option == "call" else Put
        return tuple(kind(strike=moneyness, asset=self.asset) for moneyness in self.moneyness)

    @property
    def open_units(self) -> float:
        """About the options open in the long run: the mean, bought less sold, plus a deviation.

        Of lambda a year, alive for T years on average: ``size (|2 p - 1| lambda T + sqrt(lambda
        T))``.
        """
        alive = self.intensity * sum(self.tenor) / len(self.tenor)
        return self.size * (abs(2 * self.buys - 1) * alive + sqrt(alive))

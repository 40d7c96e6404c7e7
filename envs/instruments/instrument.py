"""Hedge instruments: what may be traded."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from ..part import Kind
from .claim import Call, Claim, Put

Years = Annotated[float, Field(gt=0)]


class Instrument(Kind):
    """Something a hedger may hold."""

    @property
    @abstractmethod
    def written_on(self) -> int:
        """The asset it is written on."""


class DeltaOne(Instrument):
    """An instrument that moves with ``asset`` itself and so closes its delta."""

    asset: Annotated[int, Field(ge=0)] = 0

    @property
    def written_on(self) -> int:
        """The asset it is written on."""
        return self.asset


class Underlying(DeltaOne):
    """The asset itself; pays its dividend yield."""

    kind: Literal["underlying"] = "underlying"


class Future(DeltaOne):
    """A future on the asset, ``tenor`` years from listing to expiry, then listed anew.

    Its price is S e^{(r - q + basis) tau}, tau the time to its own expiry; ``basis`` is what it
    costs beyond carry, per year. It is margined: gains are paid at every date and no cash is tied
    up. At expiry it is settled at the spot and the next one must be bought, at cost.
    Source: Hull, "Options, Futures, and Other Derivatives", 2021, chapters 2, 3 and 5. Evidence:
    tests/envs/test_instrument_quotes.py.
    """

    kind: Literal["future"] = "future"
    tenor: Years
    basis: float = 0.0


class ListedOption(Instrument):
    """A listed claim; settles at its maturity, or is still alive when the episode ends."""

    kind: Literal["listed-option"] = "listed-option"
    option: Claim

    @property
    def written_on(self) -> int:
        """The asset it is written on."""
        return self.option.asset


class SpotStruckOption(Instrument):
    """An option struck at ``moneyness`` times the spot of its listing, ``tenor`` years to live."""

    option: Literal["call", "put"] = "call"
    moneyness: Annotated[float, Field(gt=0)] = 1.0
    tenor: Years
    asset: Annotated[int, Field(ge=0)] = 0

    @property
    def written_on(self) -> int:
        """The asset it is written on."""
        return self.asset

    @property
    def claim(self) -> Call | Put:
        """In units of the spot at its listing, as if it matured with the episode."""
        kind = Call if self.option == "call" else Put
        return kind(strike=self.moneyness, asset=self.asset)


class RolledOption(SpotStruckOption):
    """A listed option by moneyness and tenor: at its expiry the next one is listed.

    On each listing date the strike is ``moneyness`` times the spot. At expiry it is settled at its
    payoff and the next one must be bought, at cost. Evidence:
    tests/envs/test_instrument_quotes.py.
    """

    kind: Literal["rolled-option"] = "rolled-option"


class OnTheRunOption(SpotStruckOption):
    """A new option is listed at every decision date, and what was bought before is kept.

    Its strike is ``moneyness`` times the spot, its time to expiry ``tenor`` years. Only the newest
    is traded; a holding of it stays until it expires, or the episode ends. To the ledger each
    contract is an instrument of its own.
    Source: Cao, Chen, Farghadani, Hull, Poulos, Wang and Yuan, "Gamma and vega hedging using deep
    distributional reinforcement learning", 2023, section 4. Evidence:
    tests/envs/test_on_the_run.py.
    """

    kind: Literal["on-the-run-option"] = "on-the-run-option"

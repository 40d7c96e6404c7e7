"""A hedge instrument as a scenario lists it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from .constraints import Limits
from .costs import Cost
from .frictions import Impact, WideningSpread
from .instruments import DeltaOne, Instrument, Underlying
from .part import Part


class Hedge(Part):
    """A hedge instrument with what trading it costs and what limits it.

    ``borrow_fee`` is what being short costs, per year of its value; ``spread`` widens the costs on
    some days.
    """

    instrument: Instrument
    costs: Annotated[tuple[Cost, ...], Field(strict=False)] = ()
    limits: Limits = Limits()
    spread: WideningSpread | None = None
    impact: Impact | None = None
    borrow_fee: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _frictions_fit(self) -> Hedge:
        delta_one = isinstance(self.instrument, DeltaOne)
        if self.impact is not None and self.impact.permanent and not delta_one:
            raise ValueError(
                "impact: permanent is the move of an asset's price: give it to its underlying or "
                "future"
            )
        if self.spread is not None and self.spread.by_moneyness and delta_one:
            raise ValueError("spread: by_moneyness is for options: leave it out")
        if self.spread is not None and not self.costs:
            raise ValueError("spread: it widens costs, and there are none: give some")
        if self.borrow_fee and not isinstance(self.instrument, Underlying):
            raise ValueError("borrow_fee: only an underlying is borrowed to be short: leave it out")
        return self

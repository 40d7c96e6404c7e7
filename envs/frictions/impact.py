"""Price impact: what a trade does to the price, for good and for a while."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ..part import Part

DAYS_PER_YEAR = 365.0
NonNegative = Annotated[float, Field(ge=0)]


class Impact(Part):
    """What trading one unit does to an instrument's price, as fractions of it.

    - ``transient``, kappa: a trade u at displacement D is dealt at the mean price
      ``S (1 + D + kappa u / 2)``; after it D is ``D + kappa u`` and halves every ``half_life``
      days. Only what the hedger deals at moves, no mark. Half-life 0 is a `QuadraticCost` of rate
      kappa / 2. One date's cost may be negative, a round trip's never: the decay kernel is
      positive definite. Source: Obizhaeva and Wang, "Optimal trading strategy and supply/demand
      dynamics", 2013, eqs. 3 to 6; Gatheral, "No-dynamic-arbitrage and market impact", 2010,
      section 4.
    - ``permanent``, lambda: the asset's price becomes ``S e^{lambda u}`` and so do all later ones;
      marks and Greeks follow. The trade is dealt along the way, at
      ``S (e^{lambda u} - 1) / (lambda u)`` a unit, so that a round trip costs nothing. Source:
      Huberman and Stanzl, "Price manipulation and quasi-arbitrage", 2004: only a permanent impact
      that is linear (here in log price) allows no quasi-arbitrage.

    Temporary impact is a `QuadraticCost`. Evidence: tests/envs/test_impact.py.
    """

    transient: NonNegative = 0.0
    half_life: NonNegative = 1.0
    permanent: NonNegative = 0.0

    @model_validator(mode="after")
    def _something(self) -> Impact:
        if not (self.transient or self.permanent):
            raise ValueError("neither transient nor permanent: leave impact out")
        return self

    @property
    def half_life_years(self) -> float:
        """The half-life in years."""
        return self.half_life / DAYS_PER_YEAR

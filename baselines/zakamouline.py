"""The no-trade band fitted to the optimum."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ..envs.costs import ProportionalCost
from ..envs.hedger import Known
from ..envs.namespace import X
from ..envs.scenario import Scenario
from .baseline import Baseline, delta_one_only
from .rule_inputs import (
    aversion_of,
    aversions,
    charges,
    in_instrument,
    neutral_at,
    no_aversion,
    no_vanilla_book,
    proportional_rate,
    several_assets,
    time_left,
    to_edge,
)

LEAST_VOL = 1e-6  # per sqrt(year): keeps the band of a vol of 0 finite


class ZakamoulineHedge(Baseline):
    """Delta at another vol, sigma_hat, within H0 + H1; outside, trades to the nearest edge.

    H0 = lambda / (aversion S sigma^2 tau), H1 = 1.12 lambda^0.31 tau^0.05 (e^{-r tau} /
    sigma)^0.25 (|Gamma| / aversion)^0.5, sigma_hat^2 = sigma^2 (1 + K) for a long option and
    sigma^2 (1 - K) for a short one (no less than 0), K = -4.76 lambda^0.78 tau^-0.02 (e^{-r tau} /
    sigma)^0.25 (aversion S^2 |Gamma|)^0.15: so the vol is enlarged for what is short, as Leland's.
    Symbols and the aversion are as for whalley-wilmott, sigma is the quoted vol; a book is as long
    or short as its marked gamma is, and with it the formulas scale with the size as exponential
    utility does. The numbers are a fit to the optimal hedge of one option. Source: Zakamouline,
    "Optimal Hedging of Options with Transaction Costs", 2006. Evidence:
    tests/baselines/test_cost_hedges.py (hand-computed points, limits, risk on short-call). With K
    of the other sign the risk is higher for a year's option at aversion 1, long or short; for a
    month's at 0.1 that of the short call is a little lower, as a fit has its limits.
    """

    kind: Literal["zakamouline"] = "zakamouline"
    aversion: Annotated[float, Field(gt=0, description="the objective's, 1 / money")] | None = None

    @classmethod
    def variants(cls, scenario: Scenario) -> tuple[Baseline, ...]:
        """Shown where trades have a proportional cost: else it is delta."""
        return (cls(),) if charges(scenario, ProportionalCost) else ()

    def refusal(self, scenario: Scenario) -> str | None:
        """For one asset, and legs that are European options, with an aversion."""
        several = several_assets(scenario)
        return several or no_aversion(scenario, self.aversion) or no_vanilla_book(scenario)

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """The aversion."""
        return {"aversion": aversions(scenario)}

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = clip(h_{t-1}, -Delta_t(sigma_hat) - H, -Delta_t(sigma_hat) + H)``."""
        aversion = aversion_of(known, self.aversion)
        centre = neutral_at(known, zakamouline_vol(known, aversion))
        half = in_instrument(known, zakamouline_width(known, aversion))
        return delta_one_only(known, to_edge(known, centre, half)), None


def zakamouline_width(known: Known, aversion: float) -> X:
    """H0 + H1 ``[N]``, in units of the asset."""
    rate, tau, vol = proportional_rate(known), time_left(known), _vol(known)
    no_option = (rate / aversion) / (known.spot * vol * vol * tau)
    moves = (known.ops.abs(known.gamma) / aversion) ** 0.5
    return no_option + 1.12 * rate**0.31 * tau**0.05 * _calm(known) * moves


def zakamouline_vol(known: Known, aversion: float) -> X:
    """sigma_hat ``[N]``."""
    gamma, vol = known.gamma, _vol(known)
    short = 1.0 * (gamma < 0) - 1.0 * (gamma > 0)
    bend = (aversion * known.spot * known.spot * known.ops.abs(gamma)) ** 0.15
    k = 4.76 * proportional_rate(known) ** 0.78 * time_left(known) ** -0.02 * _calm(known) * bend
    return vol * known.ops.maximum(1.0 + short * k, 0.0) ** 0.5


def _calm(known: Known) -> X:
    """``(e^{-r tau} / sigma)^0.25``."""
    discount = known.ops.exp(-known.scenario.market.rate * time_left(known))
    return (discount / _vol(known)) ** 0.25


def _vol(known: Known) -> X:
    return known.ops.maximum(known.vol, LEAST_VOL)

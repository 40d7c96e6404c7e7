"""Black-Scholes delta corrected by what vol has been seen to do when the price moves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ..envs.constraints import Limits
from ..envs.episodes import simulate
from ..envs.frictions import Execution, Financing
from ..envs.hedger import Known
from ..envs.instruments import EuropeanOption
from ..envs.markets import GeometricBrownianMotion, RegimeSwitching
from ..envs.namespace import X
from ..envs.pricing import MarketVolMarking, ModelMarking
from ..envs.rollout import rollout
from ..envs.scenario import Hedge, Scenario
from ..envs.view import View
from .baseline import Baseline, delta_one_only
from .rule_inputs import (
    as_known,
    as_tensor,
    black_scholes_neutral,
    in_instrument,
    leg_greeks,
    no_vanilla_book,
    several_assets,
    soon,
)

Floats = NDArray[np.float64]
Three = tuple[float, float, float]

FIT_PATHS = 4096  # the variance left is a fraction 3 / FIT_PATHS above the least
FIT_SEED = 2017
FREE = 1e9  # units: no limit on a holding


class HullWhiteHedge(Baseline):
    """Delta + vega (a + b delta + c delta^2) / (S sqrt(tau)), for each leg, at every date.

    Delta and vega are Black-Scholes' at the quoted vol, however the position is marked, tau is the
    leg's time to maturity, and in the bracket delta is a call's (a put's plus e^{-q tau}): a
    quadratic is what the vol's expected move with the price looks like across strikes. a, b and c
    are given together; null fits them to the scenario's market (`fitted`). Where prices jump, as in
    Merton and Kou, the fit takes up the skew of the jumps although the quoted vol stands still.

    Source: Hull and White, "Optimal delta hedging for options", 2017, eq. 4 to 6. Evidence:
    tests/baselines/test_vol_hedges.py (std of a call under Heston beside minimum-variance; the
    regression of option prices day by day, which is theirs; coefficients found again).
    """

    kind: Literal["hull-white"] = "hull-white"
    a: float | None = None
    b: float | None = None
    c: Annotated[float | None, Field(validate_default=True)] = None

    @field_validator("c")
    @classmethod
    def _all_or_none(cls, c: float | None, info: ValidationInfo) -> float | None:
        absent = [x is None for x in (info.data.get("a"), info.data.get("b"), c)]
        if any(absent) and not all(absent):
            raise PydanticCustomError("three", "give a, b and c together, or none of them")
        return c

    def refusal(self, scenario: Scenario) -> str | None:
        """For one asset, European options and, to fit it, a model whose vol moves."""
        several = several_assets(scenario) or no_vanilla_book(scenario)
        return several or (_no_fit(scenario) if self.c is None else None)

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = -sum of quantity (delta + vega (a + b delta + c delta^2) / (S sqrt(tau)))``."""
        if self.a is None or self.b is None or self.c is None:
            a, b, c = fitted(known.scenario)
        else:
            a, b, c = self.a, self.b, self.c
        vol, extra = as_tensor(known.vol), torch.zeros(())
        for leg in known.scenario.position.legs:
            assert isinstance(leg.claim, EuropeanOption)
            greeks, tau = leg_greeks(known, leg, vol)
            dividend = known.scenario.market.dividends[0]
            put = 0.0 if leg.claim.sign > 0 else torch.exp(-dividend * tau)
            delta = greeks.delta + put
            per_move = greeks.vega / (as_tensor(known.spot) * tau.clamp(min=soon(known)).sqrt())
            extra = extra + leg.quantity * per_move * (a + b * delta + c * delta**2)
        centre = black_scholes_neutral(known, known.vol)
        return delta_one_only(known, centre - in_instrument(known, as_known(known, extra))), None


@lru_cache(maxsize=32)
def fitted(scenario: Scenario) -> Three:
    """The a, b, c that leave the least variance of the P&L, on paths of the market itself.

    Without costs the P&L is linear in them: they are the regression of the error of Black-Scholes
    delta, over the whole episode, on what each of the three terms gains. Hull and White regress
    the change of an option's quoted price day by day, which has the same limit and needs quoted
    prices; here what the option pays is enough (what outlives the episode is closed out at the
    quoted vol). The paths are `FIT_PATHS`, of a seed of their own.
    """
    marking = scenario.marking
    quoted = MarketVolMarking() if isinstance(marking, ModelMarking) else marking
    free = Limits(lower=-FREE, upper=FREE)
    hedges = tuple(Hedge(instrument=each, limits=free) for each in scenario.delta_ones)
    update = {"hedges": hedges, "marking": quoted, "loss_limit": None, "view": View()}
    at_will = {"execution": Execution(), "financing": Financing()}
    twin = scenario.model_copy(update=update | at_will)
    episodes = simulate(twin, FIT_PATHS, torch.Generator().manual_seed(FIT_SEED))

    def pnl(a: float, b: float, c: float) -> Floats:
        found: Floats = rollout(twin, episodes, HullWhiteHedge(a=a, b=b, c=c)).pnl
        return found

    error = pnl(0, 0, 0)
    terms = [pnl(1, 0, 0) - error, pnl(0, 1, 0) - error, pnl(0, 0, 1) - error]
    return least_variance(error, terms)


def least_variance(error: Floats, terms: Sequence[Floats]) -> Three:
    """The x that make the variance of ``error + x . terms`` least; arrays ``[N]``."""
    columns = np.stack([term - term.mean() for term in terms], axis=-1)
    a, b, c = np.linalg.lstsq(columns, error.mean() - error, rcond=None)[0]
    return float(a), float(b), float(c)


def _no_fit(scenario: Scenario) -> str | None:
    """Why nothing can be fitted, or nothing but delta."""
    market = scenario.market
    kind = getattr(market, "kind")  # noqa: B009 - declared by the kinds
    calm = isinstance(market, RegimeSwitching) and not any(r.intensity for r in market.regimes)
    if calm or isinstance(market, GeometricBrownianMotion):
        return f"in {kind} vol does not move with the price, so that it is delta: take delta"
    if not market.foresees:
        return (
            f"{kind} is data, and there is no model to fit it on: give a, b and c, as in "
            "a=-0.25,b=-0.1,c=0.1"
        )
    return None

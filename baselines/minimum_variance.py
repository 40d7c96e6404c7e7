"""The delta that leaves the least variance where volatility moves with the price."""

from __future__ import annotations

from typing import Any, Literal

from ..envs.hedger import Known
from ..envs.markets import (
    CorrelatedGBM,
    CorrelatedMerton,
    GeometricBrownianMotion,
    Kou,
    Merton,
    RegimeSwitching,
    Sabr,
)
from ..envs.markets.heston import SquareRootVariance
from ..envs.namespace import X
from ..envs.pricing import ModelMarking
from ..envs.scenario import Scenario
from .baseline import Baseline, delta_one_only

TINY = 1e-30  # keeps 0 / 0 out; float32 holds it

_UNRELATED = (  # price and volatility move independently, or volatility does not move
    *(GeometricBrownianMotion, Merton, Kou, RegimeSwitching),
    *(CorrelatedGBM, CorrelatedMerton),
)


class MinimumVarianceHedge(Baseline):
    """Delta plus vega times the vol's expected move with the price: h = -(Delta + Vega b / S).

    It leaves d(position + h S) the least variance: h = -d<V, S> / d<S, S>, jumps aside. Delta and
    Vega are the marking's, and b is the slope of the vol that Vega refers to in log S. Marked in
    the model, delta at a fixed state, b is exact:

    - Heston, Bates: rho vol_of_vol / (2 sqrt(v)), that is Delta + rho vol_of_vol dV/dv / S;
    - SABR: rho nu, that is Delta + rho nu F^-beta dV/dalpha in units of F (Bartlett).

    Marked by Black-Scholes at a vol s, b is the move of the vol at a fixed strike, to first order
    in the vol of vol and at the money; of the move of the vol at the money, the skew takes back
    half or so, because the strike's moneyness moves too:

    - Heston, Bates: rho vol_of_vol (1 - (1 + x) e^-x) / (2 s x^2), x = the pricing kappa times
      the years left in the episode;
    - SABR: (rho nu - (1 - beta) s) / 2.

    Where price and vol are not related (GBM, Merton, Kou, regime switching, correlated assets) it
    would be delta, and refuses. It is plain delta for a payoff of the user's own marked in Heston,
    Bates or SABR, which has no vega. The jumps of Bates are not hedged: that takes local risk
    minimisation.

    Source: Bakshi, Cao and Chen, "Empirical Performance of Alternative Option Pricing Models",
    1997; Alexander and Nogueira, "Model-free hedge ratios and scale-invariant models", 2007;
    Bartlett, "Hedging under SABR Model", 2006; the skew: Bergomi and Guyon, "Stochastic
    volatility's orderly smiles", 2012. Evidence: tests/baselines/test_greek_hedges.py (regression
    of model prices on the spot over a short step; std of a hedged call under Heston).
    """

    kind: Literal["minimum-variance"] = "minimum-variance"

    def refusal(self, scenario: Scenario) -> str | None:
        """For markets of which it is known how vol moves with the price."""
        market = scenario.market
        if isinstance(market, SquareRootVariance | Sabr):
            return None
        kind = getattr(market, "kind")  # noqa: B009 - declared by the kinds
        if isinstance(market, _UNRELATED):
            return f"in {kind} vol does not move with the price, so that it is delta: take delta"
        return (
            f"it does not know how the vol of {kind} moves with its price: take delta, or a market "
            "of heston, bates or sabr"
        )

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = -(Delta_t + Vega_t b_t / S_t)``, divided by a future's own delta."""
        shift = known.vega * _vol_slope(known) / (known.spot * known.hedge_delta[:, -1])
        return delta_one_only(known, known.neutral - shift[:, None]), None


def _vol_slope(known: Known) -> X:
    """The slope b of the vol in log S, ``[1 or N]``."""
    market = known.scenario.market
    modelled = isinstance(known.scenario.marking, ModelMarking)
    if isinstance(market, SquareRootVariance):
        return _of_the_state(market, known) if modelled else _of_the_smile(market, known)
    assert isinstance(market, Sabr)
    # Hagan's first order in log(strike / F): half the slope of the vol at the money.
    full = market.rho * market.nu
    return full if modelled else (full - (1 - market.beta) * known.vol) / 2


def _of_the_state(market: SquareRootVariance, known: Known) -> X:
    """Of sqrt(v), which is 0 or more; at 0 vega is 0 too."""
    root = known.latent("variance") ** 0.5
    return market.rho * market.vol_of_vol / 2 / known.ops.maximum(root, TINY)


def _of_the_smile(market: SquareRootVariance, known: Known) -> X:
    """Of the vol at a fixed strike.

    The variance-swap vol s moves by rho vol_of_vol (1 - e^-x) / (2 s x) with log S, and the skew
    at the money is rho vol_of_vol (x - 1 + e^-x) / (2 s x^2): the difference.
    """
    x = known.ops.maximum(market.pricing_variance()["kappa"] * known.time_left, 1e-4)
    weight = (1 - (1 + x) * known.ops.exp(-x)) / x**2
    return market.rho * market.vol_of_vol * weight / (2 * known.ops.maximum(known.vol, TINY))

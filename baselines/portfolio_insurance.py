"""Portfolio insurance: rules that keep what is owned above a floor by trading the asset."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..envs.hedger import Known
from ..envs.namespace import X
from ..envs.pricing import black_scholes
from ..envs.scenario import Scenario
from ..envs.shortfall import Shortfall
from .baseline import Baseline, delta_one_only
from .rule_inputs import (
    as_known,
    as_tensor,
    in_instrument,
    no_asset_held,
    several_assets,
    time_left,
)

NEWTON_STEPS = 30  # from below, on a convex function: each one is nearer


class PortfolioInsurance(Baseline):
    """Chooses how much of V, what is owned, is exposed to the asset, so that V_T >= F.

    V_t = V0 e^{rt} + P&L so far, V0 the scenario's capital. The position holds the asset, and the
    hedge sells or adds: the exposure is that of both, within the scenario's limits. The ``floor`` F
    is money at the end; null is the objective's, V0 e^{rT} less its threshold.
    """

    sees_pnl: ClassVar[bool] = True

    floor: Annotated[float, Field(gt=0)] | None = None

    def refusal(self, scenario: Scenario) -> str | None:
        """For a holding of one asset with capital behind it and a floor that cash would beat."""
        reason = several_assets(scenario) or no_asset_held(scenario)
        if reason is not None:
            return reason
        if scenario.capital is None:
            return "it asks what is owned: give the scenario a capital"
        if self.floor is None and not isinstance(scenario.objective, Shortfall):
            return (
                f"it needs a floor and the objective, {scenario.objective.label}, has none: give "
                "one, as in floor=80, or take the objective shortfall"
            )
        cash, loss = _cash_at_the_end(scenario), self._most_lost(scenario)
        if loss <= 0 or loss >= cash:
            return (
                f"its floor {cash - loss:.6g} is not between 0 and {cash:.6g}, to which the "
                "capital grows in cash: choose another"
            )
        return None

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """The floor."""
        if scenario.capital is None:
            return {}
        cash = _cash_at_the_end(scenario)
        return {"floor": (0.5 * cash, 0.99 * cash)}

    def _most_lost(self, scenario: Scenario) -> float:
        """V0 e^{rT} - F: the largest loss that is allowed, money at the end."""
        if self.floor is not None:
            return _cash_at_the_end(scenario) - self.floor
        assert isinstance(scenario.objective, Shortfall)
        return scenario.objective.threshold

    def cushion(self, known: Known) -> X:
        """``C = V - F e^{-r tau}``, ``[N]``: what may be lost before the floor is reached.

        As V - V0 e^{rt} is the P&L, C is the P&L plus the largest loss allowed, discounted.
        """
        rate = known.scenario.market.rate
        discount = known.ops.exp(-rate * time_left(known))
        return known.wealth + self._most_lost(known.scenario) * discount


class CppiHedge(PortfolioInsurance):
    """Constant proportion: the exposure is ``multiplier`` times the cushion, E = m C, never short.

    Traded continuously in geometric Brownian motion, V_T = F + C_0 exp((r + m (mu - r) - m^2
    sigma^2 / 2) T + m sigma W_T). A fall of more than 1 / m between two trades breaks the floor:
    the gap risk. Source: Black and Perold, "Theory of constant proportion portfolio insurance",
    1992; gaps: Cont and Tankov, "Constant proportion portfolio insurance in the presence of jumps
    in asset prices", 2009. Evidence: tests/baselines/test_portfolio_insurance.py.
    """

    kind: Literal["cppi"] = "cppi"
    multiplier: Annotated[float, Field(gt=0)] = 4.0

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """The multiplier."""
        return {"multiplier": (0.5, 50.0)}

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``E / S`` units of the asset in all, ``E = m max(C, 0)``."""
        exposure = self.multiplier * known.ops.maximum(self.cushion(known), 0.0)
        return _exposed(known, exposure / known.spot), None


class ObpiHedge(PortfolioInsurance):
    """Option based: lambda shares and as many puts of strike K, the puts replicated by trading.

    lambda = V0 / (S_0 e^{-qT} + P(K)) and lambda K = F, so that V_T = lambda max(S_T, K) >= F where
    the replication is exact. The put is Black-Scholes' at the vol quoted at the start; by parity
    the exposure is that of lambda calls, lambda S e^{-q tau} N(d1).
    Source: Leland and Rubinstein, "The evolution of portfolio insurance", 1988. Evidence:
    tests/baselines/test_portfolio_insurance.py.
    """

    sees_pnl: ClassVar[bool] = False

    kind: Literal["obpi"] = "obpi"

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``lambda e^{-q tau} N(d1)`` units in all; K, lambda and the vol stay as at the start."""
        if state is None:
            vol = known.vol + 0.0
            strike = self._strike(known, vol)
            capital = known.scenario.capital
            assert capital is not None
            state = strike, capital / _protected(known, strike, vol)[0], vol
        strike, shares, vol = state
        return _exposed(known, shares * _protected(known, strike, vol)[1]), state

    def _strike(self, known: Known, vol: X) -> X:
        """K of ``F (S e^{-qT} + P(K)) = V0 K``, by Newton's method from V0 K = F S e^{-qT}."""
        scenario = known.scenario
        capital, dividend = scenario.capital, scenario.market.dividends[0]
        assert capital is not None
        floor = _cash_at_the_end(scenario) - self._most_lost(scenario)
        left = time_left(known)
        strike = floor / capital * known.spot * known.ops.exp(-dividend * left)
        for _ in range(NEWTON_STEPS):
            worth, _, in_strike = _protected(known, strike, vol)
            strike = strike - (floor * worth - capital * strike) / (floor * in_strike - capital)
        return strike


class StopLossHedge(PortfolioInsurance):
    """Keeps the whole holding until V has fallen to the discounted floor, then sells it for good.

    Once it is sold, V and the discounted floor grow alike, so that the cushion stays used up.
    Source: the stop-loss start-gain strategy without the start; Carr and Jarrow, "The stop-loss
    start-gain paradox and option valuation", 1990. Evidence:
    tests/baselines/test_portfolio_insurance.py.
    """

    kind: Literal["stop-loss"] = "stop-loss"

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h = 0`` while ``C > 0``, else the holding that leaves no delta."""
        out = self.cushion(known) <= 0.0
        sold = delta_one_only(known, known.neutral)
        return known.ops.where(out[:, None], sold, 0.0 * sold), None


def _cash_at_the_end(scenario: Scenario) -> float:
    """``V0 e^{rT}``."""
    assert scenario.capital is not None
    return scenario.capital * math.exp(scenario.market.rate * scenario.calendar.horizon)


def _exposed(known: Known, units: X) -> X:
    """Holdings ``[N, K]`` with which position and hedge together are exposed to ``units``."""
    return delta_one_only(known, known.neutral + in_instrument(known, units))


def _protected(known: Known, strike: X, vol: X) -> tuple[X, X, X]:
    """A share and a put: what they are worth, ``e^{-q tau} N(d1)``, and the slope in K."""
    market, strikes = known.scenario.market, as_tensor(strike)
    log_spot = as_tensor(known.history("log_spot")[-1])
    tau = as_tensor(time_left(known)).to(log_spot.dtype)
    call = black_scholes(
        log_spot,
        strikes,
        tau,
        as_tensor(vol),
        sign=1,
        rate=market.rate,
        dividend=market.dividends[0],
    )
    bond = (-market.rate * tau).exp()
    # The call is homogeneous in spot and strike: its slope in K is (C - S dC/dS) / K.
    slope = bond + (call.price - log_spot.exp() * call.delta) / strikes
    worth = strikes * bond + call.price
    return as_known(known, worth), as_known(known, call.delta), as_known(known, slope)

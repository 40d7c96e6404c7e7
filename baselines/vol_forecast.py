"""Delta at a vol that is forecast from the path's own past."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ..envs.hedger import Known
from ..envs.markets import Garch
from ..envs.namespace import X
from ..envs.pricing import ModelMarking
from ..envs.scenario import Scenario
from .baseline import Baseline, delta_one_only
from .rule_inputs import as_known, as_tensor, black_scholes_neutral, no_vanilla_book, several_assets

TRADING_DAYS = 252.0  # in a year
ALPHA, BETA = 0.08, 0.90  # of a stock index, day by day


class VolForecastHedge(Baseline):
    """Black-Scholes delta at every date, at a vol forecast from the log-returns r so far.

    A variance per year v follows them: over a step of m trading days (252 a year), dt years long,

        v <- beta^m v + (phi^m - beta^m) r^2 / dt + (1 - phi^m) V,     v = V = quoted vol^2 at 0.

    - ``ewma``: beta = ``decay``, phi = 1 (RiskMetrics), and v is the forecast;
    - ``garch``: phi = ``alpha`` + ``beta``, GARCH(1,1) with V its long-run variance; over n days
      to the end of the episode the forecast is V + (v - V) (1 - phi^n) / (n (1 - phi)). Null takes
      the numbers of a `garch` market (its asymmetry averaged, its steps for days), else 0.08 and
      0.90;
    - ``implied``: the quoted vol, for positions that the market's model marks: elsewhere it is
      delta.

    Source: J.P. Morgan and Reuters, "RiskMetrics - Technical Document", 1996, 5.2; Bollerslev,
    "Generalized Autoregressive Conditional Heteroskedasticity", 1986; the forecast of its mean:
    Hull, "Options, Futures, and Other Derivatives", 2021, chapter 23. For other steps than a day
    the weights are those powers, a choice. Evidence: tests/baselines/test_vol_hedges.py (by hand;
    its law where vol is constant; the variance of a GARCH market found again).
    """

    kind: Literal["vol-forecast"] = "vol-forecast"
    by: Literal["ewma", "garch", "implied"] = "ewma"
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.94
    alpha: Annotated[float, Field(ge=0, lt=1)] | None = None
    beta: Annotated[float, Field(ge=0, lt=1)] | None = None

    def refusal(self, scenario: Scenario) -> str | None:
        """For one asset and European options; where it is not delta, or without a long run."""
        several = several_assets(scenario) or no_vanilla_book(scenario)
        if several is not None:
            return several
        if self.by == "implied" and not isinstance(scenario.marking, ModelMarking):
            return "marks are at the quoted vol, so that by=implied is delta: take delta"
        phi = self._memory(scenario)[1]
        if self.by == "garch" and phi >= 1:
            return f"alpha + beta is {phi:g}, and variance has no long run: lower one of them"
        return None

    def holdings(self, known: Known, state: X | None) -> tuple[X, Any]:
        """``h_t = -Delta_t(forecast)``; the state is v, ``[1 or N]``, and V."""
        if self.by == "implied":
            return delta_one_only(known, black_scholes_neutral(known, known.vol)), None
        beta, phi, day = self._memory(known.scenario)
        long_run = known.vol**2 if state is None else state[1]
        variance = long_run if state is None else state[0]
        if known.t:
            variance = _after(known, variance, long_run, beta, phi, day)
        mean = _to_the_end(known, variance, long_run, phi, day)
        held = delta_one_only(known, black_scholes_neutral(known, mean**0.5))
        return held, (variance, long_run)

    def _memory(self, scenario: Scenario) -> tuple[float, float, float]:
        """beta, phi and the years of a trading day."""
        market, day = scenario.market, 1 / TRADING_DAYS
        if self.by == "ewma":
            return self.decay, 1.0, day
        alpha, beta = ALPHA, BETA
        if isinstance(market, Garch):
            alpha, beta = market.persistence - market.beta, market.beta
            day = scenario.calendar.horizon / scenario.calendar.steps
        alpha = alpha if self.alpha is None else self.alpha
        beta = beta if self.beta is None else self.beta
        return beta, alpha + beta, day


def _after(known: Known, variance: X, long_run: X, beta: float, phi: float, day: float) -> X:
    """The variance after the last return, ``[N]``."""
    log_spot = as_tensor(known.history("log_spot")[-2:])
    dates = as_tensor(known.history("times")[-2:])
    dt = (dates[1] - dates[0]).to(log_spot.dtype)
    days = dt / day
    kept, remembered = beta**days, phi**days
    news = (log_spot[1] - log_spot[0]) ** 2 / dt
    moved = as_known(known, (remembered - kept) * news)
    return as_known(known, kept) * variance + moved + as_known(known, 1 - remembered) * long_run


def _to_the_end(known: Known, variance: X, long_run: X, phi: float, day: float) -> X:
    """The mean variance to expect from now to the end of the episode, ``[1 or N]``."""
    if phi == 1:
        return variance
    left = as_tensor(known.time_left).to(as_tensor(known.spot).dtype)
    days = (left / day).clamp(min=1)
    weight = as_known(known, (1 - phi**days) / (days * (1 - phi)))
    return long_run + (variance - long_run) * weight

"""Rules for a company under offer: size by Kelly, a put for protection, the acquirer short."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from scipy import special

from ..envs.hedger import Known, stack
from ..envs.instruments import ListedOption, PrepaidForward, Put
from ..envs.markets import Deal
from ..envs.namespace import X
from ..envs.scenario import Scenario
from .baseline import Baseline, delta_one_only
from .rule_inputs import as_known, as_tensor

SURE = 1e-6  # a chance below it is none: what is left of the spread is below rounding

Share = Annotated[float, Field(gt=0)]


class KellySize(Baseline):
    """Holds what makes wealth grow fastest, given a probability of its own that the deal closes.

        n = fraction W [p / (S - D) - (1 - p) / (B - S)]

    with W the capital and the P&L so far, B and D what the offer and the fallback are worth today,
    S the price and n the shares of position and hedge together: 0 where p is what S implies.
    ``probability`` is the own one at time 0, by default the market's real-world one; later p is
    the implied one with the drift of X that explains the difference at time 0. Once the deal is
    decided it holds nothing. Source: Kelly, "A New Interpretation of Information Rate", 1956, and
    for a bet that loses a part of the stake Thorp, "The Kelly Criterion in Blackjack, Sports
    Betting, and the Stock Market", 2006. Evidence: tests/baselines/test_merger.py.
    """

    kind: Literal["kelly"] = "kelly"
    probability: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="the market's own"
    )
    fraction: Share = 1.0

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """The fraction."""
        return {"fraction": (0.05, 2.0)}

    def refusal(self, scenario: Scenario) -> str | None:
        """For a deal with capital behind it, and the target to trade."""
        if not isinstance(scenario.market, Deal):
            return "it sizes a bet on a deal: take a market of kind deal"
        if scenario.capital is None:
            return "it sizes by what is owned: set capital"
        if scenario.delta_ones[0].asset:
            return "the target, asset 0, is not the first underlying: list it so"
        return None

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h = n`` less the shares of the position."""
        scenario, spot = known.scenario, as_tensor(known.spot)
        market, capital = scenario.market, scenario.capital
        assert isinstance(market, Deal) and capital is not None
        q, offer, fallback = (
            as_tensor(known.latent(name)) for name in ("probability", "offer", "fallback")
        )
        years = as_tensor(known.time).to(spot.dtype)
        grown = torch.exp(market.rate * years)
        gain, loss = offer * grown - spot, spot - fallback * grown
        p = self._own(market, q, (market.closing - years).clamp(min=0))
        wealth = (as_tensor(known.wealth) + capital).clamp(min=0)
        undecided = (q > SURE) & (q < 1 - SURE) & (gain > 0) & (loss > 0)
        units = p / loss.clamp(min=SURE * SURE) - (1 - p) / gain.clamp(min=SURE * SURE)
        units = torch.where(undecided, units, 0.0)
        held = -as_tensor(known.delta) + self.fraction * wealth * units
        columns = 0.0 * known.neutral
        columns[:, 0] = as_known(known, held)
        return delta_one_only(known, columns), None

    def _own(self, market: Deal, q: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
        """The own probability where the implied one is ``q``, with ``left`` years to go."""
        drift = market.premium
        if self.probability is not None:
            survives = math.exp(-market.hazard * market.closing)
            own, implied = (
                float(special.ndtri(min(p / survives, 1 - 1e-12)))
                for p in (self.probability, market.implied_probability)
            )
            drift = (own - implied) / math.sqrt(market.closing)
        alive = torch.exp(-market.hazard * left)
        x = torch.special.ndtri((q / alive).clamp(SURE * SURE, 1 - SURE))
        reached: torch.Tensor = torch.special.ndtr(x + drift * left.sqrt())
        return alive * reached


class ProtectivePut(Baseline):
    """Buys ``cover`` of the first listed put for each share of the position, and keeps them.

    Source: Hull, "Options, Futures, and Other Derivatives", 2021, section 12.2. Evidence:
    tests/baselines/test_merger.py (the loss given a break, to the cent).
    """

    kind: Literal["protective-put"] = "protective-put"
    cover: Share = 1.0

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """The cover."""
        return {"cover": (0.02, 1.5)}

    def refusal(self, scenario: Scenario) -> str | None:
        """For shares held long, and a listed put on them."""
        if _shares(scenario) <= 0:
            return "the position holds no shares that a put would protect: take static-options"
        if _first_put(scenario) is None:
            return "no put on asset 0 is listed: list one in hedges"
        return None

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``cover`` times the shares of the put, and nothing else."""
        bought = _first_put(known.scenario)
        nothing = 0.0 * known.spot
        units = self.cover * _shares(known.scenario)
        count = known.contract.instruments
        return stack(tuple(nothing + units * (k == bought) for k in range(count))), None


class ExchangeRatioHedge(Baseline):
    """Shorts the acquirer's shares that the position would get at closing, until a deal breaks.

    ``h = -ratio`` for each share of the target, which fixes the spread at the closing. Source:
    Mitchell and Pulvino, "Characteristics of Risk and Return in Risk Arbitrage", 2001, section 1.
    Evidence: tests/baselines/test_merger.py (a deal that closes pays its spread, to the cent).
    """

    kind: Literal["exchange-ratio"] = "exchange-ratio"

    def refusal(self, scenario: Scenario) -> str | None:
        """For a deal that is paid in shares that may be traded."""
        market = scenario.market
        if not (isinstance(market, Deal) and market.ratio):
            return "nothing is paid in shares: take a market of kind deal with a ratio"
        if all(instrument.asset != 1 for instrument in scenario.delta_ones):
            return "the acquirer, asset 1, cannot be traded: list its underlying in hedges"
        return None

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``-ratio Delta`` shares of the acquirer, none once the deal has broken."""
        market = known.scenario.market
        assert isinstance(market, Deal)
        lives = 1.0 * (known.latent("probability") > 0)
        short = -market.ratio * known.delta * lives
        columns = [short * (one.asset == 1) for one in known.scenario.delta_ones]
        return delta_one_only(known, stack(tuple(columns))), None


def _shares(scenario: Scenario) -> float:
    """Of asset 0 in a position of nothing else, 0 for any other position."""
    legs = scenario.position.legs
    if any(not isinstance(leg.claim, PrepaidForward) or leg.claim.asset for leg in legs):
        return 0.0
    return sum(leg.quantity for leg in legs)


def _first_put(scenario: Scenario) -> int | None:
    for k, hedge in enumerate(scenario.hedges):
        instrument = hedge.instrument
        if isinstance(instrument, ListedOption) and isinstance(instrument.option, Put):
            if not instrument.option.asset:
                return k
    return None

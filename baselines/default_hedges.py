"""Stock hedges of a convertible bond whose issuer may default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ..envs.hedger import Known
from ..envs.instruments import ConvertibleBond
from ..envs.markets import Defaultable
from ..envs.namespace import X
from ..envs.scenario import Scenario
from .baseline import Baseline, delta_one_only
from .rule_inputs import as_known, as_tensor, in_instrument


class OverHedge(Baseline):
    """Shorts ``over`` times delta: what is lost on the bond at a default is made on the stock.

    At a default the delta-neutral holder of a convertible bond earns max(R F, k (1 - eta) S) - V +
    Delta eta S, which is below 0 for a bond with little recovery.
    Source: Calamos, "Convertible Arbitrage", 2003, chapter 4 (bearish hedges). Evidence:
    tests/baselines/test_default_hedges.py.
    """

    kind: Literal["over-hedge"] = "over-hedge"
    over: Annotated[float, Field(gt=0)] = 1.25

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """How many deltas."""
        return {"over": (0.5, 3.0)}

    def refusal(self, scenario: Scenario) -> str | None:
        """Where an issuer may default."""
        return _nothing_defaults(scenario)

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h = -over Delta``."""
        return delta_one_only(known, self.over * known.neutral), None


class JumpToDefaultHedge(Baseline):
    """Between the delta of small moves and the slope of a default, each by its part in variance.

        h = -[sigma^2 S Delta + h_t eta (V - V_def)] / [S (sigma^2 + h_t eta^2)]

    with h_t the hazard, eta the drop, V_def what the bonds pay at a default now: of all holdings
    the one with the least variance over the next instant, `LocalRiskHedge` for a default. The
    hazard is the real one. Source: Foellmer and Schweizer, "Hedging of contingent claims under
    incomplete information", 1991, for the weights; Bielecki, Jeanblanc and Rutkowski, "Hedging of
    Credit Derivatives in Models with Totally Unexpected Default", 2006, for the two risks.
    Evidence: tests/baselines/test_default_hedges.py (least variance of a short step).
    """

    kind: Literal["jump-to-default"] = "jump-to-default"

    def refusal(self, scenario: Scenario) -> str | None:
        """For convertible bonds whose issuer may default."""
        for i, leg in enumerate(scenario.position.legs):
            if not isinstance(leg.claim, ConvertibleBond):
                return (
                    f"position.legs.{i}: what a {type(leg.claim).__name__} is worth after a "
                    "default it does not know: keep convertible bonds, or take over-hedge"
                )
        return _nothing_defaults(scenario)

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """As above; 0 once the issuer has defaulted."""
        market = known.scenario.market
        assert isinstance(market, Defaultable)
        spot, delta = as_tensor(known.spot), as_tensor(known.delta)
        hazard, mark = (
            as_tensor(known.latent("hazard")),
            as_tensor(known.history("mark")[-1]),
        )
        after = 0.0 * spot
        for leg in known.scenario.position.legs:
            assert isinstance(leg.claim, ConvertibleBond)
            after = after + leg.quantity * leg.claim.at_default((1 - market.drop) * spot)
        small = market.sigma**2 * delta
        sudden = hazard * market.drop * (mark - after) / spot
        # A default ends the bond: delta and hazard are 0 after it.
        total = market.sigma**2 + hazard * market.drop**2
        units = -(small + sudden) / total.clamp(min=1e-30)
        return delta_one_only(known, in_instrument(known, as_known(known, units))), None


def _nothing_defaults(scenario: Scenario) -> str | None:
    market = scenario.market
    if isinstance(market, Defaultable) and market.hazard and market.drop:
        return None
    return "no default moves the stock of this market: take delta, or a market of kind defaultable"

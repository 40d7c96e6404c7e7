"""The delta that a desk under SABR calls delta."""

from __future__ import annotations

from typing import Any

import torch

from ...baselines.baseline import delta_one_only
from ...baselines.rule_inputs import as_known, as_tensor, leg_greeks, time_left
from ...envs.hedger import Known
from ...envs.instruments import EuropeanOption
from ...envs.markets import Sabr
from ...envs.namespace import X
from ...envs.pricing.sabr import hagan_vol


class PractitionerDelta:
    """Black-Scholes delta at the implied vol of each leg's own strike, Hagan's of SABR.

    Source: Cao, Chen, Hull, Poulos, "Deep Hedging of Derivatives Using Reinforcement Learning",
    2021, section 5 ("practitioner delta"). Evidence: tests/experiments/test_reproductions.py
    (against finite differences of Black's formula; the published row).
    """

    name = "practitioner-delta"

    def start(self, n: int) -> None:
        """No memory."""

    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = -sum of quantity N(d1)`` at each leg's vol; legs end with the episode.

        Raises:
            ValueError: on another market, for other claims.
        """
        market = known.scenario.market
        if not isinstance(market, Sabr):
            raise ValueError(f"hedger {self.name!r}: it is for a market of kind sabr: take delta")
        forward = as_tensor(known.history("log_spot")[-1])
        alpha, left = as_tensor(known.latent("alpha")), as_tensor(time_left(known))
        total = torch.zeros_like(forward)
        for leg in known.scenario.position.legs:
            if not isinstance(leg.claim, EuropeanOption):
                raise ValueError(f"hedger {self.name!r}: it is for calls and puts: take delta")
            log_strike = torch.log(torch.full_like(forward, leg.claim.strike))
            vol = hagan_vol(
                forward, log_strike, alpha, left, beta=market.beta, rho=market.rho, nu=market.nu
            )
            total = total + leg.quantity * leg_greeks(known, leg, vol)[0].delta
        units = as_known(known, -total)
        return delta_one_only(known, units[:, None]), state

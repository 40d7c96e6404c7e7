"""Compares every claim's mark at time 0 with Monte Carlo on 1,000,000 paths of its own dates.

``python docs/claim_checks.py`` writes ``docs/results/claims.json``. Exact marks lie within the
sample's error; approximations (a discretely watched barrier or extreme, an arithmetic mean, a
basket, exercise at any time) show what they are off.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from deephedge.envs.instruments import (
    AmericanPut,
    AsianCall,
    AsianPut,
    BarrierCall,
    BarrierPut,
    BasketCall,
    BasketPut,
    Call,
    Claim,
    DigitalCall,
    DigitalPut,
    Exchange,
    FloatingLookbackCall,
    FloatingLookbackPut,
    ForwardStartCall,
    ForwardStartPut,
    LookbackCall,
    LookbackPut,
    PathClaim,
    Put,
    VarianceSwap,
)
from deephedge.envs.markets import Asset, CorrelatedGBM, GeometricBrownianMotion, Market
from deephedge.envs.pricing import ConstantVolMarking, ModelMarking
from deephedge.envs.pricing.monte_carlo import Estimate, monte_carlo_price

RESULTS = Path(__file__).resolve().parent / "results" / "claims.json"
PATHS, STEPS, STRIKES = 1_000_000, 50, (90.0, 100.0, 110.0)
RATES = {"drift": 0.05, "rate": 0.03, "dividend": 0.01}
ONE = GeometricBrownianMotion(sigma=0.2, **RATES)
THREE = CorrelatedGBM(
    sigma=0.2, others=(Asset(sigma=0.3), Asset(sigma=0.15)), correlation=0.4, **RATES
)
TIMES = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)[:, None]


def families() -> dict[str, dict[str, Claim]]:
    """The claims of each page of docs/claims."""
    struck: dict[str, dict[str, Callable[[float], Claim]]] = {
        "vanilla-and-digital": {
            "call": lambda k: Call(strike=k),
            "put": lambda k: Put(strike=k),
            "digital call": lambda k: DigitalCall(strike=k, cash=20.0),
            "digital put": lambda k: DigitalPut(strike=k, cash=20.0),
        },
        "asian": {
            "arithmetic call": lambda k: AsianCall(strike=k),
            "arithmetic put": lambda k: AsianPut(strike=k),
            "geometric call": lambda k: AsianCall(strike=k, average="geometric"),
        },
        "barrier": {
            "up-and-out call at 130": lambda k: _barrier(BarrierCall, k, 130.0, "up", "out"),
            "down-and-out call at 85": lambda k: _barrier(BarrierCall, k, 85.0, "down", "out"),
            "down-and-in put at 85": lambda k: _barrier(BarrierPut, k, 85.0, "down", "in"),
        },
        "lookback": {
            "fixed call": lambda k: LookbackCall(strike=k),
            "fixed put": lambda k: LookbackPut(strike=k),
        },
        "forward-start-and-variance": {
            "call of half a year": lambda k: ForwardStartCall(start=0.5, moneyness=k / 100),
            "put of half a year": lambda k: ForwardStartPut(start=0.5, moneyness=k / 100),
        },
        "american": {"American put": lambda k: AmericanPut(strike=k)},
        "several-assets": {
            "basket call": lambda k: BasketCall(weights=(0.4, 0.3, 0.3), strike=k),
            "basket put": lambda k: BasketPut(weights=(0.4, 0.3, 0.3), strike=k),
        },
        "any-payoff": {"call, by regression": _by_hand},
    }
    found = {
        page: {f"{name}, {k:g}": make(k) for name, make in kinds.items() for k in STRIKES}
        for page, kinds in struck.items()
    }
    found["lookback"] |= {
        "floating call": FloatingLookbackCall(),
        "floating put": FloatingLookbackPut(),
    }
    found["forward-start-and-variance"]["variance swap"] = VarianceSwap(
        strike_vol=0.18, notional=1000.0
    )
    found["several-assets"]["exchange 0 for 1"] = Exchange(asset=0, other=1)
    found["several-assets"]["exchange 2 for 0"] = Exchange(asset=2, other=0)
    return found


def _barrier(kind: Any, strike: float, barrier: float, direction: str, knock: str) -> Claim:
    claim: Claim = kind(strike=strike, barrier=barrier, direction=direction, knock=knock)
    return claim


def _by_hand(strike: float) -> Claim:
    return PathClaim(function=lambda path: (path.spot[-1] - strike).clamp(min=0))


def sampled(claim: Claim, market: Market) -> Estimate:
    """The price by simulation; an American put stopped by its own rule."""
    generator = torch.Generator().manual_seed(7)
    if not isinstance(claim, AmericanPut):
        return monte_carlo_price(claim, market, TIMES, generator, PATHS)
    total = square = 0.0
    for _ in range(PATHS // 50_000):
        paths = market.risk_neutral().simulate(TIMES, 50_000, generator)
        taken = ModelMarking().exercises(claim, TIMES[-1], market, paths)
        taken[0] = False
        first = taken.to(torch.uint8).argmax(dim=0)
        spot = paths.spot.gather(0, first[None])[0]
        paid = claim.exercise_value(spot) * torch.exp(-market.rate * TIMES[first, 0])
        paid = paid * taken.any(dim=0)
        total, square = total + float(paid.sum()), square + float((paid**2).sum())
    mean = total / PATHS
    return Estimate(mean, math.sqrt((square / PATHS - mean**2) / PATHS), PATHS, 1.0)


def marked(claim: Claim, market: Market) -> float:
    """The mark at time 0."""
    paths = market.risk_neutral().simulate(TIMES, 1, torch.Generator().manual_seed(1))
    marking = ConstantVolMarking(vol=0.2) if market is ONE else ModelMarking()
    return float(marking.value(claim, TIMES[-1], market, paths).price[0, 0])


def main() -> None:
    """Check all claims."""
    checks: dict[str, dict[str, Any]] = {}
    for page, claims in families().items():
        checks[page] = {}
        for name, claim in claims.items():
            market = THREE if page == "several-assets" else ONE
            estimate = sampled(claim, market)
            mark = marked(claim, market)
            checks[page][name] = {"mark": mark, "mean": estimate.price, "error": estimate.error}
    document = {
        "command": "python docs/claim_checks.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "paths": PATHS,
        "dates": STEPS,
        "checks": checks,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How the optimum falls with the cost: ``python docs/cost_scaling.py``, some minutes.

Writes ``docs/results/cost-scaling.json``: half the width of the no-trade band at the money at
mid-life and what costs add to the price, for 30, 120 and 480 dates, beside the continuous limits of
Whalley and Wilmott (1997) and of Kallsen and Muhle-Karbe, "Option pricing and hedging with small
transaction costs", 2015; and how far Whalley and Wilmott's hedge is above the optimum.
"""

from __future__ import annotations

import json
import math
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from deephedge import load_scenario
from deephedge.baselines import OptimalHedge, WhalleyWilmottHedge, solve
from deephedge.baselines.optimum.bands import BandOptimum
from deephedge.envs import Scenario, rollout, simulate

RESULTS = Path(__file__).resolve().parent / "results" / "cost-scaling.json"
DATES = (30, 120, 480)
BASIS_POINTS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
PATHS, BLOCK = 200_000, 10_000
SPOT, SIGMA, YEARS, AVERSION = 100.0, 0.2, 30 / 365, 0.1


def scenario_of(dates: int, basis_points: float) -> Scenario:
    """``short-call`` at other dates and costs."""
    costs = f"[{{kind: proportional, rate: {basis_points / 1e4}}}]"
    return load_scenario("short-call", {"calendar.steps": str(dates), "hedges.0.costs": costs})


def band_limit(rate: float, years_left: float) -> float:
    """Whalley and Wilmott's half-width at the money."""
    return (1.5 * rate * SPOT * gamma(SPOT, years_left) ** 2 / AVERSION) ** (1 / 3)


def gamma(spot: Any, years_left: float) -> Any:
    """Black-Scholes gamma of the call struck at 100."""
    spread = SIGMA * math.sqrt(years_left)
    d1 = (np.log(spot / SPOT) + spread**2 / 2) / spread
    return stats.norm.pdf(d1) / (spot * spread)


def price_limit(rate: float) -> float:
    """What small costs add to the price: half the aversion times E[integral of H^2 d<S>].

    H grows as the expiry nears, at the money, as (T - t)^{-1/3}: substituting u^3 = T - t leaves a
    smooth integrand.
    """
    z, weight = np.polynomial.hermite_e.hermegauss(201)
    weight = weight / weight.sum()
    root, by_root = np.polynomial.legendre.leggauss(200)
    top = YEARS ** (1 / 3)
    total = 0.0
    for u, w in zip((root + 1) * top / 2, by_root * top / 2, strict=True):
        left = u**3
        passed = YEARS - left
        spot = SPOT * np.exp(SIGMA * math.sqrt(passed) * z - SIGMA**2 * passed / 2)
        half = (1.5 * rate * spot * gamma(spot, left) ** 2 / AVERSION) ** (1 / 3)
        total += w * 3 * u**2 * float((weight * half**2 * SIGMA**2 * spot**2).sum())
    return AVERSION / 2 * total


def optimum_of(dates: int, basis_points: float) -> BandOptimum:
    """The optimum, which is a band under linear costs."""
    optimum = solve(scenario_of(dates, basis_points))
    assert isinstance(optimum, BandOptimum)
    return optimum


def row(dates: int, basis_points: float) -> dict[str, Any]:
    """Band and price at a cost beside their limits.

    The price is that of the deal without its first trade, from nothing to the band's lower edge,
    whose cost is no small one: it is of the first order in the rate.
    """
    rate, free = basis_points / 1e4, optimum_of(dates, 0)
    optimum = optimum_of(dates, basis_points)
    middle, at = dates // 2, math.log(SPOT)
    lower, upper = (
        np.interp(at, optimum.log_spot[middle], edge[middle])
        for edge in (optimum.lower, optimum.upper)
    )
    first = np.interp(at, optimum.log_spot[0], optimum.lower[0])
    return {
        "dates": dates,
        "basis_points": basis_points,
        "half_width": (upper - lower) / 2,
        "half_width_limit": band_limit(rate, YEARS * (1 - middle / dates)),
        "premium": optimum.price - free.price - rate * SPOT * first,
        "premium_limit": price_limit(rate),
        "error": optimum.error + free.error,
    }


def whalley_wilmott(dates: int, basis_points: float) -> dict[str, Any]:
    """The rule's risk less the optimum's, paired, as a share of what costs add to the optimum's."""
    scenario = scenario_of(dates, basis_points)
    generator, objective = torch.Generator().manual_seed(7), scenario.objective
    pair: list[list[Any]] = [[], []]
    for _ in range(PATHS // BLOCK):
        episodes = simulate(scenario, BLOCK, generator)
        for hedger, parts in zip((WhalleyWilmottHedge(), OptimalHedge()), pair, strict=True):
            parts.append(-np.asarray(rollout(scenario, episodes, hedger).pnl))
    rule, best = (np.concatenate(parts) for parts in pair)
    above = objective.risk(rule) - objective.risk(best)
    error = (objective.influence(rule) - objective.influence(best)).std() / math.sqrt(PATHS)
    added = optimum_of(dates, basis_points).value - optimum_of(dates, 0).value
    return {
        "dates": dates,
        "basis_points": basis_points,
        "above": above,
        "standard_error": error,
        "cost_of_the_optimum": added,
        "share": above / added,
    }


def slopes(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Log-log slopes in the cost, from one cost to the next."""
    return [
        {
            "from": a["basis_points"],
            "to": b["basis_points"],
            "slope": math.log(b[key] / a[key]) / math.log(b["basis_points"] / a["basis_points"]),
        }
        for a, b in pairwise(rows)
    ]


def main() -> None:
    """Measure every number of dates at every cost."""
    torch.set_num_threads(1)
    cases = []
    for dates in DATES:
        rows = [row(dates, basis_points) for basis_points in BASIS_POINTS]
        cases.append(
            {
                "dates": dates,
                "rows": rows,
                "width_slopes": slopes(rows, "half_width"),
                "premium_slopes": slopes(rows, "premium"),
            }
        )
    document = {
        "command": "python docs/cost_scaling.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "paths": PATHS,
        "cases": cases,
        "whalley_wilmott": [whalley_wilmott(480, bp) for bp in (1.0, 5.0, 20.0, 50.0)],
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Checks every market against what its model implies, at 1,000,000 paths and three step sizes.

``python docs/market_checks.py`` writes ``docs/results/markets.json``: for every market, step size
and quantity the value expected, the sample's mean, its standard error and how many of these lie
between. What is expected is in `market_laws`. With names of markets only these are checked, and
printed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from market_laws import (
    BLOCK,
    YEARS,
    Case,
    Expected,
    bootstrap,
    deal,
    defaultable,
    garch,
    implied,
    jump_diffusion,
    lognormal_sabr,
    regimes,
    rough,
    several,
    square_root,
)

from deephedge.envs.markets import (
    Asset,
    Bates,
    Bootstrap,
    CorrelatedGBM,
    CorrelatedMerton,
    Deal,
    Defaultable,
    Garch,
    GeometricBrownianMotion,
    Heston,
    JumpingAsset,
    Kou,
    Market,
    MarketPaths,
    Merton,
    Regime,
    RegimeSwitching,
    RoughBergomi,
    Sabr,
    StochasticImpliedVol,
)

RESULTS = Path(__file__).resolve().parent / "results" / "markets.json"
PATHS, STEPS = 1_000_000, (3, 13, 63)
MONEYNESS, MATURITIES = (0.8, 0.9, 1.0, 1.1, 1.2), (1 / 12, 1 / 4, 1.0)


def cases() -> dict[str, Case]:
    """Every market by a name."""
    m, d, p, up, down = -0.1, 0.12, 0.4, 10.0, 5.0
    rates = {"drift": 0.05, "rate": 0.03, "dividend": 0.01}
    merton = Merton(sigma=0.15, intensity=1.2, jump_mean=m, jump_std=d, **rates)
    kou = Kou(sigma=0.16, intensity=1.0, up_probability=p, up_rate=up, down_rate=down, **rates)
    crisis = Regime(sigma=0.3, intensity=2.0, jump_mean=-0.05, jump_std=0.05)
    returns = np.random.default_rng(1).standard_t(5, size=1500) * 0.01
    returns[1:] += 0.2 * returns[:-1]  # so that blocks matter
    history = 100 * np.exp(np.cumsum(np.concatenate([[0.0], returns])))
    return {
        "gbm": jump_diffusion(GeometricBrownianMotion(sigma=0.2, **rates), 0.0, 0.0, 1.0),
        "merton": jump_diffusion(merton, m, m * m + d * d, math.exp(m + d * d / 2)),
        "kou": jump_diffusion(
            kou,
            p / up - (1 - p) / down,
            2 * p / up**2 + 2 * (1 - p) / down**2,
            p * up / (up - 1) + (1 - p) * down / (down + 1),
        ),
        "heston": square_root(Heston(**rates)),
        "heston (Feller violated)": square_root(
            Heston(kappa=1.0, theta=0.04, vol_of_vol=2.0, rho=-0.7, variance=0.04)
        ),
        "bates": square_root(Bates(**rates)),
        "sabr": lognormal_sabr(Sabr(alpha=0.2, nu=0.6, rho=-0.4)),
        "rough-bergomi": rough(RoughBergomi()),
        "garch": garch(Garch(model="garch", alpha=0.08, beta=0.9, gamma=0.0, drift=0.05)),
        "garch (gjr)": garch(Garch(drift=0.05)),
        "garch (student)": garch(Garch(innovations="student", degrees=5.0)),
        "garch (ngarch)": garch(
            Garch(model="ngarch", omega=4e-6, alpha=0.05, beta=0.85, gamma=0.9)
        ),
        "regime-switching": regimes(RegimeSwitching(regimes=(Regime(sigma=0.12), crisis), **rates)),
        "regime-switching (drifts)": regimes(
            RegimeSwitching(regimes=(Regime(drift=0.1, sigma=0.12), Regime(drift=-0.3, sigma=0.3)))
        ),
        "correlated-gbm": several(
            CorrelatedGBM(
                sigma=0.2,
                others=(Asset(sigma=0.3, drift=0.04), Asset(sigma=0.1)),
                correlation=((1.0, 0.5, -0.2), (0.5, 1.0, 0.3), (-0.2, 0.3, 1.0)),
            )
        ),
        "correlated-merton": several(
            CorrelatedMerton(sigma=0.2, others=(JumpingAsset(sigma=0.3, own_intensity=2.0),))
        ),
        "stochastic-implied-vol": implied(StochasticImpliedVol()),
        "deal": deal(Deal(rate=0.04, closing=0.25, spot=47.0, hazard=0.1, premium=0.5)),
        "defaultable": defaultable(Defaultable(hazard=0.2, drop=0.5, **rates)),
        "bootstrap": bootstrap(Bootstrap(history=history), np.diff(np.log(history))),
    }


def samples(market: Market, years: float, steps: int) -> Iterator[MarketPaths]:
    """Blocks of paths, `PATHS` in all."""
    times = torch.linspace(0, years, steps + 1, dtype=torch.float64)[:, None]
    for block in range(PATHS // BLOCK):
        generator = torch.Generator().manual_seed(1_000 * steps + block)
        yield market.simulate(times, BLOCK, generator)


def measured(expected: Expected, blocks: Iterator[MarketPaths]) -> list[dict[str, Any]]:
    """Mean, standard error and distance from the expectation of every quantity."""
    sums = dict.fromkeys(expected, (0.0, 0.0))
    for paths in blocks:
        for name, (value, statistic) in expected.items():
            off = statistic(paths).double() - value
            first, second = sums[name]
            sums[name] = (first + float(off.sum()), second + float((off * off).sum()))
    rows = []
    for name, (value, _) in expected.items():
        off, square = (total / PATHS for total in sums[name])
        error = math.sqrt(max(square - off * off, 0.0) / PATHS)
        score = off / error if error else 0.0
        rows.append(
            {"of": name, "expected": value, "mean": value + off, "error": error, "score": score}
        )
    return rows


def call_checks(case: Case, market: Market, steps: int) -> list[dict[str, Any]]:
    """Calls at every strike and maturity, under the pricing measure."""
    assert case.calls is not None
    fair, rows = market.risk_neutral(), []
    for years in MATURITIES:
        discount, expected = math.exp(-market.rate * years), {}
        for moneyness in MONEYNESS:
            strike = moneyness * market.spot
            expected[f"call, strike {strike:g}, {years:.3g} years"] = (
                case.calls(strike, years),
                lambda p, k=strike, d=discount: (p.spot[-1] - k).clamp(min=0) * d,
            )
        rows += measured(expected, samples(fair, years, steps))
    return rows


def check(case: Case) -> dict[str, Any]:
    """All of a market's checks."""
    found: dict[str, Any] = {"market": json.loads(_described(case.market)), "steps": {}}
    for steps in STEPS:
        years = case.years(steps)
        blocks = samples(case.market, years, steps)
        found["steps"][str(steps)] = measured(case.expected(steps), blocks)
        if case.calls is not None:
            found["steps"][str(steps)] += call_checks(case, case.market, steps)
    return found


def _described(market: Market) -> str:
    return market.model_dump_json(exclude={"history"}, exclude_none=True)


def main() -> None:
    """Check all markets, or those named."""
    chosen = sys.argv[1:]
    checks = {}
    for name, case in cases().items():
        if chosen and name not in chosen:
            continue
        checks[name] = check(case)
        worst = max(
            (abs(r["score"]), r["of"], s) for s, rows in checks[name]["steps"].items() for r in rows
        )
        sys.stderr.write(f"{name}: worst {worst}\n")
    if chosen:
        sys.stdout.write(json.dumps(checks, indent=1) + "\n")
        return
    document = {
        "command": "python docs/market_checks.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "paths": PATHS,
        "years": YEARS,
        "checks": checks,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

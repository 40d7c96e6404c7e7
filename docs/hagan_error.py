"""How far Hagan's formula is from SABR itself: ``python docs/hagan_error.py``.

Writes ``docs/results/hagan.json``: implied vols of out-of-the-money options by simulation beside
the formula's, in basis points. With beta = 1 alpha is drawn exactly on a fine grid and, given its
path, F is lognormal: the mean of Black's prices (Romano and Touzi, 1997). Else F is simulated on
as fine a grid, with F itself as control.
"""

from __future__ import annotations

import json
import math
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deephedge.envs.markets import Sabr
from deephedge.envs.pricing import black_scholes
from deephedge.envs.pricing.implied_vol import implied_vol
from deephedge.envs.pricing.sabr import hagan_vol

RESULTS = Path(__file__).resolve().parent / "results" / "hagan.json"
PATHS, BLOCK, STEPS = 400_000, 20_000, 200
FORWARD, VOL = 100.0, 0.2
STRIKES, SIGNS = (80.0, 90.0, 100.0, 110.0, 120.0), (-1, -1, 1, 1, 1)
CASES = [
    (beta, nu, rho, years)
    for beta in (1.0, 0.5)
    for nu, rho in ((0.4, -0.4), (1.0, -0.6))
    for years in (1 / 12, 0.5, 2.0)
]


def conditional(nu: float, rho: float, years: float, generator: torch.Generator) -> Tensor:
    """Prices ``[strikes, BLOCK]`` given alpha's path, beta = 1."""
    dt = years / STEPS
    z = torch.randn((STEPS, BLOCK // 2), generator=generator, dtype=torch.float64)
    w = torch.cat([z, -z], dim=1).cumsum(dim=0) * math.sqrt(dt)
    time = torch.arange(1, STEPS + 1, dtype=torch.float64)[:, None] * dt
    alpha = torch.cat([torch.ones_like(w[:1]), torch.exp(nu * w - nu * nu / 2 * time)]) * VOL
    integral = torch.trapezoid(alpha**2, dx=dt, dim=0)
    shift = rho * (alpha[-1] - VOL) / nu - rho * rho * integral / 2
    vol = ((1 - rho * rho) * integral / years).sqrt()
    left = torch.tensor(years, dtype=torch.float64)
    return torch.stack(
        [
            black_scholes(math.log(FORWARD) + shift, strike, left, vol, sign=sign).price
            for strike, sign in zip(STRIKES, SIGNS, strict=True)
        ]
    )


def simulated(market: Sabr, years: float, generator: torch.Generator) -> Tensor:
    """Payoffs ``[strikes, BLOCK]`` less their slope in F."""
    times = torch.tensor([[0.0], [years]], dtype=torch.float64)
    fine = market.model_copy(update={"substeps": STEPS})
    end = fine.simulate(times, BLOCK, generator).spot[-1]
    payoff = torch.stack(
        [(s * (end - k)).clamp(min=0) for k, s in zip(STRIKES, SIGNS, strict=True)]
    )
    off = end - FORWARD
    slope = (payoff * off).mean(dim=1, keepdim=True) / (off * off).mean()
    return payoff - slope * off


def row(beta: float, nu: float, rho: float, years: float) -> list[dict[str, Any]]:
    """The formula's error at every strike."""
    alpha = VOL * FORWARD ** (1 - beta)
    market = Sabr(spot=FORWARD, alpha=alpha, beta=beta, rho=rho, nu=nu)
    generator = torch.Generator().manual_seed(3)
    blocks = []
    for _ in range(PATHS // BLOCK):
        exact = beta == 1
        block = (
            conditional(nu, rho, years, generator) if exact else simulated(market, years, generator)
        )
        blocks.append(block.mean(dim=1))
    means = torch.stack(blocks)
    price, error = means.mean(dim=0), means.std(dim=0) / len(blocks) ** 0.5
    strike, left = torch.tensor(STRIKES, dtype=torch.float64), torch.tensor(years).double()
    forward = torch.full_like(strike, FORWARD)
    true = implied_vol(price, forward, strike, left, sign=torch.tensor(SIGNS)).vol
    slope = black_scholes(forward.log(), strike, left, true, sign=1).vega
    formula = hagan_vol(
        forward.log(), strike.log(), torch.full_like(strike, alpha), left, beta=beta, rho=rho, nu=nu
    )
    return [
        {
            "strike": k,
            "vol": float(true[i]),
            "error": float(error[i] / slope[i]) * 1e4,
            "hagan_less_vol": float(formula[i] - true[i]) * 1e4,
        }
        for i, k in enumerate(STRIKES)
    ]


def main() -> None:
    """Measure every case."""
    cases = [
        {"beta": beta, "nu": nu, "rho": rho, "years": years, "strikes": row(beta, nu, rho, years)}
        for beta, nu, rho, years in CASES
    ]
    document = {
        "command": "python docs/hagan_error.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "torch")},
        "paths": PATHS,
        "steps": STEPS,
        "unit": "basis points of vol",
        "cases": cases,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

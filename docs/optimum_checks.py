"""The optimum beside its simulation, and nobody below it: ``python docs/optimum_checks.py``.

Writes ``docs/results/optimum.json``: 1,000,000 paths for each of two markets, three books, four
costs and two or three aversions; about half an hour on two cores.
"""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deephedge import load_scenario
from deephedge.baselines import (
    BandHedge,
    Baseline,
    DeltaHedge,
    LelandHedge,
    NoHedge,
    OptimalHedge,
    Optimum,
    StaticHedge,
    WhalleyWilmottHedge,
    ZakamoulineHedge,
    solve,
)
from deephedge.envs import Scenario, rollout, simulate

RESULTS = Path(__file__).resolve().parent / "results" / "optimum.json"
PATHS, BLOCK = 1_000_000, 50_000
BASIS_POINTS = (0, 5, 20, 100)
CALL, PUT = "claim: {kind: call, strike: 100}", "claim: {kind: put, strike: 100}"
BOOKS = {
    "short call": f"[{{quantity: -1, {CALL}}}]",
    "long put": f"[{{quantity: 1, {PUT}}}]",
    "short straddle": f"[{{quantity: -1, {CALL}}}, {{quantity: -1, {PUT}}}]",
}
# Beyond these aversions the risk of a short book that jumps hangs on paths too rare to be drawn.
AVERSIONS = {
    ("short-call", "short call"): (0.01, 0.1, 1.0),
    ("short-call", "long put"): (0.01, 0.1, 1.0),
    ("short-call", "short straddle"): (0.01, 0.1, 1.0),
    ("short-call-jumps", "short call"): (0.01, 0.1, 0.3),
    ("short-call-jumps", "long put"): (0.01, 0.1, 0.3),
    ("short-call-jumps", "short straddle"): (0.01, 0.1),
}
RIVALS: tuple[Baseline, ...] = (
    *(NoHedge(), StaticHedge(), DeltaHedge(), DeltaHedge(every=5), LelandHedge()),
    *(BandHedge(), BandHedge(width=0.1), BandHedge(width=0.2)),
    *(WhalleyWilmottHedge(), ZakamoulineHedge()),
)


def scenario_of(preset: str, book: str, basis_points: float, aversion: float) -> Scenario:
    """A preset with another book, cost and aversion."""
    changes = {
        "position.legs": BOOKS[book],
        "hedges.0.costs": f"[{{kind: proportional, rate: {basis_points / 1e4}}}]",
        "objective.aversion": str(aversion),
    }
    return load_scenario(preset, changes)


def losses(scenario: Scenario, hedgers: tuple[Baseline, ...]) -> dict[str, NDArray[np.float64]]:
    """``[PATHS]`` of every hedger, all on the same paths."""
    found = {hedger.name: np.empty(PATHS) for hedger in hedgers}
    generator = torch.Generator().manual_seed(2026)
    for start in range(0, PATHS, BLOCK):
        episodes = simulate(scenario, BLOCK, generator)
        for hedger in hedgers:
            pnl = rollout(scenario, episodes, hedger).pnl
            found[hedger.name][start : start + BLOCK] = -np.asarray(pnl)
    return found


def solved(scenario: Scenario) -> tuple[Optimum, float]:
    """The optimum, and the seconds it took."""
    began = time.perf_counter()
    return solve(scenario), time.perf_counter() - began


def row(scenario: Scenario) -> dict[str, Any]:
    """Value and simulated risk, and how far every rival is above it, in standard errors."""
    optimum, seconds = solved(scenario)
    sample = losses(scenario, (OptimalHedge(), *RIVALS))
    objective, root = scenario.objective, math.sqrt(PATHS)
    best = sample.pop("optimal")
    influence, risk = objective.influence(best), objective.risk(best)
    rivals = {}
    for name, loss in sample.items():
        paired = (objective.influence(loss) - influence).std() / root
        above = objective.risk(loss) - risk
        # The same hedge, as where nothing is traded, has no error and is not below.
        rivals[name] = {"risk": risk + above, "above": above / paired if paired > 0 else 0.0}
    return {
        "value": optimum.value,
        "error": optimum.error,
        "price": optimum.price,
        "seconds": round(seconds, 2),
        "risk": risk,
        "standard_error": influence.std() / root,
        "delta": rivals["delta"]["risk"],
        "rivals": rivals,
    }


def case(key: tuple[str, str, float, float]) -> dict[str, Any]:
    """A row with what it is of."""
    torch.set_num_threads(1)
    head = dict(zip(("preset", "book", "basis_points", "aversion"), key, strict=True))
    return head | row(scenario_of(*key))


def main() -> None:
    """Measure every case, on two processes."""
    keys = [
        (preset, book, basis_points, aversion)
        for (preset, book), aversions in AVERSIONS.items()
        for basis_points in BASIS_POINTS
        for aversion in aversions
    ]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        cases = list(pool.map(case, keys))
    document = {
        "command": "python docs/optimum_checks.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "paths": PATHS,
        "cases": cases,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

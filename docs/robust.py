"""Policies out of model: ``python docs/robust.py``, some minutes.

Writes ``docs/results/robust.json`` after every training and goes on where it was left. On
``short-call``, sold and marked at a vol of 0.2 whatever the market's, deep hedging is trained
plainly, on vols drawn uniformly from 0.15 to 0.3, and for the worst of four; each is evaluated at
all four on 100,000 fresh paths, as the excess of its risk over delta's there. It sees each market
with the scales that it was trained with, those of a vol of 0.2.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from training_study import go_on, losses

from deephedge import load_scenario
from deephedge.agents import agent_settings, train_agent
from deephedge.baselines import DeltaHedge
from deephedge.envs import Hedger

RESULTS = Path(__file__).resolve().parent / "results" / "robust.json"
VOLS = (0.15, 0.2, 0.25, 0.3)
PATHS, STEPS = 100_000, 12_000_000
TRAININGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "randomised": {"uniform": {"market.sigma": (0.15, 0.3)}},
    "worst-of": {"worst_of": tuple({"market.sigma": vol} for vol in VOLS)},
}


def judged(hedger: Hedger, vol: float) -> dict[str, Any]:
    """The risk in a market of another vol, and how far it is from delta's, paired."""
    home = load_scenario("short-call")
    scenario = load_scenario("short-call", {"market.sigma": str(vol)})
    objective = scenario.objective
    delta, own = losses(scenario, (DeltaHedge(), hedger), PATHS, home)
    error = (objective.influence(own) - objective.influence(delta)).std() / math.sqrt(PATHS)
    return {
        "vol": vol,
        "delta": objective.risk(delta),
        "risk": objective.risk(own),
        "excess": objective.risk(own) - objective.risk(delta),
        "standard_error": error,
    }


def measure(title: str) -> dict[str, Any]:
    """One training, evaluated at every vol."""
    settings = agent_settings("deep-hedging", steps=STEPS, vary=TRAININGS[title])
    started = time.process_time()
    trained = train_agent(load_scenario("short-call"), settings, seed=0)
    rows = [judged(trained.hedger, vol) for vol in VOLS]
    return {
        "training": title,
        "cpu_seconds": round(time.process_time() - started),
        "rows": rows,
        "worst_excess": max(row["excess"] for row in rows),
        "worst_risk": max(row["risk"] for row in rows),
    }


def main() -> None:
    """Train what is missing."""
    go_on(
        *("robust.py", RESULTS, {"paths": PATHS, "steps": STEPS}, TRAININGS),
        key=lambda run: run["training"],
        measure=measure,
    )


if __name__ == "__main__":
    main()

"""One policy for every aversion beside one for each: ``python docs/conditioned.py``, 10 minutes.

Writes ``docs/results/conditioned.json`` after every training and goes on where it was left. On
``short-call`` agents are trained once on aversions from 0.01 to 1, and deep hedging separately at
each of five; all are evaluated on the same 200,000 fresh paths at each, beside the provable
optimum of that aversion. The aim: conditioned, at most 1 % of the gap from delta to the optimum is
lost to separate trainings.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deephedge import load_scenario
from deephedge.agents import agent_settings, train_agent
from deephedge.baselines import DeltaHedge, OptimalHedge
from deephedge.envs import Hedger, Scenario, rollout, simulate
from deephedge.experiments.runs import write_json

RESULTS = Path(__file__).resolve().parent / "results" / "conditioned.json"
AVERSIONS = (0.01, 0.032, 0.1, 0.32, 1.0)
PATHS, BLOCK, EVALUATION_SEED = 200_000, 10_000, 1_000
VARY: dict[str, Any] = {"vary": {"aversion": (0.01, 1.0)}}
# Title: agent, settings, the aversion of a separate training.
TRAININGS: dict[str, tuple[str, dict[str, Any], float | None]] = {
    "deep-hedging, conditioned": ("deep-hedging", VARY, None),
    **{f"deep-hedging, {a:g}": ("deep-hedging", {}, a) for a in AVERSIONS},
    "deep-hedging, conditioned, 64 x 64": ("deep-hedging", VARY | {"net": (64, 64)}, None),
    "ppo, conditioned": ("ppo", VARY, None),
}


def scenario_of(aversion: float) -> Scenario:
    """``short-call`` judged at an aversion."""
    return load_scenario("short-call", {"objective.aversion": str(aversion)})


def judged(hedger: Hedger, aversion: float) -> dict[str, Any]:
    """The gap that a hedger closes at an aversion; the error is of its distance to the optimum."""
    scenario = scenario_of(aversion)
    objective, generator = scenario.objective, torch.Generator().manual_seed(EVALUATION_SEED)
    parts: list[list[Any]] = [[], [], []]
    for _ in range(PATHS // BLOCK):
        episodes = simulate(scenario, BLOCK, generator)
        for each, losses in zip((DeltaHedge(), OptimalHedge(), hedger), parts, strict=True):
            losses.append(-np.asarray(rollout(scenario, episodes, each).pnl))
    delta, best, own = map(np.concatenate, parts)
    gap = objective.risk(delta) - objective.risk(best)
    error = (objective.influence(own) - objective.influence(best)).std() / math.sqrt(PATHS)
    return {
        "aversion": aversion,
        "delta": objective.risk(delta),
        "optimum": objective.risk(best),
        "risk": objective.risk(own),
        "gap_closed": (objective.risk(delta) - objective.risk(own)) / gap,
        "standard_error": error / gap,
        "caution": objective.caution(own),
    }


def measure(title: str) -> dict[str, Any]:
    """One training, evaluated at the aversions that it is for."""
    agent, changes, own = TRAININGS[title]
    settings = agent_settings(agent, **changes)
    started = time.process_time()
    trained = train_agent(scenario_of(0.1 if own is None else own), settings, seed=0)
    seconds = time.process_time() - started
    return {
        "training": title,
        "steps": settings.steps,
        "cpu_seconds": round(seconds),
        "rows": [judged(trained.hedger, a) for a in (AVERSIONS if own is None else (own,))],
    }


def lost(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How much of the gap a conditioned policy of deep hedging closes less than separate ones."""
    separate = {r["rows"][0]["aversion"]: r["rows"][0] for r in runs if len(r["rows"]) == 1}
    return [
        {
            "training": run["training"],
            "aversion": row["aversion"],
            "lost": separate[row["aversion"]]["gap_closed"] - row["gap_closed"],
        }
        for run in runs
        for row in run["rows"]
        if len(run["rows"]) > 1 and row["aversion"] in separate
    ]


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "command": "python docs/conditioned.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "paths": PATHS,
        "runs": [],
    }
    if options.out.exists():
        document["runs"] = json.loads(options.out.read_text(encoding="utf-8"))["runs"]
    done = {run["training"] for run in document["runs"]}
    for title in [title for title in TRAININGS if title not in done]:
        document["runs"].append(measure(title))
        document["lost"] = lost(document["runs"])
        write_json(options.out, document)


if __name__ == "__main__":
    main()

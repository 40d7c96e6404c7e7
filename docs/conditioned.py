"""One policy for every aversion beside one for each: ``python docs/conditioned.py``, 6 minutes.

Writes ``docs/results/conditioned.json`` after every training and goes on where it was left. On
``short-call`` deep hedging is trained once on aversions from 0.01 to 1, and separately at each of
five, with the same network and one seed; all are evaluated on the same 200,000 fresh paths at
each, beside the provable optimum of that aversion. The aim: conditioned, at most 1 % of the gap
from delta to the optimum is lost to separate trainings. PPO is conditioned only.
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
SEEDS, NET = (0,), (64, 64)
VARY: dict[str, Any] = {"vary": {"aversion": (0.01, 1.0)}}
# Agent and settings; the aversion of a separate training.
TRAININGS: dict[str, tuple[str, dict[str, Any], float | None]] = {
    "deep-hedging, conditioned": ("deep-hedging", VARY | {"net": NET}, None),
    **{f"deep-hedging, {a:g}": ("deep-hedging", {"net": NET}, a) for a in AVERSIONS},
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


def measure(title: str, seed: int) -> dict[str, Any]:
    """One training, evaluated at the aversions that it is for."""
    agent, changes, own = TRAININGS[title]
    settings = agent_settings(agent, **changes)
    started = time.process_time()
    trained = train_agent(scenario_of(0.1 if own is None else own), settings, seed)
    seconds = time.process_time() - started
    return {
        "training": title,
        "seed": seed,
        "steps": settings.steps,
        "cpu_seconds": round(seconds),
        "rows": [judged(trained.hedger, a) for a in (AVERSIONS if own is None else (own,))],
    }


def lost(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How much less of the gap conditioned policies close than separate ones, the mean of seeds."""

    def closed(aversion: float, conditioned: bool) -> list[float]:
        return [
            row["gap_closed"]
            for run in runs
            for row in run["rows"]
            if run["training"].startswith("deep-hedging")
            and row["aversion"] == aversion
            and ("conditioned" in run["training"]) == conditioned
        ]

    found = []
    for aversion in AVERSIONS:
        separate, conditioned = closed(aversion, False), closed(aversion, True)
        if separate and conditioned:
            share = float(np.mean(separate) - np.mean(conditioned))
            found.append({"aversion": aversion, "lost": share})
    return found


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
    done = {(run["training"], run["seed"]) for run in document["runs"]}
    for title, seed in [(t, s) for s in SEEDS for t in TRAININGS if (t, s) not in done]:
        document["runs"].append(measure(title, seed))
        document["lost"] = lost(document["runs"])
        write_json(options.out, document)


if __name__ == "__main__":
    main()

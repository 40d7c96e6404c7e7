"""Critics of the risk beside what they compete with: ``python docs/risk_critics.py``, half an hour.

Writes ``docs/results/risk-critics.json`` after every training and goes on where it was left. On
``short-call`` with the objective of the papers, mean + 1.5 std of the loss, three seeds of each
agent are judged on the same 100,000 fresh paths beside delta and the tuned band.
"""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from training_study import go_on, losses

from deephedge import load_scenario
from deephedge.agents import agent_settings, train_agent
from deephedge.baselines import BandHedge, DeltaHedge, tuned, tuning_paths

RESULTS = Path(__file__).resolve().parent / "results" / "risk-critics.json"
PATHS, SEEDS = 100_000, range(3)
AGENTS = ("quantile-critic", "two-critic", "deep-hedging")
OBJECTIVE = {"objective": "{kind: mean-std, weight: 1.5}"}


def measure(task: tuple[int, str]) -> dict[str, Any]:
    """One training and the rules, judged."""
    seed, agent = task
    scenario, settings = load_scenario("short-call", OBJECTIVE), agent_settings(agent)
    started = time.process_time()
    policy = train_agent(scenario, settings, seed).hedger
    seconds = round(time.process_time() - started)
    band = tuned(BandHedge(), "width", scenario, tuning_paths(scenario, 0))
    own, delta, rule = losses(scenario, (policy, DeltaHedge(), band), PATHS)
    objective = scenario.objective
    difference = objective.influence(own) - objective.influence(delta)
    return {
        "agent": agent,
        "seed": seed,
        "steps": settings.steps,
        "cpu_seconds": seconds,
        "risk": objective.risk(own),
        "delta": objective.risk(delta),
        "band": {"name": band.name, "risk": objective.risk(rule)},
        "standard_error": float(np.std(difference)) / PATHS**0.5,
    }


def main() -> None:
    """Train what is missing."""
    go_on(
        *("risk_critics.py", RESULTS, {"paths": PATHS}, product(SEEDS, AGENTS)),
        key=lambda run: (run["seed"], run["agent"]),
        measure=measure,
    )


if __name__ == "__main__":
    main()

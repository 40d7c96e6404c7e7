"""Every agent's gap to the provable optimum, seed by seed: ``python docs/agent_gaps.py``, hours.

Writes ``docs/results/agent-gaps.json`` after every training and goes on where it was left: 5 seeds
on ``short-call`` at 0, 5, 20 and 100 bp, in the market of ``short-call-jumps`` and on a straddle,
all of entropic risk with aversion 0.1, evaluated on the same 200,000 fresh paths. Two trainings run
at a time, of one thread each; seconds are of CPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from deephedge import load_scenario
from deephedge.agents import agent_settings, train_agent
from deephedge.baselines import DeltaHedge, OptimalHedge, tuned, tuning_paths
from deephedge.baselines import ZakamoulineHedge as Zakamouline
from deephedge.envs import Hedger, Scenario
from deephedge.experiments import evaluate
from deephedge.experiments.whole_files import write_json

RESULTS = Path(__file__).resolve().parent / "results" / "agent-gaps.json"
PATHS, EVALUATION_SEED, SEEDS = 200_000, 1_000, range(5)
STRADDLE = (
    "[{quantity: -1, claim: {kind: call, strike: 100}}, "
    "{quantity: -1, claim: {kind: put, strike: 100}}]"
)
PROBLEMS: dict[str, tuple[str, dict[str, str]]] = {
    "20 bp": ("short-call", {}),
    "100 bp": ("short-call", {"hedges.0.costs.0.rate": "0.01"}),
    "jumps": ("short-call-jumps", {}),
    "straddle": ("short-call", {"position.legs": STRADDLE}),
    "5 bp": ("short-call", {"hedges.0.costs.0.rate": "0.0005"}),
    "0 bp": ("short-call", {"hedges.0.costs.0.rate": "0"}),
}
FEED_FORWARD = {  # sees the holding, chooses the trade; wider, as it draws the band itself
    "action": {"kind": "trade"},
    "net": (64, 64),
}
AGENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "deep-hedging": ("deep-hedging", {}),
    "deep-hedging, feed-forward": ("deep-hedging", FEED_FORWARD),
    "ppo": ("ppo", {}),
    "sac": ("sac", {}),
    "td3": ("td3", {}),
    "tqc": ("tqc", {}),
}
OFF_POLICY = ("sac", "td3", "tqc")
COSTS_ONLY = ("jumps", "straddle")  # where off-policy agents are not asked for


def scenario_of(problem: str) -> Scenario:
    """A problem of the study."""
    preset, changes = PROBLEMS[problem]
    return load_scenario(preset, changes)


@cache
def references(problem: str) -> tuple[Hedger, ...]:
    """Delta, the optimum and the best classical rule, tuned on paths of its own."""
    scenario = scenario_of(problem)
    rule = tuned(Zakamouline(), "aversion", scenario, tuning_paths(scenario, EVALUATION_SEED))
    return DeltaHedge(), OptimalHedge(), rule


def measure(problem: str, agent: str, seed: int) -> dict[str, Any]:
    """One training, evaluated."""
    torch.set_num_threads(1)
    scenario = scenario_of(problem)
    name, changes = AGENTS[agent]
    settings = agent_settings(name, **changes)
    started = time.process_time()
    trained = train_agent(scenario, settings, seed, name="learned")
    seconds = time.process_time() - started
    hedgers = [*references(problem), trained.hedger]
    found = {
        h["name"]: h
        for h in evaluate(scenario, hedgers, PATHS, EVALUATION_SEED).document()["hedgers"]
    }
    learned, optimum = found.pop("learned"), found["optimal"]
    rule = next(result for key, result in found.items() if key.startswith("zakamouline"))
    return {
        "problem": problem,
        "agent": agent,
        "seed": seed,
        "cpu_seconds": round(seconds),
        "steps": settings.steps,
        "risk": learned["risk"],
        "gap_closed": learned["gap_closed"],
        "versus_delta": learned["versus_delta"],
        "delta": found["delta"]["risk"]["value"],
        "optimum": optimum["risk"]["value"],
        "rule": {key: rule[key] for key in ("name", "gap_closed")},
    }


def wanted() -> list[tuple[str, str, int]]:
    """All trainings, those that most depends on first."""
    return [
        (problem, agent, seed)
        for agents in (tuple(a for a in AGENTS if a not in OFF_POLICY), OFF_POLICY)
        for seed in SEEDS
        for problem in PROBLEMS
        for agent in agents
        if not (agent in OFF_POLICY and problem in COSTS_ONLY)
    ]


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time (2)")
    parser.add_argument("--agents", nargs="*", default=list(AGENTS), help="of these only")
    options = parser.parse_args()
    document: dict[str, Any] = {
        "command": "python docs/agent_gaps.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "paths": PATHS,
        "runs": [],
    }
    if options.out.exists():
        document["runs"] = json.loads(options.out.read_text(encoding="utf-8"))["runs"]
    done = {(run["problem"], run["agent"], run["seed"]) for run in document["runs"]}
    missing = [key for key in wanted() if key not in done and key[1] in options.agents]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        for future in as_completed([pool.submit(measure, *key) for key in missing]):
            document["runs"].append(future.result())
            order = {key: number for number, key in enumerate(wanted())}
            document["runs"].sort(key=lambda r: order[r["problem"], r["agent"], r["seed"]])
            write_json(options.out, document)


if __name__ == "__main__":
    main()

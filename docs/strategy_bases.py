"""What a base changes where learning is behind: ``python docs/strategy_bases.py``.

Trains as ``docs/strategies.py`` does, with the action built on a rule, and judges on the same
paths. Writes ``docs/results/strategy-bases.json``; about six minutes on an idle core.
"""

from __future__ import annotations

from typing import Any

import torch
from strategies import DOCS, PATHS, SEED, TRAINING_SEED

from deephedge import load_scenario
from deephedge.agents import agent_settings, train_agent
from deephedge.baselines import parse_baseline
from deephedge.experiments import evaluate
from deephedge.experiments.questions import versions
from deephedge.experiments.whole_files import write_json

CASES = (
    ("vega-hedging", "deep-hedging", "delta-vega"),
    ("vega-hedging-sabr", "ppo", "delta-vega"),
    ("gamma-scalping", "ppo", "delta:vol=0.25"),
)


def measure(name: str, agent: str, base: str) -> dict[str, Any]:
    """The risk of the agent built on the rule."""
    scenario, settings = load_scenario(name), agent_settings(agent, base=parse_baseline(base))
    policy = train_agent(scenario, settings, TRAINING_SEED, name=agent).hedger
    found = evaluate(scenario, [policy], PATHS, SEED).result(agent).document()
    return {"strategy": name, "agent": agent, "base": base, "risk": found["risk"]}


def main() -> None:
    """Measure every case."""
    torch.set_num_threads(1)
    document = {
        "command": "python docs/strategy_bases.py",
        "versions": versions(),
        "paths": PATHS,
        "cases": [measure(*case) for case in CASES],
    }
    write_json(DOCS / "results" / "strategy-bases.json", document)


if __name__ == "__main__":
    main()

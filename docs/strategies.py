"""Every strategy's rules, tuned, beside what learns by default: ``python docs/strategies.py``.

Writes ``docs/results/strategy-NAME.json`` for each preset that has none yet, so that it goes on
where it was left; name presets to do them again. Deep hedging and PPO are
trained with their default settings and one seed; all hedgers are judged on the same 50,000 fresh
paths. About two minutes each on an idle core.
"""

from __future__ import annotations

import argparse
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from deephedge import load_scenario
from deephedge.agents import agent_settings, train_agent
from deephedge.envs import Hedger, Scenario
from deephedge.experiments import evaluate
from deephedge.experiments.hedgers import standard_baselines
from deephedge.experiments.whole_files import write_json

DOCS = Path(__file__).resolve().parent
PATHS, SEED, TRAINING_SEED = 50_000, 1_000, 0
AGENTS = ("deep-hedging", "ppo")
# Every strategy, and the scenarios that its policies are trained on where it is not its own alone.
STRATEGIES: dict[str, tuple[str, ...]] = {
    "delta-hedging": (),
    "gamma-scalping": (),
    "gamma-scalping-dear": (),
    "vega-hedging": (),
    "vega-hedging-sabr": (),
    "portfolio-insurance": (),
    "convertible-arbitrage": (),
    "merger-arbitrage": (),
    "tail-risk-hedging": (),
    "market-maker": (),
    "market-maker-book": (),
    "multi-asset-book": (),
    "small-account": (),
    "black-swan": ("short-call",),
}


def learned(scenario: Scenario, twins: tuple[str, ...]) -> tuple[list[Hedger], list[Any]]:
    """The policies, and what their trainings took."""
    problems = {"": scenario} | {f" (trained on {name})": load_scenario(name) for name in twins}
    hedgers: list[Hedger] = []
    trainings = []
    for title, problem in problems.items():
        for agent in AGENTS:
            settings, started = agent_settings(agent), time.process_time()
            name = f"{agent}{title}"
            hedgers.append(train_agent(problem, settings, TRAINING_SEED, name=name).hedger)
            seconds = round(time.process_time() - started)
            trainings.append({"name": name, "steps": settings.steps, "cpu_seconds": seconds})
    return hedgers, trainings


def measure(name: str) -> None:
    """Train, judge, write the result."""
    scenario = load_scenario(name)
    policies, trainings = learned(scenario, STRATEGIES[name])
    rules = standard_baselines(scenario, SEED)
    found = evaluate(scenario, [*rules, *policies], PATHS, SEED)
    document: dict[str, Any] = {
        "command": f"python docs/strategies.py {name}",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "trainings": trainings,
        "evaluation": found.document(),
    }
    write_json(DOCS / "results" / f"strategy-{name}.json", document)


def main() -> None:
    """Measure what is missing, or what is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *STRATEGIES], metavar="NAME")
    names = parser.parse_args().names
    torch.set_num_threads(1)
    missing = [n for n in STRATEGIES if not (DOCS / f"results/strategy-{n}.json").exists()]
    for name in names or missing:
        measure(name)


if __name__ == "__main__":
    main()

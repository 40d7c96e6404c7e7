"""Coverage of every interval: ``python docs/coverage.py``, 15 minutes on one core.

Writes ``docs/results/coverage.json``. The laws are those of real hedging: a million simulated
paths of a scenario are the population, whose own figures are the truth. Samples of 10,000 paths are
drawn from it with replacement, every hedger's results on the same paths, and every interval of
`evaluate` and of `statistics` is counted as a hit where it holds the truth. Nominal is 95 %; with
2,000 samples the standard error of a count is 0.5 points.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephedge import load_scenario
from deephedge.baselines import known_optimum, parse_baseline
from deephedge.envs import Hedger, Scenario
from deephedge.envs.objectives import (
    CVaR,
    Entropic,
    Expectile,
    MeanStd,
    MeanVariance,
    Objective,
    Quadratic,
    SemiQuadratic,
    VaR,
)
from deephedge.envs.shortfall import Shortfall
from deephedge.experiments import statistics
from deephedge.experiments.evaluation import (
    BLOCK,
    PER_PATH,
    HedgerResult,
    Samples,
    block_ranges,
    evaluation_block,
    play,
    summarise,
    with_references,
)
from deephedge.experiments.statistics import Estimate
from deephedge.experiments.whole_files import write_json

RESULTS = Path(__file__).resolve().parent / "results" / "coverage.json"
POPULATION, PATHS, REPETITIONS, SEED = 61 * BLOCK, 10_000, 2_000, 0
CERTAIN = 1e-6  # money: what varies by less has no error to cover


@dataclass(frozen=True)
class Law:
    """What is hedged, and which two hedgers are set side by side under every objective."""

    sets: dict[str, str]
    hedger: str
    reference: str
    money: float  # the size of its losses, which aversions and thresholds go by


LAWS = {
    "short-call": Law({"delta_range": "[-0.1, 0.1]"}, "whalley-wilmott", "delta", 1.0),
    "short-call-jumps": Law({}, "zakamouline", "delta", 1.0),
    "portfolio-insurance": Law({}, "cppi", "none", 10.0),
}
Estimates = dict[tuple[str, str], Estimate]


def objectives(money: float) -> list[Objective]:
    """Every kind, at the levels that are reported."""
    return [
        Entropic(aversion=0.1 / money),
        *(CVaR(level=level) for level in (0.9, 0.95, 0.99)),
        MeanStd(weight=1.0),
        MeanVariance(aversion=0.1 / money),
        Quadratic(),
        SemiQuadratic(),
        Expectile(level=0.9),
        *(VaR(level=level) for level in (0.95, 0.99)),
        Shortfall(threshold=2.0 * money, weight=10.0),
    ]


def population(name: str) -> tuple[Scenario, list[Hedger], list[Samples]]:
    """The scenario, its hedgers and their results on a million paths."""
    law = LAWS[name]
    scenario = load_scenario(name, law.sets)
    optimum = known_optimum(scenario) is not None
    hedgers = with_references([parse_baseline(law.hedger)], optimum=optimum)
    samples: list[Samples] = [{key: np.empty(POPULATION) for key in PER_PATH} for _ in hedgers]
    for block, start, stop in block_ranges(scenario, POPULATION):
        episodes = evaluation_block(scenario, SEED, block)
        play(scenario, hedgers, episodes, samples, np.arange(start, stop))
    return scenario, hedgers, samples


def estimates(
    law: Law, scenario: Scenario, hedgers: list[Hedger], samples: list[Samples]
) -> Estimates:
    """Every figure that has an interval, by hedger and name."""
    found: Estimates = {}
    for result in summarise(scenario, hedgers, samples):
        for field in fields(HedgerResult):
            value = getattr(result, field.name)
            if isinstance(value, Estimate) and result.std.value > CERTAIN:
                found[result.name, field.name] = value
    losses = {h.name: -sample["pnl"] for h, sample in zip(hedgers, samples, strict=True)}
    own, reference = losses[law.hedger], losses[law.reference]
    for objective in objectives(law.money):
        label = objective.label
        found[law.hedger, label] = statistics.risk(objective, own)
        found[law.reference, label] = statistics.risk(objective, reference)
        found[law.hedger, f"{label}, less {law.reference}"] = statistics.difference(
            objective, own, reference
        )
        if not isinstance(objective, VaR) and objective.risk(reference) > 0.0:
            found[law.hedger, f"{label}, over {law.reference}"] = statistics.ratio(
                objective, own, reference
            )
    return found


def sampled(samples: list[Samples], rows: NDArray[np.int64]) -> list[Samples]:
    """The results of some paths, the same for every hedger."""
    return [{key: values[rows] for key, values in sample.items()} for sample in samples]


def coverage(name: str, repetitions: int) -> list[dict[str, Any]]:
    """How often each interval of a law is given, and how often it then holds the truth."""
    law, (scenario, hedgers, samples) = LAWS[name], population(name)
    whole = estimates(law, scenario, hedgers, samples)
    varying = {k: e for k, e in whole.items() if e.warning or (e.high or 0) - (e.low or 0) > 0.0}
    counts = {key: np.zeros(3, dtype=int) for key in varying}  # given, truth below, truth above
    generator = np.random.default_rng([SEED, list(LAWS).index(name)])
    for _ in range(repetitions):
        rows = generator.integers(POPULATION, size=PATHS)
        found = estimates(law, scenario, hedgers, sampled(samples, rows))
        for key, count in counts.items():
            each, truth = found.get(key), whole[key].value
            if each is not None and each.low is not None and each.high is not None:
                count += (1, truth < each.low, truth > each.high)
    return [
        {
            "law": name,
            "hedger": hedger,
            "figure": figure,
            "truth": whole[hedger, figure].value,
            "given": int(given) / repetitions,
            "covered": None if given == 0 else 1.0 - int(below + above) / int(given),
            "below": None if given == 0 else int(below) / int(given),
            "above": None if given == 0 else int(above) / int(given),
        }
        for (hedger, figure), (given, below, above) in counts.items()
    ]


def main() -> None:
    """Measure every law."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--law", choices=list(LAWS))
    given = parser.parse_args()
    laws = [given.law] if given.law else list(LAWS)
    document = {
        "command": "python docs/coverage.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "population": POPULATION,
        "paths": PATHS,
        "repetitions": given.repetitions,
        "rows": [row for law in laws for row in coverage(law, given.repetitions)],
    }
    write_json(given.out, document)


if __name__ == "__main__":
    main()

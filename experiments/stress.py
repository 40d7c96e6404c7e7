"""Stress: every hedger's loss when a named shock strikes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..baselines import known_optimum
from ..envs import Episodes, Hedger, Scenario, mark
from . import statistics
from .evaluation import (
    PER_PATH,
    HedgerResult,
    Report,
    Samples,
    block_ranges,
    evaluation_paths,
    play,
    summarise,
    with_references,
)
from .shocks import SHOCKS, Shock
from .statistics import Estimate

CALM = "no shock"


@dataclass(frozen=True)
class Stressed:
    """One hedger under one shock, beside itself without it on the same draws.

    Attributes:
        result: its figures under the shock.
        added: its risk less that without the shock.
        worst: the largest loss of a path, money; ``worst_path`` is its number.
    """

    result: HedgerResult
    added: Estimate
    worst: float
    worst_path: int

    def document(self) -> dict[str, Any]:
        """As plain data."""
        risk, added, mean = self.result.risk, self.added, self.result.mean
        return {
            "name": self.result.name,
            "risk": {"value": risk.value, "low": risk.low, "high": risk.high},
            "warning": risk.warning,
            "added": {"difference": added.value, "low": added.low, "high": added.high},
            "mean": mean.value,
            "std": self.result.std.value,
            "cvar_95": self.result.cvar_95.value,
            "cost": self.result.cost.value,
            "worst": {"loss": self.worst, "path": self.worst_path},
        }


@dataclass(frozen=True)
class StressTest:
    """Hedgers under shocks: by shock, ``no shock`` first, the hedgers by risk."""

    scenario: Scenario
    paths: int
    seed: int
    shocks: Mapping[str, Shock]
    by_shock: Mapping[str, tuple[Stressed, ...]]

    def document(self) -> dict[str, Any]:
        """As plain data, for ``--json``."""
        return {
            "scenario": self.scenario.name,
            "paths": self.paths,
            "seed": self.seed,
            "objective": self.scenario.objective.label,
            "shocks": [
                {
                    "name": name,
                    "definition": self.shocks[name].model_dump() if name in self.shocks else None,
                    "hedgers": [each.document() for each in hedgers],
                }
                for name, hedgers in self.by_shock.items()
            ],
        }


def named_shocks(names: Sequence[str], scenario: Scenario) -> dict[str, Shock]:
    """Shocks by name; all that fit the scenario where none is named.

    Raises:
        ValueError: for an unknown name, or a shock that cannot strike the scenario.
    """
    if not names:
        return {n: shock for n, shock in SHOCKS.items() if shock.refusal(scenario) is None}
    chosen = {}
    for name in names:
        if name not in SHOCKS:
            near = difflib.get_close_matches(name, SHOCKS, n=1, cutoff=0.3)
            mend = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(SHOCKS)}"
            raise ValueError(f"unknown shock {name!r}: {mend}")
        chosen[name] = SHOCKS[name]
    return chosen


def stress(
    scenario: Scenario,
    hedgers: Sequence[Hedger],
    shocks: Mapping[str, Shock],
    paths: int = 20_000,
    seed: int = 0,
    progress: Report | None = None,
) -> StressTest:
    """Hedge the evaluation paths of a seed as they are and under each shock.

    None, delta and a known optimum are always among the hedgers. Hedgers know the scenario, not the
    shock: the optimum is that of the calm market. Evidence: tests/experiments/test_stress.py.

    Raises:
        ValueError: for a shock that cannot strike the scenario, and as `evaluate`.
    """
    for name, shock in shocks.items():
        reason = shock.refusal(scenario)
        if reason is not None:
            raise ValueError(f"shock {name!r}: {reason}")
    everyone = with_references(hedgers, optimum=known_optimum(scenario) is not None)
    struck: dict[str, Shock | None] = {CALM: None, **shocks}
    samples: dict[str, list[Samples]] = {
        name: [{key: np.empty(paths) for key in PER_PATH} for _ in everyone] for name in struck
    }
    for block, start, stop in block_ranges(scenario, paths):
        for i, (name, blow) in enumerate(struck.items()):
            episodes = shocked_block(scenario, seed, block, blow)
            play(scenario, everyone, episodes, samples[name], np.arange(start, stop))
            if progress is not None:
                progress(start * len(struck) + (stop - start) * (i + 1), paths * len(struck))
    by_shock = {name: _judged(scenario, everyone, s, samples[CALM]) for name, s in samples.items()}
    return StressTest(scenario, paths, seed, dict(shocks), by_shock)


def shocked_block(scenario: Scenario, seed: int, block: int, shock: Shock | None) -> Episodes:
    """A block of evaluation paths with a shock laid over them."""
    paths, generator = evaluation_paths(scenario, seed, block)
    if shock is None:
        return mark(scenario, paths, generator)
    struck = shock.strike(scenario, paths)
    return shock.charge(mark(shock.marked(scenario), struck, generator))


def _judged(
    scenario: Scenario, hedgers: Sequence[Hedger], samples: list[Samples], calm: list[Samples]
) -> tuple[Stressed, ...]:
    found = []
    before = {hedger.name: sample["pnl"] for hedger, sample in zip(hedgers, calm, strict=True)}
    for result in summarise(scenario, hedgers, samples):
        added = statistics.difference(scenario.objective, -result.pnl, -before[result.name])
        worst = int(result.pnl.argmin())
        found.append(Stressed(result, added, -float(result.pnl[worst]), worst))
    return tuple(sorted(found, key=lambda each: each.result.risk.value))

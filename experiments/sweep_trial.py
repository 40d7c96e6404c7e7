"""One trial of a sweep: settings trained on every scenario, and given up when they fall behind."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..agents import AgentSettings, train_agent
from ..baselines import DeltaHedge, OptimalHedge, known_optimum
from ..envs import Episodes, Hedger, Scenario, rollout, simulate
from ..envs.stream import Role, generator_of, stream_of
from . import statistics
from .executor import Report

PATHS = 32_768  # that settings are judged on
REPORTS = 20  # of a training, after which it may be given up
WARM_UP = 4  # of them, after which none is given up yet
LEAST = 5  # complete trials before the first is given up


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        number: from 0, which are the settings that the sweep began with.
        state: ``complete``, ``pruned`` or ``failed``.
        score: the mean of `Judge.score`; of a pruned trial the last on the validation paths.
        values: what was set, by key.
        risks: by scenario, empty unless complete.
        seconds: it took.
        reason: why it failed.
        reports: by report, the best score on the validation paths so far.
    """

    number: int
    state: str
    score: float | None
    values: dict[str, Any]
    risks: dict[str, float]
    seconds: float
    reason: str
    reports: dict[str, float]


class Judge:
    """Scores a policy on paths of a scenario that nothing else sees.

    ``score = (risk of delta - risk) / (risk of delta - risk of the optimum)``, the share of the gap
    that is closed; where no optimum is known, or the paths do not tell it from delta, the money
    scale takes the place of the gap. 0 is delta in both.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        generator = generator_of(stream_of(seed, Role.SWEEP))
        self._episodes: Episodes = simulate(scenario, PATHS, generator)
        delta = self._losses(DeltaHedge())
        self._delta, self._room = scenario.objective.risk(delta), scenario.contract.scale
        if known_optimum(scenario) is not None:
            best = self._losses(OptimalHedge())
            room = statistics.difference(scenario.objective, delta, best)
            if room.low is not None and room.low > 0:
                self._room = room.value

    def risk(self, hedger: Hedger) -> float:
        """On the judge's paths."""
        return self.scenario.objective.risk(self._losses(hedger))

    def score(self, risk: float) -> float:
        """0 for delta's risk, 1 for the optimum's."""
        return (self._delta - risk) / self._room

    def _losses(self, hedger: Hedger) -> Any:
        return -rollout(self.scenario, self._episodes, hedger).pnl


@lru_cache(maxsize=4)
def _judge(scenario: Scenario, seed: int, paths: int) -> Judge:
    return Judge(scenario, seed)


def medians(trials: Sequence[Trial]) -> list[float | None]:
    """By report the median score of the complete trials; null where there are too few.

    A trial whose best score so far is below it is given up: the median stopping rule (Golovin et
    al., "Google Vizier", 2017).
    """
    reports = [trial.reports for trial in trials if trial.state == "complete"]
    if len(reports) < LEAST:
        return []
    last = max(int(number) for report in reports for number in report)
    scores = [[r[str(n)] for r in reports if str(n) in r] for n in range(last + 1)]
    return [
        float(np.median(each)) if each and number >= WARM_UP else None
        for number, each in enumerate(scores)
    ]


class _GivenUp(Exception):  # noqa: N818
    """It is worse than the median."""


class _Watch:
    """Follows a training of a trial, and ends it when it is to be given up."""

    def __init__(self, bars: Sequence[float | None], total: int, report: Report) -> None:
        self._bars, self._total, self._report = bars, total, report
        self.reports: dict[str, float] = {}
        self._scores: list[float] = []

    def begin(self, judge: Judge, steps: int, scores: Sequence[float]) -> None:
        """The next training, on the judge's scenario; those before have ``scores``."""
        self._judge, self._steps, self._scores = judge, steps, list(scores)
        self._least, self._last = math.inf, -1

    def __call__(self, steps: int, risk: float) -> None:
        done = len(self._scores)
        self._report((done + min(1.0, steps / self._steps)) / self._total)
        if not risk < self._least:
            risk = self._least
        self._least = risk
        evaluation = min(REPORTS * steps // self._steps, REPORTS - 1)
        if evaluation > self._last and math.isfinite(risk):
            self._last = evaluation
            number = REPORTS * done + evaluation
            self.reports[str(number)] = float(np.mean([*self._scores, self._judge.score(risk)]))
            bar = self._bars[number] if number < len(self._bars) else None
            if bar is not None and max(self.reports.values()) < bar:
                raise _GivenUp


def try_settings(
    scenarios: Sequence[Scenario],
    settings: AgentSettings,
    seed: int,
    bars: Sequence[float | None],
    report: Report,
) -> dict[str, Any]:
    """What settings come to, as plain data; work for an executor.

    Args:
        scenarios: on which they are trained, one after the other.
        settings: of the agent.
        seed: of every training.
        bars: `medians` of the trials before.
        report: is told how far it is.
    """
    started, watch = time.perf_counter(), _Watch(bars, len(scenarios), report)
    risks: dict[str, float] = {}
    scores: list[float] = []
    state, reason, score = "complete", "", None
    try:
        for scenario in scenarios:
            judge = _judge(scenario, seed, PATHS)
            watch.begin(judge, settings.steps, scores)
            trained = train_agent(scenario, settings, seed, progress=watch)
            risks[scenario.name] = judge.risk(trained.hedger)
            scores.append(judge.score(risks[scenario.name]))
        score = float(np.mean(scores))
        if not math.isfinite(score):
            raise ValueError("its risk is no finite number")
    except _GivenUp:
        state, score = "pruned", list(watch.reports.values())[-1]
    except (ValueError, FloatingPointError) as error:  # a training that diverged
        state, score, reason = "failed", None, " ".join(str(error).split())
    return {
        "state": state,
        "score": score,
        "risks": risks if state == "complete" else {},
        "seconds": round(time.perf_counter() - started, 1),
        "reason": reason,
        "reports": watch.reports,
    }

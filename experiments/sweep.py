"""Sweeps: settings of an algorithm tried one after the other, the best written down."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..agents import AgentSettings, train_agent
from ..agents.monitor import Progress
from ..agents.search_space import Choices, Space, search_space, values_of, with_values
from ..baselines import DeltaHedge, OptimalHedge, known_optimum
from ..envs import Episodes, Hedger, Scenario, dump_scenario, rollout, simulate
from ..envs.markets import Replay
from ..envs.presets import dump_yaml
from ..envs.stream import Role, generator_of, stream_of
from . import statistics
from .runs import check_run, refuse_existing

PATHS = 32_768  # that settings are judged on
JOURNAL, TABLE, BEST = "journal.log", "trials.csv", "best.yaml"
RANDOM_TRIALS = 8  # before the first that learns from the others
REPORTS = 20  # of a training, after which it may be given up
DIGITS = 3  # of a number that is tried: no more can be told apart

Telling = Callable[[str, int], Progress]


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
    """

    number: int
    state: str
    score: float | None
    values: dict[str, Any]
    risks: dict[str, float]
    seconds: float
    reason: str


@dataclass(frozen=True)
class Sweep:
    """What a sweep has come to so far, and the settings of its best trial."""

    trials: list[Trial]
    best: AgentSettings

    @property
    def ranked(self) -> list[Trial]:
        """The complete trials, best first."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return sorted(complete, key=lambda trial: -(trial.score or 0.0))


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


def sweep(
    scenarios: Sequence[Scenario],
    settings: AgentSettings,
    folder: Path,
    *,
    trials: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    telling: Telling | None = None,
) -> Sweep:
    """Try settings until ``folder`` holds ``trials`` of them, or until ``seconds`` are over.

    Trial 0 has the values of ``settings`` where they lie in the space. Each trial trains on every
    scenario with the same seed, on the same paths. A tree-structured Parzen estimator (Bergstra et
    al., "Algorithms for hyper-parameter optimization", 2011) chooses what is tried next; a trial
    that is worse than the median of the others at the same evaluation is given up. An interrupted
    sweep goes on when it is called again, and comes to what it would have come to
    (tests/experiments/test_sweep.py).

    Raises:
        ValueError: for a folder that holds something else, or a sweep of something else; for a
            scenario that cannot be trained on; when every trial has failed.
        ImportError: the extra ``tune`` is not installed.
    """
    space = search_space(settings.algorithm)
    _check(scenarios, settings)
    study = _Study(folder, _config(scenarios, settings, seed), space, seed)
    judges = [Judge(scenario, seed) for scenario in scenarios]
    ends = math.inf if seconds is None else time.monotonic() + seconds
    study.open(values_of(settings, space))
    while (trials is None or study.finished < trials) and time.monotonic() < ends:
        title = f"trial {study.finished}" if trials is None else f"{study.finished}/{trials}"
        bars = telling and partial(_bar, telling, title)
        study.one(partial(_try, judges=judges, settings=settings, seed=seed, telling=bars))
        _write(folder, study.trials(), settings)
    found = study.trials()
    if all(trial.state != "complete" for trial in found):
        raise ValueError(f"{folder}: no trial came to its end, the last: {found[-1].reason}")
    return _write(folder, found, settings)


def _check(scenarios: Sequence[Scenario], settings: AgentSettings) -> None:
    names = [scenario.name for scenario in scenarios]
    if len(set(names)) < len(names):
        raise ValueError(f"scenarios {names}: a name stands twice; give one a name of its own")
    if settings.vary:
        raise ValueError(
            f"agent {settings.algorithm}: vary: a sweep judges by one risk on one market: search "
            "without vary, then train with it"
        )
    for scenario in scenarios:
        check_run(scenario, settings)
        if isinstance(scenario.market, Replay):
            raise ValueError(
                f"scenario {scenario.name!r}: its market replays recorded paths and there are no "
                "others to choose settings on: sweep on a market that is fitted to them"
            )


def _config(scenarios: Sequence[Scenario], settings: AgentSettings, seed: int) -> dict[str, Any]:
    """What must be the same for a sweep to go on."""
    return {
        "scenarios": [dump_scenario(scenario) for scenario in scenarios],
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
    }


def _try(
    trial: Any,
    *,
    judges: Sequence[Judge],
    settings: AgentSettings,
    seed: int,
    telling: Telling | None,
) -> tuple[float, dict[str, float]]:
    """The score of one trial and its risks."""
    tried = with_values(settings, suggested(trial, search_space(settings.algorithm)))
    scores: list[float] = []
    risks = {}
    for judge in judges:
        name = judge.scenario.name
        bar = telling and telling(name, tried.steps)
        watch = _Watch(trial, judge, scores, tried.steps, bar)
        trained = train_agent(judge.scenario, tried, seed, progress=watch)
        risks[name] = judge.risk(trained.hedger)
        scores.append(judge.score(risks[name]))
    return float(np.mean(scores)), risks


def _bar(telling: Telling, title: str, scenario: str, steps: int) -> Progress:
    return telling(f"{title}: {scenario}", steps)


def suggested(trial: Any, space: Space) -> dict[str, Any]:
    """What an Optuna trial is to try."""
    values: dict[str, Any] = {}
    for key, dimension in space.items():
        if isinstance(dimension, Choices):
            # Lists are no values for Optuna's journal; their text is.
            texts = [json.dumps(choice) for choice in dimension.choices]
            values[key] = json.loads(trial.suggest_categorical(key, texts))
        else:
            number = trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)
            values[key] = float(f"{number:.{DIGITS}g}")
    return values


class _Watch:
    """Tells Optuna of every evaluation of a training, and stops it when it is to be pruned."""

    def __init__(
        self, trial: Any, judge: Judge, before: Sequence[float], steps: int, bar: Progress | None
    ) -> None:
        self._trial, self._judge, self._before = trial, judge, list(before)
        self._steps, self._bar = steps, bar
        self._least, self._last = math.inf, -1

    def __call__(self, steps: int, risk: float) -> None:
        if self._bar is not None:
            self._bar(steps, risk)
        if not risk < self._least:
            risk = self._least
        self._least = risk
        evaluation = min(REPORTS * steps // self._steps, REPORTS - 1)
        if evaluation > self._last and math.isfinite(risk):
            self._last = evaluation
            score = float(np.mean([*self._before, self._judge.score(risk)]))
            self._trial.report(score, REPORTS * len(self._before) + evaluation)
            if self._trial.should_prune():
                raise _optuna().TrialPruned


class _Study:
    """Optuna's study in a journal file, asked one trial at a time."""

    def __init__(self, folder: Path, config: Mapping[str, Any], space: Space, seed: int) -> None:
        self._optuna = _optuna()
        self._folder, self._config, self._space, self._seed = folder, config, space, seed

    def open(self, first: Mapping[str, Any]) -> None:
        """Begin with the values ``first``, or go on where an earlier call has stopped."""
        journal = self._folder / JOURNAL
        if not journal.exists():
            refuse_existing(self._folder)
            self._folder.mkdir(parents=True)
        storages, name = self._optuna.storages, "sweep"
        storage = storages.JournalStorage(storages.journal.JournalFileBackend(str(journal)))
        if not storage.get_all_studies():
            self._optuna.create_study(study_name=name, storage=storage, direction="maximize")
        self._study = self._optuna.load_study(
            study_name=name,
            storage=storage,
            pruner=self._optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=4),
        )
        found = self._study.user_attrs.get("config")
        if found is None:
            self._study.set_user_attr("config", dict(self._config))
        elif found != json.loads(json.dumps(self._config)):
            other = [key for key in self._config if found.get(key) != self._config[key]]
            raise ValueError(
                f"{self._folder} holds a sweep with other {' and '.join(other)}: give another "
                "--out, or ask for the same"
            )
        states = self._optuna.trial.TrialState
        for trial in self._study.trials:
            if trial.state == states.RUNNING:  # what was going on when the last call ended
                self._study.tell(trial.number, state=states.FAIL)
        if not self.finished and not self._study.get_trials(states=[states.WAITING]):
            self._study.enqueue_trial(_within(first, self._space))

    @property
    def finished(self) -> int:
        """Trials that have come to an end of their own."""
        return len(self._finished())

    def _finished(self) -> list[Any]:
        # One that failed without a reason was going on when an earlier call ended.
        return [
            trial
            for trial in self._study.trials
            if trial.state.name in ("COMPLETE", "PRUNED") or "reason" in trial.user_attrs
        ]

    def one(self, run: Callable[[Any], tuple[float, dict[str, float]]]) -> None:
        """Ask for values, try them, tell how they did."""
        # A sampler for each trial: what it draws does not depend on an interruption.
        number = int(stream_of(self._seed, Role.SWEEP, self.finished).generate_state(1)[0])
        self._study.sampler = self._optuna.samplers.TPESampler(
            n_startup_trials=RANDOM_TRIALS, seed=number
        )
        trial, started = self._study.ask(), time.perf_counter()
        states = self._optuna.trial.TrialState
        state, score = states.FAIL, None
        notes: dict[str, Any] = {}
        try:
            score, risks = run(trial)
            state, notes = states.COMPLETE, {"risks": risks}
        except self._optuna.TrialPruned:
            state = states.PRUNED
        except (ValueError, FloatingPointError) as error:  # a training that diverged
            notes = {"reason": " ".join(str(error).split())}
        for name, value in notes.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr("seconds", round(time.perf_counter() - started, 1))
        self._study.tell(trial, score, state)

    def trials(self) -> list[Trial]:
        """What has been tried, in order."""
        return [
            Trial(
                number=number,
                state={"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed"),
                score=trial.value,
                values=suggested(self._optuna.trial.FixedTrial(trial.params), self._space),
                risks=trial.user_attrs.get("risks", {}),
                seconds=trial.user_attrs["seconds"],
                reason=trial.user_attrs.get("reason", ""),
            )
            for number, trial in enumerate(self._finished())
        ]


def _within(values: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The values that lie in the space, as Optuna knows them."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        dimension = space[key]
        if isinstance(dimension, Choices):
            found |= {key: json.dumps(value)} if value in dimension.choices else {}
        elif isinstance(value, int | float) and dimension.low <= value <= dimension.high:
            found[key] = float(value)
    return found


def _write(folder: Path, trials: list[Trial], settings: AgentSettings) -> Sweep:
    """The table and the best settings, each in one piece."""
    found = Sweep(trials, settings)
    part = folder / f"{TABLE}.part"
    with part.open("w", encoding="utf-8", newline="") as file:
        keys = list(search_space(settings.algorithm))
        names = list(dict.fromkeys(name for trial in trials for name in trial.risks))
        table = csv.writer(file)
        heads = ["number", "state", "score", "seconds", "reason"]
        table.writerow([*heads, *[f"risk of {name}" for name in names], *keys])
        for trial in trials:
            cells = [getattr(trial, head) for head in heads]
            risks = [trial.risks.get(name) for name in names]
            table.writerow([*cells, *risks, *[trial.values.get(key) for key in keys]])
    part.replace(folder / TABLE)
    if not found.ranked:
        return found
    best = with_values(settings, found.ranked[0].values)
    part = folder / f"{BEST}.part"
    part.write_text(dump_yaml(best.model_dump(mode="json")), encoding="utf-8")
    part.replace(folder / BEST)
    return replace(found, best=best)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            "a sweep needs the extra 'tune': pip install 'deephedge[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else a line of its own for each trial
    return optuna

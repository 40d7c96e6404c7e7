"""Sweeps: settings of an algorithm tried in batches, the best written down."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from ..agents import AgentSettings
from ..agents.search_space import Choices, Space, search_space, values_of, with_values
from ..envs import Scenario, dump_scenario
from ..envs.markets import Replay
from ..envs.presets import dump_yaml
from ..envs.stream import Role, stream_of
from .compare import compare
from .evaluation import Evaluation
from .executor import Executor, Serial, Task, Watch, run_tasks
from .questions import continued, made_with
from .runs import check_run
from .sweep_trial import Trial, medians, try_settings
from .whole_files import write_text

QUESTION, TRIALS, TABLE, BEST, FINAL = "sweep.json", "trials", "trials.csv", "best.yaml", "final"
BATCH = 4  # trials that are chosen at once
RANDOM_TRIALS = 8  # before the first that learns from the others
DIGITS = 3  # of a number that is tried: no more can be told apart


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


def sweep(
    scenarios: Sequence[Scenario],
    settings: AgentSettings,
    folder: Path,
    *,
    trials: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    batch: int = BATCH,
    executor: Executor | None = None,
    watch: Watch | None = None,
) -> Sweep:
    """Try settings until ``folder`` holds ``trials`` of them, or until ``seconds`` are over.

    Trial 0 has the values of ``settings`` where they lie in the space. Each trial trains on every
    scenario with the same seed, on the same paths. A tree-structured Parzen estimator (Bergstra et
    al., "Algorithms for hyper-parameter optimization", 2011) chooses what is tried next; a trial
    that is worse than the median of the others at the same evaluation is given up. What is tried
    next and when a trial is given up follow from the batches before its own, so that the result
    depends on ``batch`` and neither on the number of workers nor on who is first. An interrupted
    sweep goes on when it is called again, and comes to what it would have come to
    (tests/experiments/test_sweep.py).

    Args:
        scenarios: on which every trial is trained.
        settings: to begin with.
        folder: a new one, or one of the same sweep.
        trials: in all, with those of earlier calls; null: until ``seconds`` are over.
        seconds: after which no further batch begins.
        seed: of every training, of the paths it is judged on and of what is tried.
        batch: trials that are chosen at once, and may be trained at the same time.
        executor: of the trials.
        watch: is told how far each of them is.

    Raises:
        ValueError: for a folder that holds something else, or a sweep of something else; for a
            scenario that cannot be trained on; when every trial has failed.
        ImportError: the extra ``tune`` is not installed.
    """
    optuna, space = _optuna(), search_space(settings.algorithm)
    _check(scenarios, settings)
    executor = Serial() if executor is None else executor
    ends = math.inf if seconds is None else time.monotonic() + seconds
    found: list[Trial] = []
    with continued(folder / QUESTION, _question(scenarios, settings, seed, batch)):
        begun = _begun(folder / TRIALS)
        last = math.inf if trials is None else max(trials, begun)
        while len(found) < last and (len(found) < begun or time.monotonic() < ends):
            numbers = range(len(found), int(min(len(found) + batch, last)))
            chosen = [_next(optuna, settings, space, found, seed, n) for n in numbers]
            bars = medians(found)
            tasks = [
                Task(
                    f"trial {number}",
                    try_settings,
                    (list(scenarios), with_values(settings, values), seed, bars),
                )
                for number, values in zip(numbers, chosen, strict=True)
            ]
            results = run_tasks(tasks, executor, folder / TRIALS, watch)
            found += [
                Trial(number=number, values=values, **result)
                for number, values, result in zip(numbers, chosen, results, strict=True)
            ]
            best = _write(folder, found, settings)
        if all(trial.state != "complete" for trial in found):
            raise ValueError(f"{folder}: no trial came to its end, the last: {found[-1].reason}")
    return best


def _begun(folder: Path) -> int:
    """One more than the last trial of which there is a result."""
    found = [int(path.stem.removeprefix("trial%20")) for path in folder.glob("trial*.json")]
    return max(found, default=-1) + 1


def final_figure(
    scenarios: Sequence[Scenario],
    settings: AgentSettings,
    found: Sweep,
    folder: Path,
    *,
    seed: int,
    seeds: int,
    paths: int = 100_000,
    executor: Executor | None = None,
    watch: Watch | None = None,
) -> list[Evaluation]:
    """The best settings beside those of the start, with seeds and on paths that no trial had.

    The best of many trials looks better on the sweep's paths than it is. This is a `compare`, with
    the seeds after ``seed``, which the sweep had; its folder lies in the sweep's. It goes on like
    any other.
    """
    best = found.ranked[0].number
    agents = {"start": settings} | ({} if found.best == settings else {"best": found.best})
    return compare(
        scenarios,
        list(agents.values()),
        folder / FINAL / f"trial-{best}-seeds-{seeds}",
        names=list(agents),
        seeds=range(seed + 1, seed + 1 + seeds),
        paths=paths,
        evaluation_seed=seed + 1,
        executor=executor,
        watch=watch,
    )


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


def _question(
    scenarios: Sequence[Scenario], settings: AgentSettings, seed: int, batch: int
) -> dict[str, Any]:
    """What must be the same for a sweep to go on."""
    return {
        **made_with(),
        "optuna": metadata.version("optuna"),
        "scenarios": [dump_scenario(scenario) for scenario in scenarios],
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "batch": batch,
    }


# What is tried next


def _next(
    optuna: Any,
    settings: AgentSettings,
    space: Space,
    found: Sequence[Trial],
    seed: int,
    number: int,
) -> dict[str, Any]:
    """The values of a trial, from those that are found; of the first those to begin with."""
    # A sampler for each trial: what it draws depends on the seed and the number alone.
    own = int(stream_of(seed, Role.SWEEP, number).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=own)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in found:
        study.add_trial(_known(optuna, trial, space))
    if number == 0:
        study.enqueue_trial(_within(values_of(settings, space), space))
    return _suggested(study.ask(), space)


def _known(optuna: Any, trial: Trial, space: Space) -> Any:
    """A trial that is over, as Optuna knows it."""
    states = optuna.trial.TrialState
    state = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
    laws = {
        key: optuna.distributions.CategoricalDistribution(_texts(dimension))
        if isinstance(dimension, Choices)
        else optuna.distributions.FloatDistribution(
            dimension.low, dimension.high, log=dimension.log
        )
        for key, dimension in space.items()
    }
    return optuna.trial.create_trial(
        state=state[trial.state],
        params=_within(trial.values, space),
        distributions=laws,
        value=trial.score,
        intermediate_values={int(number): score for number, score in trial.reports.items()},
    )


def _suggested(trial: Any, space: Space) -> dict[str, Any]:
    """What an Optuna trial is to try."""
    values: dict[str, Any] = {}
    for key, dimension in space.items():
        if isinstance(dimension, Choices):
            values[key] = json.loads(trial.suggest_categorical(key, _texts(dimension)))
        else:
            number = trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)
            rounded = float(f"{number:.{DIGITS}g}")
            values[key] = min(max(rounded, dimension.low), dimension.high)
    return values


def _texts(dimension: Choices) -> list[str]:
    """Lists are no values for Optuna; their text is."""
    return [json.dumps(choice) for choice in dimension.choices]


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
    write_text(folder / BEST, dump_yaml(best.model_dump(mode="json")))
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

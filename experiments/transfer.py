"""Transfer: what was made for one scenario at work in every other, beside what was made there."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..agents import AgentSettings
from ..agents.factory import view_of
from ..baselines import OptimalHedge, baseline_kinds, known_optimum, parse_baseline
from ..envs import Hedger, Scenario, dump_scenario, mark
from ..envs.objectives import Objective
from ..envs.observation import FEATURES
from . import statistics
from .evaluation import PER_PATH, Samples, block_ranges, evaluation_paths, play
from .executor import Executor, Report, Serial, Task, Watch, run_tasks
from .from_home import FromHome, HomeView, at_home
from .hedgers import BEST as TUNED
from .hedgers import named_hedgers
from .questions import continued, made_with
from .runs import check_run, complete_run, folder_name, load_run
from .statistics import Estimate

QUESTION = "transfer-question.json"
RULES = ("delta", "band:width=best", "optimal")  # where none is named; those that fit everywhere
BEST = OptimalHedge().name

Made = Mapping[str, Mapping[str, Sequence[str]]]  # by label and contender: rules, or run folders


@dataclass(frozen=True)
class Transfer:
    """The matrix: every contender made for every scenario and tested in every scenario.

    Attributes:
        scenarios: by label.
        made: by label and contender what was made: a rule's name, or run folders, one a seed.
        paths, seed: how many evaluation paths, of which seed.
        seeds: of the trainings.
        columns: by the label of the scenario of the test, as `judge_column` gives them.
    """

    scenarios: Mapping[str, Scenario]
    made: Made
    paths: int
    seed: int
    seeds: tuple[int, ...]
    columns: Mapping[str, dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """As plain data, for ``--json``."""
        return {
            "scenarios": [
                {"label": label, "scenario": each.name, "objective": each.objective.label}
                for label, each in self.scenarios.items()
            ],
            "paths": self.paths,
            "seed": self.seed,
            "seeds": list(self.seeds),
            "made": {
                home: {
                    asked: got for asked, (got, *_) in made.items() if asked in _rules(self.made)
                }
                for home, made in self.made.items()
            },
            "columns": [{"scenario": label, **each} for label, each in self.columns.items()],
        }


def transfer(
    scenarios: Mapping[str, Scenario],
    rules: Sequence[str] | None = None,
    agents: Mapping[str, AgentSettings] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    paths: int = 50_000,
    seed: int = 0,
    folder: Path | None = None,
    executor: Executor | None = None,
    watch: Watch | None = None,
) -> Transfer:
    """Make every contender for every scenario, and test it in every scenario.

    A contender away from home sees the market through a `HomeView`; all of a column hedge the same
    paths. Called again with a folder that it was interrupted in, it goes on and comes to the same.

    Args:
        scenarios: two or more, by label.
        rules: baselines by name, an option ``best`` tuned on each scenario's own paths; without
            names those of `RULES` that fit everywhere.
        agents: settings by name, trained on each scenario with every seed into ``folder``.
        seeds: of the trainings.
        paths: of the evaluation, of ``seed``, as is the tuning.
        seed: of all but the trainings.
        folder: for trainings and results; a new one, or one of the same question.
        executor: of the trainings, then of the columns.
        watch: is told how far each of them is.

    Raises:
        ValueError: before any work, for fewer than two scenarios, for a pair of which one cannot be
            hedged from the other, for a rule that does not fit, an agent that cannot be trained,
            agents without a folder, or a folder that holds something else.
    """
    executor, agents = executor or Serial(), agents or {}
    _check(scenarios, agents, folder)
    names = _fitting(scenarios) if rules is None else list(rules)
    _check_rules(scenarios, names)
    question = {
        **made_with(),
        "scenarios": {label: dump_scenario(each) for label, each in scenarios.items()},
        "rules": names,
        "agents": {name: json.loads(each.model_dump_json()) for name, each in agents.items()},
        "seeds": list(seeds),
        "paths": paths,
        "seed": seed,
    }
    with nullcontext() if folder is None else continued(folder / QUESTION, question):
        made = _make(scenarios, names, agents, seeds, seed, folder, executor, watch)
        columns = run_tasks(
            [
                Task(
                    f"on {label}",
                    judge_column,
                    (label, dict(scenarios), made, tuple(seeds), paths, seed),
                )
                for label in scenarios
            ],
            executor,
            folder and folder / "columns",
            watch,
        )
    by_label = dict(zip(scenarios, columns, strict=True))
    return Transfer(dict(scenarios), made, paths, seed, tuple(seeds), by_label)


def _make(
    scenarios: Mapping[str, Scenario],
    names: Sequence[str],
    agents: Mapping[str, AgentSettings],
    seeds: Sequence[int],
    seed: int,
    folder: Path | None,
    executor: Executor,
    watch: Watch | None,
) -> Made:
    """Settle the rules and train the agents; a training that is finished is over at once."""
    settling = [
        Task(f"rules for {label}", settle_rules, (home, list(names), seed))
        for label, home in scenarios.items()
    ]
    settled = run_tasks(settling, executor, folder and folder / "rules", watch)
    made = {
        label: {asked: [got] for asked, got in zip(names, chosen, strict=True)}
        for label, chosen in zip(scenarios, settled, strict=True)
    }
    training = []
    for label, name, each in itertools.product(scenarios, agents, seeds):
        run = (folder or Path()).resolve() / folder_name(label) / f"{name}-seed{each}"
        made[label].setdefault(name, []).append(str(run))
        arguments = (run, scenarios[label], agents[name], each)
        training.append(Task(f"{name} for {label}, seed {each}", complete_run, arguments))
    executor.run(training, watch)
    return made


def settle_rules(home: Scenario, names: Sequence[str], seed: int, report: Report) -> list[str]:
    """The rules' names with every ``best`` settled on the tuning paths of ``home``."""
    settled = []
    for i, name in enumerate(names):
        settled += [hedger.name for hedger in named_hedgers([name], home, seed)]
        report((i + 1) / len(names))
    return settled


def judge_column(
    label: str,
    scenarios: dict[str, Scenario],
    made: Made,
    seeds: tuple[int, ...],
    paths: int,
    seed: int,
    report: Report,
) -> dict[str, Any]:
    """Every contender from every home on the same paths of the scenario ``label``.

    Returns:
        ``objective``; ``optimum``, its risk, null where none is known; ``cells``, of each contender
        and home: ``risk`` (scenario's objective, money), ``excess``, that less the risk of what was
        made here (null at home), ``above_optimum`` (null where none is known), ``cost``, and
        ``seeds``, the same of every training. Of several trainings the interval is Student's of
        their mean, of one thing it is that of the paths.
    """
    away = scenarios[label]
    homes = {each: at_home(home, away) for each, home in scenarios.items()}
    hedgers = {
        (home, contender, i): _hedger(name, homes[home], f"{contender} from {home}, {i}")
        for home in homes
        for contender, names in made[home].items()
        for i, name in enumerate(names)
    }
    if known_optimum(away) is not None:
        hedgers[label, BEST, 0] = hedgers.get((label, BEST, 0)) or OptimalHedge()
    samples: dict[Any, Samples] = {
        key: {name: np.empty(paths) for name in PER_PATH} for key in hedgers
    }
    for block, start, stop in block_ranges(away, paths):
        drawn, generator = evaluation_paths(away, seed, block)
        orders = generator.clone_state()
        episodes = mark(away, drawn, generator)
        for home, believed in homes.items():
            view = HomeView(believed, drawn, episodes, orders.clone_state())
            mine = {key: hedger for key, hedger in hedgers.items() if key[0] == home}
            placed = [FromHome(str(key), hedger, view) for key, hedger in mine.items()]
            rows = np.arange(start, stop)
            play(away, placed, episodes, [samples[key] for key in mine], rows)
        report(stop / paths)
    return _column(label, away, made, seeds, samples)


def _hedger(made: str, home: Scenario, name: str) -> Hedger:
    if made.partition(":")[0] in baseline_kinds():
        return named_hedgers([made], home)[0]
    return load_run(Path(made), name)


def _column(
    label: str,
    away: Scenario,
    made: Made,
    seeds: tuple[int, ...],
    samples: Mapping[Any, Samples],
) -> dict[str, Any]:
    best = samples.get((label, BEST, 0)) if known_optimum(away) is not None else None
    cells = []
    for home, contenders in made.items():
        for contender, names in contenders.items():
            each = [
                _one(
                    away.objective,
                    samples[home, contender, i],
                    None if home == label else samples[label, contender, i],
                    best,
                )
                for i in range(len(names))
            ]
            cell: dict[str, Any] = {"home": home, "contender": contender}
            for key in ("risk", "excess", "above_optimum", "cost"):
                cell[key] = _together([one[key] for one in each])
            if contender not in _rules(made):
                cell["seeds"] = [
                    {"seed": s} | {k: _interval(v) for k, v in one.items()}
                    for s, one in zip(seeds, each, strict=True)
                ]
            cells.append(cell)
    risk = None if best is None else statistics.risk(away.objective, -best["pnl"])
    return {"objective": away.objective.label, "optimum": _interval(risk), "cells": cells}


def _rules(made: Made) -> list[str]:
    kinds = baseline_kinds()
    return [name for name in next(iter(made.values())) if name.partition(":")[0] in kinds]


def _one(
    objective: Objective, own: Samples, here: Samples | None, best: Samples | None
) -> dict[str, Estimate | None]:
    """The figures of one hedger beside what was made here, and beside the optimum."""

    def less(other: Samples | None) -> Estimate | None:
        if other is None:
            return None
        return statistics.difference(objective, -own["pnl"], -other["pnl"])

    return {
        "risk": statistics.risk(objective, -own["pnl"]),
        "excess": less(here),
        "above_optimum": less(best),
        "cost": statistics.mean(own["cost"]),
    }


def _together(estimates: Sequence[Estimate | None]) -> dict[str, float | None] | None:
    """One thing's estimate as it is, of several trainings the mean with Student's interval."""
    known = [each for each in estimates if each is not None]
    if len(known) < 2:
        return _interval(known[0] if known else None)
    return _interval(statistics.mean([each.value for each in known]))


def _interval(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _check(
    scenarios: Mapping[str, Scenario], agents: Mapping[str, AgentSettings], folder: Path | None
) -> None:
    """Refuse at once what would fail after the first training."""
    if len(scenarios) < 2:
        raise ValueError("transfer: one scenario: give two or more values to --over, or --to")
    folders = [folder_name(label) for label in scenarios]
    if len(set(folders)) < len(folders):
        raise ValueError(f"transfer: {folders}: a name stands twice; give each one of its own")
    if agents and folder is None:
        raise ValueError("transfer: trainings need a folder to go to")
    for name in agents:
        if name != folder_name(name) or name in baseline_kinds():
            raise ValueError(f"agent {name!r}: a baseline, or no name of a folder: choose another")
    for home, away in itertools.product(scenarios.values(), repeat=2):
        at_home(home, away)
    for settings in agents.values():
        for home, away in itertools.product(scenarios.values(), repeat=2):
            check_run(home, settings)
            _check_seen(home.features_of(view_of(home, settings)), away)


def _check_seen(features: Sequence[str], away: Scenario) -> None:
    """Refuse a policy that sees a state which the market of the test does not have."""
    exposed = [*away.market.latents, *(["jump"] if away.market.jumps else [])]
    for name in features:
        latent = FEATURES[name].latent if name in FEATURES else None
        if latent is not None and latent not in exposed:
            raise ValueError(
                f"view.features: a policy that sees {name!r} cannot hedge {away.name!r}, whose "
                f"market has no {latent}: drop the feature"
            )


def _fitting(scenarios: Mapping[str, Scenario]) -> list[str]:
    return [n for n in RULES if all(_refusal(n, each) is None for each in scenarios.values())]


def _check_rules(scenarios: Mapping[str, Scenario], names: Sequence[str]) -> None:
    for name in names:
        if Path(name).exists():
            raise ValueError(
                f"hedger {name!r}: only baselines are made anew for each scenario: name an --agent "
                "to be trained on each"
            )
        for scenario in scenarios.values():
            reason = _refusal(name, scenario)
            if reason is not None:
                raise ValueError(f"hedger {name!r} on {scenario.name!r}: {reason}")


def _refusal(name: str, scenario: Scenario) -> str | None:
    kind = name.partition(":")[0]
    return parse_baseline(kind if f"={TUNED}" in name else name).refusal(scenario)

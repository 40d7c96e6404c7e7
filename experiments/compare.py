"""The main job: train agents, judge them beside the baselines, write the report."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..agents import AgentSettings, Trained
from ..agents.policy_figure import policy_map
from ..baselines import DeltaHedge, OptimalHedge, baseline_kinds, known_optimum
from ..envs import Hedger, Scenario, dump_scenario
from .across_seeds import across_seeds
from .evaluation import Evaluation, evaluate, example_paths
from .evaluation import Report as EvaluationProgress
from .executor import Executor, Report, Serial, Task, Watch
from .hedgers import standard_baselines
from .questions import continued, made_with
from .reports.report import Section, write_report
from .runs import check_run, command, complete_run, finished_run, folder_name
from .seed_tables import write_tables
from .whole_files import write_json

MAPPED = 4  # learned policies drawn in a report, at most
QUESTION = "compare.json"
OF_SEED = re.compile(r"-seed\d+$")


def compare(
    scenarios: Sequence[Scenario],
    agents: Sequence[AgentSettings],
    folder: Path,
    *,
    names: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    paths: int = 100_000,
    evaluation_seed: int = 0,
    executor: Executor | None = None,
    watch: Watch | None = None,
) -> list[Evaluation]:
    """Train every agent with every seed on every scenario and report them beside the baselines.

    Writes a run directory per training, ``evaluation.json``, ``report.html`` and, as ``table.md``,
    ``table.csv`` and ``table.tex``, the agents over their seeds under ``folder``.
    Whatever ends the work, each training is kept as far as it came; called again with the same
    arguments it goes on, and comes to the same, bit for bit (tests/experiments/test_compare.py).

    Args:
        scenarios: with a name of its own each.
        agents: their settings.
        folder: a new one, or one of the same comparison.
        names: what the agents are called; by default as their algorithms.
        seeds: of the trainings; with several a policy is called ``<agent>-seed<seed>``.
        paths: fresh ones, on which all are judged.
        evaluation_seed: of these paths.
        executor: of the trainings, and of the evaluations after them, one for a scenario.
        watch: is told how far each training and each evaluation is.

    Raises:
        ValueError: before anything is written, when the folder holds something else or an agent
            cannot be trained on a scenario.
    """
    executor = Serial() if executor is None else executor
    names = [settings.algorithm for settings in agents] if names is None else names
    _check(scenarios, agents, names)
    question = {
        **made_with(),
        "scenarios": [dump_scenario(scenario) for scenario in scenarios],
        "agents": [json.loads(settings.model_dump_json()) for settings in agents],
        "names": list(names),
        "seeds": list(seeds),
        "paths": paths,
        "evaluation_seed": evaluation_seed,
    }
    with continued(folder / QUESTION, question):
        trainings = _trainings(scenarios, dict(zip(names, agents, strict=True)), seeds, folder)
        executor.run([task for tasks in trainings for task in tasks], watch)
        judged = [
            Task(
                f"{scenario.name}: evaluating",
                _judge_runs,
                (scenario, [task.arguments[0] for task in tasks], paths, evaluation_seed),
            )
            for scenario, tasks in zip(scenarios, trainings, strict=True)
        ]
        sections: list[Section] = executor.run(judged, watch)
        evaluations = [section.evaluation for section in sections]
        write_json(folder / "evaluation.json", [e.document() for e in evaluations])
        if agents:
            write_tables(folder, evaluations)
        title = " and ".join(scenario.name for scenario in scenarios)
        write_report(folder / "report.html", title, sections, command())
    return evaluations


def _check(
    scenarios: Sequence[Scenario], agents: Sequence[AgentSettings], names: Sequence[str]
) -> None:
    """Refuse at once what would fail after the first training."""
    problems = [folder_name(scenario.name) for scenario in scenarios]
    if len(set(problems)) < len(problems):
        raise ValueError(f"scenarios {problems}: a name stands twice; give one a name of its own")
    if len(set(names)) < len(names):
        raise ValueError(f"agents {list(names)}: one stands twice; ask for more --seeds instead")
    for name in names:
        if name != folder_name(name) or name in baseline_kinds():
            raise ValueError(f"agent {name!r}: a baseline, or no name of a folder: choose another")
    for scenario in scenarios:
        for settings in agents:
            check_run(scenario, settings)


def _trainings(
    scenarios: Sequence[Scenario],
    agents: dict[str, AgentSettings],
    seeds: Sequence[int],
    folder: Path,
) -> list[list[Task]]:
    """By scenario; a finished one is a task that is over at once."""
    tasks: list[list[Task]] = []
    for scenario in scenarios:
        home = folder.resolve() / folder_name(scenario.name)
        runs = {
            name if len(seeds) == 1 else f"{name}-seed{seed}": (settings, seed)
            for name, settings in agents.items()
            for seed in seeds
        }
        tasks.append(
            [
                Task(f"{scenario.name}: {run}", complete_run, (home / run, scenario, *how))
                for run, how in runs.items()
            ]
        )
    return tasks


def _judge_runs(
    scenario: Scenario, runs: Sequence[Path], paths: int, seed: int, report: Report
) -> Section:
    """`judge` for an executor."""
    trained = [finished_run(run) for run in runs]
    return judge(
        scenario,
        trained,
        paths=paths,
        seed=seed,
        progress=lambda done, total: report(done / total),
    )


def _policies(trained: Sequence[Trained]) -> dict[str, list[str]]:
    """The names of each agent's policies: of several seeds ``<agent>-seed<seed>``."""
    names: dict[str, list[str]] = {}
    for each in trained:
        names.setdefault(OF_SEED.sub("", each.hedger.name), []).append(each.hedger.name)
    return names


def judge(
    scenario: Scenario,
    trained: Sequence[Trained],
    *,
    paths: int = 100_000,
    seed: int = 0,
    others: Sequence[Hedger] = (),
    progress: EvaluationProgress | None = None,
) -> Section:
    """Trained agents, the standard baselines and ``others`` on the same fresh paths."""
    learned: list[Hedger] = [each.hedger for each in trained]
    known = [hedger.name for hedger in others]
    baselines = [h for h in standard_baselines(scenario, seed) if h.name not in known]
    hedgers: list[Hedger] = [*baselines, *others, *learned]
    evaluation = evaluate(scenario, hedgers, paths, seed, progress)
    best = [] if known_optimum(scenario) is None else [OptimalHedge()]
    shown: list[Hedger] = [DeltaHedge(), *best, *learned[:2]]
    if trained:
        evaluation = replace(evaluation, across=across_seeds(evaluation, _policies(trained)))
    notes = []
    if evaluation.tuned:
        notes.append(
            f"Chosen for the lowest risk, on paths of their own: {', '.join(evaluation.tuned)}."
        )
    if trained:
        notes.append(
            "The policies are those with the lowest risk on a validation set of their own; the "
            "paths of the table were seen by no training."
        )
    return Section(
        evaluation=evaluation,
        examples=example_paths(scenario, shown, seed),
        maps={hedger.name: policy_map(scenario, hedger) for hedger in learned[:MAPPED]},
        curves={each.hedger.name: each.risks for each in trained},
        notes=notes,
    )

"""The main job: train agents, judge them beside the baselines, write the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..agents import AgentSettings, Trained
from ..agents.monitor import Progress
from ..agents.policy_figure import policy_map
from ..baselines import DeltaHedge, OptimalHedge, known_optimum
from ..envs import Hedger, Scenario
from .evaluation import Evaluation, evaluate, example_paths
from .evaluation import Report as EvaluationProgress
from .hedgers import standard_baselines
from .reports.report import Section, write_report
from .runs import check_run, command, folder_name, refuse_existing, train_run, write_json

MAPPED = 4  # learned policies drawn in a report, at most


@dataclass(frozen=True)
class Watch:
    """What wants to be told how far the work is; null tells nobody.

    Attributes:
        training: from a title and the training's environment steps.
        evaluation: from a title.
    """

    training: Callable[[str, int], Progress] | None = None
    evaluation: Callable[[str], EvaluationProgress] | None = None


def compare(
    scenarios: Sequence[Scenario],
    agents: Sequence[AgentSettings],
    folder: Path,
    *,
    seeds: Sequence[int] = (0,),
    paths: int = 100_000,
    evaluation_seed: int = 0,
    watch: Watch | None = None,
) -> list[Evaluation]:
    """Train every agent with every seed on every scenario and report them beside the baselines.

    Writes a run directory per training, ``evaluation.json`` and ``report.html`` under ``folder``.
    When the work fails or is interrupted, the trainings that were finished are kept.

    Raises:
        ValueError: before anything is written, when the folder exists or an agent cannot be trained
            on a scenario.
    """
    watch = Watch() if watch is None else watch
    refuse_existing(folder)
    _check(scenarios, agents)
    sections = []
    for scenario in scenarios:
        trained = _train_all(scenario, agents, seeds, folder / folder_name(scenario.name), watch)
        telling = watch.evaluation and watch.evaluation(scenario.name)
        sections.append(
            judge(scenario, trained, paths=paths, seed=evaluation_seed, progress=telling)
        )
    evaluations = [section.evaluation for section in sections]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "evaluation.json", [e.document() for e in evaluations])
    title = " and ".join(scenario.name for scenario in scenarios)
    write_report(folder / "report.html", title, sections, command())
    return evaluations


def _check(scenarios: Sequence[Scenario], agents: Sequence[AgentSettings]) -> None:
    """Refuse at once what would fail after the first training."""
    names = [folder_name(scenario.name) for scenario in scenarios]
    if len(set(names)) < len(names):
        raise ValueError(f"scenarios {names}: a name stands twice; give one a name of its own")
    algorithms = [settings.algorithm for settings in agents]
    if len(set(algorithms)) < len(algorithms):
        raise ValueError(f"agents {algorithms}: one stands twice; ask for more --seeds instead")
    for scenario in scenarios:
        for settings in agents:
            check_run(scenario, settings)


def _train_all(
    scenario: Scenario,
    agents: Sequence[AgentSettings],
    seeds: Sequence[int],
    folder: Path,
    watch: Watch,
) -> list[Trained]:
    trained = []
    for settings in agents:
        for seed in seeds:
            name = settings.algorithm if len(seeds) == 1 else f"{settings.algorithm}-seed{seed}"
            telling = watch.training and watch.training(f"{scenario.name}: {name}", settings.steps)
            trained.append(
                train_run(folder / name, scenario, settings, seed, name=name, progress=telling)
            )
    return trained


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

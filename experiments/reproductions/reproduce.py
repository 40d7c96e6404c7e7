"""Runs a cell of a published table: trains, evaluates, compares."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ...agents import AgentSettings, Trained, train_agent
from ...agents.monitor import Progress
from ...baselines import TunedHedge
from ...envs import Hedger, Scenario, simulate
from ...envs.stream import Role, generator_of, stream_of
from ..evaluation import Evaluation, HedgerResult, evaluate
from ..evaluation import Report as EvaluationProgress
from ..hedgers import named_hedgers
from ..questions import versions
from ..statistics import Estimate
from .measures import MEASURES, Sample, scaled
from .paper import Cell, Learner, Method, Paper
from .practitioner import PractitionerDelta
from .verdict import verdicts

OWN = {PractitionerDelta.name: PractitionerDelta}  # hedgers that only a paper's table asks for


@dataclass(frozen=True)
class Watch:
    """What wants to be told how far the work is; null tells nobody.

    Attributes:
        training: from a title and the training's environment steps.
        evaluation: from a title.
    """

    training: Callable[[str, int], Progress] | None = None
    evaluation: Callable[[str], EvaluationProgress] | None = None


@dataclass(frozen=True)
class Run:
    """How a table is run again.

    Attributes:
        paths: of the evaluation.
        seed: of trainings, tuning and evaluation, each with a stream of its own.
        steps: environment steps of every training; null: as the table says.
        command: how a person asks for it, to be written down.
        watch: who is told how far the work is.
    """

    paths: int
    seed: int
    steps: int | None = None
    command: str = ""
    watch: Watch = field(default_factory=Watch)


@dataclass(frozen=True)
class _Lesson:
    """A training that is over."""

    learner: Learner
    trained: Trained
    seconds: float


def reproduce_cell(paper: Paper, cell: Cell, run: Run) -> dict[str, Any]:
    """A cell as plain data: the published rows, ours with intervals, and a verdict on each.

    The policy is the one with the lowest validation risk; the evaluation's paths were seen by no
    training and no tuning. Evidence: tests/experiments/test_reproductions.py.

    Raises:
        ValueError: for what cannot be trained or evaluated.
    """
    scenario = paper.scenario_of(cell)
    lessons = [_train(paper, cell, learner, run) for learner in paper.learners]
    rules = named_hedgers([n for n in paper.hedgers if n not in OWN], scenario, run.seed)
    hedgers: list[Hedger] = [*rules, *(OWN[name]() for name in paper.hedgers if name in OWN)]
    hedgers += [lesson.trained.hedger for lesson in lessons]
    title = f"{cell.name}: evaluating"
    counting = run.watch.evaluation and run.watch.evaluation(title)
    evaluation = evaluate(scenario, hedgers, run.paths, run.seed, counting)
    price = opening_price(scenario)
    return {
        "command": run.command,
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "paths": run.paths,
        "seed": run.seed,
        "price": price,
        "published": {name: row.model_dump() for name, row in cell.published.items()},
        "must": cell.must,
        "rows": _rows(
            _Judged(paper, cell, evaluation, price if paper.unit == "premium" else None),
            lessons,
            {rule.name: rule.option for rule in rules if isinstance(rule, TunedHedge)},
        ),
    }


def opening_price(scenario: Scenario) -> float:
    """What the position sells for at time 0 as marked, money: all paths start alike."""
    generator = generator_of(stream_of(0, Role.EVALUATION))
    return -float(simulate(scenario, 2, generator, torch.float64).mark[0].mean())


def _train(paper: Paper, cell: Cell, learner: Learner, run: Run) -> _Lesson:
    scenario = paper.scenario_of(cell, learner.train)
    settings = learner.settings_of(scenario, run.steps)
    title = f"{cell.name}: {learner.name}"
    telling: Progress | None = run.watch.training and run.watch.training(title, settings.steps)
    started = time.perf_counter()
    trained = train_agent(scenario, settings, run.seed, name=learner.name, progress=telling)
    return _Lesson(learner, trained, time.perf_counter() - started)


@dataclass(frozen=True)
class _Judged:
    """An evaluated cell, with what 100 units of its figures are in money; null: they are money."""

    paper: Paper
    cell: Cell
    evaluation: Evaluation
    price: float | None


def _rows(judged: _Judged, lessons: list[_Lesson], tuned: Mapping[str, str]) -> dict[str, Any]:
    by_name = {lesson.learner.name: lesson for lesson in lessons}
    paper, rows = judged.paper, {}
    for result in judged.evaluation.hedgers:
        names = dict.fromkeys([*paper.measures, paper.judged])
        figures = {name: _document(_figure(name, result, judged)) for name in names}
        lesson = by_name.get(result.name)
        rows[result.name] = {
            "method": _method(lesson),
            "tuned": tuned.get(result.name),
            "figures": figures,
            "verdict": verdicts(paper, result.name, figures, judged.cell.published),
            "training": None if lesson is None else _training(lesson),
        }
    return rows


def _figure(name: str, result: HedgerResult, judged: _Judged) -> Estimate:
    measure, evaluation, price = MEASURES[name], judged.evaluation, judged.price
    delta = evaluation.result("delta").pnl
    estimate = measure.of(Sample(result, delta, evaluation.scenario.objective))
    return scaled(estimate, price / 100) if price is not None and measure.scales else estimate


def _method(lesson: _Lesson | None) -> Method:
    if lesson is None:
        return "rule"
    return "pathwise" if lesson.learner.agent == "deep-hedging" else "model-free"


def _training(lesson: _Lesson) -> dict[str, Any]:
    settings: AgentSettings = lesson.trained.settings
    return {
        "settings": settings.model_dump(mode="json"),
        "view": lesson.trained.view.model_dump(mode="json"),
        "train": lesson.learner.train,
        "seconds": round(lesson.seconds, 1),
    }


def _document(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def document(paper: Paper, cells: Mapping[str, Any]) -> dict[str, Any]:
    """The whole table as plain data, its cells in the paper's order."""
    return {
        "name": paper.name,
        "title": paper.title,
        "source": paper.source,
        "conventions": list(paper.conventions),
        "unit": paper.unit,
        "measures": {name: MEASURES[name].meaning for name in paper.measures},
        "judged": paper.judged,
        "tolerance": paper.tolerance,
        "cells": {cell.name: cells[cell.name] for cell in paper.cells if cell.name in cells},
    }


Told = Callable[[dict[str, Any]], None]


def reproduce(
    paper: Paper,
    cells: list[Cell],
    run: Run,
    before: Mapping[str, Any] | None = None,
    told: Told | None = None,
) -> dict[str, Any]:
    """The table with ``cells`` run anew and those of ``before`` kept; ``told`` after every cell."""
    found = dict(before or {})
    for cell in cells:
        found[cell.name] = reproduce_cell(paper, cell, run)
        if told is not None:
            told(document(paper, found))
    return document(paper, found)

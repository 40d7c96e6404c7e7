"""Trainings of a walk-forward, each in a run directory of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...envs import Hedger
from ..executor import Executor, Serial, Task, Watch
from ..questions import continued, made_with, stable
from ..runs import complete_run, load_run
from .walk_forward import Training

QUESTION = "walk-forward.json"


def train_all(
    trainings: Sequence[Training],
    folder: Path,
    executor: Executor | None = None,
    watch: Watch | None = None,
) -> list[Hedger]:
    """The trained policies in the order of ``trainings``.

    Called again with the same ``folder`` it trains what is missing, and comes to the same, bit for
    bit, from whatever executor.

    Raises:
        ValueError: in one line, when the folder holds other trainings or something else; as
            `train_run`.
    """
    question = {**made_with(), "trainings": stable(list(trainings))}
    home = folder.resolve()
    tasks = [
        Task(each.name, complete_run, (home / each.name, each.scenario, each.settings, each.seed))
        for each in trainings
    ]
    with continued(folder / QUESTION, question):
        (Serial() if executor is None else executor).run(tasks, watch)
    return [load_run(home / each.name) for each in trainings]

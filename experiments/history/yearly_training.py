"""Trainings of a walk-forward, each in a run directory of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ...agents import AgentSettings
from ...agents.monitor import Progress
from ...envs import Hedger, Scenario
from ..runs import CONFIG, POLICY, load_run, resume_run, run_config, train_run, unfinished_run
from .walk_forward import Training


def train_all(
    trainings: Sequence[Training],
    folder: Path,
    watch: Callable[[str, int], Progress] | None = None,
) -> list[Hedger]:
    """The trained policies in the order of ``trainings``; one that is there is not trained again.

    Raises:
        ValueError: when a run directory holds another training; as `train_run`.
    """
    for each in trainings:
        telling = None if watch is None else watch(each.name, each.settings.steps)
        finished(folder / each.name, each.scenario, each.settings, each.seed, telling)
    return [load_run(folder / each.name) for each in trainings]


def finished(
    folder: Path,
    scenario: Scenario,
    settings: AgentSettings,
    seed: int,
    progress: Progress | None = None,
) -> None:
    """Train into ``folder``, or go on with the same training where it was left.

    Raises:
        ValueError: when the folder holds another training; as `train_run`.
    """
    if not folder.exists():
        train_run(folder, scenario, settings, seed, progress=progress)
        return
    config = folder / CONFIG
    asked = run_config(scenario, settings, seed)
    if not config.is_file() or config.read_text(encoding="utf-8") != asked:
        raise ValueError(f"{folder}: another training is there: give another --out, or remove it")
    if not (folder / POLICY).is_dir():
        resume_run(unfinished_run(folder), progress=progress)

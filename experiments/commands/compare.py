"""``deephedge compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...agents import agent_settings
from ..compare import compare
from ..runs import folder_name, free_folder
from ..seed_tables import terminal
from .options import (
    AsJson,
    Paths,
    Plugin,
    RayAddress,
    Settings,
    Steps,
    Workers,
    chosen_executor,
    kept,
    named_scenario,
    say_evaluations,
)
from .terminal import loud, say, task_bar
from .training_options import Base, Imitate, Vary, WorstOf, setting_changes


def compare_(
    scenario: Annotated[
        list[str], typer.Argument(metavar="SCENARIO...", help="Presets or YAML files.")
    ],
    agent: Annotated[
        list[str] | None,
        typer.Option(help="An algorithm, or a YAML file of settings. May be repeated; ppo else."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each agent.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the first training; the next follow.")] = 0,
    steps: Steps = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder: a new one, or one of the same comparison, which goes on."),
    ] = None,
    paths: Paths = 100_000,
    vary: Vary = None,
    worst_of: WorstOf = None,
    base: Base = None,
    imitate: Imitate = None,
    workers: Workers = None,
    ray: RayAddress = None,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Train agents, evaluate them beside the baselines, write the report."""
    executor = chosen_executor(workers, ray)
    problems = [named_scenario(name, sets) for name in scenario]
    changes = setting_changes(steps, vary, worst_of, base, imitate)
    agents = agent or ["ppo"]
    settings = [agent_settings(name, **changes) for name in agents]
    name = "-".join(folder_name(problem.name) for problem in problems)
    folder = out or free_folder(Path("runs") / name)
    total = len(problems) * (len(settings) * seeds + 1)
    with kept(folder, f"go on: the same command with --out {folder}"):
        with task_bar(name, total) as watch:
            evaluations = compare(
                problems,
                settings,
                folder,
                names=[Path(each).stem for each in agents],
                seeds=range(seed, seed + seeds),
                paths=paths,
                evaluation_seed=seed,
                executor=executor,
                watch=watch,
            )
    say_evaluations(evaluations, as_json)
    if not as_json:
        say(terminal(evaluations))
    loud(f"report: {folder}/report.html")

"""``deephedge sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...agents import agent_settings
from ..evaluation import Evaluation
from ..runs import folder_name, free_folder
from ..sweep import BATCH, BEST, Sweep, final_figure, sweep
from .options import (
    AsJson,
    Plugin,
    RayAddress,
    Seed,
    Settings,
    Steps,
    Workers,
    chosen_executor,
    named_scenario,
    needs,
    say_evaluations,
    say_json,
)
from .terminal import loud, say, task_bar

TRIALS = 40  # where neither a number nor a time is given
SHOWN = 10


Batch = Annotated[
    int,
    typer.Option(
        min=1,
        help="Trials chosen at once, from what those before came to. It is part of the result; the "
        "number of workers is not.",
    ),
]
FinalSeeds = Annotated[
    int,
    typer.Option(
        min=0,
        help="Trainings of the best settings with seeds that no trial had, judged on fresh paths "
        "beside those to begin with.",
    ),
]


def sweep_(
    context: typer.Context,
    scenario: Annotated[
        list[str], typer.Argument(metavar="SCENARIO...", help="Presets or YAML files.")
    ],
    agent: Annotated[
        str, typer.Option(help="The algorithm, or a YAML file of settings to begin with.")
    ] = "ppo",
    trials: Annotated[
        int | None,
        typer.Option(min=1, help=f"In all, with those of earlier calls; {TRIALS} by default."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="After which no further batch begins.")
    ] = None,
    seed: Seed = 0,
    steps: Steps = None,
    batch: Batch = BATCH,
    final_seeds: FinalSeeds = 0,
    paths: Annotated[int, typer.Option(min=2, help="Fresh paths of --final-seeds.")] = 100_000,
    workers: Workers = None,
    ray: RayAddress = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder; one with a sweep in it goes on.")
    ] = None,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Search an agent's settings for the lowest risk; the best go to best.yaml."""
    if not final_seeds:
        needs(context, "--final-seeds", "trials have paths of their own", "paths")
    executor = chosen_executor(workers, ray)
    problems = [named_scenario(name, sets) for name in scenario]
    settings = agent_settings(agent, **({} if steps is None else {"steps": steps}))
    name = "-".join(["sweep", *[folder_name(p.name) for p in problems], settings.algorithm])
    folder = out or free_folder(Path("runs") / name)
    if trials is None and seconds is None:
        trials = TRIALS
    limits: dict[str, Any] = {"trials": trials, "seconds": seconds, "seed": seed, "batch": batch}
    with task_bar(name, trials) as watch:
        found = sweep(problems, settings, folder, **limits, executor=executor, watch=watch)
    final: list[Evaluation] = []
    if final_seeds:
        fresh = {"seed": seed, "seeds": final_seeds, "paths": paths}
        with task_bar(f"{name}: final", None) as watch:
            final = final_figure(
                problems, settings, found, folder, **fresh, executor=executor, watch=watch
            )
    if as_json:
        say_json(_document(found, [problem.name for problem in problems], seed, final))
    else:
        say(_table(found))
        say_evaluations(final, as_json=False)
    loud(f"best settings: {folder}/{BEST}, for --agent")


def _document(
    found: Sweep, scenarios: list[str], seed: int, final: list[Evaluation]
) -> dict[str, Any]:
    return {
        "scenarios": scenarios,
        "seed": seed,
        "trials": [vars(trial) for trial in found.trials],
        "best": found.best.model_dump(mode="json"),
        "final": [each.document() for each in final],
    }


def _table(found: Sweep) -> str:
    counts = [f"{len(found.trials)} trials"]
    for state in ("pruned", "failed"):
        number = sum(trial.state == state for trial in found.trials)
        counts += [f"{number} {state}"] if number else []
    lines = [", ".join(counts), "", "trial   score  seconds  settings"]
    for trial in found.ranked[:SHOWN]:
        values = ", ".join(f"{key} {value}" for key, value in trial.values.items())
        lines.append(f"{trial.number:>5}  {trial.score:6.4f}  {trial.seconds:7.1f}  {values}")
    lines += [
        "",
        "score: the share of the gap between delta and the optimum that is closed, mean of the",
        "scenarios, on paths that nothing else sees; where no optimum is known, delta's risk less",
        "the policy's over the scenario's money scale. Trial 0 has the settings to begin with.",
    ]
    return "\n".join(lines)

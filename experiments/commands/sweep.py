"""``deephedge sweep``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from ...agents import agent_settings
from ..runs import folder_name, free_folder
from ..sweep import BEST, Sweep, sweep
from .options import AsJson, Plugin, Seed, Settings, Steps, named_scenario, say_json
from .terminal import loud, progress_bar, say

TRIALS = 40  # where neither a number nor a time is given
SHOWN = 10


def sweep_(
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
        float | None, typer.Option(min=1, help="After which no further trial begins.")
    ] = None,
    seed: Seed = 0,
    steps: Steps = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder; one with a sweep in it goes on.")
    ] = None,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Search an agent's settings for the lowest risk; the best go to best.yaml."""
    problems = [named_scenario(name, sets) for name in scenario]
    settings = agent_settings(agent, **({} if steps is None else {"steps": steps}))
    name = "-".join(["sweep", *[folder_name(p.name) for p in problems], settings.algorithm])
    folder = out or free_folder(Path("runs") / name)
    if trials is None and seconds is None:
        trials = TRIALS
    with ExitStack() as stack:

        def telling(title: str, total: int) -> Callable[[int, float], None]:
            stack.pop_all().close()
            return stack.enter_context(progress_bar(title, total, "steps"))

        found = sweep(
            problems, settings, folder, trials=trials, seconds=seconds, seed=seed, telling=telling
        )
    if as_json:
        say_json(_document(found, [problem.name for problem in problems], seed))
    else:
        say(_table(found))
    loud(f"best settings: {folder}/{BEST}, for --agent")


def _document(found: Sweep, scenarios: list[str], seed: int) -> dict[str, Any]:
    return {
        "scenarios": scenarios,
        "seed": seed,
        "trials": [vars(trial) for trial in found.trials],
        "best": found.best.model_dump(mode="json"),
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

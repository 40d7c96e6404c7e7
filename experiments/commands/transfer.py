"""``deephedge transfer``."""

from __future__ import annotations

import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from ...agents import AgentSettings, agent_settings
from ...envs import Scenario
from ..reports.svg import svg
from ..reports.transfer_figure import transfer_figure
from ..runs import command, folder_name, free_folder
from ..scenario_grid import over
from ..text_tables import text_table
from ..transfer import transfer
from ..transfer_tables import NOTES, markdown, tables
from ..whole_files import write_json, write_text
from .options import (
    AsJson,
    Plugin,
    RayAddress,
    ScenarioName,
    Seed,
    Settings,
    Steps,
    Workers,
    chosen_executor,
    kept,
    named_scenario,
    needs,
    say_json,
)
from .terminal import loud, say, task_bar, terminal_width

Over = Annotated[
    list[str] | None,
    typer.Option(
        "--over",
        metavar="KEY=V1,V2,...",
        help="Values of a parameter; repeated, a grid. Keys that move together: "
        "market.sigma,marking.vol=0.15,0.2.",
    ),
]
To = Annotated[
    list[str] | None,
    typer.Option("--to", metavar="SCENARIO", help="A further preset or YAML file; repeatable."),
]
Agents = Annotated[
    list[str] | None, typer.Option("--agent", help="To train on each scenario; may be repeated.")
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--hedger",
        metavar="NAME",
        help="A baseline, such as band:width=best, made anew for each; may be repeated. Those "
        "that fit of delta, the tuned band and the optimum where none is given.",
    ),
]
Seeds = Annotated[int, typer.Option(min=1, help="Trainings of each agent.")]
Out = Annotated[
    Path | None,
    typer.Option(help="The folder for runs, tables and figure; the same again goes on."),
]


def transfer_(
    context: typer.Context,
    scenario: ScenarioName,
    over_: Over = None,
    to: To = None,
    agent: Agents = None,
    hedger: Rules = None,
    seeds: Seeds = 1,
    seed: Seed = 0,
    steps: Steps = None,
    paths: Annotated[int, typer.Option(min=2, help="Evaluation paths.")] = 50_000,
    out: Out = None,
    workers: Workers = None,
    ray: RayAddress = None,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """What was made for one scenario hedges every other: what a wrong model costs."""
    if not agent:
        needs(context, "--agent", "nothing is trained", "seeds", "steps")
    executor = chosen_executor(workers, ray)
    scenarios = _scenarios(scenario, over_ or [], to or [], sets)
    agents = _agents(agent or [], steps)
    name = f"transfer-{folder_name(Path(scenario).stem)}"
    folder = free_folder(Path("runs") / name) if out is None and agents else out
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(kept(folder, f"go on: the same command with --out {folder}"))
        watch = stack.enter_context(task_bar(name, len(scenarios) * (2 + len(agents) * seeds)))
        found = transfer(
            scenarios,
            hedger,
            agents,
            seeds=range(seed, seed + seeds),
            paths=paths,
            seed=seed,
            folder=folder,
            executor=executor,
            watch=watch,
        ).document()
    if folder is not None:
        _write(folder, found)
    if as_json:
        say_json(found)
    else:
        notes = textwrap.fill(NOTES, terminal_width())
        say("\n\n".join([*tables(found, text_table), notes]))


def _scenarios(
    name: str, grids: list[str], others: list[str], sets: list[str] | None
) -> dict[str, Scenario]:
    """The grid over the first one, then the others by their names."""
    found = over(named_scenario(name, sets), grids)
    for other in (named_scenario(each, sets) for each in others):
        if other.name in found:
            raise ValueError(f"--to {other.name}: it stands twice; give one a name of its own")
        found[other.name] = other
    return found


def _agents(names: list[str], steps: int | None) -> dict[str, AgentSettings]:
    stems = [Path(name).stem for name in names]
    if len(set(stems)) < len(stems):
        raise ValueError(f"agents {names}: one stands twice; ask for more --seeds instead")
    changes = {} if steps is None else {"steps": steps}
    return {stem: agent_settings(name, **changes) for stem, name in zip(stems, names, strict=True)}


def _write(folder: Path, found: dict[str, Any]) -> None:
    write_json(folder / "transfer.json", {"command": command(), "transfer": found})
    write_text(folder / "transfer.md", markdown(found) + "\n")
    write_text(folder / "transfer.svg", svg(transfer_figure(found)))
    loud(f"transfer: {folder}/transfer.md and transfer.svg")

"""``deephedge transfer``."""

from __future__ import annotations

import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ...agents import agent_settings
from ..reports.svg import svg
from ..reports.transfer_figure import transfer_figure
from ..runs import command, folder_name, free_folder, write_json
from ..scenario_grid import over
from ..text_tables import text_table
from ..transfer import transfer
from ..transfer_tables import NOTES, markdown, tables
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
    say_json,
)
from .terminal import loud, say, task_bar, terminal_width


def transfer_(
    scenario: ScenarioName,
    over_: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            metavar="KEY=V1,V2,...",
            help="Values of a parameter; repeated, a grid. Keys that move together: "
            "market.sigma,marking.vol=0.15,0.2.",
        ),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="SCENARIO", help="A further preset or YAML file; may be repeated."),
    ] = None,
    agent: Annotated[
        list[str] | None, typer.Option(help="To train on each scenario; may be repeated.")
    ] = None,
    hedger: Annotated[
        list[str] | None,
        typer.Option(
            "--hedger",
            metavar="NAME",
            help="A baseline, such as band:width=best, made anew for each; may be repeated. Those "
            "that fit of delta, the tuned band and the optimum where none is given.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each agent.")] = 1,
    seed: Seed = 0,
    steps: Steps = None,
    paths: Annotated[int, typer.Option(min=2, help="Evaluation paths.")] = 50_000,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder for runs, tables and figure; the same again goes on."),
    ] = None,
    workers: Workers = None,
    ray: RayAddress = None,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """What was made for one scenario hedges every other: what a wrong model costs."""
    problem = named_scenario(scenario, sets)
    scenarios = over(problem, over_ or [])
    scenarios |= {other.name: other for other in (named_scenario(n, sets) for n in to or [])}
    changes = {} if steps is None else {"steps": steps}
    agents = {Path(name).stem: agent_settings(name, **changes) for name in agent or []}
    if len(agents) < len(agent or []):
        raise ValueError(f"agents {agent}: one stands twice; ask for more --seeds instead")
    folder = out
    if folder is None and agents:
        folder = free_folder(Path("runs") / f"transfer-{folder_name(problem.name)}")
    executor = chosen_executor(workers, ray)
    total = len(scenarios) * (2 + len(agents) * seeds)
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(kept(folder, f"go on: the same command with --out {folder}"))
        watch = stack.enter_context(task_bar(f"{problem.name}: transfer", total))
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
        write_json(folder / "transfer.json", {"command": command(), "transfer": found})
        (folder / "transfer.md").write_text(markdown(found) + "\n", encoding="utf-8")
        (folder / "transfer.svg").write_text(svg(transfer_figure(found)), encoding="utf-8")
        loud(f"transfer: {folder}/transfer.md and transfer.svg")
    if as_json:
        say_json(found)
    else:
        say("\n\n".join([*tables(found, text_table), textwrap.fill(NOTES, terminal_width())]))

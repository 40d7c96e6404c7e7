"""``deephedge stress``."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from ..hedgers import chosen_hedgers
from ..shocks import SHOCKS
from ..stress import CALM, Stressed, StressTest, named_shocks, stress
from ..text_tables import Cell, decimals_of, text_table
from .options import (
    AsJson,
    Hedgers,
    Paths,
    Plugin,
    ScenarioName,
    Seed,
    Settings,
    named_scenario,
    say_json,
)
from .terminal import progress_bar, say


def stress_(
    scenario: ScenarioName,
    shock: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help=f"{', '.join(SHOCKS)}. May be repeated; all that fit by default."
        ),
    ] = None,
    hedger: Hedgers = None,
    paths: Paths = 20_000,
    seed: Seed = 0,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Every hedger's loss when a named shock strikes: risk, what the shock adds, the worst path."""
    problem = named_scenario(scenario, sets)
    shocks = named_shocks(shock or [], problem)
    hedgers = chosen_hedgers(hedger, problem, seed)
    title = f"{problem.name}: {len(shocks)} shocks"
    with progress_bar(title, paths * (len(shocks) + 1), "paths") as bar:
        found = stress(
            problem, hedgers, shocks, paths, seed, lambda done, total: bar(done, math.nan)
        )
    say_json(found.document()) if as_json else say(_told(found))


def _told(found: StressTest) -> str:
    lines = [f"{found.scenario.name}, {found.paths:,} paths, seed {found.seed}", ""]
    for name, hedgers in found.by_shock.items():
        lines += [_heading(found, name), "", _table(hedgers, name == CALM), ""]
    lines += [
        f"risk: {found.scenario.objective.label} of the loss, in money; lower is better.",
        "added: risk less that without the shock, on the same draws. worst: the largest loss.",
    ]
    return "\n".join([*lines, ""])


def _heading(found: StressTest, name: str) -> str:
    if name not in found.shocks:
        return name
    options = found.shocks[name].model_dump(exclude={"kind"})
    return f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in options.items())


def _table(hedgers: tuple[Stressed, ...], calm: bool) -> str:
    risks = [each.result.risk.value for each in hedgers]
    n = decimals_of([*risks, *[each.worst for each in hedgers]])
    rows: list[list[Cell]] = []
    for each in hedgers:
        risk, added = each.result.risk, each.added
        interval = "none" if risk.low is None else f"{risk.low:.{n}f} to {risk.high:.{n}f}"
        change = "none" if added.low is None else f"{added.low:+.{n}f} to {added.high:+.{n}f}"
        row: list[Cell] = [each.result.name, risk.value, interval]
        row += [] if calm else [f"{added.value:+.{n}f}", change]
        rows.append([*row, each.result.mean.value, each.result.cost.value, each.worst])
    more = [] if calm else ["added", "95 %"]
    return text_table(["hedger", "risk", "95 %", *more, "mean", "cost", "worst"], rows, n)

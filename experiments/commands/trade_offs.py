"""``deephedge trade-offs``."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from ..hedgers import named_hedgers
from ..text_tables import markdown_table, text_table
from ..trade_offs import TradeOffs, trade_offs
from .options import (
    AsJson,
    Paths,
    Plugin,
    ScenarioName,
    Seed,
    Settings,
    named_scenario,
    say_json,
)
from .terminal import progress_bar, say


def trade_offs_(
    scenario: ScenarioName,
    hedger: Annotated[
        list[str] | None,
        typer.Option(
            "--hedger", metavar="NAME", help="A baseline or a run beside the bundled ones."
        ),
    ] = None,
    paths: Paths = 20_000,
    seed: Seed = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="A Markdown table.")] = False,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Dynamic hedging beside static and none: risk, cost, trades, a vol shift, upside, worst."""
    problem = named_scenario(scenario, sets)
    named = named_hedgers(hedger or [], problem, seed)
    with progress_bar(f"{problem.name}: trade-offs", 2 * paths, "paths") as bar:
        found = trade_offs(problem, named, paths, seed, lambda done, total: bar(done, math.nan))
    say_json(found.document()) if as_json else say(_told(found, markdown))


def _told(found: TradeOffs, markdown: bool) -> str:
    headings, rows = found.rows
    if markdown:
        return markdown_table(headings, rows)
    title = f"{found.scenario.name}, {found.paths:,} paths, seed {found.seed}"
    note = f"95 % intervals in brackets; money; risk: {found.scenario.objective.label} of the loss."
    return "\n".join([title, "", text_table(headings, rows), "", note])

"""``deephedge bench``."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from ..bench import bench
from ..text_tables import Cell, text_table
from .options import AsJson, Plugin, Settings, named_scenario, say_json
from .terminal import progress_bar, say


def bench_(
    scenario: Annotated[
        str, typer.Argument(metavar="[SCENARIO]", help="A preset or a YAML file.")
    ] = "short-call",
    seconds: Annotated[float, typer.Option(min=0, help="In all, about.")] = 60.0,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Speed on this machine: simulation, environments, rules and learning, beside bounds."""
    problem = named_scenario(scenario, sets)
    with progress_bar(f"{problem.name}: bench", 100, "%") as bar:
        found = bench(problem, seconds, None, lambda i, n: bar(100 * i // n, math.nan))
    say_json(found) if as_json else say(_told(found))


def _told(found: dict[str, Any]) -> str:
    rows: list[list[Cell]] = [
        [
            each["what"],
            f"{each['rate']:,.0f} {each['unit']}/s",
            f"{each['low']:,.0f} to {each['high']:,.0f}",
            each["repeats"],
            "" if each["ratio"] is None else f"{each['ratio']:.3g} of {each['bound']}",
        ]
        for each in found["figures"]
    ]
    at = found["machine"]
    versions = ", ".join(
        f"{name} {at[name]}" for name in ("deephedge", "torch", "numpy", "stable_baselines3")
    )
    return "\n".join(
        [
            f"{found['scenario']} on {at['cpu']}, {at['cores']} cores, torch on {at['threads']} "
            f"threads, load {at['load_average']}",
            f"Python {at['python']}, {versions}",
            "",
            text_table(["what", "median", "half of the repeats", "repeats", "beside"], rows),
            "",
            "A bound has nothing beside it: random numbers, an environment that does nothing, an",
            "agent's network forward and backward. Other work on the machine slows all of it.",
        ]
    )

"""``deephedge frontier``."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ...baselines import known_optimum
from ...envs import Hedger, Scenario
from ..evaluation import Report
from ..frontier import Frontier, Point, cost_frontier, frontier, size_frontier
from ..hedgers import named_hedgers
from ..reports.frontier_figure import frontier_figure
from ..reports.svg import svg
from ..runs import refuse_existing
from ..whole_files import write_json, write_text
from .options import AsJson, Hedgers, Plugin, Seed, Settings, named_scenario, say_json
from .terminal import loud, progress_bar, say

_NOTES = {
    "option": "; * the least of a curve.",
    "size": ". Money over the size: what a unit costs and risks.",
    "cost": ". Options are the best at each cost, chosen on other paths.",
}


def frontier_(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="A preset or a YAML file.")],
    hedger: Hedgers = None,
    size: Annotated[
        list[float] | None,
        typer.Option(help="Of the position, times the scenario's; may be repeated."),
    ] = None,
    cost: Annotated[
        list[float] | None,
        typer.Option(help="Of all costs, times the scenario's; may be repeated."),
    ] = None,
    paths: Annotated[int, typer.Option(min=2, help="Evaluation paths.")] = 50_000,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="A new folder for frontier.json and frontier.svg.")
    ] = None,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Cost against risk: every rule over its option; or over the size, or the costs themselves."""
    problem = named_scenario(scenario, sets)
    if size and cost:
        raise ValueError("--size beside --cost: give one of them")
    if out is not None:
        refuse_existing(out)
    with progress_bar(f"{problem.name}: frontier", paths, "paths") as bar:

        def telling(done: int, total: int) -> None:
            bar(done, math.nan)

        found = _found(problem, hedger, size, cost, paths, seed, telling)
    if out is not None:
        out.mkdir(parents=True)
        write_json(out / "frontier.json", found.document())
        write_text(out / "frontier.svg", svg(frontier_figure(found.document())))
        loud(f"frontier: {out}/frontier.svg")
    if as_json:
        say_json(found.document())
    else:
        say(_table(found))


def _found(
    problem: Scenario,
    names: list[str] | None,
    sizes: list[float] | None,
    costs: list[float] | None,
    paths: int,
    seed: int,
    telling: Report,
) -> Frontier:
    def chosen(default: tuple[str, ...]) -> Callable[[Scenario], list[Hedger]]:
        return lambda scaled: named_hedgers(names or default, scaled, seed)

    if sizes:
        rules = chosen(("delta", "band:width=best"))
        return size_frontier(problem, rules, sizes, paths, seed, telling)
    if costs:
        best = () if known_optimum(problem) is None else ("optimal",)
        rules = chosen(("delta:every=best", "band:width=best", *best))
        return cost_frontier(problem, rules, costs, paths, seed, telling)
    return frontier(problem, named_hedgers(names or [], problem, seed), paths, seed, telling)


def _table(found: Frontier) -> str:
    knob = {"option": "value", "size": "size", "cost": "costs x"}[found.knob]
    lines = [f"{found.scenario.name}, {found.paths:,} paths, seed {found.seed}", ""]
    lines.append(f"{'curve':<28}{knob:>10}{'cost':>10}{'risk':>10}{'95 %':>20}{'std':>10}")
    for name, points in found.curves.items():
        least = min(points, key=lambda point: point.risk.value)
        chooses = found.knob == "option" and len(points) > 1
        lines += [_row(name, point, point is least and chooses) for point in points]
    lines += ["", f"risk: {found.scenario.objective.label} of the loss{_NOTES[found.knob]}"]
    return "\n".join(lines)


def _row(name: str, point: Point, least: bool) -> str:
    risk, value = point.risk, "" if math.isnan(point.value) else f"{point.value:g}"
    ends = "" if risk.low is None else f"[{risk.low:.4f}, {risk.high:.4f}]"
    mark = "*" if least else ""
    shown = name if point.chosen is None else f"{name}={point.chosen:g}"
    return (
        f"{shown:<28}{value:>10}{point.cost.value:>10.4f}{risk.value:>9.4f}{mark:1}{ends:>20}"
        f"{point.std.value:>10.4f}"
    )

"""``deephedge explain``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ..differences import Difference, overall
from ..explanation import Explanation, explain
from ..hedgers import named_hedgers
from ..ladder import Rung
from ..text_tables import Cell, decimals_of, text_table
from .options import AsJson, Plugin, ScenarioName, Seed, Settings, named_scenario, say_json
from .terminal import say

SHOWN = 6  # buckets of differences

_GREEKS = {
    "value": "value",
    "delta": "delta",
    "gamma": "gamma",
    "vega": "vega",
    "theta": "theta",
    "Delta S": "dollar_delta",
    "Gamma S^2/100": "dollar_gamma",
    "vega a point": "vega_point",
    "theta a day": "theta_day",
}


def explain_(
    scenario: ScenarioName,
    hedger: Annotated[
        str,
        typer.Option("--hedger", metavar="NAME", help="A baseline, or a run directory."),
    ] = "delta",
    path: Annotated[
        str, typer.Option(help="Whose blotter: worst, median, best, or a number from 0.")
    ] = "worst",
    paths: Annotated[int, typer.Option(min=2, help="Evaluation paths, one block at most.")] = 5000,
    seed: Seed = 0,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Where a hedger's P&L comes from, step by step, and what the position is exposed to."""
    problem = named_scenario(scenario, sets)
    (chosen,) = named_hedgers([hedger], problem, seed)
    found = explain(problem, chosen, paths, seed, path)
    say_json(found.document()) if as_json else say(_told(found))


def _told(found: Explanation) -> str:
    sections = [_totals(found), _blotter(found), _ladder(found.ladder), _stress(found)]
    for name, each in found.against.items():
        sections.append(_differences(name, each))
    return "\n\n".join(sections) + "\n"


def _totals(found: Explanation) -> str:
    headings = ["part", "mean", "95 %", "std"]
    totals = found.totals
    decimals = decimals_of([spread.value for _, spread in totals.values()])
    rows: list[list[Cell]] = [
        [
            name.replace("_", " "),
            centre.value,
            f"{centre.low:.{decimals}f} to {centre.high:.{decimals}f}",
            spread.value,
        ]
        for name, (centre, spread) in totals.items()
        if spread.value or centre.value
    ]
    title = f"{found.scenario.name}, {found.hedger}, {found.paths:,} paths, seed {found.seed}"
    lines = [title, "", text_table(headings, rows, decimals), ""]
    lines.append("money over a path; the parts add up to the P&L; parts that are 0 are left out.")
    if found.effectiveness is not None:
        of = found.effectiveness
        lines.append(
            f"hedge effectiveness (1 - variance / unhedged): {of.value:.4f}, "
            f"95 % {of.low:.4f} to {of.high:.4f}."
        )
    return "\n".join(lines)


def _blotter(found: Explanation) -> str:
    steps = found.blotter
    parts = [p for p in found.attribution.parts if any(step["parts"][p] for step in steps)]
    greeks = list(found.attribution.greeks)
    headings = ["day", "spot", "holding", "trade", *[f"net {name}" for name in greeks]]
    headings += [part.replace("_", " ") for part in parts] + ["P&L", "wealth"]
    rows: list[list[Cell]] = [
        [
            f"{step['day']:.4g}",
            f"{step['spot']:.2f}{'*' if step['jumped'] else ''}",
            " ".join(f"{units:.3f}" for units in step["holding"]),
            " ".join(f"{units:+.3f}" for units in step["trade"]),
            *[step["greeks"][name] for name in greeks],
            *[step["parts"][name] for name in parts],
            step["pnl"],
            step["wealth"],
        ]
        for step in steps
    ]
    title = f"path {found.path} ({found.chosen}): * a jump in the step that follows"
    return f"{title}\n\n{text_table(headings, rows, 3)}"


def _ladder(rungs: Sequence[Rung]) -> str:
    rows: list[list[Cell]] = [
        [_percent(r.spot_move), _points(r.vol_move), *[getattr(r, n) for n in _GREEKS.values()]]
        for r in rungs
    ]
    table = text_table(["spot", "vol", *_GREEKS], rows, decimals_of([r.value for r in rungs]))
    return f"Greeks of the position at time 0\n\n{table}"


def _stress(found: Explanation) -> str:
    vols = list(dict.fromkeys(cell["vol_move"] for cell in found.stress))
    spots = list(dict.fromkeys(cell["spot_move"] for cell in found.stress))
    at = {(cell["spot_move"], cell["vol_move"]): cell["pnl"] for cell in found.stress}
    rows = [[_percent(spot), *[at[spot, vol] for vol in vols]] for spot in spots]
    table = text_table(["spot", *[f"vol {_points(vol)}" for vol in vols]], rows)
    return f"stress grid: P&L of the unhedged position at time 0, money\n\n{table}"


def _differences(name: str, found: Sequence[Difference]) -> str:
    rows: list[list[Cell]] = [
        [
            f"{each.moneyness[0]:+g} to {each.moneyness[1]:+g}",
            f"{each.time_left[0]:.0%} to {each.time_left[1]:.0%}",
            f"{each.share:.1%}",
            *[each.absolute, each.mean],
            *[f"{share:.0%}" for share in (each.untraded, each.needless, each.missed)],
            *[each.lean, each.inertia],
        ]
        for each in found[:SHOWN]
    ]
    headings = ["moneyness", "time left", "decisions", "mean |h - r|", "mean h - r"]
    from_here = ["r: where the optimum goes from the same old holding."] * (name == "optimal")
    table = text_table([*headings, "untraded", "needless", "missed", "lean", "inertia"], rows)
    return "\n".join(
        [
            f"where its holding h differs most from that of {name}, r, in units",
            "",
            table,
            "",
            overall([vars(each) for each in found]),
            "moneyness: log(S / K) in standard deviations of the time left. untraded: decisions",
            "that leave the holding as it was; needless: that trade where r does not; missed: that",
            "rest where r trades. h - r = lean + inertia (old h - r): lean is a hedge beside the",
            "reference on purpose, inertia the share of the old distance that is kept.",
            *from_here,
        ]
    )


def _percent(move: float) -> str:
    return f"{100 * move:+g} %" if move else "0 %"


def _points(move: float) -> str:
    return f"{100 * move:+g}" if move else "+0"

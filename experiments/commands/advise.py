"""``deephedge advise``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..advice import Advice, advise, read_state
from ..hedgers import named_hedgers
from ..text_tables import Cell, text_table
from .options import AsJson, Plugin, Seed, Settings, named_scenario, say_json
from .terminal import say


def advise_(
    hedger: Annotated[str, typer.Argument(metavar="RUN|HEDGER", help="A run, or a baseline.")],
    scenario: Annotated[
        str, typer.Option("--scenario", metavar="SCENARIO", help="A preset or a YAML file.")
    ],
    state: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="YAML with days, spot, holdings and, where they matter, vol, pnl, history.",
        ),
    ],
    seed: Seed = 0,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Today's trade: a hedger's target for today's book, its cost, and the limits that bind."""
    problem = named_scenario(scenario, sets)
    (chosen,) = named_hedgers([hedger], problem, seed)
    found = advise(problem, chosen, read_state(state))
    say_json(found.document()) if as_json else say(_told(found))


def _told(found: Advice) -> str:
    greeks = list(found.greeks["position"])
    labels = {"position": "position alone", "before": "with holdings", "after": "after the trade"}
    rows: list[list[Cell]] = [
        [labels[when], *[values[name] for name in greeks]] for when, values in found.greeks.items()
    ]
    orders: list[list[Cell]] = [
        [order.name, order.price, order.before, order.target, order.after, f"{order.trade:+.4f}"]
        for order in found.orders
    ]
    headings = ["instrument", "price", "held", "target", "within limits", "trade"]
    bound = [f"{order.name}: {why}" for order in found.orders for why in order.binding]
    return "\n".join(
        [
            f"{found.hedger} on {found.scenario}, day {found.day:.4g}; mark {found.mark:.4f}",
            "",
            text_table(["Greeks", *greeks], rows),
            "",
            text_table(headings, orders),
            "",
            f"cost of the trade: {found.cost:.4f}",
            *[f"limit: {why}" for why in bound or ["none binds"]],
            *[f"assumed: {each}" for each in found.assumed],
        ]
    )

"""The picture of a frontier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from .figures import span
from .svg import INK, MUTE, Pen, drawing, new_figure, pens


@drawing()
def frontier_figure(document: Mapping[str, Any]) -> Figure:
    """A curve for every rule, from `Frontier.document`.

    Over an option: mean cost and risk. Over size: risk of a unit against the size, on a logarithmic
    axis, and in the lower panel its cost.
    """
    curves = document["curves"]
    look = pens([_hedger(curve["name"]) for curve in curves])
    if document["knob"] == "size":
        return _over_size(document, look)
    figure = new_figure(4.4)
    axes = figure.subplots()
    bottom, top = span([point["risk"]["value"] for curve in curves for point in curve["points"]])
    for curve in curves:
        pen = look[_hedger(curve["name"])]
        inside = [point for point in curve["points"] if point["risk"]["value"] <= top]
        x, y = ([point[key]["value"] for point in inside] for key in ("cost", "risk"))
        axes.plot(
            x,
            y,
            color=pen.color,
            linestyle=pen.dash,
            linewidth=pen.width,
            marker=pen.marker,
            markersize=4,
            label=curve["name"],
        )
    axes.set_ylim(bottom, top)
    axes.margins(x=0.1)
    axes.set_xlabel("mean cost of a path, money")
    axes.set_title(f"{document['objective']}, money", color=MUTE)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _hedger(curve: str) -> str:
    """``optimal:aversion`` is drawn as the optimum is."""
    return "optimal" if curve.startswith("optimal") else curve


def _over_size(document: Mapping[str, Any], look: Mapping[str, Pen]) -> Figure:
    figure = new_figure(5.2)
    panels = figure.subplots(2, 1, sharex=True)
    for curve in document["curves"]:
        pen, points = look[_hedger(curve["name"])], curve["points"]
        sizes = [p["value"] for p in points]
        for axes, key in zip(panels, ("risk", "cost"), strict=True):
            low, high = (
                [p[key]["value"] if p[key][end] is None else p[key][end] for p in points]
                for end in ("low", "high")
            )
            axes.fill_between(sizes, low, high, color=pen.color, alpha=0.2, linewidth=0)
            axes.plot(
                sizes,
                [p[key]["value"] for p in points],
                color=pen.color,
                linestyle=pen.dash,
                marker=pen.marker,
                markersize=4,
                linewidth=pen.width,
                label=curve["name"],
            )
    for axes, title in zip(panels, (document["objective"], "mean cost"), strict=True):
        axes.set_title(f"{title} of a unit, money", color=MUTE)
        axes.axhline(0.0, color=INK, linewidth=0.6)
    panels[1].set_xscale("log")
    drawn = [point["value"] for point in document["curves"][0]["points"]]
    panels[1].set_xticks(drawn, [f"{size:g}" for size in drawn])
    panels[1].minorticks_off()
    panels[1].set_xlabel("size of the position, times the scenario's")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure

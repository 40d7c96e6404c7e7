"""The picture of a frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from .figures import span
from .svg import INK, MUTE, Pen, drawing, new_figure, pens


@drawing()
def frontier_figure(document: Mapping[str, Any]) -> Figure:
    """A curve for every rule, from `Frontier.document`.

    Over an option: mean cost and risk. Over size: risk of a unit against the size, on a logarithmic
    axis, and in the lower panel its cost. Over costs: the risk against the cost level, and in a
    panel each what was chosen of every tuned option, with all axes but the risk's logarithmic.
    """
    curves = document["curves"]
    look = pens([_hedger(curve["name"]) for curve in curves])
    if document["knob"] != "option":
        return (
            _over_size(document, look) if document["knob"] == "size" else _over_cost(document, look)
        )
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


def _over_cost(document: Mapping[str, Any], look: Mapping[str, Pen]) -> Figure:
    curves = document["curves"]
    tuned = [curve for curve in curves if curve["points"][0]["chosen"] is not None]
    figure = new_figure(2.6 + 1.7 * len(tuned))
    panels = figure.subplots(1 + len(tuned), 1, sharex=True, squeeze=False)[:, 0]
    for curve in curves:
        _levels(panels[0], curve, "risk", look[_hedger(curve["name"])])
    panels[0].set_title(f"{document['objective']}, money", color=MUTE)
    for axes, curve in zip(panels[1:], tuned, strict=True):
        values = [point["chosen"] for point in curve["points"]]
        levels = [point["value"] for point in curve["points"]]
        pen = look[curve["name"]]
        look_of = {"color": pen.color, "linestyle": pen.dash, "marker": pen.marker}
        axes.plot(levels, values, markersize=4, linewidth=pen.width, **look_of)
        axes.set_yscale("log")
        axes.set_title(f"{curve['name']}, the best", color=MUTE)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    _log_levels(panels[-1], [point["value"] for point in curves[0]["points"]])
    panels[-1].set_xlabel("costs, times the scenario's")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _log_levels(axes: Axes, levels: Sequence[float]) -> None:
    """A logarithmic axis with a tick at each level."""
    axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.minorticks_off()


def _levels(axes: Axes, curve: Mapping[str, Any], key: str, pen: Pen) -> None:
    """A curve over levels with its intervals."""
    points = curve["points"]
    levels = [p["value"] for p in points]
    low, high = (
        [p[key]["value"] if p[key][end] is None else p[key][end] for p in points]
        for end in ("low", "high")
    )
    axes.fill_between(levels, low, high, color=pen.color, alpha=0.2, linewidth=0)
    axes.plot(
        levels,
        [p[key]["value"] for p in points],
        color=pen.color,
        linestyle=pen.dash,
        marker=pen.marker,
        markersize=4,
        linewidth=pen.width,
        label=curve["name"],
    )


def _over_size(document: Mapping[str, Any], look: Mapping[str, Pen]) -> Figure:
    figure = new_figure(5.2)
    panels = figure.subplots(2, 1, sharex=True)
    for curve in document["curves"]:
        for axes, key in zip(panels, ("risk", "cost"), strict=True):
            _levels(axes, curve, key, look[_hedger(curve["name"])])
    for axes, title in zip(panels, (document["objective"], "mean cost"), strict=True):
        axes.set_title(f"{title} of a unit, money", color=MUTE)
        axes.axhline(0.0, color=INK, linewidth=0.6)
    _log_levels(panels[1], [point["value"] for point in document["curves"][0]["points"]])
    panels[1].set_xlabel("size of the position, times the scenario's")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure

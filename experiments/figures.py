"""The figures of a report, one function each; drawn in the house style of `svg`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ..agents.policy_figure import REACH, PolicyMap, draw_band
from .evaluation import Evaluation, Example, HedgerResult
from .labels import Label, place_labels
from .svg import INK, MUTE, PAPER, Pen, drawing, new_figure, pens

Array = NDArray[np.float64]

BINS = 90
EDGE = 0.001  # quantile at which the P&L axis ends, for the hedger in the middle
RAREST = 20  # paths: a tail probability rests on so many at least
NEGLIGIBLE = 0.0005  # a share of paths that is not worth a word


@drawing()
def pnl_distribution(evaluation: Evaluation) -> Figure:
    """One histogram of P&L for each hedger, lowest risk on top, with delta's outline behind it.

    Each is as high as its row. A bar marks -VaR 95 %, a triangle -CVaR 95 %. The axis ends at quantiles;
    what lies beyond is written as a share of paths.
    """
    results = by_risk(evaluation)
    look = pens([result.name for result in evaluation.hedgers])
    low, high = _window([result.pnl for result in results])
    edges = np.linspace(low, high, BINS + 1)
    heights = {result.name: _heights(result.pnl, edges) for result in results}
    figure = new_figure(0.75 + 0.52 * len(results))
    axes = figure.subplots()
    axes.grid(axis="y", visible=False)
    axes.axvline(0.0, color=MUTE, linewidth=0.8)
    for row, result in enumerate(results):
        base, pen = -float(row), look[result.name]
        kept = heights[result.name] * 0.8
        axes.stairs(kept + base, edges, baseline=base, fill=True, color=pen.color, alpha=0.3)
        axes.stairs(kept + base, edges, baseline=base, color=pen.color, linewidth=1.2)
        if "delta" in heights and result.name != "delta":
            outline = heights["delta"] * 0.8 + base
            axes.stairs(
                outline, edges, baseline=None, color=INK, linewidth=0.8, linestyle=(0, (3, 2))
            )
        _mark_tail(axes, result, base, (low, high), pen)
    axes.set_xlim(low, high)
    axes.set_ylim(-len(results) + 0.78, 1.0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("P&L, money (a loss is negative)")
    return figure


def _mark_tail(
    axes: Axes, result: HedgerResult, base: float, window: tuple[float, float], pen: Pen
) -> None:
    """The hedger's name, its VaR and CVaR, and how much lies beyond the axis."""
    low, high = window
    var, cvar = -result.var_95.value, -result.cvar_95.value
    if low <= var <= high:
        axes.plot([var, var], [base - 0.13, base + 0.13], color=pen.color, linewidth=2.2)
    if low <= cvar <= high:
        axes.plot(cvar, base - 0.09, marker="^", markersize=7, color=pen.color, clip_on=False)
    text = {"transform": axes.get_yaxis_transform(), "fontsize": 9.5, "va": "bottom"}
    axes.text(0.0, base + 0.42, result.name, color=pen.color, fontweight="bold", **text)
    beyond = [float((result.pnl < low).mean()), float((result.pnl > high).mean())]
    if beyond[0] > NEGLIGIBLE:
        axes.text(0.0, base + 0.1, f"← {_percent(beyond[0])}", color=MUTE, **text)
    if beyond[1] > NEGLIGIBLE:
        axes.text(1.0, base + 0.1, f"{_percent(beyond[1])} →", color=MUTE, ha="right", **text)


@drawing()
def loss_tail(evaluation: Evaluation) -> Figure:
    """How often a hedger loses more than an amount: a curve each, on a logarithmic scale."""
    results = by_risk(evaluation)
    look = pens([result.name for result in evaluation.hedgers])
    rarest = min(max(RAREST / evaluation.paths, 1e-6), 0.1)
    shares = np.geomspace(0.5, rarest, 160)
    losses = {r.name: np.quantile(-r.pnl, 1.0 - shares) for r in results}
    figure = new_figure(3.5)
    axes = figure.subplots()
    for result in results:
        pen = look[result.name]
        axes.plot(
            losses[result.name],
            shares,
            color=pen.color,
            linestyle=pen.dash,
            linewidth=pen.width,
            label=result.name,
        )
    axes.set_yscale("log")
    axes.set_ylim(rarest, 0.5)
    ticks = [share for share in (0.5, 0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6) if share >= rarest]
    axes.set_yticks(ticks, [_percent(share) for share in ticks])
    axes.minorticks_off()
    axes.set_xlim(*_span([float(x) for curve in losses.values() for x in (curve[0], curve[-1])]))
    axes.set_xlabel("loss, money")
    axes.set_title("share of paths that lose more", color=MUTE)
    _legend_below(figure, axes)
    return figure


@drawing()
def cost_against_risk(document: Mapping[str, Any]) -> Figure:
    """Mean cost and risk of every hedger with their intervals, from ``evaluation.json``.

    ``document`` is `Evaluation.document()`. Hedgers far above the others are off the scale: an arrow
    at the upper edge names them with their risk.
    """
    hedgers = document["hedgers"]
    look = pens([hedger["name"] for hedger in hedgers])
    figure = new_figure(3.5)
    axes = figure.subplots()
    bottom, top = _span([end for h in hedgers for end in _ends(h["risk"])])
    points, labels = [], []
    for hedger in hedgers:
        pen, cost, risk = look[hedger["name"]], hedger["cost"], hedger["risk"]["value"]
        if risk > top:
            axes.plot(cost, top, marker=6, markersize=8, color=pen.color, clip_on=False)
            labels.append(Label(f"{hedger['name']}: {risk:.3g}", (cost, top), pen.color))
            continue
        ends = hedger["intervals"]["cost"] or [cost, cost]
        _cross(axes, (cost, risk), (ends, _ends(hedger["risk"])), pen)
        points.append((cost, risk))
        labels.append(Label(hedger["name"], (cost, risk), pen.color))
    axes.set_ylim(bottom, top)
    axes.margins(x=0.1)
    delta = next((hedger for hedger in hedgers if hedger["name"] == "delta"), None)
    if delta is not None:
        axes.axhline(delta["risk"]["value"], color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_xlabel("mean cost of a path, money")
    axes.set_title(f"{document['objective']}, money", color=MUTE)
    place_labels(axes, points, labels)
    return figure


def _ends(estimate: Mapping[str, float | None]) -> list[float]:
    """The interval about a value, or the value twice where it has none."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    assert value is not None
    return [value, value] if low is None or high is None else [low, high]


def _cross(
    axes: Axes, at: tuple[float, float], ends: tuple[Sequence[float], Sequence[float]], pen: Pen
) -> None:
    axes.plot(ends[0], [at[1], at[1]], color=pen.color, linewidth=1.4)
    axes.plot([at[0], at[0]], ends[1], color=pen.color, linewidth=1.4)
    axes.plot(*at, marker=pen.marker, markersize=7, color=pen.color, markeredgecolor=PAPER)


@drawing()
def example_path(example: Example, look: Mapping[str, Pen] | None = None) -> Figure:
    """Spot with its jumps, holdings beside delta-neutral, trades and marked P&L of one path.

    ``look`` has the pens of the page's other figures.
    """
    look = pens(list(example.holdings)) if look is None else look
    figure = new_figure(6.0)
    panels = figure.subplots(4, sharex=True, height_ratios=[2.0, 2.4, 1.4, 2.4])
    spot, holding, trades, wealth = panels
    days, starts = example.days, example.days[:-1]
    spot.plot(days, example.spot, color=INK, linewidth=1.4)
    holding.stairs(example.neutral, days, baseline=None, color=MUTE, linewidth=5, alpha=0.35)
    shift = 0.16 * float(np.diff(days).min())
    for i, (name, held) in enumerate(example.holdings.items()):
        pen = look[name]
        line = {"color": pen.color, "linestyle": pen.dash}
        holding.stairs(held, days, baseline=None, linewidth=pen.width, **line)
        traded = np.diff(held, prepend=0.0)
        at, size = starts[traded != 0] + i * shift, traded[traded != 0]
        trades.vlines(at, 0.0, size, color=pen.color, linewidth=1.5)
        wealth.plot(days, example.wealth[name], linewidth=pen.width, **line)
    for axes in panels:
        for day in days[example.jumps]:
            axes.axvline(day, color=MUTE, linewidth=0.8, linestyle=(0, (2, 2)))
    for axes in (trades, wealth):
        axes.axhline(0.0, color=MUTE, linewidth=0.8)
    spot.plot(days[example.jumps], example.spot[example.jumps], "v", color=INK, markersize=6)
    titles = ("spot, money", "holding, units", "trades, units", "P&L so far, money")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, color=MUTE)
        axes.margins(x=0.01)
    wealth.set_xlabel("days")
    figure.align_titles()
    figure.legend(
        handles=_example_key(example, look), loc="outside lower center", ncols=3, columnspacing=1.2
    )
    return figure


def _example_key(example: Example, look: Mapping[str, Pen]) -> list[Line2D]:
    """What the lines of an example are."""
    key = [Line2D([], [], color=MUTE, linewidth=5, alpha=0.35, label="delta-neutral")]
    for name in example.holdings:
        pen = look[name]
        key.append(
            Line2D([], [], color=pen.color, linestyle=pen.dash, linewidth=pen.width, label=name)
        )
    if len(example.jumps):
        key.append(Line2D([], [], color=INK, marker="v", linestyle="", label="jump"))
    return key


@drawing()
def policy_surface(found: PolicyMap) -> Figure:
    """Where a policy wants to be, less delta-neutral, and how wide its no-trade band is.

    Over spot and days left; the dashed lines hold 95 % of the spots, and where they lie the policy
    has been trained.
    """
    middle = (found.lower + found.upper) / 2 - found.neutral
    width = found.upper - found.lower
    panels: list[tuple[str, Array, str, bool]] = [
        ("middle of the band less delta-neutral, units", middle, "RdBu_r", True)
    ]
    if float(width.max()) > 1e-9:
        panels.append(("width of the no-trade band, units", width, "cividis_r", False))
    figure = new_figure(0.3 + 2.7 * len(panels))
    spots, days = _borders(found.spot), _borders(found.years_left * 365)
    rows = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, (title, values, colors, signed) in zip(rows, panels, strict=True):
        inside = np.abs(values[_visited(found)])
        reach = max(float(np.quantile(inside, 0.995)), 1e-9)
        mesh = axes.pcolormesh(
            spots,
            days,
            values,
            cmap=matplotlib.colormaps[colors],
            vmin=-reach if signed else 0.0,
            vmax=reach,
            rasterized=True,
        )
        figure.colorbar(mesh, ax=axes, pad=0.02, extend="both" if signed else "max")
        for side in _likely(found):
            axes.plot(side, found.years_left * 365, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        axes.set_xlim(spots[0], spots[-1])
        axes.set_ylim(min(days[-1], 0.0), days[0])
        axes.grid(visible=False)
        axes.set_ylabel("days left")
        axes.set_title(title, color=MUTE)
    rows[-1].set_xlabel("spot, money")
    return figure


def _likely(found: PolicyMap) -> tuple[Array, Array]:
    """The spots that are two standard deviations away at every date, ``[T]`` each."""
    logs = np.log(found.spot)
    start, deviation = (logs[0] + logs[-1]) / 2, (logs[-1] - logs[0]) / (2 * REACH)
    elapsed = np.sqrt(1.0 - found.years_left / found.years_left[0])
    return np.exp(start - 2 * deviation * elapsed), np.exp(start + 2 * deviation * elapsed)


def _visited(found: PolicyMap) -> NDArray[np.bool_]:
    """Between them, ``[T, M]``; at the start the nearest spot."""
    low, high = (side[:, None] for side in _likely(found))
    inside = (found.spot >= low) & (found.spot <= high)
    inside[0, len(found.spot) // 2] = True
    return np.asarray(inside)


def _borders(centres: Array) -> Array:
    """The borders of the cells about ``centres``."""
    if len(centres) == 1:
        return np.array([centres[0] + 0.5, centres[0] - 0.5])
    inner = (centres[1:] + centres[:-1]) / 2
    return np.concatenate(([2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]))


@drawing()
def no_trade_band(found: PolicyMap, color: str = INK) -> Figure:
    """Inside which holdings a policy does not trade, early, midway and late, beside delta-neutral."""
    steps = len(found.years_left)
    dates = sorted({round(share * (steps - 1)) for share in (0.1, 0.5, 0.9)})
    figure = new_figure(0.9 + 1.6 * len(dates))
    rows = figure.subplots(len(dates), sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, date in zip(rows, dates, strict=True):
        axes.set_prop_cycle(color=[color])
        draw_band(axes, found, date)
        axes.plot(found.spot, found.lower[date], linewidth=1.4)
        axes.plot(found.spot, found.upper[date], linewidth=1.4)
        axes.set_xlabel("")
        axes.set_ylabel("")
        axes.set_title(f"holding, units, {found.years_left[date] * 365:.3g} days left", color=MUTE)
        axes.margins(x=0.0)
        handles, labels = axes.get_legend_handles_labels()
        axes.get_legend().remove()
    rows[-1].set_xlabel("spot, money")
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


@drawing()
def learning_curve(
    curves: Mapping[str, Sequence[tuple[int, float]]],
    delta_risk: float,
    look: Mapping[str, Pen] | None = None,
) -> Figure:
    """Validation risk against environment steps, a line for each training, and delta's risk.

    ``look`` has the pens of the page's other figures.
    """
    look = pens(list(curves)) if look is None else look
    figure = new_figure(3.5)
    axes = figure.subplots()
    axes.axhline(delta_risk, color=INK, linewidth=1.2, linestyle=(0, (5, 1.6)), label="delta")
    for name, curve in curves.items():
        steps, risks = zip(*curve, strict=True)
        pen = look[name]
        axes.plot(
            steps,
            risks,
            color=pen.color,
            linestyle=pen.dash,
            marker=pen.marker,
            markersize=3.5,
            label=name,
        )
    axes.set_ylim(*_span([delta_risk] + [risk for curve in curves.values() for _, risk in curve]))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda steps, _: _count(steps))
    axes.set_xlabel("environment steps")
    axes.set_title("risk on validation paths, money", color=MUTE)
    _legend_below(figure, axes)
    return figure


def by_risk(evaluation: Evaluation) -> list[HedgerResult]:
    """The hedgers, lowest risk first."""
    return sorted(evaluation.hedgers, key=lambda result: result.risk.value)


def _window(samples: Sequence[Array]) -> tuple[float, float]:
    """The P&L axis: the quantiles of the hedger in the middle, so that none flattens the others."""
    low, high = np.median([np.quantile(s, [EDGE, 1 - EDGE]) for s in samples], axis=0)
    pad = 0.02 * (high - low) or 0.5
    return float(low - pad), float(high + pad)


def _heights(pnl: Array, edges: Array) -> Array:
    """Counts over the bins, the highest 1."""
    counts = np.histogram(pnl, edges)[0].astype(np.float64)
    return np.asarray(counts / max(counts.max(), 1.0))


def _span(values: Sequence[float]) -> tuple[float, float]:
    """An axis for risks: as far above the median as six times the way down to the lowest."""
    low, median, high = min(values), float(np.median(values)), max(values)
    shown = [value for value in values if value <= median + 6 * (median - low)]
    high = max(shown)
    pad = 0.07 * (high - low) or 0.1 * abs(high) or 0.1
    return low - pad, high + pad


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _count(steps: float) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(steps) >= unit:
            return f"{steps / unit:g}{name}"
    return f"{steps:g}"


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, columnspacing=1.2)

"""The figures of a report, one function each; drawn in the house style of `svg`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from ...agents.policy_figure import REACH, PolicyMap, draw_band
from ..evaluation import Evaluation, Example, HedgerResult
from ..recorded import RecordedEvaluation
from .labels import Label, place_labels
from .svg import COLORS, INK, MUTE, PAPER, Pen, drawing, is_rule, legend_below, new_figure, pens

Array = NDArray[np.float64]

BINS = 90
EDGE = 0.005  # quantile at which the P&L axis ends, for a typical hedger
SHOWN = 0.85  # share of the hedgers whose tail fits the axis: the others may run out of it
RAREST = 20  # paths: a tail probability rests on so many at least
LESS_MORE = LinearSegmentedColormap.from_list(
    "less-more", [COLORS["blue"][0], "#ffffff", COLORS["vermilion"][0]]
)
NONE_SOME = LinearSegmentedColormap.from_list("none-some", ["#ffffff", COLORS["green"][0]])
BLACK, WHITE = "#010101", "#fefefe"  # on a heat map, whose colours are the same in the dark
NOTED = 0.01  # share of paths beyond the axis that is worth a word


@drawing()
def pnl_distribution(evaluation: Evaluation) -> Figure:
    """One histogram of P&L for each hedger, lowest risk on top, with delta's outline behind it.

    Each is as high as its row. A bar marks -VaR 95 %, a triangle -CVaR 95 %. The axis ends at
    quantiles; what lies beyond is written as a share of paths.
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
    text: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "fontsize": 9.5}
    text["bbox"] = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
    axes.text(0.0, base + 0.42, result.name, color=pen.color, fontweight="bold", **text)
    beyond = [float((result.pnl < low).mean()), float((result.pnl > high).mean())]
    if beyond[0] > NOTED:
        axes.text(0.0, base + 0.1, f"← {_percent(beyond[0])}", color=MUTE, **text)
    if beyond[1] > NOTED:
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
    ends = [float(curve[-1]) for curve in losses.values()]
    right = 1.1 * float(np.quantile(ends, SHOWN))
    if right > 0:
        axes.set_xlim(0.0, right)
    axes.set_xlabel("loss, money")
    axes.set_title("share of paths that lose more", color=MUTE)
    legend_below(figure, axes.get_legend_handles_labels()[0])
    return figure


@drawing()
def cost_against_risk(document: Mapping[str, Any]) -> Figure:
    """Mean cost and risk of every hedger with their intervals, from ``evaluation.json``.

    ``document`` is `Evaluation.document()`. Hedgers far above the others are off the scale: an
    arrow at the upper edge names them with their risk.
    """
    hedgers = document["hedgers"]
    look = pens([hedger["name"] for hedger in hedgers])
    figure = new_figure(3.5)
    axes = figure.subplots()
    bottom, top = span([end for h in hedgers for end in _ends(h["risk"])])
    labels, occupied = [], []
    for hedger in hedgers:
        pen, cost, risk = look[hedger["name"]], hedger["cost"], hedger["risk"]["value"]
        if risk > top:
            axes.plot(cost, top, marker=6, markersize=8, color=pen.color, clip_on=False)
            labels.append(Label(f"{hedger['name']}: {risk:.3g}", (cost, top), pen.color))
            continue
        ends = hedger["intervals"]["cost"] or [cost, cost]
        low, high = _ends(hedger["risk"])
        axes.plot(ends, [risk, risk], color=pen.color, linewidth=1.4)
        axes.plot([cost, cost], [low, high], color=pen.color, linewidth=1.4)
        axes.plot(cost, risk, marker=pen.marker, markersize=7, color=pen.color)
        occupied += [((ends[0], risk), (ends[1], risk)), ((cost, low), (cost, high))]
        labels.append(Label(hedger["name"], (cost, risk), pen.color))
    axes.set_ylim(bottom, top)
    axes.margins(x=0.1)
    delta = next((hedger for hedger in hedgers if hedger["name"] == "delta"), None)
    if delta is not None:
        level = delta["risk"]["value"]
        axes.axhline(level, color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
        occupied.append(((axes.get_xlim()[0], level), (axes.get_xlim()[1], level)))
    axes.set_xlabel("mean cost of a path, money")
    axes.set_title(f"{document['objective']}, money", color=MUTE)
    place_labels(axes, occupied, sorted(labels, key=_rank))
    return figure


def _rank(label: Label) -> int:
    """Where there is not room for all names: learned policies first, then what judges them."""
    name = label.text.partition(": ")[0]
    return 2 if is_rule(name) and name not in ("optimal", "delta", "none") else int(is_rule(name))


def _ends(estimate: Mapping[str, float | None]) -> list[float]:
    """The interval about a value, or the value twice where it has none."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    assert value is not None
    return [value, value] if low is None or high is None else [low, high]


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
    titles = (
        "spot, money",
        "holding of the underlying, units",
        "its trades, units",
        "P&L so far, money",
    )
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, color=MUTE)
        axes.margins(x=0.01)
    wealth.set_xlabel("days")
    figure.align_titles()
    # Two rows, with a jump or without: examples beside each other keep their panels in line.
    legend_below(figure, _example_key(example, look), (len(example.holdings) + 3) // 2)
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
    """Where a policy wants to be less delta-neutral, over spot and days left.

    Between the dashed lines lie 95 % of the spots; outside them a policy has seen little.
    """
    middle = (found.lower + found.upper) / 2 - found.neutral
    return _heat_map(found, middle, LESS_MORE, "middle of the band less delta-neutral, units")


@drawing()
def band_width(found: PolicyMap) -> Figure:
    """How wide a policy's no-trade band is, over spot and days left, as `policy_surface`."""
    width = found.upper - found.lower
    return _heat_map(found, width, NONE_SOME, "width of the no-trade band, units")


def _heat_map(found: PolicyMap, values: Array, colors: Colormap, title: str) -> Figure:
    """Values over spot and days left, by colours that fit those between the dashed lines."""
    figure = new_figure(4.1)
    axes = figure.subplots()
    spots, days = _borders(found.spot), _borders(found.years_left * 365)
    low, high = _likely(found)
    inside = np.abs(values)[(found.spot >= low[:, None]) & (found.spot <= high[:, None])]
    reach = max(float(inside.max()), 1e-9)
    least = -reach if colors is LESS_MORE else 0.0
    mesh = axes.pcolormesh(
        spots, days, values, cmap=colors, vmin=least, vmax=reach, rasterized=True
    )
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, extend="both" if least else "max")
    bar.locator = MaxNLocator(5)
    bar.outline.set_visible(False)
    for side in (low, high):
        height = found.years_left * 365
        axes.plot(side, height, color=WHITE, linewidth=2.6, alpha=0.8)
        axes.plot(side, height, color=BLACK, linewidth=1.0, linestyle=(0, (4, 2)))
    axes.set_xlim(spots[0], spots[-1])
    axes.set_ylim(days[-1], days[0])
    axes.grid(visible=False)
    axes.set_xlabel("spot, money")
    axes.set_ylabel("days left")
    axes.set_title(title, color=MUTE)
    return figure


def _likely(found: PolicyMap) -> tuple[Array, Array]:
    """The spots that are two standard deviations away at every date, ``[T]`` each.

    At the start, where the spot is known, as a step later.
    """
    logs, left = np.log(found.spot), found.years_left
    start, deviation = (logs[0] + logs[-1]) / 2, (logs[-1] - logs[0]) / (2 * REACH)
    elapsed = np.sqrt(np.maximum(1.0 - left / left[0], 1.0 / len(left)))
    return np.exp(start - 2 * deviation * elapsed), np.exp(start + 2 * deviation * elapsed)


def _borders(centres: Array) -> Array:
    """The borders of the cells about ``centres``."""
    if len(centres) == 1:
        return np.array([centres[0] + 0.5, centres[0] - 0.5])
    inner = (centres[1:] + centres[:-1]) / 2
    return np.concatenate(([2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]))


@drawing()
def no_trade_band(found: PolicyMap, color: str = INK) -> Figure:
    """Inside which holdings a policy does not trade: early, midway and late."""
    steps = len(found.years_left)
    dates = sorted({round(share * (steps - 1)) for share in (0.1, 0.5, 0.9)})
    figure = new_figure(0.9 + 1.2 * len(dates))
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
        axes.get_legend().remove()
    rows[-1].set_xlabel("spot, money")
    legend_below(figure, rows[-1].get_legend_handles_labels()[0])
    return figure


@drawing()
def learning_curve(
    curves: Mapping[str, Sequence[tuple[int, float]]],
    delta_risk: float | None,
    look: Mapping[str, Pen] | None = None,
) -> Figure:
    """Validation risk against environment steps, a line for each training, and delta's risk.

    ``delta_risk`` is null where it is not known; ``look`` has the pens of the page's other figures.
    """
    look = pens(list(curves)) if look is None else look
    figure = new_figure(3.5)
    axes = figure.subplots()
    risks_seen = [risk for curve in curves.values() for _, risk in curve]
    low, high = span(risks_seen)
    if delta_risk is not None:
        axes.axhline(delta_risk, color=INK, linewidth=1.2, linestyle=(0, (5, 1.6)), label="delta")
        pad = 0.05 * (max(high, delta_risk) - min(low, delta_risk))
        low, high = min(low, delta_risk - pad), max(high, delta_risk + pad)
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
    axes.set_ylim(low, high)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("environment steps")
    axes.set_title("risk on validation paths, money", color=MUTE)
    legend_below(figure, axes.get_legend_handles_labels()[0])
    return figure


def by_risk(evaluation: Evaluation | RecordedEvaluation) -> list[HedgerResult]:
    """The hedgers, lowest risk first."""
    return sorted(evaluation.hedgers, key=lambda result: result.risk.value)


def _window(samples: Sequence[Array]) -> tuple[float, float]:
    """The P&L axis: quantiles of the hedgers in the middle, so that none flattens the others."""
    low = np.quantile([np.quantile(sample, EDGE) for sample in samples], 0.4)
    high = np.quantile([np.quantile(sample, 1 - EDGE) for sample in samples], 0.6)
    pad = 0.02 * (high - low) or 0.5
    return float(low - pad), float(high + pad)


def _heights(pnl: Array, edges: Array) -> Array:
    """Counts over the bins, the highest 1."""
    counts = np.histogram(pnl, edges)[0].astype(np.float64)
    return np.asarray(counts / max(counts.max(), 1.0))


def span(values: Sequence[float]) -> tuple[float, float]:
    """An axis for risks: as far above the median as six times the way down to the lowest."""
    low, median, high = min(values), float(np.median(values)), max(values)
    shown = [value for value in values if value <= median + 6 * (median - low)]
    high = max(shown)
    pad = 0.07 * (high - low) or 0.1 * abs(high) or 0.1
    return low - pad, high + pad


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"

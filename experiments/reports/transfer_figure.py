"""The picture of a transfer: a heat map for every contender."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ..transfer_tables import cell_of, contenders
from .svg import COLORS, INK, MUTE, PAPER, drawing, new_figure

HEADROOM = (
    1.6  # the colours' ends are this much beyond the largest number, so that ink reads on all
)
LETTERS = 11  # of a label, before it is wrapped


@drawing()
def transfer_figure(document: Mapping[str, Any]) -> Figure:
    """A heat map for each contender, from `Transfer.document`.

    A row is where it was made, a column where it hedges; the number is how much more risk it takes
    than what was made there, on the diagonal the risk of that. All maps share one scale.
    """
    names, labels = contenders(document), [each["label"] for each in document["scenarios"]]
    figure = new_figure(1.2 + len(names) * (0.4 + 0.42 * len(labels)))
    panels = figure.subplots(len(names), 1, squeeze=False, sharex=True)[:, 0]
    excesses = [
        cell["excess"]["value"]
        for column in document["columns"]
        for cell in column["cells"]
        if cell["excess"] is not None
    ]
    reach = HEADROOM * max(map(abs, excesses), default=1.0) or 1.0
    for axes, name in zip(panels, names, strict=True):
        _panel(axes, document, name, labels, reach)
    title = "risk beyond that of what was made there (italic: its own), money"
    figure.suptitle(title, color=MUTE, fontsize=10, x=0.01, ha="left")
    figure.supxlabel("where it hedges", color=MUTE, fontsize=10)
    figure.supylabel("what it was made for", color=MUTE, fontsize=10)
    return figure


def _panel(
    axes: Axes, document: Mapping[str, Any], name: str, labels: list[str], reach: float
) -> None:
    ends = [COLORS["blue"][0], PAPER, COLORS["vermilion"][0]]
    found = [[cell_of(column, home, name) for column in document["columns"]] for home in labels]
    excess = [[0.0 if c["excess"] is None else c["excess"]["value"] for c in row] for row in found]
    axes.pcolormesh(
        excess,
        cmap=LinearSegmentedColormap.from_list("transfer", ends),
        vmin=-reach,
        vmax=reach,
        edgecolors=PAPER,
        linewidth=1.5,
    )
    for i, row in enumerate(found):
        for j, cell in enumerate(row):
            own = cell["excess"] is None
            text = f"{cell['risk']['value']:.3f}" if own else f"{cell['excess']['value']:+.3f}"
            style = "italic" if own else "normal"
            axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", color=INK, style=style)
    ticks = [i + 0.5 for i in range(len(labels))]
    axes.set_xticks(ticks, [textwrap.fill(label, LETTERS) for label in labels])
    axes.set_yticks(ticks, [textwrap.fill(label, LETTERS) for label in labels])
    axes.grid(visible=False)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(name, color=INK)

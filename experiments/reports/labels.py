"""Writes names beside the points of a scatter so that they cover neither points nor each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, pi, sin

from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from .svg import MUTE

RINGS = (9.0, 14.0, 22.0, 32.0, 44.0, 58.0)  # distances tried, points
SIDES = 16  # directions tried on each
NEAR = 14.0  # from further away a line leads to the point
HALF = 2.5  # half the width of a line with some air, points
SPACE = 1.0  # about a label and a point, points


Line = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Label:
    """A text that belongs to a point of the data."""

    text: str
    at: tuple[float, float]
    color: str


def place_labels(axes: Axes, occupied: Sequence[Line], labels: Sequence[Label]) -> None:
    """Put each label at the nearest place that is free and inside the axes.

    ``occupied`` are upright and level lines of the data that no label may cover.

    A label that finds none is left out. Call it last: it fixes the layout.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    transform, inside = axes.transData.transform, axes.get_window_extent()
    taken = [Bbox(transform(line)).padded(HALF) for line in occupied]
    taken += [Bbox([transform(label.at)] * 2).padded(2 * HALF) for label in labels]
    for label in labels:
        drawn = axes.annotate(
            label.text,
            label.at,
            xytext=(0, 0),
            textcoords="offset points",
            color=label.color,
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": MUTE, "linewidth": 0.7, "shrinkB": 5},
            annotation_clip=False,
            in_layout=False,
        )
        size = Text.get_window_extent(drawn)  # without its line
        x, y = transform(label.at)
        for dx, dy in _offsets(size.width / 2, size.height / 2):
            box = Bbox.from_bounds(
                x + dx - size.width / 2 - SPACE,
                y + dy - size.height / 2 - SPACE,
                size.width + 2 * SPACE,
                size.height + 2 * SPACE,
            )
            if _within(box, inside) and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                drawn.set_position((dx, dy))
                far = max(abs(dx) - size.width / 2, abs(dy) - size.height / 2) >= NEAR
                assert drawn.arrow_patch is not None
                drawn.arrow_patch.set_visible(far)
                break
        else:
            drawn.remove()


def _offsets(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Offsets of a label's centre, the nearest and the rightmost first."""
    for ring in RINGS:
        for k in range(SIDES):
            angle = pi * (k // 2 + k % 2) * (-1) ** k * 2 / SIDES
            yield (ring + width) * cos(angle), (ring + height) * sin(angle)


def _within(box: Bbox, frame: Bbox) -> bool:
    return bool(
        box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
    )

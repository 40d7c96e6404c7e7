"""Names beside points cover neither points nor lines nor each other."""

import itertools

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from deephedge.experiments.reports.labels import Label, place_labels
from deephedge.experiments.reports.svg import INK, drawing, new_figure


@drawing()
def labelled(points: list[tuple[float, float]], names: list[str], level: float) -> Axes:
    axes = new_figure(3.5).subplots()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    labels = [Label(name, at, INK) for name, at in zip(names, points, strict=True)]
    place_labels(axes, [((0.0, level), (1.0, level))], labels)
    return axes


def boxes(axes: Axes) -> list[Bbox]:
    """Where the labels are once drawn, without the lines that lead to them."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    return [Text.get_window_extent(text) for text in axes.texts]


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_free_of_each_other_of_points_of_lines_and_of_the_edge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = [(float(x), float(y)) for x, y in rng.uniform(0.3, 0.7, (8, 2))]
    points[1] = points[0]  # two hedgers at the same place
    points[2:4] = [(0.98, 0.97), (0.02, 0.02)]
    axes = labelled(points, [f"hedger:n={i}" for i in range(8)], level=0.5)
    found = boxes(axes)
    assert len(found) == 8
    assert not any(a.overlaps(b) for a, b in itertools.combinations(found, 2))
    frame = axes.get_window_extent()
    line = axes.transData.transform((0.0, 0.5))[1]
    for box in found:
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1
        assert not box.y0 < line < box.y1
        assert not any(box.contains(*axes.transData.transform(point)) for point in points)


def test_a_lone_label_is_right_beside_its_point_and_needs_no_line() -> None:
    axes = labelled([(0.5, 0.5)], ["delta"], level=0.9)
    (label,) = (text for text in axes.texts if isinstance(text, Annotation))
    (box,) = boxes(axes)
    x, y = axes.transData.transform((0.5, 0.5))
    assert 0 < box.x0 - x < 15
    assert box.y0 < y < box.y1
    assert label.arrow_patch is not None
    assert not label.arrow_patch.get_visible()


def test_a_label_without_a_place_is_left_out() -> None:
    names = [f"a-very-long-name-{i}" for i in range(30)]
    axes = labelled([(0.5, 0.5)] * 30, names, level=0.9)
    found = boxes(axes)
    assert 0 < len(found) < 30
    assert not any(a.overlaps(b) for a, b in itertools.combinations(found, 2))

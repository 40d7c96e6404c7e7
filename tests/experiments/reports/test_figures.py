"""What the figures show, read from the figures themselves."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from deephedge.agents.policy_figure import PolicyMap, policy_map
from deephedge.baselines import BandHedge, DeltaHedge, StaticHedge
from deephedge.envs import Scenario
from deephedge.experiments.evaluation import Evaluation, Example, evaluate, example_paths
from deephedge.experiments.reports import figures
from deephedge.experiments.reports.svg import MUTE, pens, svg


@pytest.fixture(scope="module")
def scenario(brief: Callable[..., Scenario]) -> Scenario:
    return brief("short-call-jumps", **{"market.intensity": "12"})


@pytest.fixture(scope="module")
def evaluation(scenario: Scenario) -> Evaluation:
    return evaluate(scenario, [StaticHedge(), BandHedge(width=0.2)], 4000)


@pytest.fixture(scope="module")
def example(scenario: Scenario) -> Example:
    return example_paths(scenario, [DeltaHedge(), BandHedge(width=0.2)])[0]


@pytest.fixture(scope="module")
def band(scenario: Scenario) -> PolicyMap:
    return policy_map(scenario, BandHedge(width=0.2), spots=21)


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def level(axes: Axes) -> list[float]:
    """The heights of lines from edge to edge."""
    spans = [line.get_ydata() for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    return [float(ys[0]) for ys in spans]


def test_each_hedger_has_its_histogram_and_its_tail_marks(evaluation: Evaluation) -> None:
    axes = figures.pnl_distribution(evaluation).axes[0]
    ordered = figures.by_risk(evaluation)
    assert [word for word in words(axes) if "%" not in word] == [r.name for r in ordered]
    low, high = axes.get_xlim()
    look = pens([result.name for result in evaluation.hedgers])
    filled = [patch for patch in axes.patches if isinstance(patch, StepPatch) and patch.get_fill()]
    for row, (result, patch) in enumerate(zip(ordered, filled, strict=True)):
        heights, edges, base = patch.get_data()
        assert base == -row
        counts = np.histogram(result.pnl, edges)[0]
        assert heights + row == pytest.approx(0.8 * counts / counts.max())
        assert to_hex(patch.get_facecolor()) == look[result.name].color
        for marker, figure in (("None", result.var_95), ("^", result.cvar_95)):
            drawn = [
                line.get_xdata()[0]
                for line in axes.lines
                if line.get_marker() == marker and abs(float(np.mean(line.get_ydata())) + row) < 0.2
            ]
            inside = low <= -figure.value <= high
            assert drawn == ([-figure.value] if inside else [])


def test_what_lies_beyond_the_axis_is_said(evaluation: Evaluation) -> None:
    axes = figures.pnl_distribution(evaluation).axes[0]
    low, high = axes.get_xlim()
    said = [word for word in words(axes) if "%" in word]
    expected = []
    for result in figures.by_risk(evaluation):
        below, above = float((result.pnl < low).mean()), float((result.pnl > high).mean())
        expected += [f"← {100 * below:.2g} %"] if below > 0.01 else []
        expected += [f"{100 * above:.2g} % →"] if above > 0.01 else []
    assert said == expected
    assert said


def test_the_tail_is_the_share_of_paths_that_lose_more(evaluation: Evaluation) -> None:
    axes = figures.loss_tail(evaluation).axes[0]
    for line in axes.lines:
        losses, shares = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        pnl = evaluation.result(str(line.get_label())).pnl
        assert shares[-1] * evaluation.paths == pytest.approx(20)
        for loss, share in zip(losses, shares, strict=True):
            # Ties and the order statistics between: a few paths of 4,000.
            assert float((-pnl > loss).mean()) <= share + 1e-3
            assert float((-pnl >= loss - 1e-9).mean()) >= share - 1e-3


def test_cost_against_risk_is_drawn_from_the_saved_document(evaluation: Evaluation) -> None:
    document = json.loads(json.dumps(evaluation.document()))
    figure = figures.cost_against_risk(document)
    axes = figure.axes[0]
    points = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if line.get_marker() != "None"
    }
    assert points == {(r.cost.value, r.risk.value) for r in evaluation.hedgers}
    intervals = [list(line.get_ydata()) for line in axes.lines]
    for result in evaluation.hedgers:
        assert [result.risk.low, result.risk.high] in intervals
    assert level(axes) == [evaluation.result("delta").risk.value]
    assert sorted(words(axes)) == sorted(result.name for result in evaluation.hedgers)
    assert svg(figure) == svg(figures.cost_against_risk(evaluation.document()))


def test_a_hedger_off_the_scale_is_named_with_its_risk(evaluation: Evaluation) -> None:
    document = evaluation.document()
    far = document["hedgers"][0]
    far["risk"] = {"value": 1000.0, "low": None, "high": None}
    axes = figures.cost_against_risk(document).axes[0]
    assert axes.get_ylim()[1] < 10
    assert f"{far['name']}: 1e+03" in words(axes)


def test_an_example_shows_holdings_trades_jumps_and_wealth(example: Example) -> None:
    jumpy = replace(example, jumps=np.array([1, 4]))
    figure = figures.example_path(jumpy)
    spot, holding, trades, wealth = figure.axes
    assert list(spot.lines[0].get_ydata()) == list(example.spot)
    marks = next(line for line in spot.lines if line.get_marker() == "v")
    assert list(marks.get_xdata()) == list(example.days[[1, 4]])
    assert list(marks.get_ydata()) == list(example.spot[[1, 4]])
    shown = [patch.get_data().values for patch in holding.patches if isinstance(patch, StepPatch)]
    expected = [example.neutral, *example.holdings.values()]
    assert all(np.array_equal(a, b) for a, b in zip(shown, expected, strict=True))
    for held, lines in zip(example.holdings.values(), trades.collections, strict=True):
        assert isinstance(lines, LineCollection)
        sizes = np.array([segment[1, 1] for segment in lines.get_segments()])
        assert sizes == pytest.approx(np.diff(held, prepend=0.0)[np.diff(held, prepend=0.0) != 0])
    drawn = {tuple(line.get_ydata()) for line in wealth.lines}
    assert {tuple(each) for each in example.wealth.values()} <= drawn
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert key == ["delta-neutral", *example.holdings, "jump"]
    calm = figures.example_path(replace(example, jumps=np.array([], dtype=np.int64)))
    assert "jump" not in [text.get_text() for text in calm.legends[0].get_texts()]


def mesh_of(figure: Figure) -> Any:
    return figure.axes[0].collections[0]


def test_the_surface_is_the_middle_of_the_band_less_delta_neutral(band: PolicyMap) -> None:
    shifted = replace(band, lower=band.lower - 0.1)
    surface = mesh_of(figures.policy_surface(shifted))
    assert np.asarray(surface.get_array()) == pytest.approx(-0.05, abs=1e-12)
    assert surface.get_clim() == pytest.approx((-0.05, 0.05))
    width = mesh_of(figures.band_width(shifted))
    assert np.asarray(width.get_array()) == pytest.approx(0.5)
    assert width.get_clim() == pytest.approx((0.0, 0.5))
    assert surface.get_rasterized()
    assert width.get_rasterized()


def test_the_dashed_lines_hold_95_percent_of_the_spots(scenario: Scenario, band: PolicyMap) -> None:
    axes = figures.policy_surface(band).axes[0]
    volatility = scenario.market.volatility
    elapsed = scenario.calendar.horizon - band.years_left
    low, high = np.asarray(axes.lines[0].get_xdata()), np.asarray(axes.lines[-1].get_xdata())
    reach = 2 * volatility * np.sqrt(elapsed[1:])
    assert np.log(high[1:] / 100) == pytest.approx(reach)
    assert np.log(low[1:] / 100) == pytest.approx(-reach)


def test_the_band_is_drawn_early_midway_and_late(band: PolicyMap) -> None:
    figure = figures.no_trade_band(band)
    assert len(figure.axes) == 3
    for axes, date in zip(figure.axes, (0, 2, 4), strict=True):
        drawn = [list(line.get_ydata()) for line in axes.lines]
        for expected in (band.neutral, band.lower, band.upper):
            assert list(expected[date]) in drawn
        assert f"{band.years_left[date] * 365:.3g} days left" in axes.get_title("left")


def test_a_policy_of_one_date_and_without_a_band_can_be_drawn(band: PolicyMap) -> None:
    target = band.neutral[:1]
    found = PolicyMap(band.years_left[:1], band.spot, target, target, target)
    for draw in (figures.policy_surface, figures.band_width, figures.no_trade_band):
        assert svg(draw(found)).count("<svg") == 1


def test_learning_curves_stand_against_the_risk_of_delta() -> None:
    curves = {"a": [(0, 9.0), (10, 0.4), (20, 0.3)], "b": [(0, 0.5), (10, 0.35), (20, 0.31)]}
    axes = figures.learning_curve(curves, 0.6).axes[0]
    assert level(axes) == [0.6]
    for name, curve in curves.items():
        line = next(each for each in axes.lines if each.get_label() == name)
        assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == curve
    low, high = axes.get_ylim()
    assert low < 0.3 < 0.6 < high < 9.0  # an untrained policy does not flatten the rest
    assert level(figures.learning_curve(curves, None).axes[0]) == []


def test_the_same_hedger_is_drawn_alike_in_every_figure(example: Example) -> None:
    look = pens(["none", "static", "delta", "ppo", "sac", *example.holdings])
    axes = figures.example_path(example, look).axes[1]
    steps = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    colors = [to_hex(patch.get_edgecolor()) for patch in steps]
    assert colors == [MUTE, *[look[name].color for name in example.holdings]]
    curve = figures.learning_curve({"sac": [(0, 1.0), (1, 0.5)]}, None, look).axes[0].lines[0]
    assert curve.get_color() == look["sac"].color != look["ppo"].color


def test_hedgers_differ_in_more_than_colour() -> None:
    names = ["none", "delta", "static", "band", *[f"ppo-seed{i}" for i in range(12)]]
    look = pens(names)
    assert len({(pen.color, pen.dash) for pen in look.values()}) == len(names)
    first = [look[name] for name in names[:8]]
    assert len({pen.marker for pen in first}) == 8
    assert len({str(pen.dash) + str(pen.width) for pen in first}) >= 6


def test_an_axis_shows_all_but_what_is_far_above_the_rest() -> None:
    low, high = figures.span([1.0, 2.0, 3.0, 20.0])
    assert low < 1.0
    assert 3.0 < high < 20.0
    low, high = figures.span([1.0, 2.0, 3.0, 4.0])
    assert low < 1.0 < 4.0 < high
    low, high = figures.span([5.0])
    assert low < 5.0 < high

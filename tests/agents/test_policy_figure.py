"""The picture of a policy: the band it shows is the band that is played."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from scipy.stats import norm

from deephedge.agents import Trained
from deephedge.agents.policy_figure import draw_band, policy_figure, policy_map
from deephedge.baselines import BandHedge, DeltaHedge, NoHedge, OptimalHedge
from deephedge.envs import Known, Scenario, load_scenario, preset_names
from deephedge.envs.desk import Desk
from deephedge.envs.namespace import NUMPY, X
from deephedge.envs.observation import columns


@pytest.fixture
def heston() -> Scenario:
    """A scenario whose optimum is not known."""
    return load_scenario("heston-call", {"calendar.steps": "5"})


@pytest.mark.parametrize("width", [0.05, 0.2])
def test_the_map_of_a_band_is_the_band(short_call: Scenario, width: float) -> None:
    found = policy_map(short_call, BandHedge(width=width))
    np.testing.assert_allclose(found.lower, found.neutral - width, atol=1e-12)
    np.testing.assert_allclose(found.upper, found.neutral + width, atol=1e-12)


def test_delta_has_no_band_and_no_hedge_no_holding(short_call: Scenario) -> None:
    delta = policy_map(short_call, DeltaHedge())
    np.testing.assert_array_equal(delta.lower, delta.upper)
    np.testing.assert_array_equal(delta.lower, delta.neutral)
    nothing = policy_map(short_call, NoHedge())
    assert not nothing.lower.any() and not nothing.upper.any()


def test_dates_and_spots_are_those_of_the_scenario(short_call: Scenario) -> None:
    found = policy_map(short_call, DeltaHedge(), spots=41)
    np.testing.assert_allclose(found.years_left, np.arange(30, 0, -1) / 365, rtol=1e-12)
    deviation = 0.2 * (30 / 365) ** 0.5
    np.testing.assert_allclose(
        np.log(found.spot / 100), np.linspace(-2.5, 2.5, 41) * deviation, atol=1e-12
    )
    spread = 0.2 * np.sqrt(found.years_left)[:, None]
    expected = norm.cdf(np.log(found.spot / 100) / spread + spread / 2)
    np.testing.assert_allclose(found.neutral, expected, atol=1e-9)


def test_holdings_beyond_the_limits_are_not_shown() -> None:
    scenario = load_scenario("short-call", {"hedges.0.limits": "{lower: 0.0, upper: 0.6}"})
    found = policy_map(scenario, BandHedge(width=0.1))
    assert found.neutral.max() > 0.9
    np.testing.assert_allclose(found.lower, np.clip(found.neutral - 0.1, 0.0, 0.6), atol=1e-12)
    np.testing.assert_allclose(found.upper, np.clip(found.neutral + 0.1, 0.0, 0.6), atol=1e-12)


FEW = ("short-call", "book-jumps", "multi-asset-book", "market-maker-book")


@pytest.mark.parametrize(
    "preset",
    [pytest.param(n, marks=[] if n in FEW else pytest.mark.slow) for n in preset_names()],
)
def test_every_scenario_can_be_drawn(preset: str) -> None:
    figure = policy_figure(load_scenario(preset), BandHedge(width=0.1))
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "name", ["ppo", *(pytest.param(n, marks=pytest.mark.slow) for n in ("recurrent-ppo", "dqn"))]
)
def test_learned_policies_can_be_drawn(
    trained: Callable[[str], Trained], short_call: Scenario, name: str
) -> None:
    hedger = trained(name).hedger
    found = policy_map(short_call, hedger)
    assert (found.lower <= found.upper + 1e-6).all()
    assert np.ptp(found.upper - found.neutral) > 1e-4
    assert png(policy_figure(short_call, hedger)).startswith(b"\x89PNG")


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=40)
    return buffer.getvalue()


def test_axes_say_what_they_show(short_call: Scenario) -> None:
    figure = policy_figure(short_call, BandHedge(width=0.1))
    surface, band, colours = figure.axes
    assert (surface.get_xlabel(), surface.get_ylabel()) == ("spot", "days left")
    assert colours.get_ylabel() == "middle of the band less delta-neutral"
    assert band.get_title() == "no-trade band, 15 days left"
    legend = band.get_legend()
    assert legend is not None
    shown = ["no trade", "delta-neutral", "optimum's band"]
    assert [text.get_text() for text in legend.get_texts()] == shown


def test_the_optimums_band_is_drawn_where_it_is_known(
    short_call: Scenario, heston: Scenario
) -> None:
    band = policy_figure(short_call, DeltaHedge()).axes[1]
    best = policy_map(short_call, OptimalHedge())
    lower, upper = band.lines[-2:]
    np.testing.assert_array_equal(lower.get_ydata(), best.lower[15])
    np.testing.assert_array_equal(upper.get_ydata(), best.upper[15])
    assert (best.upper - best.lower)[15].max() > 0.1
    unknown = policy_figure(heston, DeltaHedge()).axes[1]
    assert len(unknown.lines) == 1


def test_the_drawn_band_is_that_of_the_date(short_call: Scenario) -> None:
    found = policy_map(short_call, BandHedge(width=0.1))
    axes = Figure().subplots()
    draw_band(axes, found, 20)
    assert axes.get_title() == "no-trade band, 10 days left"
    (area,) = axes.collections
    corners = np.asarray(area.get_paths()[0].vertices)
    middle = corners[np.isclose(corners[:, 0], found.spot[40]), 1]
    edges = found.lower[20, 40], found.upper[20, 40]
    np.testing.assert_allclose([middle.min(), middle.max()], edges, atol=1e-12)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), found.neutral[20])


def test_no_figure_is_left_to_matplotlibs_global_state(short_call: Scenario) -> None:
    """pyplot would keep every figure of a training in memory."""
    open_before = pyplot.get_fignums()
    policy_figure(short_call, DeltaHedge())
    assert pyplot.get_fignums() == open_before


def test_a_policy_is_shown_what_it_sees_under_a_delay_and_impact() -> None:
    """Orders under way are of what is held, and no impact is left."""
    changes = {"execution.delay": "2", "hedges.0.impact": "{transient: 0.01}"}
    scenario = load_scenario("short-call", changes)
    desk = Desk(scenario, NUMPY)
    names = columns(desk.features, desk.contract)

    class Reads:
        name = "reads"

        def start(self, n: int) -> None:
            return None

        def act(self, known: Known, state: Any) -> tuple[X, Any]:
            seen = dict(zip(names, known.observe(desk).T, strict=True))
            for name in ("holding_0", "pending_0_0", "pending_1_0"):
                np.testing.assert_allclose(seen[name], known.holding[:, 0], atol=1e-6)
            assert not seen["displacement_0"].any()
            return 0.0 * known.holding, None

    policy_map(scenario, Reads(), spots=5)

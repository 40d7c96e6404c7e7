"""The picture of single paths: its lines are what is held and earned on them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot

from deephedge.agents.example_figure import example_episodes, example_figure
from deephedge.baselines import BandHedge, DeltaHedge, OptimalHedge
from deephedge.envs import Scenario, load_scenario, preset_names, rollout


def test_the_lines_are_what_is_held_and_earned(short_call: Scenario) -> None:
    episodes = example_episodes(short_call)
    hedger = BandHedge(width=0.1)
    panels = np.array(example_figure(short_call, episodes, hedger).axes).reshape(3, 2)
    outcomes = {
        "delta": rollout(short_call, episodes, DeltaHedge(), record=True),
        "optimum": rollout(short_call, episodes, OptimalHedge(), record=True),
        "policy": rollout(short_call, episodes, hedger, record=True),
    }
    spots = episodes.numpy().spot
    ends = []
    for spot, holding, wealth in panels.T:
        (path,) = np.flatnonzero((spots == spot.lines[0].get_ydata()[:, None]).all(0))
        labels = [patch.get_label() for patch in holding.patches]
        assert labels == list(outcomes)
        for outcome, steps, line in zip(
            outcomes.values(), holding.patches, wealth.lines, strict=True
        ):
            assert outcome.holding is not None and outcome.wealth is not None
            np.testing.assert_array_equal(steps.get_data().values, outcome.holding[:, path, 0])
            np.testing.assert_array_equal(line.get_ydata(), outcome.wealth[:, path])
        ends.append((outcomes["delta"].pnl < outcomes["delta"].pnl[path]).mean())
    assert ends == pytest.approx([0.05, 0.95], abs=0.01)


def test_the_paths_are_the_same_every_time(short_call: Scenario) -> None:
    one, two = example_episodes(short_call), example_episodes(short_call)
    assert (one.spot == two.spot).all()


def test_without_a_known_optimum_there_are_two_hedgers() -> None:
    scenario = load_scenario("heston-call", {"calendar.steps": "5"})
    figure = example_figure(scenario, example_episodes(scenario), DeltaHedge())
    assert [patch.get_label() for patch in figure.axes[2].patches] == ["delta", "policy"]


FEW = ("short-call", "multi-asset-book")


@pytest.mark.parametrize(
    "preset",
    [pytest.param(n, marks=[] if n in FEW else pytest.mark.slow) for n in preset_names()],
)
def test_every_scenario_can_be_drawn(preset: str) -> None:
    scenario, open_before = load_scenario(preset), pyplot.get_fignums()
    figure = example_figure(scenario, example_episodes(scenario), BandHedge(width=0.1))
    figure.canvas.draw()
    assert pyplot.get_fignums() == open_before  # pyplot would keep every figure in memory

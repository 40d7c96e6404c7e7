"""Single paths as a picture: what a policy holds and earns beside delta and the optimum."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..baselines import DeltaHedge, OptimalHedge, known_optimum
from ..envs import Episodes, Hedger, Outcome, Scenario, rollout, simulate

PATHS = 256  # to choose from
CHOSEN = {"bad": 0.05, "good": 0.95}  # quantiles of delta's P&L
SIZE, DPI = (9.0, 4.8), 80  # inches, dots an inch


def example_episodes(scenario: Scenario) -> Episodes:
    """The paths that examples are chosen from, the same every time."""
    recorded = scenario.market.recorded_paths
    paths = PATHS if recorded is None else min(PATHS, recorded)
    return simulate(scenario, paths, torch.Generator().manual_seed(0), torch.float64)


def example_figure(scenario: Scenario, episodes: Episodes, hedger: Hedger) -> Figure:
    """Spot, holding of the underlying and P&L so far on a bad and on a good path.

    Bad and good are so for delta hedging, whatever the hedger makes of them.
    """
    hedgers = {"policy": hedger, "delta": DeltaHedge()}
    if known_optimum(scenario) is not None:
        hedgers["optimum"] = OptimalHedge()
    outcomes = {
        name: rollout(scenario, episodes, each, record=True) for name, each in hedgers.items()
    }
    order = np.argsort(outcomes["delta"].pnl, kind="stable")
    chosen = {name: int(order[round(q * (len(order) - 1))]) for name, q in CHOSEN.items()}
    return _drawn(scenario, episodes, outcomes, chosen)


LINES = {
    "delta": {"color": "black", "linestyle": "--", "linewidth": 1.0},
    "optimum": {"color": "tab:orange", "linewidth": 1.2},
    "policy": {"color": "tab:blue", "linewidth": 1.6},
}


def _drawn(
    scenario: Scenario, episodes: Episodes, outcomes: dict[str, Outcome], chosen: dict[str, int]
) -> Figure:
    arrays, first = episodes.numpy(), scenario.contract.options
    spots = [arrays.spot, *arrays.other_spots][scenario.contract.assets[first]]
    figure = Figure(figsize=SIZE, dpi=DPI)
    # Margins by hand: a layout that is solved for takes as long as the drawing.
    figure.subplots_adjust(0.07, 0.1, 0.99, 0.87, wspace=0.12, hspace=0.12)
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, len(chosen), sharex=True, squeeze=False)
    for column, (name, path) in zip(panels.T, chosen.items(), strict=True):
        days = 365 * arrays.times[:, path if arrays.times.shape[1] > 1 else 0]
        spot, holding, wealth = column
        spot.plot(days, spots[:, path], color="black", linewidth=1.0)
        for who, line in LINES.items():
            if who in outcomes:
                held, earned = outcomes[who].holding, outcomes[who].wealth
                assert held is not None and earned is not None
                holding.stairs(held[:, path, first], days, baseline=None, label=who, **line)
                wealth.plot(days, earned[:, path], **line)
        spot.set_title(f"a {name} path for delta", fontsize=9)
        wealth.set_xlabel("days")
    for axes, title in zip(panels[:, 0], ("spot", "holding", "P&L so far"), strict=True):
        axes.set_ylabel(title)
    for axes in panels.flat:
        axes.locator_params(nbins=4)  # ticks are what takes long to draw
        axes.tick_params(labelsize=8)
        axes.grid(linewidth=0.4, alpha=0.5)
    handles, labels = panels[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=3, fontsize=9, frameon=False)
    return figure

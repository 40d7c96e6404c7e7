"""A path of every strategy, hedged by delta and by the rule of the desk; `make_figures` draws them.

The path is a middling one of 2,048, as delta hedging ranks them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from matplotlib.figure import Figure

from deephedge import load_scenario
from deephedge.experiments import evaluation
from deephedge.experiments.evaluation import example_paths
from deephedge.experiments.hedgers import named_hedgers
from deephedge.experiments.reports.figures import example_path

SEED, MIDDLING = 1_000, 1
RULES = {
    "delta-hedging": "band:width=0.1",
    "gamma-scalping": "band:width=0.03,vol=0.25",
    "gamma-scalping-dear": "band:width=0.03",
    "vega-hedging": "delta-vega",
    "vega-hedging-sabr": "delta-vega",
    "portfolio-insurance": "cppi",
    "convertible-arbitrage": "jump-to-default",
    "merger-arbitrage": "kelly:fraction=0.5",
    "tail-risk-hedging": "put-overlay",
    "market-maker": "band:width=0.05",
    "market-maker-book": "delta-gamma",
    "multi-asset-book": "band:width=0.05",
    "small-account": "band:width=0.05",
    "black-swan": "band:width=0.1",
}


def strategy_figures() -> dict[str, Callable[[], Figure]]:
    """Every figure by its file's name."""
    return {f"strategy-{name}": partial(strategy_figure, name) for name in RULES}


def strategy_figure(name: str) -> Figure:
    """A path of one of them."""
    scenario, blocks = load_scenario(name), evaluation.BLOCK
    evaluation.BLOCK = 2_048
    try:
        shown = named_hedgers(["delta", RULES[name]], scenario, SEED)
        return example_path(example_paths(scenario, shown, SEED)[MIDDLING])
    finally:
        evaluation.BLOCK = blocks

"""Trade-offs: dynamic hedging beside static hedging and none, in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..baselines import (
    BandHedge,
    DeltaHedge,
    NoHedge,
    StaticHedge,
    StaticOptionsHedge,
    tuned,
    tuning_paths,
)
from ..envs import Hedger, Scenario
from ..envs.markets import Replay
from . import statistics
from .evaluation import Report
from .reports.wording import digits, interval, number
from .shocks import VolShift
from .statistics import Estimate
from .stress import CALM, Stressed, stress

VOL_TIMES = 1.5  # how much rougher the market of the adaptability test is
UPSIDE = 0.1  # the best share of the unhedged paths
SHIFTED = "vol shift"

MEASURES = {
    "std": "std of the P&L",
    "cvar_95": "CVaR 95 % of the loss",
    "risk": "the scenario's risk",
    "cost": "cost",
    "trades": "trades",
    "shifted_risk": "risk where vol is 1.5 times as high from the start",
    "added_by_shift": "what that adds",
    "upside": "mean P&L on the best tenth of the unhedged paths",
    "worst": "largest loss of a path",
}


@dataclass(frozen=True)
class TradeOff:
    """One hedger's figures; money, but ``trades``.

    Attributes:
        name: the hedger's; ``style`` is none, static or dynamic.
        measures: by the names of `MEASURES`; the largest loss is one path's and has no interval.
    """

    name: str
    style: str
    measures: dict[str, Estimate]


@dataclass(frozen=True)
class TradeOffs:
    """The hedgers of a scenario side by side."""

    scenario: Scenario
    paths: int
    seed: int
    hedgers: tuple[TradeOff, ...]

    def document(self) -> dict[str, Any]:
        """As plain data, for ``--json``."""
        return {
            "scenario": self.scenario.name,
            "paths": self.paths,
            "seed": self.seed,
            "objective": self.scenario.objective.label,
            "measures": MEASURES,
            "hedgers": [
                {
                    "name": each.name,
                    "style": each.style,
                    **{
                        name: {"value": e.value, "low": e.low, "high": e.high}
                        for name, e in each.measures.items()
                    },
                }
                for each in self.hedgers
            ],
        }

    @property
    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The table's headings and its rows, a measure each with the hedgers side by side."""
        rows = []
        for measure, meaning in MEASURES.items():
            estimates = [each.measures[measure] for each in self.hedgers]
            decimals = digits(estimates)
            cells = [f"{number(e.value, decimals)} {interval(e, decimals)}" for e in estimates]
            if measure == "worst":
                cells = [number(e.value, decimals) for e in estimates]
            rows.append([meaning, *cells])
        return ["", *[f"{each.name} ({each.style})" for each in self.hedgers]], rows


def trade_offs(
    scenario: Scenario,
    hedgers: Sequence[Hedger] = (),
    paths: int = 20_000,
    seed: int = 0,
    progress: Report | None = None,
) -> TradeOffs:
    """Hedgers beside none, the static hedges, delta, the best band and a known optimum.

    All on the same paths. The market with more vol is the same draws under `VolShift`, of which
    nobody is told. Evidence: tests/experiments/test_trade_offs.py.

    Raises:
        ValueError: as `evaluate`.
    """
    shown = [*_bundled(scenario, seed), *hedgers]
    shock = {SHIFTED: VolShift(times=VOL_TIMES, at=0.0)}
    found = stress(scenario, shown, shock, paths, seed, progress)
    calm = {each.result.name: each for each in found.by_shock[CALM]}
    rough = {each.result.name: each for each in found.by_shock[SHIFTED]}
    unhedged = calm[NoHedge().name].result.pnl
    best = np.argsort(-unhedged, kind="stable")[: max(round(UPSIDE * paths), 2)]
    order = sorted(calm.values(), key=lambda each: (_STYLES.index(_style(each)), _risk(each)))
    return TradeOffs(
        scenario,
        paths,
        seed,
        tuple(
            TradeOff(
                each.result.name,
                _style(each),
                {
                    "std": each.result.std,
                    "cvar_95": each.result.cvar_95,
                    "risk": each.result.risk,
                    "cost": each.result.cost,
                    "trades": each.result.trades,
                    "shifted_risk": rough[each.result.name].result.risk,
                    "added_by_shift": rough[each.result.name].added,
                    "upside": statistics.mean(each.result.pnl[best]),
                    "worst": Estimate(each.worst, None, None),
                },
            )
            for each in order
        ),
    )


_STYLES = ("none", "static", "dynamic")


def _bundled(scenario: Scenario, seed: int) -> list[Hedger]:
    static = [StaticHedge(), StaticOptionsHedge()]
    shown: list[Hedger] = [rule for rule in static if rule.refusal(scenario) is None]
    shown.append(DeltaHedge())
    band = BandHedge()
    if not isinstance(scenario.market, Replay) and band.refusal(scenario) is None:
        shown.append(tuned(band, "width", scenario, tuning_paths(scenario, seed)))
    return shown


def _style(each: Stressed) -> str:
    name = each.result.name.partition(":")[0]
    if name == NoHedge().name:
        return "none"
    return "static" if name in (StaticHedge().name, StaticOptionsHedge().name) else "dynamic"


def _risk(each: Stressed) -> float:
    return each.result.risk.value

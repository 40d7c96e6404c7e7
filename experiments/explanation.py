"""Explains a hedger on a scenario: its P&L in parts, a path's blotter, the position's risks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..baselines import DeltaHedge, NoHedge, OptimalHedge, known_optimum
from ..envs import Episodes, Hedger, Outcome, Scenario, mark, rollout
from ..envs.calendar import DAYS_PER_YEAR
from . import statistics
from .attribution import Attribution, Floats, attributed
from .differences import Beside, Difference, delta_holdings, differences
from .evaluation import BLOCK, evaluation_paths
from .ladder import Rung, ladder, stress_grid
from .statistics import Estimate

CHOICES = ("worst", "median", "best")


@dataclass(frozen=True)
class Explanation:
    """What there is to say about one hedger's P&L; arrays are over the first evaluation paths.

    Attributes:
        scenario, hedger, seed: of what.
        attribution: of every path.
        effectiveness: 1 - variance / variance unhedged.
        path: the number of the path whose blotter is shown, and ``chosen`` why.
        blotter: its steps, a row each.
        ladder, stress: of the unhedged position at time 0.
        against: by reference (``delta``, ``optimal``) where the holdings differ from its.
    """

    scenario: Scenario
    hedger: str
    seed: int
    attribution: Attribution
    effectiveness: Estimate | None
    path: int
    chosen: str
    blotter: list[dict[str, Any]]
    ladder: list[Rung]
    stress: list[dict[str, Any]]
    against: dict[str, list[Difference]]

    @property
    def paths(self) -> int:
        """How many."""
        return int(self.attribution.pnl.shape[1])

    @property
    def totals(self) -> dict[str, tuple[Estimate, Estimate]]:
        """Mean and standard deviation over the paths of every part's total, and of the P&L."""
        totals = self.attribution.totals | {"pnl": self.attribution.pnl.sum(axis=0)}
        return {name: (statistics.mean(x), statistics.std(x)) for name, x in totals.items()}

    def document(self) -> dict[str, Any]:
        """As plain data, for ``--json``."""
        return {
            "scenario": self.scenario.name,
            "hedger": self.hedger,
            "paths": self.paths,
            "seed": self.seed,
            "totals": [
                {"part": name, "mean": _interval(centre), "std": _interval(spread)}
                for name, (centre, spread) in self.totals.items()
            ],
            "effectiveness": None if self.effectiveness is None else _interval(self.effectiveness),
            "path": {"number": self.path, "chosen": self.chosen, "steps": self.blotter},
            "ladder": [asdict(rung) for rung in self.ladder],
            "stress": self.stress,
            "differences": {
                name: [_difference(each) for each in found] for name, found in self.against.items()
            },
        }


def explain(
    scenario: Scenario,
    hedger: Hedger,
    paths: int = 10_000,
    seed: int = 0,
    path: str = "worst",
) -> Explanation:
    """Explain a hedger on the first ``paths`` evaluation paths of a seed.

    ``path`` is ``worst``, ``median`` or ``best`` by P&L, or a number from 0.

    Raises:
        ValueError: for more paths than a block of evaluation has, for a path that there is not, or
            from the hedger.
    """
    recorded = scenario.market.recorded_paths
    most = BLOCK if recorded is None else min(BLOCK, recorded)
    if not 2 <= paths <= most:
        raise ValueError(f"paths {paths}: give from 2 to {most}")
    if path not in CHOICES and not (path.isdigit() and int(path) < paths):
        raise ValueError(f"path {path!r}: give {', '.join(CHOICES)} or a number below {paths}")
    block, generator = evaluation_paths(scenario, seed, 0)
    drawn = block.columns(torch.arange(paths))
    episodes = mark(scenario, drawn, generator)
    outcome = rollout(scenario, episodes, hedger, record=True)
    attribution = attributed(scenario, drawn, outcome)
    seen = episodes if outcome.market is None else mark(scenario, outcome.market)
    chosen = _path(outcome.pnl, path)
    unhedged = rollout(scenario, episodes, NoHedge()).pnl
    return Explanation(
        scenario=scenario,
        hedger=hedger.name,
        seed=seed,
        attribution=attribution,
        effectiveness=statistics.effectiveness(outcome.pnl, unhedged),
        path=chosen,
        chosen=path if path in CHOICES else "by number",
        blotter=blotter(seen, attribution, chosen),
        ladder=ladder(scenario),
        stress=stress_grid(scenario),
        against=_against(scenario, hedger, episodes, seen, outcome),
    )


def blotter(episodes: Episodes, attribution: Attribution, path: int) -> list[dict[str, Any]]:
    """One path step by step: what was held and traded, at what risk, and what it earned.

    ``greeks`` are those of position and holdings together after the trade; ``parts`` and ``pnl``
    are of the step that follows, ``wealth`` the marked P&L after it. A stopped path's rows end
    there.
    """
    arrays, outcome = episodes.numpy(), attribution.outcome
    holding = np.asarray(outcome.holding)[:, path]
    times = arrays.times[:, path if arrays.times.shape[1] > 1 else 0]
    before = np.zeros(holding.shape[1])
    rows = []
    for t in range(int(np.asarray(outcome.going)[:, path].sum())):
        trade = holding[t] - before
        rows.append(
            {
                "day": float(times[t]) * DAYS_PER_YEAR,
                "spot": float(arrays.spot[t, path]),
                "next_spot": float(arrays.spot[t + 1, path]),
                "jumped": arrays.jump is not None and bool(arrays.jump[t + 1, path] != 0),
                "holding": holding[t].tolist(),
                "trade": trade.tolist(),
                "greeks": {k: float(v[t, path]) for k, v in attribution.greeks.items()},
                "parts": {k: float(v[t, path]) for k, v in attribution.parts.items()},
                "pnl": float(attribution.pnl[t, path]),
                "wealth": float(np.asarray(outcome.wealth)[t + 1, path]),
            }
        )
        before = holding[t] * ~np.array(arrays.settles[t + 1])
    return rows


def _path(pnl: Floats, path: str) -> int:
    if path.isdigit():
        return int(path)
    order = np.argsort(pnl, kind="stable")
    return int(order[{"worst": 0, "median": (len(order) - 1) // 2, "best": -1}[path]])


def _against(
    scenario: Scenario, hedger: Hedger, episodes: Episodes, seen: Episodes, outcome: Outcome
) -> dict[str, list[Difference]]:
    """The hedger beside delta and, where known, the optimum; nothing of delta or of doing none.

    The optimum is asked where it would go from the hedger's own holdings: so what was decided is
    told from what was held before. ``seen`` are the episodes as the hedger's own trades have moved
    them.
    """
    if hedger in (DeltaHedge(), NoHedge()):
        return {}
    neutral = delta_holdings(scenario, seen, outcome)
    found = {"delta": differences(scenario, seen, outcome, neutral)}
    if hedger != OptimalHedge() and known_optimum(scenario) is not None:
        beside = Beside(hedger, OptimalHedge())
        rollout(scenario, episodes, beside)
        asked = np.stack(beside.asked)[..., scenario.contract.options]
        found["optimal"] = differences(scenario, seen, outcome, asked)
    return found


def _interval(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _difference(found: Difference) -> dict[str, Any]:
    """As plain data: an open end is null."""
    numbers = asdict(found)
    for name in ("moneyness", "time_left"):
        numbers[name] = [end if np.isfinite(end) else None for end in numbers[name]]
    return numbers

"""The position at time 0 at other spots and vols: the Greeks ladder and the stress grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..envs import Scenario
from ..envs.calendar import DAYS_PER_YEAR
from ..envs.position_marks import mark_position
from .exposures import decision_dates
from .revaluation import at_the_start, scaled_spot, shifted_vol

LADDER_SPOTS = (-0.2, -0.1, -0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
LADDER_VOLS = (-0.05, -0.01, 0.0, 0.01, 0.05)
STRESS_SPOTS = (0.0, -0.1, -0.2, -0.35)
STRESS_VOLS = (0.0, 0.1, 0.2, 0.4)


@dataclass(frozen=True)
class Rung:
    """The position where all spots have moved by a share and all vols by a number.

    Attributes:
        spot_move: as a fraction; ``vol_move`` is per sqrt(year), 0.01 is a point.
        value: the mark, money.
        delta: to the first asset; ``gamma``, ``vega`` (for a move of 1.00) and ``theta`` (a year)
            are sums over the legs.
        dollar_delta: the sum over assets of delta S, money for a move of 100 %.
        dollar_gamma: gamma S^2 / 100: the change of dollar delta for a move of 1 %.
        vega_point: money for a vol point.
        theta_day: money a calendar day.
    """

    spot_move: float
    vol_move: float
    value: float
    delta: float
    gamma: float
    vega: float
    theta: float
    dollar_delta: float
    dollar_gamma: float
    vega_point: float
    theta_day: float


def ladder(
    scenario: Scenario,
    spots: Sequence[float] = LADDER_SPOTS,
    vols: Sequence[float] = LADDER_VOLS,
) -> list[Rung]:
    """The position's mark and Greeks at time 0 for every pair of moves, vols outermost.

    Parameters that are drawn for every path are at the middle of their range. Evidence:
    tests/experiments/test_ladder.py.
    """
    settled, path = at_the_start(scenario)
    factor = 1.0 + torch.tensor(spots, dtype=torch.float64)
    moved = scaled_spot(path.columns(torch.zeros(len(spots), dtype=torch.long)), factor)
    rungs = []
    for vol in vols:
        shocked, paths = shifted_vol(settled, moved, vol) if vol else (settled, moved)
        book = mark_position(shocked, paths, decision_dates(settled, path))
        assets = zip(book.deltas, paths.assets, strict=True)
        dollars = sum(delta[0] * asset.spot[0] for delta, asset in assets)
        columns = {
            "value": book.mark[0],
            "delta": book.deltas[0][0],
            "gamma": book.gamma[0],
            "vega": book.vega[0],
            "theta": book.theta[0],
            "dollar_delta": dollars,
            "dollar_gamma": book.gamma[0] * paths.spot[0] ** 2 / 100,
            "vega_point": book.vega[0] / 100,
            "theta_day": book.theta[0] / DAYS_PER_YEAR,
        }
        lists = {name: torch.as_tensor(column).tolist() for name, column in columns.items()}
        for i, spot in enumerate(spots):
            rungs.append(Rung(spot, vol, **{name: values[i] for name, values in lists.items()}))
    return rungs


def stress_grid(
    scenario: Scenario,
    spots: Sequence[float] = STRESS_SPOTS,
    vols: Sequence[float] = STRESS_VOLS,
) -> list[dict[str, Any]]:
    """What the unhedged position earns if spots and vols move so at once, at time 0, money."""
    rungs = ladder(scenario, spots, (0.0, *vols))
    base = next(rung for rung in ladder(scenario, (0.0,), (0.0,)))
    grid = []
    for rung in rungs[len(spots) :]:
        numbers = asdict(rung)
        earned = numbers["value"] - base.value
        grid.append({key: numbers[key] for key in ("spot_move", "vol_move")} | {"pnl": earned})
    return grid

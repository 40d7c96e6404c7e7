"""A policy as a picture: where it wants to be, and inside which band it does not trade."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..baselines import OptimalHedge, known_optimum
from ..envs import Hedger, Known, Scenario, mark
from ..envs.desk import Desk
from ..envs.hedger import Observations
from ..envs.markets import MarketPaths
from ..envs.namespace import NUMPY
from ..envs.tape import Tape

REACH = 2.5  # standard deviations of the spot either side
LEAST = 1e-6  # units; what is less is rounding
SIZE, DPI = (9.0, 3.6), 80  # inches, dots an inch


@dataclass(frozen=True)
class PolicyMap:
    """Holdings of the underlying on a grid of dates and spots.

    Attributes:
        years_left: ``[T]``.
        spot: ``[M]``, money.
        lower, upper: where the holding goes from far below and from far above, ``[T, M]``; between
            the two lies the no-trade band.
        neutral: the delta-neutral holding, ``[T, M]``.
    """

    years_left: NDArray[np.float64]
    spot: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    neutral: NDArray[np.float64]


@dataclass(frozen=True)
class PolicyGrid:
    """Where a hedger goes from a grid of dates, holdings of the underlying and spots.

    Attributes:
        years_left: ``[T]``.
        spot: ``[M]``, money.
        holding: before the trade, ``[H]``.
        target: after it, within the limits, ``[T, H, M]``.
        neutral: the delta-neutral holding, ``[T, M]``.
    """

    years_left: NDArray[np.float64]
    spot: NDArray[np.float64]
    holding: NDArray[np.float64]
    target: NDArray[np.float64]
    neutral: NDArray[np.float64]


def policy_map(scenario: Scenario, hedger: Hedger, spots: int = 81) -> PolicyMap:
    """Ask the hedger at every date and spot, holding much too little and much too much."""
    grid = policy_grid(scenario, hedger, spots, 2)
    lower, upper = grid.target[:, 0], grid.target[:, 1]
    return PolicyMap(grid.years_left, grid.spot, lower, upper, grid.neutral)


def policy_grid(scenario: Scenario, hedger: Hedger, spots: int, holdings: int) -> PolicyGrid:
    """Ask the hedger at every date, at ``spots`` spots and holding ``holdings`` numbers of units.

    The holdings lie evenly between the bounds. Every spot is a path that has stood still; options
    are not held and P&L so far is 0.
    """
    contract = scenario.contract
    first = contract.options  # of the delta-one instruments: the one that is drawn
    limits = scenario.limits[first]
    asset = contract.assets[first]
    deviation = contract.volatility * contract.horizon**0.5
    spot = contract.spots[asset] * np.exp(np.linspace(-REACH, REACH, spots) * deviation)
    episodes = mark(scenario, _standing_still(scenario, asset, torch.from_numpy(spot)))
    tape = Tape.of(episodes)
    known = Known(scenario, episodes.numpy(), tape, Observations(episodes, True))
    zero = np.zeros(spots)
    starts = np.linspace(limits.lower or 0.0, limits.upper or 0.0, holdings)
    desk, found = Desk(scenario, NUMPY), []
    for start in starts:
        holding = tuple(
            np.full(spots, start) if k == first else zero for k in range(contract.instruments)
        )
        rows, state = [], hedger.start(spots)
        for t in range(episodes.steps):
            target, state = hedger.act(known._at(t, desk.standing(holding, zero)), state)
            rows.append(np.array(target[:, first]))
        found.append(np.clip(np.stack(rows), limits.lower, limits.upper))
    times = np.asarray(episodes.numpy().times)[:, 0]
    options = (zero,) * first
    neutral = np.stack([desk.neutral(tape, t, options)[0] for t in range(episodes.steps)])
    return PolicyGrid(times[-1] - times[:-1], spot, starts, np.stack(found, 1), neutral)


def _standing_still(scenario: Scenario, moved: int, spot: torch.Tensor) -> MarketPaths:
    """Every path stays where it starts, one asset at ``spot [N]``; all else is as at time 0."""
    calendar, market = scenario.calendar, scenario.market
    dates = calendar.dates()
    if dates is None:
        dates = torch.linspace(0, calendar.horizon, calendar.steps + 1, dtype=torch.float64)
    times = dates[:, None]
    clock = calendar.clock(times) if calendar.fixed else None
    drawn = market.simulate(times, 1, torch.Generator().manual_seed(0), clock=clock)

    def still(j: int, paths: MarketPaths) -> MarketPaths:
        start = spot if j == moved else paths.spot[0].expand_as(spot)
        spots = start.expand(len(times), -1).clone()
        return replace(
            paths,
            spot=spots,
            log_spot=spots.log(),
            implied_vol=paths.implied_vol[:1],
            jump=None if paths.jump is None else torch.zeros_like(spots),
            latents={name: v[:1].expand_as(spots) for name, v in paths.latents.items()},
            skew=None if paths.skew is None else paths.skew[:1],
            expected=None,
            others=(),
        )

    first, *others = [still(j, paths) for j, paths in enumerate(drawn.assets)]
    vol = torch.full((1, 1), market.volatility, dtype=torch.float64)
    return replace(first, implied_vol=vol, others=tuple(others))


def policy_figure(scenario: Scenario, hedger: Hedger) -> Figure:
    """The surface of the mid holding less delta, and the band at mid-life.

    Beside the optimum's band, where one is known.
    """
    found = policy_map(scenario, hedger)
    figure = Figure(figsize=SIZE, dpi=DPI)
    # Margins by hand: a layout that is solved for takes as long as the drawing.
    figure.subplots_adjust(0.07, 0.15, 0.99, 0.91, wspace=0.4)
    FigureCanvasAgg(figure)
    surface, band = figure.subplots(1, 2)
    days = found.years_left * 365
    middle = (found.lower + found.upper) / 2 - found.neutral
    reach = max(float(np.abs(middle).max()), LEAST)
    mesh = surface.pcolormesh(
        found.spot, days, middle, cmap="RdBu_r", vmin=-reach, vmax=reach, shading="nearest"
    )
    figure.colorbar(mesh, ax=surface, label="middle of the band less delta-neutral")
    surface.set_xlabel("spot")
    surface.set_ylabel("days left")
    surface.set_title("policy against delta")
    date = len(days) // 2
    draw_band(band, found, date)
    if known_optimum(scenario) is not None:
        best = policy_map(scenario, OptimalHedge())
        line = {"color": "tab:orange", "linewidth": 1.4}
        band.plot(best.spot, best.lower[date], label="optimum's band", **line)
        band.plot(best.spot, best.upper[date], **line)
        band.legend(loc="best", fontsize=8)
    return figure


def draw_band(axes: object, found: PolicyMap, date: int) -> None:
    """The no-trade band over spot at one date, beside the delta-neutral holding."""
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    axes.fill_between(
        found.spot, found.lower[date], found.upper[date], alpha=0.35, label="no trade"
    )
    axes.plot(found.spot, found.neutral[date], "k--", linewidth=1.2, label="delta-neutral")
    axes.set_xlabel("spot")
    axes.set_ylabel("holding of the underlying")
    axes.set_title(f"no-trade band, {found.years_left[date] * 365:.0f} days left")
    axes.legend(loc="best", fontsize=8)

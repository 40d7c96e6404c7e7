"""P&L attribution: what every step of a hedged position earned, and from what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..envs import Hedger, Outcome, Scenario, mark, rollout
from ..envs.instrument_quotes import quote
from ..envs.markets import MarketPaths
from ..envs.position_marks import mark_position
from .exposures import Exposure, client_income, decision_dates, exposures

Floats = NDArray[np.float64]

GREEKS = ("delta", "gamma", "theta", "vega", "vanna", "volga")
CHARGES = ("cost",)  # lines of the ledger that are taken off
VALUES = ("pnl", "gains", "cash_flow", "traded")  # lines that the Greeks explain, or no money


@dataclass(frozen=True)
class Attribution:
    """One hedger's P&L in parts; arrays ``[T, N]``, money, of the steps (t, t+1].

    Attributes:
        parts: ``day_one`` (premium + mark, in the first step), the Greeks, ``jump``, ``clients``
            (what they pay beyond the marks) where there are any, ``default`` where there is a
            counterparty, the ledger's own lines by name (charges negative; carry
            with borrow fees, interest with funding, cost with slippage and impact) and
            ``unexplained``; they add up to ``pnl``.
        pnl: of the step.
        greeks: of position and holdings together over the step, by name: ``delta`` to the first
            asset (``delta_1`` to the next, and so on), ``gamma``, ``vega``, ``theta``.
        outcome: the rollout, with its records.
    """

    parts: dict[str, Floats]
    pnl: Floats
    greeks: dict[str, Floats]
    outcome: Outcome

    @property
    def totals(self) -> dict[str, Floats]:
        """Every part over the whole path, ``[N]``."""
        return {name: part.sum(axis=0) for name, part in self.parts.items()}


def attribute(scenario: Scenario, paths: MarketPaths, hedger: Hedger) -> Attribution:
    """Attribute a hedger's P&L on given market paths.

    With every leg's and held instrument's Greeks at t, dS and dv the moves of its spot and vol over
    the step and h what is held of it:

        delta h dS, gamma h dS^2 / 2, theta h dt, vega h dv, vanna h dS dv, volga h dv^2 / 2.

    A claim on several assets has a delta to each and all their gammas, those across assets too.
    A step's jumps are a part of their own: the book's value at t+1 less its value there without the
    jumps, fully revalued; dS leaves them out. Money is never counted anew: P&L and its lines are
    the ledger's. ``unexplained`` is the rest: higher orders and the kink of an expiry.

    Where variance has a clock of its own, the part of theta that is time value (theta less r V plus
    (r - q) S delta) runs on it.

    Source: Bergomi, "Stochastic Volatility Modeling", 2016, chapter 1, for the expansion. Evidence:
    tests/experiments/test_attribution.py.
    """
    return attributed(
        scenario, paths, rollout(scenario, mark(scenario, paths), hedger, record=True)
    )


def attributed(scenario: Scenario, paths: MarketPaths, outcome: Outcome) -> Attribution:
    """The same of a rollout that was recorded on the episodes of the ``paths``."""
    assert outcome.lines is not None and outcome.going is not None
    paths = paths if outcome.market is None else outcome.market
    dates = decision_dates(scenario, paths)
    moves = _SpotMoves(paths, dates)
    held, going = torch.as_tensor(outcome.holding), torch.as_tensor(outcome.going)
    earned, greeks = _Sums(going), _Sums(going)
    for quantity, exposure in exposures(scenario, paths, dates, held):
        earned.add(quantity, moves.explain(exposure))
        greeks.add(quantity, exposure.greeks)
    parts = earned.named(GREEKS)
    parts["jump"] = (_jumps(scenario, paths, dates, held) * going).numpy()
    wealth = np.asarray(outcome.wealth, dtype=np.float64)
    pnl = np.diff(wealth, axis=0)
    day_one = np.zeros_like(pnl)
    day_one[0] = wealth[0]
    pnl[0] += wealth[0]
    if scenario.position.flow is not None:
        parts["clients"] = (client_income(scenario, paths, dates) * going).numpy()
    if scenario.counterparty is not None:
        parts["default"] = _defaults(scenario, paths, dates, outcome)
    lines = {
        name: -line if name in CHARGES else line
        for name, line in outcome.lines.items()
        if name not in VALUES
    }
    parts = {"day_one": day_one, **parts, **lines}
    parts["unexplained"] = pnl - sum(parts.values())
    return Attribution(parts, pnl, greeks.named(greeks.totals), outcome)


def _defaults(scenario: Scenario, paths: MarketPaths, dates: list[int], outcome: Outcome) -> Floats:
    """What a counterparty's default took, ``[T, N]``: cash flows that no claim explains."""
    assert outcome.lines is not None
    book = mark_position(scenario, paths, dates)
    going = np.asarray(outcome.going)
    stopped = going & ~np.concatenate([going[1:], np.ones_like(going[:1])])
    paid = np.asarray(book.cash_flow)[1:] + stopped * np.asarray(book.mark)[1:]
    lost: Floats = outcome.lines["cash_flow"] - going * paid
    return lost


class _Sums:
    """Sums by name over legs and instruments, on the paths that are still going."""

    def __init__(self, going: Tensor) -> None:
        self.going, self.totals = going, dict[str, Tensor]()

    def add(self, quantity: Tensor | float, parts: Mapping[str, Tensor]) -> None:
        """Add ``quantity`` of each part."""
        for name, part in parts.items():
            self.totals[name] = self.totals.get(name, 0.0) + quantity * part

    def named(self, names: Iterable[str]) -> dict[str, Floats]:
        """The sums of these names, ``[T, N]``; 0 where nothing was added."""
        zero = 0.0 * self.going
        return {name: np.asarray(self.totals.get(name, zero) * self.going) for name in names}


class _SpotMoves:
    """The moves of a batch over its steps, jumps left out."""

    def __init__(self, paths: MarketPaths, dates: list[int]) -> None:
        self.dt = paths.times[dates].diff(dim=0)
        self.ds = []
        for asset in paths.assets:
            spot = asset.spot[dates]
            smooth = spot[1:] if asset.jump is None else spot[1:] / jumps(asset, dates).exp()
            self.ds.append(smooth - spot[:-1])

    def explain(self, exposure: Exposure) -> dict[str, Tensor]:
        """What one unit earns in each step, by Greek, ``[T, N]``."""
        own = self.ds[exposure.assets[0][0]]
        delta = sum((d * self.ds[asset] for asset, d in exposure.assets), 0.0 * own)
        gamma = exposure.gamma * own**2
        for i, j, curvature in exposure.curved:
            gamma = gamma + curvature * self.ds[i] * self.ds[j]
        earned = {
            "delta": delta,
            "gamma": gamma / 2,
            "theta": exposure.theta * self.dt,
        }
        move = exposure.move
        if move is not None and exposure.vanna is not None and exposure.volga is not None:
            earned["vega"] = exposure.vega * move.by_vega
            earned["vanna"] = exposure.vanna * own * move.by_shift
            earned["volga"] = exposure.volga * move.by_vega * move.by_shift / 2
        return earned


def jumps(asset: MarketPaths, dates: list[int]) -> Tensor:
    """The log-jumps of an asset over the steps between dates, ``[T, N]``."""
    assert asset.jump is not None
    return asset.jump.cumsum(dim=0)[dates].diff(dim=0)


def _jumps(scenario: Scenario, paths: MarketPaths, dates: list[int], held: Tensor) -> Tensor:
    """The book's value at t+1 less its value without the step's jumps, ``[T, N]``.

    The n-th step with a jump of every path is revalued at once: up to it the path is what it was.
    """
    total = torch.zeros_like(held[..., 0])
    if all(asset.jump is None for asset in paths.assets):
        return total
    jumped = torch.zeros_like(total, dtype=torch.bool)
    for asset in paths.assets:
        if asset.jump is not None:
            jumped |= jumps(asset, dates) != 0
    order = jumped.cumsum(dim=0) * jumped
    for n in range(1, int(order.max()) + 1 if order.numel() else 1):
        step, column = (order == n).nonzero(as_tuple=True)
        before = paths.columns(column)
        after = _without_jumps(before, dates, step)
        holding = held[step, column]
        with_, without = (
            _worth(scenario, batch, dates, step, holding) for batch in (before, after)
        )
        total[step, column] = with_ - without
    return total


def _without_jumps(paths: MarketPaths, dates: list[int], step: Tensor) -> MarketPaths:
    """Each path with the jumps of its ``step [n]`` taken out of the prices of that step."""
    at = torch.tensor(dates)
    row = torch.arange(len(paths.times))[:, None]
    inside = (row > at[step]) & (row <= at[step + 1])

    def smooth(asset: MarketPaths) -> MarketPaths:
        if asset.jump is None:
            return asset
        removed = (asset.jump * inside).cumsum(dim=0) * inside
        log_spot = asset.log_spot - removed
        return replace(asset, log_spot=log_spot, spot=log_spot.exp())

    first, *others = map(smooth, paths.assets)
    return replace(first, others=tuple(others))


def _worth(
    scenario: Scenario, paths: MarketPaths, dates: list[int], step: Tensor, holding: Tensor
) -> Tensor:
    """What position and holdings ``[n, K]`` are worth at the end of ``step [n]``, paid or not."""
    book = mark_position(scenario, paths, dates)
    column = torch.arange(len(step))
    worth = (book.mark + book.cash_flow)[step + 1, column]
    quotes = [q for h in scenario.hedges for q in quote(scenario, h.instrument, paths, dates)]
    for k, each in enumerate(quotes):
        if holding[:, k].any():
            price = each.price if each.arrival is None else each.arrival
            worth = worth + holding[:, k] * price[step + 1, column]
    return worth

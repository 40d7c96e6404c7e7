"""Response: a market that the hedger's own trades move for good, so that prices are made anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .episodes import Episodes, mark
from .friction_paths import FrictionPaths
from .markets import MarketPaths
from .namespace import X
from .nested import mapped
from .scenario import Scenario
from .tape import At, Tape

LayOut = Callable[[Episodes], Tape]


@dataclass(frozen=True)
class Response:
    """How the prices of a batch answer trades (`frictions.Impact`, permanent).

    After a trade of u at a date all later prices of the asset are ``e^{lambda u}`` times what they
    were, and the batch is marked anew: marks, Greeks, features and what is settled follow. The
    model's own states (variance, regimes, quoted vols) stay as they were drawn. Evidence:
    tests/envs/test_impact.py.

    Attributes:
        scenario: what is hedged.
        paths: the market's without the hedger, M+1 market dates.
        moved: how far log-prices of each asset have been moved, ``[M+1, N]``.
        episodes: the batch as moved so far.
        frictions: what was drawn with the paths, which stays.
        lay_out: makes its tape.
    """

    scenario: Scenario
    paths: MarketPaths
    moved: tuple[Tensor, ...]
    episodes: Episodes
    frictions: FrictionPaths | None
    lay_out: LayOut

    def __call__(self, tape: Tape, trade: tuple[X, ...], at: At) -> Tape:
        """The tape after the trades ``[N]`` of each instrument at a date."""
        moved = list(self.moved)
        for k, hedge in enumerate(self.scenario.hedges):
            if hedge.impact is not None and hedge.impact.permanent:
                asset = hedge.instrument.written_on
                step = hedge.impact.permanent * _as_column(trade[k], moved[asset])
                moved[asset] = moved[asset] + self._later(at) * step
        return self.moved_to(tape, tuple(moved))

    def moved_to(self, tape: Tape, moved: tuple[Tensor, ...]) -> Tape:
        """The tape where the market has been moved so far; what frictions have drawn stays."""
        episodes = mark(self.scenario, displaced(self.paths, moved), frictions=self.frictions)
        answer = replace(self, moved=moved, episodes=episodes)
        return replace(self.lay_out(episodes), frictions=tape.frictions, response=answer)

    @property
    def market(self) -> MarketPaths:
        """The market's paths as moved so far."""
        return displaced(self.paths, self.moved)

    def state(self) -> tuple[X, ...]:
        """How far it has been moved, as plain arrays for `restored`."""
        return tuple([m.numpy() for m in self.moved])

    def restored(self, tape: Tape, state: tuple[X, ...]) -> Tape:
        """The tape where it had been moved so far."""
        return self.moved_to(tape, tuple([torch.from_numpy(m) for m in state]))

    def _later(self, at: At) -> Tensor:
        """1 on the market dates after a decision date, ``[M+1, 1 or N]``."""
        steps = len(self.paths.times) - 1
        every = 1 if steps == self.episodes.steps else self.scenario.calendar.decide_every
        now = torch.as_tensor(at if isinstance(at, int) else at[0]) * every
        rows = torch.arange(steps + 1)[:, None]
        return (rows > now).to(self.paths.spot)

    def columns(self, start: int, stop: int) -> Response:
        """The paths ``start`` to ``stop``."""

        def cut(array: Tensor) -> Tensor:
            return array[:, start:stop] if array.shape[1] > 1 else array

        return replace(
            self,
            paths=_each(cut, self.paths),
            moved=tuple([m[:, start:stop] for m in self.moved]),
            frictions=mapped(cut, self.frictions),
        )

    def path(self, j: int) -> Response:
        """One path, whose tape is of plain numbers."""
        lay_out = self.lay_out
        return replace(self.columns(j, j + 1), lay_out=lambda e: lay_out(e).path(0))

    def copy(self) -> Response:
        """The same on arrays of its own."""
        return replace(
            self,
            paths=_each(lambda x: x.clone(), self.paths),
            moved=tuple([m.clone() for m in self.moved]),
            frictions=mapped(torch.clone, self.frictions),
        )

    def overwrite(self, source: Response, columns: Any) -> None:
        """Put the paths ``columns`` of ``source`` in the place of this one's own."""
        which = torch.as_tensor(columns)

        def put(array: Tensor, other: Tensor) -> Tensor:
            if array.shape[1] > 1:
                array[:, which] = other[:, which]
            return array

        _each(put, self.paths, source.paths)
        mapped(put, self.frictions, source.frictions)
        for array, other in zip(self.moved, source.moved, strict=True):
            array[:, which] = other[:, which]


def responding(scenario: Scenario, episodes: Episodes, lay_out: LayOut) -> Tape:
    """The tape of a batch; where trades move the market, one that answers them."""
    tape = lay_out(episodes)
    if episodes.undisturbed is None:
        return tape
    still = tuple([torch.zeros_like(asset.spot) for asset in episodes.undisturbed.assets])
    answer = Response(scenario, episodes.undisturbed, still, episodes, episodes.frictions, lay_out)
    return replace(tape, response=answer)


def displaced(paths: MarketPaths, moved: Sequence[Tensor]) -> MarketPaths:
    """The paths with log-prices moved, ``[M+1, N]`` for each asset."""

    def shifted(given: MarketPaths, by: Tensor) -> MarketPaths:
        return replace(given, spot=given.spot * by.exp(), log_spot=given.log_spot + by)

    first, *others = [shifted(p, by) for p, by in zip(paths.assets, moved, strict=True)]
    return replace(first, others=tuple(others))


def _as_column(trade: X, like: Tensor) -> Tensor:
    row = trade if isinstance(trade, Tensor) else torch.as_tensor(np.atleast_1d(trade))
    return row.to(like)


def _each(change: Callable[..., Tensor], paths: MarketPaths, *others: MarketPaths) -> MarketPaths:
    """The paths with every array changed; with those of others at the same place, if given."""

    def changed(*values: Any) -> Any:
        if isinstance(values[0], Tensor):
            return change(*values)
        if isinstance(values[0], dict):
            return {key: changed(*[value[key] for value in values]) for key in values[0]}
        if isinstance(values[0], tuple):
            return tuple([_each(change, *each) for each in zip(*values, strict=True)])
        return values[0]

    names = [field.name for field in fields(MarketPaths)]
    return MarketPaths(
        **{name: changed(*[getattr(p, name) for p in (paths, *others)]) for name in names}
    )

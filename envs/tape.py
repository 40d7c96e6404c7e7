"""The tape: a block of episodes laid out as the ledger reads it, date by date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .episodes import Episodes
from .ledger import Period
from .namespace import X

At = int | tuple[Any, Any]  # a date, or (dates [n], columns [n]) when the clocks differ


@dataclass(frozen=True)
class Tape:
    """What each date brings; entries are indexed by date first.

    The same class holds NumPy arrays ``[T+1, N]`` (float64), torch tensors, or lists of floats for a
    single path (`path`): ``entry[at]`` is then an array over paths or one number. The last of the
    instruments is the underlying, so ``price[-1]`` is the spot.
    """

    steps: int
    price: tuple[X, ...]
    mark: X
    cash_flow: X
    pays: tuple[bool, ...]
    growth: X | None
    carry: tuple[X, ...] | None
    settles: tuple[tuple[X, ...], ...]
    settled: tuple[tuple[X, ...], ...]
    expires: bool
    delta: X
    option_delta: tuple[X, ...]
    gamma: X
    vega: X
    premium: X
    features: X | None

    @staticmethod
    def of(episodes: Episodes, names: tuple[str, ...] | None = None) -> Tape:
        """The tape of torch ``episodes`` as read-only float64 NumPy arrays.

        With ``names`` the observations ``[T+1, N, F]`` (float32) are computed too.
        """
        features = None if names is None else _frozen(episodes.features(names).numpy())
        tape = _lay_out(episodes.numpy(), _float64, features)
        _frozen(tape.gamma), _frozen(tape.vega)
        return tape

    @staticmethod
    def of_tensors(episodes: Episodes) -> Tape:
        """The tape of torch ``episodes`` as tensors, for gradients."""
        return _lay_out(episodes, lambda tensor: tensor, None)

    def columns(self, start: int, stop: int) -> Tape:
        """The paths ``start`` to ``stop``, as views."""

        def cut(array: X) -> X:
            shared = array.shape[1] < self.mark.shape[1]
            return array if shared else array[:, start:stop]

        return replace(
            self,
            price=tuple(cut(p) for p in self.price),
            mark=cut(self.mark),
            cash_flow=cut(self.cash_flow),
            growth=None if self.growth is None else cut(self.growth),
            carry=None if self.carry is None else tuple(cut(c) for c in self.carry),
            delta=cut(self.delta),
            option_delta=tuple(cut(d) for d in self.option_delta),
            gamma=cut(self.gamma),
            vega=cut(self.vega),
            premium=self.premium[start:stop],
            features=None if self.features is None else self.features[:, start:stop],
        )

    def path(self, j: int) -> Tape:
        """One path as lists of floats."""

        def pick(array: X) -> X:
            return array[:, j].tolist() if array.shape[-1] > 1 else array[:, 0].tolist()

        return replace(
            self,
            price=tuple(pick(p) for p in self.price),
            mark=pick(self.mark),
            cash_flow=pick(self.cash_flow),
            growth=None if self.growth is None else pick(self.growth),
            carry=None if self.carry is None else tuple(pick(c) for c in self.carry),
            delta=pick(self.delta),
            option_delta=tuple(pick(d) for d in self.option_delta),
            gamma=pick(self.gamma),
            vega=pick(self.vega),
            premium=float(self.premium[j]),
            features=None if self.features is None else self.features[:, j],
        )

    def period(self, at: At) -> Period:
        """What (t, t+1] brings."""
        if isinstance(at, int):
            after: At = at + 1
            pays, settles = self.pays[at + 1], self.settles[at + 1] if self.expires else None
        else:
            after, pays = (at[0] + 1, at[1]), True
            settles = _by_path(self.settles, at[0] + 1) if self.expires else None
        return Period(
            price=tuple([p[at] for p in self.price]),
            next_price=tuple([p[after] for p in self.price]),
            carry=None if self.carry is None else tuple([c[at] for c in self.carry]),
            growth=None if self.growth is None else self._growth(at),
            cash_flow=self.cash_flow[after] if pays else None,
            next_mark=self.mark[after],
            settles=settles,
        )

    def _growth(self, at: At) -> X:
        growth = self.growth
        shared = not isinstance(at, int) and growth.shape[1] == 1  # type: ignore[union-attr]
        return growth[at[0], 0] if shared else growth[at]  # type: ignore[index]

    def settled_at(self, at: At) -> tuple[X, ...] | None:
        """Which instruments cannot be held any more, null when all can."""
        if not self.expires:
            return None
        return self.settled[at] if isinstance(at, int) else _by_path(self.settled, at[0])


def _by_path(dates: tuple[tuple[X, ...], ...], t: X) -> tuple[X, ...]:
    table = np.asarray(dates)[t]
    return tuple(table[:, k] for k in range(table.shape[1]))


def _float64(array: X) -> X:
    return _frozen(np.asarray(array, dtype=np.float64))


def _frozen(array: X) -> X:
    array.flags.writeable = False
    return array


def _lay_out(episodes: Episodes, convert: Any, features: X | None) -> Tape:
    instruments = range(episodes.contract.instruments)
    listed = range(episodes.contract.options)
    carry, growth = episodes.carry, episodes.growth
    return Tape(
        steps=episodes.steps,
        price=tuple(convert(episodes.price[..., k]) for k in instruments),
        mark=convert(episodes.mark),
        cash_flow=convert(episodes.cash_flow),
        pays=episodes.pays,
        growth=None if growth is None else convert(growth),
        carry=None if carry is None else tuple(convert(carry[..., k]) for k in instruments),
        settles=episodes.settles,
        settled=tuple(episodes.settled(t) for t in range(episodes.steps + 1)),
        expires=any(any(date) for date in episodes.settles),
        delta=convert(episodes.delta),
        option_delta=tuple(convert(episodes.hedge_delta[..., k]) for k in listed),
        gamma=episodes.gamma,
        vega=episodes.vega,
        premium=convert(episodes.premium),
        features=features,
    )

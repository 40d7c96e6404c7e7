"""The tape: a block of episodes laid out as the ledger reads it, date by date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np

from .episodes import Episodes
from .ledger import Period
from .namespace import X

At = int | tuple[Any, Any]  # a date, or (dates [n], columns [n]) when the clocks differ


@dataclass(frozen=True)
class Tape:
    """What each date brings; entries are indexed by date first.

    The same class holds NumPy arrays ``[T+1, N]`` (float64), torch tensors, or lists of floats for
    a single path (`path`): ``entry[at]`` is then an array over paths or one number. The last of the
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
    expected: X  # E[S_{t+1}] / S_t
    reference: X | None  # the wealth of a frictionless delta hedge

    @staticmethod
    def of(
        episodes: Episodes, names: tuple[str, ...] | None = None, *, paired: bool = False
    ) -> Tape:
        """The tape of torch ``episodes`` as read-only float64 NumPy arrays.

        With ``names`` the observations ``[T+1, N, F]`` (float32) are computed too, with ``paired``
        the frictionless delta hedge that a paired reward needs.
        """
        features = None if names is None else _frozen(episodes.features(names).cpu().numpy())
        tape = _lay_out(episodes.numpy(), _float64, features)
        _frozen(tape.gamma), _frozen(tape.vega)
        return replace(tape, reference=_delta_hedged(tape)) if paired else tape

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
            expected=cut(self.expected),
            reference=None if self.reference is None else cut(self.reference),
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
            expected=pick(self.expected),
            reference=None if self.reference is None else pick(self.reference),
        )

    def period(self, at: At) -> Period:
        """What (t, t+1] brings."""
        if isinstance(at, int):
            return self._periods[at]
        after = (at[0] + 1, at[1])
        return Period(
            price=tuple([p[at] for p in self.price]),
            next_price=tuple([p[after] for p in self.price]),
            carry=None if self.carry is None else tuple([c[at] for c in self.carry]),
            growth=None if self.growth is None else _on_dates(self.growth, at),
            cash_flow=self.cash_flow[after],
            next_mark=self.mark[after],
            settles=_by_path(self.settles, at[0] + 1) if self.expires else None,
        )

    @cached_property
    def _periods(self) -> list[Period]:
        """The periods of clocks in step, laid out at once: a step only looks its own up."""
        price, nothing = list(zip(*self.price, strict=True)), repeat(None)
        flows = zip(self.cash_flow[1:], self.pays[1:], strict=True)
        entries = zip(
            price,
            price[1:],
            nothing if self.carry is None else zip(*self.carry, strict=True),
            nothing if self.growth is None else self.growth,
            [flow if pays else None for flow, pays in flows],
            self.mark[1:],
            self.settles[1:] if self.expires else nothing,
            strict=False,
        )
        return list(map(Period._make, entries))

    def surprise(self, at: At) -> X:
        """The spot's move over (t, t+1] beyond its expectation."""
        after: At = at + 1 if isinstance(at, int) else (at[0] + 1, at[1])
        spot = self.price[-1]
        return spot[after] - spot[at] * _on_dates(self.expected, at)

    def settled_at(self, at: At) -> tuple[X, ...] | None:
        """Which instruments cannot be held any more, null when all can."""
        if not self.expires:
            return None
        return self.settled[at] if isinstance(at, int) else _by_path(self.settled, at[0])


def _on_dates(array: X, at: At) -> X:
    """Entries that all paths may share, ``[T, 1]``."""
    shared = not isinstance(at, int) and array.shape[1] == 1
    return array[at[0], 0] if shared else array[at]  # type: ignore[index]


def _delta_hedged(tape: Tape) -> X:
    """Wealth ``[T+1, N]`` from holding minus the position's delta, without cost or interest."""
    moves = np.diff(tape.mark, axis=0) + tape.cash_flow[1:]
    moves -= tape.delta[:-1] * np.diff(tape.price[-1], axis=0)
    return _frozen(np.concatenate([np.zeros_like(moves[:1]), np.cumsum(moves, axis=0)]))


def _by_path(dates: tuple[tuple[X, ...], ...], t: X) -> tuple[X, ...]:
    table: X = np.asarray(dates)[t]
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
    expires = any(any(date) for date in episodes.settles)
    return Tape(
        steps=episodes.steps,
        price=tuple(convert(episodes.price[..., k]) for k in instruments),
        mark=convert(episodes.mark),
        cash_flow=convert(episodes.cash_flow),
        pays=episodes.pays,
        growth=None if growth is None else convert(growth),
        carry=None if carry is None else tuple(convert(carry[..., k]) for k in instruments),
        settles=episodes.settles,
        settled=tuple(map(episodes.settled, range(episodes.steps + 1))) if expires else (),
        expires=expires,
        delta=convert(episodes.delta),
        option_delta=tuple(convert(episodes.hedge_delta[..., k]) for k in listed),
        gamma=episodes.gamma,
        vega=episodes.vega,
        premium=convert(episodes.premium),
        features=features,
        expected=convert(episodes.expected),
        reference=None,
    )

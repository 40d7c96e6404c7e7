"""The tape: a block of episodes laid out as the ledger reads it, date by date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from typing import Any, Protocol

import numpy as np
import torch

from .episodes import Episodes
from .friction_paths import FrictionPaths
from .ledger import Period
from .namespace import X
from .nested import arrays, mapped

At = int | tuple[Any, Any]  # a date, or (dates [n], columns [n]) when the clocks differ
_DATED = (
    *("spot", "price", "arrival", "mark", "cash_flow", "growth", "carry", "delta", "option_delta"),
    *("option_gamma", "option_vega", "gamma", "vega", "expected", "reference", "base"),
    *("aversion", "cost_level", "group", "frictions"),
)


class Responds(Protocol):
    """A market that answers trades (`response.Response`)."""

    def __call__(self, tape: Tape, trade: tuple[X, ...], at: At) -> Tape:
        """The tape after the trades ``[N]`` of each instrument at a date."""

    def columns(self, start: int, stop: int) -> Responds:
        """As `Tape.columns`."""

    def path(self, j: int) -> Responds:
        """As `Tape.path`."""

    def copy(self) -> Responds:
        """As `Tape.copy`."""

    def overwrite(self, source: Any, columns: X) -> None:
        """As `Tape.overwrite`."""

    def state(self) -> tuple[X, ...]:
        """How far it has been moved, as plain arrays."""

    def restored(self, tape: Tape, state: tuple[X, ...]) -> Tape:
        """The tape where it had been moved so far."""


@dataclass(frozen=True)
class Tape:
    """What each date brings; entries are indexed by date first.

    The same class holds NumPy arrays ``[T+1, N]`` (float64), torch tensors, or lists of floats for
    a single path (`path`): ``entry[at]`` is then an array over paths or one number. K instruments,
    the last D of them delta-one. ``delta`` is the position's, in units of each delta-one
    instrument; ``option_delta`` is each option's, in units of the one that ``closes`` it (null:
    none does).
    """

    steps: int
    spot: X  # of the first asset
    price: tuple[X, ...]
    arrival: tuple[X, ...] | None  # where contracts expire and are listed anew
    mark: X
    cash_flow: X
    pays: tuple[bool, ...]
    growth: X | None
    carry: tuple[X, ...] | None
    settles: tuple[tuple[X, ...], ...]
    settled: tuple[tuple[X, ...], ...]
    expires: bool
    delta: tuple[X, ...]
    option_delta: tuple[X, ...]
    closes: tuple[int | None, ...]
    option_gamma: tuple[X, ...]
    option_vega: tuple[X, ...]
    gamma: X
    vega: X
    premium: X
    features: X | None
    expected: tuple[X | None, ...]  # E[arrival_{t+1}] / price_t of each delta-one instrument
    reference: X | None  # the wealth of a frictionless delta hedge
    aversion: X | None  # one row for all dates, as the next two
    cost_level: X | None
    group: X | None
    closed: tuple[tuple[X, ...], ...] | None = None  # which cannot be traded; null: none ever
    base: tuple[tuple[X, X], ...] | None = None  # what actions are built on (`base_edges`)
    frictions: FrictionPaths | None = None
    response: Responds | None = None  # where trades move the market

    @staticmethod
    def of(
        episodes: Episodes, names: tuple[str, ...] | None = None, *, paired: bool = False
    ) -> Tape:
        """The tape of torch ``episodes`` as read-only float64 NumPy arrays.

        With ``names`` the observations ``[T+1, N, F]`` (float32) are computed too, with ``paired``
        the frictionless delta hedge that a paired reward needs. What actions are built on comes
        from `base_edges`, which needs a tape.
        """
        features = None if names is None else _frozen(episodes.features(names).cpu().numpy())
        tape = _lay_out(episodes.numpy(), _float64, features)
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

        features = None if self.features is None else self.features[:, start:stop]
        return replace(
            self,
            **self._each(cut),
            premium=self.premium[start:stop],
            features=features,
            response=self.response and self.response.columns(start, stop),
        )

    def path(self, j: int) -> Tape:
        """One path as lists of floats."""

        def pick(array: X) -> X:
            return array[:, j].tolist() if array.shape[-1] > 1 else array[:, 0].tolist()

        features = None if self.features is None else self.features[:, j]
        return replace(
            self,
            **self._each(pick),
            premium=float(self.premium[j]),
            features=features,
            response=self.response and self.response.path(j),
        )

    def copy(self) -> Tape:
        """The same on arrays of its own, which may be written."""
        features = None if self.features is None else self.features.copy()
        return replace(
            self,
            **self._each(lambda array: array.copy()),
            premium=self.premium.copy(),
            features=features,
            response=self.response and self.response.copy(),
        )

    def overwrite(self, source: Tape, columns: X) -> None:
        """Put the paths ``columns`` of ``source`` in the place of this tape's own."""
        pairs = [*zip(self._arrays(), source._arrays(), strict=True)]
        if self.features is not None:
            pairs.append((self.features, source.features))
        for array, other in pairs:
            if array.shape[1] == self.mark.shape[1]:  # else all paths share it
                array[:, columns] = other[:, columns]
        self.premium[columns] = source.premium[columns]
        if self.response is not None:
            self.response.overwrite(source.response, columns)

    def _arrays(self) -> list[X]:
        """What is indexed by date and path, but the features."""
        return [array for name in _DATED for array in arrays(getattr(self, name))]

    def _each(self, change: Callable[[X], X]) -> dict[str, Any]:
        """Every one of those changed, by the name of its field."""
        return {name: mapped(change, getattr(self, name)) for name in _DATED}

    def period(self, at: At) -> Period:
        """What (t, t+1] brings."""
        if isinstance(at, int):
            return self._periods[at]
        after = (at[0] + 1, at[1])
        return Period(
            price=tuple([p[at] for p in self.price]),
            next_price=tuple([p[after] for p in self.arrival or self.price]),
            carry=None if self.carry is None else tuple([c[at] for c in self.carry]),
            growth=None if self.growth is None else _on_dates(self.growth, at),
            cash_flow=self.cash_flow[after],
            next_mark=self.mark[after],
            settles=_by_path(self.settles, at[0] + 1) if self.expires else None,
            cost_level=None if self.cost_level is None else self.cost_level[0][at[1]],
        )

    def all_periods(self) -> Period:
        """What every step brings, ``[T, N]``: for contracts of which none settles."""
        flows = self.cash_flow[1:] if any(self.pays[1:]) else None
        return Period(
            price=tuple([p[:-1] for p in self.price]),
            next_price=tuple([p[1:] for p in self.arrival or self.price]),
            carry=self.carry,
            growth=self.growth,
            cash_flow=flows,
            next_mark=self.mark[1:],
            settles=None,
            cost_level=None if self.cost_level is None else self.cost_level[0],
        )

    def frictions_at(self, at: At) -> FrictionPaths | None:
        """Those of date t and the step ahead, ``[N]``; null where there are none."""
        if self.frictions is None:
            return None
        last = self.steps - 1

        def here(array: X) -> X:
            # What has one row a step has none at the end, where accounts are only closed.
            rows = len(array)
            if isinstance(at, int):
                return array[min(at, last) if rows == self.steps else at]
            dates = np.minimum(at[0], last) if rows == self.steps else at[0]
            return _on_dates(array, (dates, at[1]))

        found: FrictionPaths = mapped(here, self.frictions)
        return found

    def lost_after(self, at: At) -> X | None:
        """What is lost at t+1 of what was bought of a counterparty, a fraction; 0 at the end."""
        if self.frictions is None or self.frictions.lost is None:
            return None
        lost, end = self.frictions.lost, self.steps
        if isinstance(at, int):
            return lost[min(at + 1, end)]
        return lost[np.minimum(at[0] + 1, end), at[1]]

    @cached_property
    def _periods(self) -> list[Period]:
        """The periods of clocks in step, laid out at once: a step only looks its own up."""
        price, nothing = list(zip(*self.price, strict=True)), repeat(None)
        arrival = price if self.arrival is None else list(zip(*self.arrival, strict=True))
        flows = zip(self.cash_flow[1:], self.pays[1:], strict=True)
        entries = zip(
            price,
            arrival[1:],
            nothing if self.carry is None else zip(*self.carry, strict=True),
            nothing if self.growth is None else self.growth,
            [flow if pays else None for flow, pays in flows],
            self.mark[1:],
            self.settles[1:] if self.expires else nothing,
            nothing if self.cost_level is None else repeat(self.cost_level[0]),
            strict=False,
        )
        return list(map(Period._make, entries))

    @property
    def drawn(self) -> tuple[X | None, X | None]:
        """The aversion and the group of each path, ``[N]``, or of the one; null where alike."""
        aversion, group = self.aversion, self.group
        return None if aversion is None else aversion[0], None if group is None else group[0]

    def surprise(self, at: At, j: int) -> X | None:
        """How far a delta-one instrument moves over (t, t+1] beyond what is expected, if known."""
        expected = self.expected[j]
        if expected is None:
            return None
        after: At = at + 1 if isinstance(at, int) else (at[0] + 1, at[1])
        k = len(self.option_delta) + j
        arrival = (self.arrival or self.price)[k]
        return arrival[after] - self.price[k][at] * _on_dates(expected, at)

    def settled_at(self, at: At) -> tuple[X, ...] | None:
        """Which instruments cannot be held any more, null when all can."""
        if not self.expires:
            return None
        return self.settled[at] if isinstance(at, int) else _by_path(self.settled, at[0])

    def closed_at(self, at: At) -> tuple[X, ...] | None:
        """Which instruments cannot be traded and stay as they are, null when all can."""
        if self.closed is None:
            return None
        return self.closed[at] if isinstance(at, int) else _by_path(self.closed, at[0])


def _on_dates(array: X, at: At) -> X:
    """Entries that all paths may share, ``[T, 1]``."""
    shared = not isinstance(at, int) and array.shape[1] == 1
    return array[at[0], 0] if shared else array[at]  # type: ignore[index]


def _delta_hedged(tape: Tape) -> X:
    """Wealth ``[T+1, N]`` from holding minus the position's delta, without cost or interest."""
    moves = np.diff(tape.mark, axis=0) + tape.cash_flow[1:]
    for k, delta in enumerate(tape.delta, start=len(tape.option_delta)):
        arrival = tape.price[k] if tape.arrival is None else tape.arrival[k]
        moves -= delta[:-1] * (arrival[1:] - tape.price[k][:-1])
    return _frozen(np.concatenate([np.zeros_like(moves[:1]), np.cumsum(moves, axis=0)]))


def _by_path(dates: tuple[tuple[X, ...], ...], t: X) -> tuple[X, ...]:
    table: X = np.asarray(dates)
    table = torch.as_tensor(table, device=t.device)[t] if isinstance(t, torch.Tensor) else table[t]
    return tuple(table[:, k] for k in range(table.shape[1]))


def _float64(array: X) -> X:
    return _frozen(np.asarray(array, dtype=None if array.dtype == bool else np.float64))


def _frozen(array: X) -> X:
    array.flags.writeable = False
    return array


def _lay_out(episodes: Episodes, convert: Any, features: X | None) -> Tape:
    contract = episodes.contract
    carry, growth, arrival = episodes.carry, episodes.growth, episodes.arrival
    expires = any(any(date) for date in episodes.settles)

    def columns(values: X | None, which: range) -> tuple[X, ...] | None:
        return None if values is None else tuple(convert(values[..., k]) for k in which)

    instruments, options = range(contract.instruments), range(contract.options)
    delta_ones = range(contract.options, contract.instruments)
    assets = [contract.assets[k] for k in delta_ones]
    closes = [assets.index(a) if a in assets else None for a in contract.assets[: len(options)]]
    # A future's own delta is not 1; the ledger holds futures, so deltas are counted in them.
    own = [episodes.hedge_delta[..., k] if episodes.relisted[k] else None for k in delta_ones]
    deltas = (episodes.delta, *episodes.other_deltas)
    price = columns(episodes.price, instruments)
    assert price is not None
    return Tape(
        steps=episodes.steps,
        spot=convert(episodes.spot),
        price=price,
        arrival=columns(arrival, instruments),
        mark=convert(episodes.mark),
        cash_flow=convert(episodes.cash_flow),
        pays=episodes.pays,
        growth=None if growth is None else convert(growth),
        carry=columns(carry, instruments),
        settles=episodes.settles,
        settled=tuple(map(episodes.settled, range(episodes.steps + 1))) if expires else (),
        expires=expires,
        delta=tuple(
            convert(deltas[a] if d is None else deltas[a] / d)
            for a, d in zip(assets, own, strict=True)
        ),
        option_delta=tuple(
            convert(
                episodes.hedge_delta[..., k]
                if j is None or own[j] is None
                else episodes.hedge_delta[..., k] / own[j]
            )
            for k, j in zip(options, closes, strict=True)
        ),
        closes=tuple(closes),
        option_gamma=columns(episodes.hedge_gamma, options) or (),
        option_vega=columns(episodes.hedge_vega, options) or (),
        gamma=convert(episodes.gamma),
        vega=convert(episodes.vega),
        closed=episodes.closed,
        premium=convert(episodes.premium),
        features=features,
        expected=tuple(None if e is None else convert(e) for e in episodes.expected),
        reference=None,
        **{
            name: None if value is None else convert(value)
            for name in ("aversion", "cost_level", "group")
            for value in [getattr(episodes, name)]
        },
        frictions=mapped(convert, episodes.frictions),
    )

"""Episodes: a batch of outcomes of a scenario, computed ahead in a few large array operations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .client_orders import draw_orders
from .contract import Contract
from .feedback import fed_back
from .friction_paths import FrictionPaths, Seen, friction_paths
from .instrument_quotes import Quotes, quote
from .markets import MarketPaths
from .namespace import NUMPY, TORCH, Namespace
from .nested import mapped
from .observation import market_features
from .position_marks import mark_position
from .scenario import Scenario

X = Any


@dataclass(frozen=True)
class Episodes:
    """A batch of outcomes on the decision dates and the end: T steps, N paths, K hedge instruments.

    Torch tensors as simulated, NumPy arrays after `numpy`. Cash flows that fall between decision
    dates are carried to the next one with interest.

    Attributes:
        contract: the scenario's constants.
        times: years, ``[T+1, 1 or N]``.
        spot, log_spot: of the first asset, ``[T+1, N]``; ``other_spots`` has the further ones.
        vol: the quoted vol, ``[T+1, 1 or N]`` or ``[1, 1 or N]``.
        price: mid prices, ``[T+1, N, K]``; at its settlement an option's payoff, 0 after it.
        arrival: what the holdings of the step that ended are worth where a contract has expired and
            the next one trades at ``price``; null where they are the same.
        mark: the position's value after the cash flows of the date, ``[T+1, N]``; 0 at the end.
        cash_flow: what the position pays (signed), ``[T+1, N]``; the close-out at the end included.
        pays: the dates on which any path pays.
        delta: of the position to the first asset, ``[T+1, N]``; ``other_deltas`` to further ones.
        gamma, vega, theta: of the position, ``[T+1, N]``, sums over the legs.
        hedge_delta, hedge_gamma, hedge_vega: of the instruments, each to its own asset,
            ``[T+1, N, K]``.
        growth: ``e^{r dt} - 1``, ``[T, 1 or N]``, null without interest.
        carry: cash at t+1 on a unit held, ``[T, N, K]``, null where there is none.
        settles: per date, which instruments settle; ``settled`` those that have for good.
        relisted: which instruments' next contract follows a settlement.
        closed: per date, which instruments cannot be traded and stay as they are; null: none ever.
        jump: the log-jumps since the last date, ``[T+1, N]``, null where nothing jumps.
        latents: states that only the model knows, ``[T+1, N]`` each.
        premium: cash received at time 0, ``[N]``.
        expected: ``E[arrival_{t+1}] / price_t`` of each delta-one instrument, ``[T, 1 or N]``;
            null where the market cannot tell.
        aversion: the objective's on each path, 1 / money, ``[1, N]``; null where all have the
            scenario's own.
        cost_level: what every cost is multiplied by, ``[1, N]``; null where by nothing.
        group: whose draw a path has, ``[1, N]``; null where nothing varies.
        frictions: what trading costs beside the terms of a cost; null where nothing.
        undisturbed: the market's paths, where the hedger's trades move them (`response`).
    """

    contract: Contract
    times: X
    spot: X
    log_spot: X
    other_spots: tuple[X, ...]
    vol: X
    price: X
    arrival: X | None
    mark: X
    cash_flow: X
    pays: tuple[bool, ...]
    delta: X
    other_deltas: tuple[X, ...]
    gamma: X
    vega: X
    theta: X
    hedge_delta: X
    hedge_gamma: X
    hedge_vega: X
    growth: X | None
    carry: X | None
    settles: tuple[tuple[bool, ...], ...]
    relisted: tuple[bool, ...]
    jump: X | None
    latents: dict[str, X]
    premium: X
    expected: tuple[X | None, ...]
    aversion: X | None = None
    cost_level: X | None = None
    group: X | None = None
    closed: tuple[tuple[bool, ...], ...] | None = None
    frictions: FrictionPaths | None = None
    undisturbed: MarketPaths | None = None

    @property
    def steps(self) -> int:
        """T."""
        return len(self.spot) - 1

    @property
    def paths(self) -> int:
        """N."""
        return int(self.spot.shape[1])

    @property
    def ops(self) -> Namespace:
        """The namespace of the arrays."""
        return TORCH if isinstance(self.spot, Tensor) else NUMPY

    def settled(self, t: int) -> tuple[bool, ...]:
        """Which instruments have settled for good by date t and cannot be held any more."""
        return tuple(
            not again and any(date[k] for date in self.settles[: t + 1])
            for k, again in enumerate(self.relisted)
        )

    def numpy(self) -> Episodes:
        """The same with NumPy arrays (shared memory on a CPU)."""
        return Episodes(**{name: _to_numpy(value) for name, value in vars(self).items()})

    def features(self, names: tuple[str, ...]) -> Tensor:
        """Observations ``[T+1, N, F]`` with the own features left at 0."""
        return market_features(names, self)


def _to_numpy(value: X) -> X:
    return mapped(lambda x: x.cpu().numpy() if isinstance(x, Tensor) else x, value)


def simulate(
    scenario: Scenario,
    paths: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> Episodes:
    """Draw ``paths`` outcomes of the scenario on the generator's device."""
    return mark(scenario, market_paths(scenario, paths, generator, dtype), generator)


def market_paths(
    scenario: Scenario,
    paths: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> MarketPaths:
    """Draw the prices of ``paths`` outcomes, before anything is marked on them."""
    _keep_freed_memory()
    times = scenario.calendar.times(paths, generator)
    clock = scenario.calendar.clock(times)
    moves = scenario.market.simulate(times, paths, generator, dtype, clock)
    return fed_back(scenario, moves)


@cache
def _keep_freed_memory() -> None:
    """Have the C library keep what a batch frees for the next one.

    glibc raises its limit for that when it sees a large block come and go. Else every batch gets
    its memory anew, page by page, which takes as long as the arithmetic.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def mark(
    scenario: Scenario,
    paths: MarketPaths,
    generator: torch.Generator | None = None,
    frictions: FrictionPaths | None = None,
) -> Episodes:
    """The episodes of given market paths on the scenario's dates (or data's, of any number T).

    What client orders and frictions draw comes from the ``generator``, after the market, whose
    paths are the same without them; without one from a fixed seed. ``frictions`` given stay as
    they are.
    """
    times = paths.times
    if generator is None:
        generator = torch.Generator(paths.spot.device).manual_seed(0)
    dates = [*scenario.calendar.decisions, scenario.calendar.steps]
    if len(times) != scenario.calendar.steps + 1 or len(dates) == len(times):
        dates = list(range(len(times)))
    at: Rows = slice(None) if len(dates) == len(times) else dates
    orders = draw_orders(scenario.position.flow, times[at], paths.spot, generator)
    book = mark_position(scenario, paths, dates, orders)
    instruments = [hedge.instrument for hedge in scenario.hedges]
    quotes = [q for each in instruments for q in quote(scenario, each, paths, dates)]
    rate, dt = scenario.market.rate, times[at].diff(dim=0)
    vol = _on(scenario.marking.quoted_vol(paths), at)
    jump = paths.jump if paths.jump is None else _jumps_between(paths.jump, at)
    seen = Seen(times[at], paths.log_spot[at], vol, jump, [q.delta for q in quotes])
    if frictions is None:
        frictions = friction_paths(scenario, seen, generator)
    if frictions is not None and frictions.lost is not None:
        book = book.after_default(frictions.lost)
    return Episodes(
        contract=scenario.contract,
        times=times[at],
        spot=paths.spot[at],
        log_spot=paths.log_spot[at],
        other_spots=tuple(other.spot[at] for other in paths.others),
        vol=vol,
        growth=torch.expm1(rate * dt).to(paths.spot.dtype) if rate else None,
        jump=jump,
        latents={name: _on(value, at) for name, value in paths.latents.items()},
        mark=book.mark,
        delta=book.deltas[0],
        other_deltas=book.deltas[1:],
        gamma=book.gamma,
        vega=book.vega,
        theta=book.theta,
        cash_flow=book.cash_flow,
        pays=book.pays,
        premium=book.premium,
        frictions=frictions,
        undisturbed=paths if scenario.moves_prices else None,
        **_stacked(quotes, len(scenario.delta_ones), paths.spot[at]),
    )


Rows = slice | list[int]


def _on(values: Tensor, at: Rows) -> Tensor:
    return values if len(values) == 1 else values[at]


def _jumps_between(jump: Tensor, at: Rows) -> Tensor:
    """The jumps of all market steps since the last date."""
    if isinstance(at, slice):
        return jump
    total = jump.cumsum(dim=0)[at]
    return torch.cat([total[:1], total.diff(dim=0)])


def _stacked(quotes: list[Quotes], delta_one: int, spot: Tensor) -> dict[str, X]:
    """The instruments side by side, ``[T+1, N, K]``."""
    one, zero = (torch.full_like(spot[:1, :1], x).expand_as(spot) for x in (1.0, 0.0))

    def stack(columns: list[Tensor]) -> Tensor:
        whole = [column.expand_as(spot[: len(column)]) for column in columns]
        # Each instrument's series lies together: that is how the ledger reads it.
        return torch.stack(whole).movedim(0, -1) if len(whole) > 1 else whole[0][..., None]

    def columns(name: str, default: Tensor) -> list[Tensor]:
        given = [getattr(q, name) for q in quotes]
        return [default if values is None else values for values in given]

    relists = any(q.arrival is not None for q in quotes)
    pays = any(q.carry is not None for q in quotes)
    arrivals = [q.price if q.arrival is None else q.arrival for q in quotes]
    return {
        "price": stack([q.price for q in quotes]),
        "arrival": stack(arrivals) if relists else None,
        "hedge_delta": stack(columns("delta", one)),
        "hedge_gamma": stack(columns("gamma", zero)),
        "hedge_vega": stack(columns("vega", zero)),
        "carry": stack(columns("carry", zero[1:])) if pays else None,
        "settles": tuple(zip(*[q.settles for q in quotes], strict=True)),
        "relisted": tuple(q.relisted for q in quotes),
        "closed": _closed(quotes),
        "expected": tuple(q.expected for q in quotes[len(quotes) - delta_one :]),
    }


def _closed(quotes: list[Quotes]) -> tuple[tuple[bool, ...], ...] | None:
    """Per date, which instruments cannot be traded."""
    if all(q.closed is None for q in quotes):
        return None
    always = (False,) * len(quotes[0].settles)
    return tuple(zip(*[always if q.closed is None else q.closed for q in quotes], strict=True))

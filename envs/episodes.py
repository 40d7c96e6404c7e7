"""Episodes: a batch of outcomes of a scenario, computed ahead in a few large array operations."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .instruments import Claim, Path
from .markets import MarketPaths
from .namespace import NUMPY, TORCH, Namespace
from .observation import Contract, market_features
from .pricing import Greeks
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
        spot, log_spot: ``[T+1, N]``.
        vol: the quoted vol, ``[T+1, 1 or N]`` or ``[1, 1 or N]``.
        price: mid prices, ``[T+1, N, K]``; at its settlement an option's payoff, 0 after it.
        mark: the position's value after the cash flows of the date, ``[T+1, N]``; 0 at the end.
        cash_flow: what the position pays (signed), ``[T+1, N]``; the close-out at the end included.
        pays: the dates on which any path pays.
        delta, gamma, vega, theta: of the position, ``[T+1, N]``.
        hedge_delta, hedge_gamma, hedge_vega: of the instruments, ``[T+1, N, K]``.
        growth: ``e^{r dt} - 1``, ``[T, 1 or N]``, null without interest.
        carry: dividends at t+1 on a unit held, ``[T, N, K]``, null without dividends.
        settles: per date, which instruments settle; ``settled`` those that already have.
        jump: the log-jumps since the last date, ``[T+1, N]``, null where nothing jumps.
        latents: states that only the model knows, ``[T+1, N]`` each.
        premium: cash received at time 0, ``[N]``.
        expected: the market's ``E[S_{t+1}] / S_t``, ``[T, 1 or N]``.
    """

    contract: Contract
    times: X
    spot: X
    log_spot: X
    vol: X
    price: X
    mark: X
    cash_flow: X
    pays: tuple[bool, ...]
    delta: X
    gamma: X
    vega: X
    theta: X
    hedge_delta: X
    hedge_gamma: X
    hedge_vega: X
    growth: X | None
    carry: X | None
    settles: tuple[tuple[bool, ...], ...]
    jump: X | None
    latents: dict[str, X]
    premium: X
    expected: X

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
        """Which instruments have settled by date t and cannot be held any more."""
        instruments = range(self.contract.instruments)
        return tuple(any(date[k] for date in self.settles[: t + 1]) for k in instruments)

    def numpy(self) -> Episodes:
        """The same with NumPy arrays (shared memory on a CPU)."""
        fields = {name: _to_numpy(value) for name, value in vars(self).items()}
        return Episodes(**fields)

    def features(self, names: tuple[str, ...]) -> Tensor:
        """Observations ``[T+1, N, F]`` with the own features left at 0."""
        return market_features(names, self)


def _to_numpy(value: X) -> X:
    if isinstance(value, Tensor):
        return value.cpu().numpy()
    if isinstance(value, dict):
        return {key: _to_numpy(item) for key, item in value.items()}
    return value


def simulate(
    scenario: Scenario,
    paths: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> Episodes:
    """Draw ``paths`` outcomes of the scenario on the generator's device."""
    _keep_freed_memory()
    times = scenario.calendar.times(paths, generator)
    clock = scenario.calendar.clock(times)
    return mark(scenario, scenario.market.simulate(times, paths, generator, dtype, clock))


@cache
def _keep_freed_memory() -> None:
    """Have the C library keep what a batch frees for the next one.

    glibc raises its limit for that when it sees a large block come and go. Else every batch gets
    its memory anew, page by page, which takes as long as the arithmetic.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def mark(scenario: Scenario, paths: MarketPaths) -> Episodes:
    """The episodes of given market paths on the scenario's dates (or data's, of any number T)."""
    market, times = scenario.market, paths.times
    dates = [*scenario.calendar.decisions, scenario.calendar.steps]
    if len(times) != scenario.calendar.steps + 1 or len(dates) == len(times):
        dates = list(range(len(times)))
    at: Rows = slice(None) if len(dates) == len(times) else dates
    book = _position(scenario, paths, dates, at)
    dt = times[at].diff(dim=0)
    dtype = paths.spot.dtype
    dividends = torch.expm1(market.dividend * dt).to(dtype) * paths.spot[at][1:]
    return Episodes(
        contract=scenario.contract,
        times=times[at],
        spot=paths.spot[at],
        log_spot=paths.log_spot[at],
        vol=_on(scenario.marking.quoted_vol(paths), at),
        growth=torch.expm1(market.rate * dt).to(dtype) if market.rate else None,
        carry=_on_underlying(dividends, len(scenario.hedges)) if market.dividend else None,
        jump=paths.jump if paths.jump is None else _jumps_between(paths.jump, at),
        latents={name: _on(value, at) for name, value in paths.latents.items()},
        expected=torch.exp(market.drift * dt).to(dtype),
        **book,
        **_hedges(scenario, paths, dates, at),
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


def _on_underlying(values: Tensor, instruments: int) -> Tensor:
    """``[T, N]`` to ``[T, N, K]``, 0 for the listed options."""
    result = values.new_zeros((*values.shape, instruments))
    result[..., -1] = values
    return result


def _settlement(claim: Claim, times: Tensor) -> int | None:
    """The market date at which the claim pays, null when it outlives the episode."""
    if claim.maturity is None:
        return len(times) - 1
    if claim.maturity > float(times[-1, 0]) + 1e-9:
        return None
    return int((times[:, 0] - claim.maturity).abs().argmin())


def _path(claim: Claim, paths: MarketPaths, settlement: int) -> Path:
    """What the claim sees."""
    until = slice(settlement + 1)
    assets = tuple(asset.spot[until] for asset in paths.assets)
    return Path(paths.times[until], assets[claim.asset], assets)


def _value(scenario: Scenario, claim: Claim, paths: MarketPaths) -> Greeks:
    maturity = (
        paths.times[-1] if claim.maturity is None else paths.times.new_tensor([claim.maturity])
    )
    return scenario.marking.value(claim, maturity, scenario.market, paths)


def _position(scenario: Scenario, paths: MarketPaths, dates: list[int], at: Rows) -> dict[str, X]:
    """The position's marks, Greeks, cash flows and premium."""
    cash_flow = paths.spot.new_zeros((len(dates), paths.spot.shape[1]))
    pays = [False] * len(dates)
    totals: list[Tensor] = []
    for leg in scenario.position.legs:
        greeks = [leg.quantity * values[at] for values in _value(scenario, leg.claim, paths)]
        settlement = _settlement(leg.claim, paths.times)
        if settlement is not None:
            date = bisect.bisect_left(dates, settlement)
            wait = paths.times[dates[date]] - paths.times[settlement]
            payoff = leg.quantity * leg.claim.payoff(_path(leg.claim, paths, settlement))
            cash_flow[date] += payoff * torch.exp(scenario.market.rate * wait).to(payoff.dtype)
            pays[date] = True
            for values in greeks:
                values[date:] = 0.0
        totals = [a.add_(b) for a, b in zip(totals, greeks, strict=True)] if totals else greeks
    price, delta, gamma, vega, theta = totals
    premium = scenario.position.premium
    received = -price[0] if premium == "mark" else torch.full_like(price[0], premium)
    if any(_settlement(leg.claim, paths.times) is None for leg in scenario.position.legs):
        cash_flow[-1] += price[-1]
        price[-1] = 0.0
        pays[-1] = True
    return {
        "mark": price,
        "delta": delta,
        "gamma": gamma,
        "vega": vega,
        "theta": theta,
        "cash_flow": cash_flow,
        "pays": tuple(pays),
        "premium": received,
    }


def _hedges(scenario: Scenario, paths: MarketPaths, dates: list[int], at: Rows) -> dict[str, X]:
    """Prices, Greeks and settlements of the hedge instruments, the underlying last."""
    spot = paths.spot[at]
    settles = [[False] * len(scenario.hedges) for _ in dates]
    columns: list[list[Tensor]] = []
    for k, option in enumerate(scenario.listed):
        price, delta, gamma, vega, _ = [g[at] for g in _value(scenario, option, paths)]
        settlement = _settlement(option, paths.times)
        if settlement is not None:
            date = dates.index(settlement)
            price = price.clone()
            price[date] = option.payoff(_path(option, paths, settlement))
            price[date + 1 :] = 0.0
            settles[date][k] = True
            for values in (delta, gamma, vega):
                values[date:] = 0.0
        columns.append([price, delta, gamma, vega])
    zero = spot.new_zeros(()).expand_as(spot)
    columns.append([spot, spot.new_ones(()).expand_as(spot), zero, zero])
    stacked = (
        [torch.stack(values, -1) for values in zip(*columns, strict=True)]
        if len(columns) > 1
        else [values[..., None] for values in columns[0]]
    )
    names = ("price", "hedge_delta", "hedge_gamma", "hedge_vega")
    return {**dict(zip(names, stacked, strict=True)), "settles": tuple(map(tuple, settles))}

"""Advice: what a hedger would do today, from today's book, prices and P&L."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor

from ..envs import Hedger, Limits, Scenario, mark
from ..envs.calendar import DAYS_PER_YEAR
from ..envs.decision import decide
from ..envs.episodes import Episodes
from ..envs.instrument_quotes import quote
from ..envs.markets import MarketPaths
from ..envs.markets.sabr import Sabr
from ..envs.part import Part
from ..envs.presets import read_yaml
from .exposures import decision_dates
from .revaluation import at_the_start, sabr_scale

Positive = Annotated[float, Field(gt=0)]
Numbers = Annotated[tuple[float, ...], Field(strict=False)]
Spots = Annotated[tuple[Positive, ...], Field(min_length=1, strict=False)]


class BookState(Part):
    """Today, as a desk knows it: what ``--state`` reads.

    ``days`` are the calendar days since the deal; ``spot`` is each asset's price, ``holdings`` are
    units of every hedge instrument in the scenario's order, ``pnl`` the marked P&L so far. ``vol``
    is today's quoted vol; null: the scenario's at the start. ``history`` are the first asset's
    prices on the market's dates before today, from the start.
    """

    days: Annotated[float, Field(ge=0)]
    spot: Positive | Spots
    holdings: Numbers
    pnl: float = 0.0
    vol: Positive | None = None
    history: Spots | None = None

    @property
    def spots(self) -> tuple[float, ...]:
        """One for each asset."""
        return self.spot if isinstance(self.spot, tuple) else (self.spot,)


@dataclass(frozen=True)
class Order:
    """What to do with one hedge instrument; units, but ``price``.

    Attributes:
        name: its kind and place in the scenario.
        price: mid.
        before, target, after: held now, what the hedger wants, what the limits leave of it.
        binding: the limits that moved the target, and how.
    """

    name: str
    price: float
    before: float
    target: float
    after: float
    binding: tuple[str, ...]

    @property
    def trade(self) -> float:
        """What to buy, or to sell if negative."""
        return self.after - self.before


@dataclass(frozen=True)
class Advice:
    """A hedger's decision today.

    Attributes:
        hedger, scenario: their names.
        day: the decision date that the state is taken to be at, in days from the start.
        mark: the position's, money.
        orders: by instrument; ``cost`` is that of all of them, money.
        greeks: ``position``, ``before`` and ``after`` the trade, each by name.
        assumed: what the state leaves open and was supposed.
    """

    hedger: str
    scenario: str
    day: float
    mark: float
    orders: tuple[Order, ...]
    cost: float
    greeks: dict[str, dict[str, float]]
    assumed: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As plain data, for ``--json``."""
        orders = [asdict(order) | {"trade": order.trade} for order in self.orders]
        return {**vars(self), "orders": orders, "assumed": list(self.assumed)}


def read_state(file: Path) -> BookState:
    """Today's state from a YAML file.

    Raises:
        ValueError: in one line, for a file that cannot be read, an unknown key or a wrong value.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--state {file}: cannot be read: {error}") from None
    try:
        return BookState.model_validate(read_yaml(text, str(file)))
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"] if part != "function-wrap[validate]")
        keys = ", ".join(BookState.model_fields)
        mend = f"; the keys are {keys}" if fault["type"] in ("extra_forbidden", "missing") else ""
        raise ValueError(f"--state {file}: {key}: {fault['msg'].lower()}{mend}") from None


def advise(scenario: Scenario, hedger: Hedger, state: BookState) -> Advice:
    """Ask the hedger itself for today's holdings, on one path that leads to today.

    Evidence: tests/experiments/test_advice.py.

    Raises:
        ValueError: for a state that does not fit the scenario, or from the hedger.
    """
    t, paths, assumed = _paths(scenario, state)
    episodes = mark(scenario, paths)
    holding = tuple(np.array([units]) for units in state.holdings)
    decision = decide(scenario, episodes, hedger, t, holding, np.array([state.pnl]))
    before, target, after = (
        [float(units[0]) for units in column]
        for column in (decision.before, decision.requested, decision.held)
    )
    expired = episodes.settled(t)
    orders = tuple(
        Order(
            name=f"{k} {getattr(hedge.instrument, 'kind', 'instrument')}",
            price=float(episodes.price[t, 0, k]),
            before=before[k],
            target=target[k],
            after=after[k],
            binding=binding(scenario.limits[k], target[k], before[k], after[k], expired[k]),
        )
        for k, hedge in enumerate(scenario.hedges)
    )
    return Advice(
        hedger=hedger.name,
        scenario=scenario.name,
        day=float(episodes.times[t, 0]) * DAYS_PER_YEAR,
        mark=float(episodes.mark[t, 0]),
        orders=orders,
        cost=float(decision.cost[0]),
        greeks=_greeks(scenario, paths, episodes, t, {"before": before, "after": after}),
        assumed=tuple(assumed),
    )


def binding(
    limits: Limits, target: float, before: float, after: float, expired: bool
) -> tuple[str, ...]:
    """The limits that moved ``target`` to ``after``, in the order in which they apply."""
    if after == target:
        return ()
    if expired:
        return (f"expired: {target:g} becomes 0",)
    found, now = [], target
    if limits.max_trade is not None and abs(now - before) > limits.max_trade:
        cut = before + limits.max_trade * (1 if now > before else -1)
        found.append(f"max_trade {limits.max_trade:g}: {now:g} becomes {cut:g}")
        now = cut
    for name, bound in (("lower", limits.lower), ("upper", limits.upper)):
        if bound is not None and (now < bound if name == "lower" else now > bound):
            found.append(f"{name} {bound:g}: {now:g} becomes {bound:g}")
            now = bound
    if limits.lot is not None and now != after:
        found.append(f"lot {limits.lot:g}: {now:g} becomes {after:g}")
        now = after
    return tuple(found) if now == after else (*found, f"the desk: {now:g} becomes {after:g}")


def _paths(scenario: Scenario, state: BookState) -> tuple[int, MarketPaths, list[str]]:
    """The decision's number, a path that is today's state at its date, and what was supposed."""
    _, path = at_the_start(scenario)
    dates = decision_dates(scenario, path)
    days = (path.times[dates, 0] * DAYS_PER_YEAR).tolist()
    if state.days >= days[-1]:
        raise ValueError(
            f"days {state.days:g}: the episode ends after {days[-1]:g}, when nothing is decided: "
            "give fewer"
        )
    t = min(range(len(days) - 1), key=lambda i: abs(days[i] - state.days))
    today = dates[t]
    counted = {
        "spot": (len(state.spots), len(path.assets)),
        "holdings": (len(state.holdings), len(scenario.hedges)),
        "history": (today if state.history is None else len(state.history), today),
    }
    for key, (given, wanted) in counted.items():
        if given != wanted:
            raise ValueError(f"{key}: {given} numbers where {wanted} are needed: give {wanted}")
    assumed = _assumed(scenario, state, path, t)
    if abs(days[t] - state.days) > 1e-6 * days[-1]:
        assumed.append(f"day {state.days:g} is taken as the nearest decision date, {days[t]:.4g}")
    return t, _led_to(scenario, path, today, state), assumed


def _assumed(scenario: Scenario, state: BookState, path: MarketPaths, t: int) -> list[str]:
    """What the state leaves open, and what stands in for it."""
    assumed = []
    if t and state.history is None:
        assumed.append("prices went to today's at a constant rate, which is what memory has seen")
    if t:
        assumed.append("the hedger hedged the dates before today by itself")
    if state.vol is None:
        assumed.append("vol is the scenario's at the start")
    elif scenario.marking_is_constant:
        assumed.append("the marking keeps its own vol; the market's quotes and states have today's")
    states = [name for name in path.latents if name not in ("variance", "alpha")]
    if states:
        assumed.append(f"{', '.join(states)} as at the start")
    return assumed


def _led_to(scenario: Scenario, path: MarketPaths, today: int, state: BookState) -> MarketPaths:
    """The path through the history to today's prices, which then stand still."""
    steps = torch.arange(len(path.times), dtype=torch.float64)
    share = (steps / today).clamp(max=1.0) if today else torch.ones_like(steps)

    def led(asset: MarketPaths, spot: float, first: bool) -> MarketPaths:
        start, goal = asset.log_spot[0, 0], torch.tensor(spot, dtype=torch.float64).log()
        log_spot = start + share * (goal - start)
        if first and state.history is not None:
            log_spot[:today] = torch.tensor(state.history, dtype=torch.float64).log()
        jump = None if asset.jump is None else torch.zeros_like(asset.jump)
        moved = replace(asset, log_spot=log_spot[:, None], spot=log_spot[:, None].exp(), jump=jump)
        return _quoting(scenario, moved, state.vol)

    pairs = enumerate(zip(path.assets, state.spots, strict=True))
    first, *others = [led(asset, spot, j == 0) for j, (asset, spot) in pairs]
    return replace(first, others=tuple(others))


def _quoting(scenario: Scenario, asset: MarketPaths, vol: float | None) -> MarketPaths:
    """With today's vol as the quote and as what the model holds of it; else as at the start."""

    def still(values: Tensor) -> Tensor:
        return values[:1].expand(len(asset.times), -1).clone()

    latents = {name: still(values) for name, values in asset.latents.items()}
    skew = None if asset.skew is None else still(asset.skew)
    if vol is None:
        return replace(asset, implied_vol=still(asset.implied_vol), latents=latents, skew=skew)
    if "variance" in latents:
        latents["variance"] = torch.full_like(latents["variance"], vol**2)
    if "alpha" in latents and isinstance(scenario.market, Sabr):
        latents["alpha"] = vol / sabr_scale(scenario.market, asset)
    quoted = torch.full_like(asset.log_spot, vol)
    return replace(asset, implied_vol=quoted, latents=latents, skew=skew)


def _greeks(
    scenario: Scenario,
    paths: MarketPaths,
    episodes: Episodes,
    t: int,
    holdings: dict[str, list[float]],
) -> dict[str, dict[str, float]]:
    """Delta to the first asset, gamma, vega and theta of the position, and with each holding."""
    dates = decision_dates(scenario, paths)
    names = ("delta", "gamma", "vega", "theta")
    found = {"position": {name: float(getattr(episodes, name)[t, 0]) for name in names}}
    quotes = [q for h in scenario.hedges for q in quote(scenario, h.instrument, paths, dates)]
    for when, held in holdings.items():
        sums = dict(found["position"])
        for units, quotes_of in zip(held, quotes, strict=True):
            for name in names if quotes_of.asset == 0 else names[1:]:
                values = getattr(quotes_of, name)
                whole = 1.0 if name == "delta" else 0.0
                sums[name] += units * (whole if values is None else float(values[t, 0]))
        found[when] = sums
    return found

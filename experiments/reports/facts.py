"""A scenario in words: what a reader must know to judge its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...envs import Scenario
from ...envs.calendar import DAYS_PER_YEAR
from ...envs.constraints import Limits
from ...envs.instruments import Claim, ListedOption
from ...envs.markets import Market, Uniform
from ...envs.objectives import Objective
from ...envs.part import Part
from ...envs.scenario import Hedge

Facts = list[tuple[str, list[str]]]

_UNITS = {
    "drift": "a year",
    "rate": "a year",
    "dividend": "a year",
    "intensity": "a year",
    "sigma": "per √year",
    "vol": "per √year",
}


def facts(scenario: Scenario) -> Facts:
    """Terms with the lines that explain them; any kind of part is told by its own fields."""
    position, calendar, objective = scenario.position, scenario.calendar, scenario.objective
    legs = [f"{_number(leg.quantity, '+g')} {claim(leg.claim)}" for leg in position.legs]
    if position.flow is not None:
        legs.append(f"client flow: {part(position.flow)}")
    every = calendar.decide_every
    rhythm = "every step" if every == 1 else f"every {every} steps"
    end = "sold at cost" if scenario.liquidate else "counted at mid"
    closing = [f"at the end what is held is {end}"]
    if scenario.loss_limit is not None:
        closing.append(f"stopped and liquidated at a loss of {scenario.loss_limit:g}")
    premium = position.premium
    received = "minus its mark" if premium == "mark" else f"{premium:g} money"
    return [
        ("Market", [_market(scenario.market)]),
        ("Position", [*legs, f"premium received: {received}"]),
        ("Hedged with", [hedge(each) for each in scenario.hedges]),
        ("Calendar", [part(calendar), f"a decision {rhythm}", *closing]),
        ("Marking", [part(scenario.marking, _UNITS)]),
        ("Risk", [f"{objective.label}, in money, of the loss; lower is better"]),
    ]


def definition(objective: Objective) -> str:
    """What an objective measures: the first paragraph of its own description."""
    paragraph = (type(objective).__doc__ or "").split("\n\n")[0]
    return " ".join(paragraph.split()).replace("`", "")


def part(described: Part, units: Mapping[str, str] | None = None) -> str:
    """A part's kind and its parameters as they are called in the scenario file."""
    units = units or {}
    words = []
    for name in type(described).model_fields:
        value = getattr(described, name)
        first_asset = name == "asset" and value == 0
        if name in ("kind", "decide_every") or value is None or first_asset:
            continue
        unit = f" {units[name]}" if name in units else ""
        drawn = " (drawn for every path)" if isinstance(value, Uniform) else ""
        words.append(f"{name.replace('_', ' ')} {_value(value)}{unit}{drawn}")
    kind: str = getattr(described, "kind", "")
    return ": ".join(filter(None, [kind, ", ".join(words)]))


def claim(described: Claim) -> str:
    """A claim with its maturity in days."""
    others = described.model_copy(update={"maturity": None})
    if described.maturity is None:
        return f"{part(others)}, expires with the episode"
    return f"{part(others)}, expires after {described.maturity * DAYS_PER_YEAR:.4g} days"


def hedge(described: Hedge) -> str:
    """An instrument, what it costs to trade, and its limits."""
    instrument = described.instrument
    if isinstance(instrument, ListedOption):
        name = f"listed {claim(instrument.option)}"
    else:
        name = part(instrument)
    costs = " + ".join(_cost(cost) for cost in described.costs) or "none"
    return f"{name}; cost {costs}{_limits(described.limits)}"


def _market(market: Market) -> str:
    return f"{part(market, _UNITS)}; total volatility {market.volatility:.4g} per √year"


def _cost(cost: Part) -> str:
    rate = getattr(cost, "rate", None)
    basis = f" ({1e4 * rate:g} bp of the price)" if isinstance(rate, float) else ""
    return f"{part(cost)}{basis}"


def _limits(limits: Limits) -> str:
    words = part(limits)
    return f"; {words}" if words else ""


def _value(value: Any) -> str:
    if isinstance(value, Uniform):
        return f"{value.low:g} to {value.high:g}"
    if isinstance(value, Part):
        return f"({part(value)})"
    if isinstance(value, (list, tuple)):
        return "; ".join(map(_value, value))
    return _number(value, "g") if isinstance(value, float) else str(value)


def _number(value: float, form: str) -> str:
    return f"{value:{form}}".replace("-", "−")

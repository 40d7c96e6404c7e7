"""What the rules that know the cost read off a scenario, and what they share."""

from __future__ import annotations

from types import UnionType

import torch
from torch import Tensor

from ..envs.costs import FixedCost, PerUnitCost, ProportionalCost
from ..envs.hedger import Known
from ..envs.instruments import EuropeanOption, Leg, PrepaidForward
from ..envs.markets import GeometricBrownianMotion
from ..envs.namespace import X
from ..envs.objectives import Entropic, MeanVariance
from ..envs.pricing import ConstantVolMarking, Greeks, ModelMarking, black_scholes
from ..envs.scenario import Scenario


def mean_step(known: Known) -> float:
    """Years between decision dates."""
    return known.contract.horizon / known.contract.steps


def time_left(known: Known) -> X:
    """Years to the end of the episode ``[1 or N]``, as precise as the spot: dates are float64."""
    left = known.time_left
    return left.to(known.spot.dtype) if isinstance(left, Tensor) else left


def need_dates(known: Known, dates: int, name: str) -> None:
    """Refuse to play a table of the scenario's ``dates`` on others, such as months of real prices.

    Raises:
        ValueError: naming the rule, both counts and the mend.
    """
    if known.steps != dates:
        raise ValueError(
            f"{name}: {known.steps} decision dates and the scenario has {dates}: set its calendar "
            "to the data's dates"
        )


def several_assets(scenario: Scenario) -> str | None:
    """The refusal of a rule for one asset."""
    count = len(scenario.market.spots)
    if count == 1:
        return None
    return f"it is for one asset and the market has {count}: take delta, delta:every=... or band"


def no_aversion(scenario: Scenario, given: float | None) -> str | None:
    """The refusal of a rule that needs an aversion, where none is given or known."""
    if given is not None or isinstance(scenario.objective, Entropic | MeanVariance):
        return None
    return (
        f"it needs an aversion and the objective, {scenario.objective.label}, has none: give one, "
        "as in aversion=0.1"
    )


def no_vanilla_book(scenario: Scenario) -> str | None:
    """The refusal of a rule that values the legs at another vol."""
    if scenario.position.flow is not None:
        return "it knows the legs and not the client flow: take delta or whalley-wilmott"
    for leg in scenario.position.legs:
        if not isinstance(leg.claim, EuropeanOption):
            return (
                "it values the legs at another vol and knows calls and puts, not "
                f"{type(leg.claim).__name__}: take delta, band or whalley-wilmott"
            )
    return None


def vol_beside_marks(scenario: Scenario) -> float | None:
    """The vol of a geometric Brownian motion that is marked at another one, else null."""
    market, marking = scenario.market, scenario.marking
    if not isinstance(market, GeometricBrownianMotion) or not isinstance(market.sigma, float):
        return None
    other = isinstance(marking, ConstantVolMarking) and marking.vol != market.sigma
    return market.sigma if other and market.sigma else None


def holds_the_asset(scenario: Scenario) -> bool:
    """Whether the position is nothing but the first asset itself, held long."""
    return _shares_only(scenario) and all(
        leg.claim.asset == 0 and leg.quantity > 0 for leg in scenario.position.legs
    )


def _shares_only(scenario: Scenario) -> bool:
    """Whether the position is nothing but shares, of any asset."""
    position = scenario.position
    return position.flow is None and all(
        isinstance(leg.claim, PrepaidForward) for leg in position.legs
    )


def no_option_held(scenario: Scenario) -> str | None:
    """The refusal of a rule that hedges gamma or vega, where the position can have none."""
    if not _shares_only(scenario):
        return None
    return "shares have no gamma or vega that options could neutralise: take static-options"


def no_asset_held(scenario: Scenario) -> str | None:
    """The refusal of a rule that protects a holding of the asset."""
    if holds_the_asset(scenario):
        return None
    return "it protects a holding of the asset: make the position one of prepaid-forward, long"


def proportional_rate(known: Known) -> float:
    """lambda: what trading 1 of money costs one way; fixed and other terms are not in it."""
    terms = known.scenario.costs[known.contract.options]
    return sum(term.rate for term in terms if isinstance(term, ProportionalCost))


def unit_cost(known: Known) -> X:
    """What a unit of the asset costs one way, ``[N]``: lambda S plus the fee a unit."""
    terms = known.scenario.costs[known.contract.options]
    fee = sum(term.fee for term in terms if isinstance(term, PerUnitCost))
    cost = proportional_rate(known) * known.spot
    return cost + fee / known.hedge_delta[:, known.contract.options] if fee else cost


def charges(scenario: Scenario, kinds: type | UnionType) -> bool:
    """Whether trading what closes the delta has a cost of these kinds that is not 0."""
    terms = scenario.costs[scenario.contract.options]
    return any(
        isinstance(term, kinds) and (getattr(term, "rate", 0) or getattr(term, "fee", 0))
        for term in terms
    )


def charges_a_fee(scenario: Scenario) -> bool:
    """Whether a trade of the first underlying or future costs something whatever its size."""
    return any(
        isinstance(cost, FixedCost) or (isinstance(cost, PerUnitCost) and bool(cost.minimum))
        for cost in scenario.costs[scenario.contract.options]
    )


def fixed_fee(known: Known) -> float:
    """F: what a trade costs whatever its size, money; a commission's minimum is not in it."""
    terms = known.scenario.costs[known.contract.options]
    return sum(term.fee for term in terms if isinstance(term, FixedCost))


def aversion_of(known: Known, given: float | None) -> float:
    """The aversion in 1 / money: as given, else the objective's, which `no_aversion` has checked.

    Mean-variance is entropic risk to second order, with the same aversion.
    """
    objective = known.scenario.objective
    if given is not None:
        return given
    assert isinstance(objective, Entropic | MeanVariance)
    return objective.aversion


def aversions(scenario: Scenario) -> tuple[float, float]:
    """Where a tuned aversion is looked for, 1 / money: from bands of hardly any trade to delta."""
    money = scenario.market.spots[0] * scenario.position.size
    return 0.1 / money, 1e5 / money


def to_edge(known: Known, centre: X, half: X) -> X:
    """Delta-one holdings ``[N, D]``: the present ones, moved into ``centre +- half``."""
    ops, held = known.ops, known.holding[:, known.contract.options :]
    return ops.minimum(ops.maximum(held, centre - half), centre + half)


def in_instrument(known: Known, units: X) -> X:
    """Units of the asset ``[N]`` as ``[N, 1]`` of the instrument that closes its delta."""
    return (units / known.hedge_delta[:, known.contract.options])[:, None]


def neutral_at(known: Known, vol: X) -> X:
    """The delta-neutral holding ``[N, 1]`` if the legs were valued at ``vol [N]``.

    It is the marked one less the change of the legs' Black-Scholes deltas from the quoted vol to
    ``vol``, so that it is delta itself where the two are equal, however the position is marked.
    For legs that `no_vanilla_book` has checked.
    """
    change = _book_delta(known, as_tensor(vol)) - _book_delta(known, as_tensor(known.vol))
    return known.neutral - in_instrument(known, as_known(known, change))


def black_scholes_neutral(known: Known, vol: X) -> X:
    """The delta-neutral holding ``[N, 1]`` by Black-Scholes at ``vol [N]``, whatever the marking.

    Where the marks are Black-Scholes themselves it is `neutral_at`; marks of the model are put
    aside. For legs that `no_vanilla_book` has checked.
    """
    if not isinstance(known.scenario.marking, ModelMarking):
        return neutral_at(known, vol)
    return flat_neutral(known, vol)


def flat_neutral(known: Known, vol: X) -> X:
    """The delta-neutral holding ``[N, 1]`` by Black-Scholes at one vol ``[N]`` for all legs.

    No marks come in. For legs that `no_vanilla_book` has checked.
    """
    delta = _book_delta(known, as_tensor(vol))
    return -in_instrument(known, as_known(known, delta))


def leg_greeks(known: Known, leg: Leg, vol: Tensor) -> tuple[Greeks, Tensor]:
    """Black-Scholes Greeks ``[N]`` of one unit of a leg's claim, and its years left ``[1 or N]``.

    Once it has been paid the years are 0, and the delta is the same at every vol.
    """
    claim, market = leg.claim, known.scenario.market
    assert isinstance(claim, EuropeanOption)
    left = known.time_left if claim.maturity is None else claim.maturity - known.time
    log_spot = as_tensor(known.history("log_spot")[-1])
    tau = as_tensor(left).to(log_spot.dtype).clamp(min=0)
    greeks = black_scholes(
        log_spot,
        claim.strike,
        tau,
        vol,
        sign=claim.sign,
        rate=market.rate,
        dividend=market.dividends[0],
    )
    return greeks, tau


def as_tensor(x: X) -> Tensor:
    """A copy of an array: torch warns of read-only ones that it shares."""
    return x if isinstance(x, Tensor) else torch.tensor(x)


def as_known(known: Known, x: Tensor) -> X:
    """A tensor as an array of the kind that ``known`` has."""
    return x if isinstance(known.spot, Tensor) else x.numpy()


def _book_delta(known: Known, vol: Tensor) -> Tensor:
    """Of the legs that have not been paid, ``[N]``."""
    total: Tensor = sum(  # type: ignore[assignment]
        leg.quantity * greeks.delta * (tau > soon(known))
        for leg in known.scenario.position.legs
        for greeks, tau in [leg_greeks(known, leg, vol)]
    )
    return total


def soon(known: Known) -> float:
    """Years so few that a date so near is this one."""
    return 1e-6 * mean_step(known)

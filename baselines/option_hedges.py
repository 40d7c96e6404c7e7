"""Hedges that trade the listed options: position gamma, vega or both first, then delta."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import Field

from ..envs.costs import total_cost
from ..envs.hedger import Known, stack
from ..envs.instruments import PrepaidForward
from ..envs.ledger import ordered_sum
from ..envs.namespace import X
from ..envs.scenario import Scenario
from .baseline import Baseline
from .rule_inputs import aversions, time_left

TINY = 1e-30  # a squared Greek below it is none; float32 holds it
COLLINEAR = 1e-6  # of a matrix of trace 1, the determinant below which it has rank 1
VOL_ERROR = 0.2  # how far the vol, realised or quoted, may be off, as a part of itself

Exposure = tuple[X, list[X]]  # of the position and of each option, [N], money


class OptionHedge(Baseline):
    """Neutralises Greeks with the options, then delta with the delta-one instruments.

    The options take the smallest holdings n that leave the least |u|, u = G + A n what is left of
    the Greeks: exactly none where there are options enough, least squares where they are fewer or
    collinear. A Greek counts in money for a vol that is off by all of itself: Gamma S^2 sigma^2
    (T - t) for the realised one from now to the end, vega sigma for the quoted one.

    Near its expiry an option's Greeks vanish and the ratios explode: a holding that would be beyond
    ``cap`` position sizes (the sum of ``|quantity|``) stays there, and the other options take what
    it leaves. Delta is closed at every date, for the options that the limits let it hold, where
    something closes their asset's delta. A settled option is held no more.

    With an ``aversion`` a (1 / money) the options are traded only as far as the risk removed is
    worth its cost. Vols that are off by v = 20 % make a v^2 |u|^2 / 2 of risk; the trade to n costs
    c and moves u by w, and the share of it with the least risk and cost is done, (-u . w - c / (a
    v^2)) / |w|^2 within [0, 1]. A cost that is not proportional is spread over the whole trade;
    that of closing the delta is not counted.
    """

    cap: Annotated[float, Field(gt=0)] = 2.0
    aversion: Annotated[float, Field(gt=0)] | None = None

    @abstractmethod
    def exposures(self, known: Known) -> tuple[Exposure, ...]:
        """What is neutralised: one or two Greeks, in money."""

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``n = -A^T (A A^T)^+ G`` of the options, then ``-(Delta + n . delta)``."""
        options = self._options(known)
        return stack((*options, *_closing(known, options))), None

    def _options(self, known: Known) -> tuple[X, ...]:
        """The option holdings, each ``[N]``, within the scenario's limits."""
        greeks = self.exposures(known)
        target = _capped(self.cap * known.contract.size, greeks, known)
        if self.aversion is not None:
            target = _worth_it(self.aversion * VOL_ERROR**2, greeks, target, known)
        limits, held = known.scenario.limits, known.account.holding
        return tuple(limits[k].apply(n, held[k], known.ops) for k, n in enumerate(target))

    def refusal(self, scenario: Scenario) -> str | None:
        """For a scenario with options, whose Greeks are of one asset."""
        contract = scenario.contract
        if not contract.options:
            return (
                "the scenario has no options: list one in hedges (listed-option or "
                "rolled-option), or take delta"
            )
        claims = [leg.claim for leg in scenario.position.legs]
        if all(isinstance(claim, PrepaidForward) for claim in claims):
            return "shares have no gamma or vega that options could neutralise: take static-options"
        assets = {number for claim in claims for number in (claim.asset, claim.reach)}
        assets.update(contract.assets[: contract.options])
        if len(assets) > 1:
            return (
                f"position and options are on assets {sorted(assets)}: their Greeks are not of one "
                "asset and do not add up, so take delta"
            )
        return None if self.aversion is None else _not_the_first_asset(scenario)

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """The aversion."""
        return {"aversion": aversions(scenario)}


class DeltaGammaHedge(OptionHedge):
    """Makes position gamma, then delta, neutral.

    Source: Hull, "Options, Futures, and Other Derivatives", 2021, chapter 19. Evidence:
    tests/baselines/test_greek_hedges.py (the book's Greeks after the trade; what it does to the
    hedging error) and test_option_books.py (the aversion).
    """

    kind: Literal["delta-gamma"] = "delta-gamma"

    def exposures(self, known: Known) -> tuple[Exposure, ...]:
        """Gamma."""
        return (_gamma(known),)


class DeltaVegaHedge(OptionHedge):
    """Makes position vega, then delta, neutral.

    Vega is to the vol that the marking moves: the quoted one, or the model's state, where a
    neutral book needs no correction for vol that moves with the price.
    Source: Hull, "Options, Futures, and Other Derivatives", 2021, chapter 19; Cao et al., "Gamma
    and vega hedging using deep distributional reinforcement learning", 2023. Evidence:
    tests/baselines/test_greek_hedges.py (the book's Greeks after the trade; a call under Heston)
    and test_option_books.py (the aversion).
    """

    kind: Literal["delta-vega"] = "delta-vega"

    def exposures(self, known: Known) -> tuple[Exposure, ...]:
        """Vega."""
        return (_vega(known),)


class DeltaGammaVegaHedge(OptionHedge):
    """Makes position gamma and vega, then delta, neutral.

    Two options of different maturities do both. One alone, or several that are collinear, as of
    one maturity in Black-Scholes, leave the least squares.
    Source: Hull, "Options, Futures, and Other Derivatives", 2021, chapter 19. Evidence:
    tests/baselines/test_option_books.py (the book's Greeks after the trade, NumPy's least squares,
    under Heston against delta-gamma and delta-vega).
    """

    kind: Literal["delta-gamma-vega"] = "delta-gamma-vega"

    def refusal(self, scenario: Scenario) -> str | None:
        """It compares Greeks, for which it must know the spot and the vol."""
        return super().refusal(scenario) or _not_the_first_asset(scenario)

    def exposures(self, known: Known) -> tuple[Exposure, ...]:
        """Gamma and vega."""
        return _gamma(known), _vega(known)


def _not_the_first_asset(scenario: Scenario) -> str | None:
    asset = scenario.contract.assets[0]
    if not asset:
        return None
    return (
        f"options on asset {asset}, and the spot and vol that are known are asset 0's: take "
        "delta-gamma or delta-vega, without aversion"
    )


def _gamma(known: Known) -> Exposure:
    """``Gamma S^2 sigma^2 (T - t)``."""
    unit = (known.spot * known.vol) ** 2 * time_left(known)
    return known.gamma * unit, _options_of(known, known.hedge_gamma * unit[:, None])


def _vega(known: Known) -> Exposure:
    """``vega sigma``."""
    return known.vega * known.vol, _options_of(known, known.hedge_vega * known.vol[:, None])


def _options_of(known: Known, instruments: X) -> list[X]:
    return [instruments[:, k] for k in range(known.contract.options)]


def _capped(most: float, greeks: tuple[Exposure, ...], known: Known) -> list[X]:
    """The least squares within ``most``: what is beyond it stays there and the others go on."""
    ops, count = known.ops, known.contract.options
    kept: list[X] = [0.0 * known.spot] * count
    free: list[X] = [0.0 * known.spot + 1.0] * count
    for _ in range(count):
        target = _least_squares(_remaining(greeks, kept, free), known)
        largest = ops.abs(target[0])
        for n in target[1:]:
            largest = ops.maximum(largest, ops.abs(n))
        over = [(ops.abs(n) == largest) & (largest > most) for n in target]
        kept = [
            ops.where(o, ops.clip(n, -most, most), h)
            for o, n, h in zip(over, target, kept, strict=True)
        ]
        free = [ops.where(o, 0.0 * f, f) for o, f in zip(over, free, strict=True)]
    last = _least_squares(_remaining(greeks, kept, free), known)
    return [h + n for h, n in zip(kept, last, strict=True)]


def _remaining(greeks: tuple[Exposure, ...], kept: list[X], free: list[X]) -> tuple[Exposure, ...]:
    """What options that are kept leave to those that are still free."""
    return tuple(
        (
            ordered_sum([own, *(h * a for h, a in zip(kept, each, strict=True))]),
            [f * a for f, a in zip(free, each, strict=True)],
        )
        for own, each in greeks
    )


def _least_squares(greeks: tuple[Exposure, ...], known: Known) -> list[X]:
    """The smallest holdings, each ``[N]``, of those that leave the least ``|G + A n|``."""
    ops = known.ops

    def dot(a: list[X], b: list[X]) -> X:
        return ordered_sum([x * y for x, y in zip(a, b, strict=True)])

    if len(greeks) == 1:
        own, each = greeks[0]
        total = ops.maximum(dot(each, each), TINY)
        return [-own * a / total for a in each]
    (gamma, gammas), (vega, vegas) = greeks
    p, q, r = dot(gammas, gammas), dot(gammas, vegas), dot(vegas, vegas)
    trace = ops.maximum(p + r, TINY)
    p, q, r = p / trace, q / trace, r / trace
    det = p * r - q * q
    full, det = det > COLLINEAR, ops.maximum(det, COLLINEAR)
    # The pseudo-inverse of A A^T: of rank 1 it is the matrix over its squared trace.
    p, q, r = (ops.where(full, x / det, y) for x, y in ((r, p), (-q, q), (p, r)))
    first, second = (p * gamma + q * vega) / trace, (q * gamma + r * vega) / trace
    return [-a * first - b * second for a, b in zip(gammas, vegas, strict=True)]


def _worth_it(price: float, greeks: tuple[Exposure, ...], target: list[X], known: Known) -> list[X]:
    """The holdings to which the trade is worth its cost; a squared exposure costs ``price / 2``."""
    ops, held = known.ops, known.account.holding
    trade = [n - h for n, h in zip(target, held, strict=False)]
    costs = known.scenario.costs
    cost = ordered_sum(
        [total_cost(costs[k], d, known.price[:, k], ops) for k, d in enumerate(trade)]
    )
    gain, square = -cost / price, 0.0
    for own, each in greeks:
        now = ordered_sum([own, *(a * h for a, h in zip(each, held, strict=False))])
        move = ordered_sum([a * d for a, d in zip(each, trade, strict=True)])
        gain, square = gain - now * move, square + move * move
    share = ops.clip(gain / ops.maximum(square, TINY), 0.0, 1.0)
    return [h + share * d for h, d in zip(held, trade, strict=False)]


def _closing(known: Known, options: tuple[X, ...]) -> list[X]:
    """The delta-one holdings that make position plus ``options`` delta-neutral."""
    contract, delta = known.contract, known.hedge_delta
    columns = []
    for j, asset in enumerate(contract.assets[contract.options :]):
        k = contract.options + j
        own = [n * delta[:, i] for i, n in enumerate(options) if contract.assets[i] == asset]
        column = known.neutral[:, j]
        columns.append(column - ordered_sum(own) / delta[:, k] if own else column)
    return columns

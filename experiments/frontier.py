"""The frontier: what every rule costs and what risk it leaves, over its knob, size or costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..baselines import Baseline, OptimalHedge, TunedHedge, baseline_kinds, known_optimum
from ..envs import Hedger, Scenario
from ..envs.presets import changed
from ..envs.variation import has_aversion
from . import statistics
from .evaluation import Evaluation, HedgerResult, Report, evaluate
from .statistics import Estimate

KNOB_POINTS = 9  # of a rule's option, and of the optimum's aversion
AVERSIONS = 10.0  # the optimum's curve goes from the objective's over this to times this


@dataclass(frozen=True)
class Point:
    """One hedger of a curve.

    Attributes:
        hedger: its name.
        value: of the knob, in its own unit, or of the size, or of the cost level.
        cost: mean total cost, money; over the size where the curve is over size.
        risk: in the scenario's objective, money; likewise.
        std: of the P&L, money; likewise.
        chosen: the value of its option, where that was tuned for the place.
    """

    hedger: str
    value: float
    cost: Estimate
    risk: Estimate
    std: Estimate
    chosen: float | None = None


@dataclass(frozen=True)
class Frontier:
    """Curves on the same paths.

    Attributes:
        scenario: what is hedged.
        paths, seed: how many paths, of which seed.
        knob: what a point's value is of: ``option``, ``size`` or ``cost``.
        curves: by the rule and the option, such as ``band:width``, or by the hedger.
    """

    scenario: Scenario
    paths: int
    seed: int
    knob: str
    curves: dict[str, tuple[Point, ...]]

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "scenario": self.scenario.name,
            "paths": self.paths,
            "seed": self.seed,
            "objective": self.scenario.objective.label,
            "knob": self.knob,
            "curves": [
                {"name": name, "points": [asdict(point) for point in points]}
                for name, points in self.curves.items()
            ],
        }


def frontier(
    scenario: Scenario,
    hedgers: Sequence[Hedger] = (),
    paths: int = 50_000,
    seed: int = 0,
    progress: Report | None = None,
) -> Frontier:
    """Every rule over each option that can be tuned, the optimum over aversions, and ``hedgers``.

    All on the same paths. The risk of the optimum's curve is the scenario's own objective; its
    policies are optimal for others. Evidence: tests/experiments/test_frontier.py.
    """
    curves = {name: rules for name, rules in _curves(scenario)}
    rules: dict[str, Hedger] = {rule.name: rule for each in curves.values() for _, rule in each}
    everyone = list(rules.values()) + [h for h in hedgers if h.name not in rules]
    found = evaluate(scenario, everyone, paths, seed, progress)
    drawn = {
        name: tuple(_point(found.result(rule.name), value) for value, rule in each)
        for name, each in curves.items()
    }
    best = _optimum(scenario, paths, seed)
    single = {h.name: (_point(found.result(h.name), np.nan),) for h in hedgers}
    return Frontier(scenario, paths, seed, "option", best | drawn | single)


def size_frontier(
    scenario: Scenario,
    chosen: Callable[[Scenario], Sequence[Hedger]],
    sizes: Sequence[float],
    paths: int = 50_000,
    seed: int = 0,
    progress: Report | None = None,
) -> Frontier:
    """Cost and risk of a unit of the position, where it is 1, 2, 10 ... times as large.

    Limits, capital and what a unit traded does to the price stay as they are: a desk that starts
    small and scales up. ``chosen`` gives the hedgers for a size, tuned for it if need be; a curve
    joins those that stand at one place of its answers. Evidence: tests/experiments/test_frontier.py
    (without impact and fees it is flat).

    Raises:
        ValueError: for a size that is not positive, or for answers of different lengths.
    """
    if not sizes or min(sizes) <= 0:
        raise ValueError(f"sizes {list(sizes)}: give some, each above 0")
    scaled = {size: of_size(scenario, size) for size in sizes}
    curves = _over_levels(scaled, chosen, paths, seed, progress)
    each = {name: tuple(map(_per_unit, points)) for name, points in curves.items()}
    return Frontier(scenario, paths, seed, "size", each)


def cost_frontier(
    scenario: Scenario,
    chosen: Callable[[Scenario], Sequence[Hedger]],
    levels: Sequence[float],
    paths: int = 50_000,
    seed: int = 0,
    progress: Report | None = None,
) -> Frontier:
    """Risk and mean cost where every cost is 0.1, 1, 2 ... times the scenario's.

    ``chosen`` gives the hedgers for a level, tuned for it if need be, as in `size_frontier`: so is
    found how often to rebalance, and inside which band to wait. At a small proportional rate k an
    interval dt costs as k dt^(-1/2) and leaves a variance as dt, and a band w costs as k / w and
    leaves a variance as w^2: where variance is what is dear, the best interval goes as k^(2/3) and
    the best band as k^(1/3). Sources: Leland, "Option pricing and replication with transactions
    costs", 1985 (the cost of an interval); Toft, "On the mean-variance tradeoff in option
    replication with transactions costs", 1996; Whalley and Wilmott, "An asymptotic analysis of an
    optimal hedging model for option pricing with transaction costs", 1997 (the band). Evidence:
    tests/experiments/test_frontier.py (both exponents, and the interval itself).

    Raises:
        ValueError: for a level that is not positive, or for answers of different lengths.
    """
    if not levels or min(levels) <= 0:
        raise ValueError(f"costs {list(levels)}: give some, each above 0")
    scaled = {level: of_cost(scenario, level) for level in levels}
    curves = _over_levels(scaled, chosen, paths, seed, progress)
    return Frontier(scenario, paths, seed, "cost", curves)


def of_cost(scenario: Scenario, level: float) -> Scenario:
    """The scenario with every cost of every hedge instrument times ``level``."""
    return changed(
        scenario,
        {
            f"hedges.{i}.costs.{j}.{name}": value * level
            for i, hedge in enumerate(scenario.hedges)
            for j, cost in enumerate(hedge.costs)
            for name, value in cost.model_dump(exclude={"kind"}).items()
        },
    )


def of_size(scenario: Scenario, size: float) -> Scenario:
    """The scenario with every leg's quantity times ``size``."""
    legs = scenario.position.legs
    return changed(
        scenario,
        {f"position.legs.{i}.quantity": leg.quantity * size for i, leg in enumerate(legs)},
    )


def _curves(scenario: Scenario) -> Iterator[tuple[str, list[tuple[float, Baseline]]]]:
    """Each rule that fits, over each of its options."""
    for name, kind in baseline_kinds().items():
        for rule in kind.variants(scenario)[:1]:
            for option, (least, most) in rule.ranges(scenario).items():
                whole = isinstance(least, int)
                grid = np.geomspace(least, most, KNOB_POINTS)
                values = dict.fromkeys(round(v) if whole else float(f"{v:.2g}") for v in grid)
                options = rule.model_dump()
                rules = [(float(v), kind.model_validate(options | {option: v})) for v in values]
                if rules[0][1].refusal(scenario) is None:
                    yield f"{name}:{option}", rules


def _optimum(scenario: Scenario, paths: int, seed: int) -> dict[str, tuple[Point, ...]]:
    """The optima of a range of aversions, judged by the scenario's objective."""
    if known_optimum(scenario) is None or not has_aversion(scenario.objective):
        return {}
    own: float = getattr(scenario.objective, "aversion")  # noqa: B009 - of those that have one
    points = []
    for factor in np.geomspace(1 / AVERSIONS, AVERSIONS, KNOB_POINTS):
        aversion = float(f"{own * factor:.3g}")
        other = changed(scenario, {"objective.aversion": aversion})
        result = evaluate(other, [], paths, seed).result(OptimalHedge().name)
        risk = statistics.risk(scenario.objective, -result.pnl)
        points.append(replace(_point(result, aversion), risk=risk))
    return {"optimal:aversion": tuple(points)}


def _point(result: HedgerResult, value: float) -> Point:
    return Point(result.name, value, result.cost, result.risk, result.std)


def _over_levels(
    scenarios: Mapping[float, Scenario],
    chosen: Callable[[Scenario], Sequence[Hedger]],
    paths: int,
    seed: int,
    progress: Report | None,
) -> dict[str, tuple[Point, ...]]:
    """A curve for each place of ``chosen``'s answers, over the scenarios' levels."""
    places: list[list[Hedger]] = []
    columns: list[list[Point]] = []
    for level, scaled in scenarios.items():
        hedgers = list(chosen(scaled))
        found = evaluate(scaled, hedgers, paths, seed, progress)
        places.append(hedgers)
        columns.append([_placed(found, hedger, level) for hedger in hedgers])
    if len({len(column) for column in columns}) > 1:
        raise ValueError("not every level has as many hedgers: name them")
    names = [_joined(each) for each in zip(*places, strict=True)]
    return dict(zip(names, zip(*columns, strict=True), strict=True))


def _placed(found: Evaluation, hedger: Hedger, level: float) -> Point:
    point = _point(found.result(hedger.name), level)
    if not isinstance(hedger, TunedHedge):
        return point
    return replace(point, chosen=float(getattr(hedger.rule, hedger.option)))


def _per_unit(point: Point) -> Point:
    cost, risk, std = (_over(each, point.value) for each in (point.cost, point.risk, point.std))
    return replace(point, cost=cost, risk=risk, std=std)


def _over(estimate: Estimate, size: float) -> Estimate:
    low, high = (None if end is None else end / size for end in (estimate.low, estimate.high))
    return Estimate(estimate.value / size, low, high, estimate.warning)


def _joined(hedgers: Sequence[Hedger]) -> str:
    """The one name, or the kind and what differs: ``band:width``."""
    tuned = {
        (h.rule.name.partition(":")[0], h.option) for h in hedgers if isinstance(h, TunedHedge)
    }
    if len(tuned) == 1:
        return ":".join(*tuned)
    names = [hedger.name for hedger in hedgers]
    if len(set(names)) == 1:
        return names[0]
    kind, _, options = names[0].partition(":")
    return f"{kind}:{options.partition('=')[0]}" if options else kind

"""The frontier: what every rule costs and what risk it leaves, over its own knob or over size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..baselines import Baseline, OptimalHedge, baseline_kinds, known_optimum
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
        value: of the knob, in its own unit, or of the size.
        cost: mean total cost, money; over the size where the curve is over size.
        risk: in the scenario's objective, money; likewise.
        std: of the P&L, money; likewise.
    """

    hedger: str
    value: float
    cost: Estimate
    risk: Estimate
    std: Estimate


@dataclass(frozen=True)
class Frontier:
    """Curves on the same paths.

    Attributes:
        scenario: what is hedged.
        paths, seed: how many paths, of which seed.
        knob: what a point's value is of: ``option`` or ``size``.
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
    columns: list[list[Point]] = []
    for size in sizes:
        scaled = of_size(scenario, size)
        hedgers = chosen(scaled)
        found = evaluate(scaled, hedgers, paths, seed, progress)
        columns.append([_per_unit(found, hedger, size) for hedger in hedgers])
    if len({len(column) for column in columns}) > 1:
        raise ValueError("not every size has as many hedgers: name them")
    rows = zip(*columns, strict=True)
    curves = {_joined([point.hedger for point in row]): row for row in rows}
    return Frontier(scenario, paths, seed, "size", curves)


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


def _per_unit(found: Evaluation, hedger: Hedger, size: float) -> Point:
    result = found.result(hedger.name)
    each = [_over(estimate, size) for estimate in (result.cost, result.risk, result.std)]
    return Point(hedger.name, size, *each)


def _over(estimate: Estimate, size: float) -> Estimate:
    low, high = (None if end is None else end / size for end in (estimate.low, estimate.high))
    return Estimate(estimate.value / size, low, high, estimate.warning)


def _joined(names: Sequence[str]) -> str:
    """The one name, or the kind and what differs: ``band:width``."""
    if len(set(names)) == 1:
        return names[0]
    kind, _, options = names[0].partition(":")
    return f"{kind}:{options.partition('=')[0]}" if options else kind

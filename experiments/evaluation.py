"""Evaluates hedgers on the same paths, with an interval for every figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..baselines import DeltaHedge, NoHedge, OptimalHedge, TunedHedge, known_optimum
from ..envs import Episodes, Hedger, Outcome, Scenario, rollout
from ..envs.episodes import mark, market_paths
from ..envs.markets import MarketPaths
from ..envs.namespace import NUMPY
from ..envs.objectives import CVaR, Objective, VaR
from ..envs.shortfall import Shortfall
from ..envs.stream import Role, generator_of, stream_of
from ..envs.tape import Tape
from . import statistics
from .seed_statistics import AcrossSeeds
from .statistics import Estimate

BLOCK = 16_384  # paths; fixed, so that a result does not depend on how the work is cut
LARGEST = 1e60  # money; the fourth power, which an interval takes, is still a number
PER_PATH = ("pnl", "cost", "turnover", "trades", "breach")

Samples = dict[str, NDArray[np.float64]]
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class HedgerResult:
    """One hedger's figures; P&L > 0 is good, VaR and CVaR are positive losses.

    Attributes:
        name: the hedger's.
        risk: in the scenario's objective.
        mean, std: of the P&L, money.
        var_95, cvar_95, cvar_99: money.
        cost: total cost per path, money.
        turnover: sum of |trade| price over the spot at the start.
        trades: number of trades.
        breach: dates at which the delta is outside the scenario's range; null without one.
        effectiveness: 1 - variance / variance unhedged.
        versus_delta: risk less delta's risk on the same paths; null for delta itself.
        gap_closed: (delta's risk - risk) / (delta's risk - the optimum's), on the same paths; null
            unless a proven optimum is among the hedgers and told apart from delta.
        pnl: of every path.
        below_floor: the share of paths that lose more than the objective's threshold.
        shortfall: E[max(L - threshold, 0)], money: how far below the floor, on average over all
            paths. Both are null where the objective is no `Shortfall`.
    """

    name: str
    risk: Estimate
    mean: Estimate
    std: Estimate
    var_95: Estimate
    cvar_95: Estimate
    cvar_99: Estimate
    cost: Estimate
    turnover: Estimate
    trades: Estimate
    breach: Estimate | None
    effectiveness: Estimate | None
    versus_delta: Estimate | None
    gap_closed: Estimate | None
    pnl: NDArray[np.float64]
    below_floor: Estimate | None = None
    shortfall: Estimate | None = None

    def document(self) -> dict[str, Any]:
        """As plain data, the outer contract's shape plus an ``intervals`` entry."""
        result: dict[str, Any] = {"name": self.name, "risk": _interval("value", self.risk)}
        intervals = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("name", "risk", "versus_delta", "pnl"):
                continue
            result[field.name] = None if value is None else value.value
            intervals[field.name] = None if value is None else [value.low, value.high]
        versus = self.versus_delta
        result["versus_delta"] = None if versus is None else _interval("difference", versus)
        result["intervals"] = intervals
        result["warning"] = self.risk.warning
        return result


def _interval(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: estimate.value, "low": estimate.low, "high": estimate.high}


@dataclass(frozen=True)
class Evaluation:
    """Several hedgers on the same paths of one scenario.

    Attributes:
        scenario: what they hedge.
        paths, seed: how many paths, of which seed.
        hedgers: their figures.
        tuned: the names of those with an option that was chosen on other paths.
        across: the agents over their training seeds, where policies were trained for it.
    """

    scenario: Scenario
    paths: int
    seed: int
    hedgers: tuple[HedgerResult, ...]
    tuned: tuple[str, ...] = ()
    across: AcrossSeeds | None = None

    def document(self) -> dict[str, Any]:
        """As plain data, for ``--json`` and ``evaluation.json``."""
        across = {} if self.across is None else {"across_seeds": self.across.document()}
        return {
            "scenario": self.scenario.name,
            "paths": self.paths,
            "seed": self.seed,
            "objective": self.scenario.objective.label,
            "hedgers": [hedger.document() for hedger in self.hedgers],
            "tuned": list(self.tuned),
            **across,
        }

    def result(self, name: str) -> HedgerResult:
        """A hedger's figures by its name.

        Raises:
            ValueError: for a name that was not evaluated.
        """
        by_name = {hedger.name: hedger for hedger in self.hedgers}
        if name not in by_name:
            raise ValueError(
                f"no hedger {name!r} was evaluated: choose one of {', '.join(by_name)}"
            )
        return by_name[name]


def with_references(hedgers: Sequence[Hedger], optimum: bool = False) -> list[Hedger]:
    """None, delta and, if asked for, the optimum first, then the others.

    Raises:
        ValueError: when two hedgers have one name, or another hedger has that of a reference.
    """
    references: list[Hedger] = [NoHedge(), DeltaHedge(), *([OptimalHedge()] if optimum else [])]
    everyone = list(references)
    for hedger in hedgers:
        rule = hedger.rule if isinstance(hedger, TunedHedge) else hedger
        if rule not in everyone:  # a tuned rule that comes to another's options is the same rule
            everyone.append(hedger)
    names = [hedger.name for hedger in everyone]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two hedgers are called {name!r}: give each a name of its own")
    return everyone


def evaluate(
    scenario: Scenario,
    hedgers: Sequence[Hedger],
    paths: int = 100_000,
    seed: int = 0,
    progress: Report | None = None,
) -> Evaluation:
    """Evaluate on ``paths`` fresh paths; none, delta and a known optimum are always among them.

    Paths come in blocks of fixed size with spawned seeds, reduced in a fixed order, and only one
    block and the results are held in memory.

    Raises:
        ValueError: for fewer than two paths, for more than are recorded, for two hedgers of one
            name, or from a hedger.
    """
    ranges = block_ranges(scenario, paths)
    everyone = with_references(hedgers, optimum=known_optimum(scenario) is not None)
    samples: list[Samples] = [{key: np.empty(paths) for key in PER_PATH} for _ in everyone]
    for block, start, stop in ranges:
        play(
            scenario,
            everyone,
            evaluation_block(scenario, seed, block),
            samples,
            np.arange(start, stop),
        )
        if progress is not None:
            progress(stop, paths)
    figures = summarise(scenario, everyone, samples)
    return Evaluation(scenario, paths, seed, figures, tuned_among(everyone))


def block_ranges(scenario: Scenario, paths: int) -> list[tuple[int, int, int]]:
    """The blocks that make up so many evaluation paths: number, first path, the one after the last.

    Raises:
        ValueError: for fewer than two paths, or for more than are recorded.
    """
    if paths < 2:
        raise ValueError(f"paths {paths}: give at least 2")
    recorded = scenario.market.recorded_paths
    if recorded is not None and paths > min(recorded, BLOCK):
        raise ValueError(
            f"paths {paths}: {recorded} are recorded to be given out once each: ask for at most "
            f"{min(recorded, BLOCK)}, or set market.order to random"
        )
    starts = range(0, paths, BLOCK)
    return [(block, start, min(start + BLOCK, paths)) for block, start in enumerate(starts)]


def tuned_among(hedgers: Sequence[Hedger]) -> tuple[str, ...]:
    """The names of those with an option that was chosen on other paths."""
    return tuple(hedger.name for hedger in hedgers if isinstance(hedger, TunedHedge))


def play(
    scenario: Scenario,
    hedgers: Sequence[Hedger],
    episodes: Episodes,
    samples: Sequence[Samples],
    rows: NDArray[np.int64],
) -> None:
    """Hedge one batch and write the results of its first paths to ``rows`` of the samples.

    Raises:
        ValueError: for a P&L so large that its statistics are no numbers, or from a hedger.
    """
    for hedger, sample in zip(hedgers, samples, strict=True):
        with np.errstate(all="ignore"):  # what overflows is refused below
            outcome = rollout(scenario, episodes, hedger)
        if not np.abs(outcome.pnl).max() < LARGEST:  # also where it is NaN
            raise ValueError(
                f"scenario {scenario.name!r}: {hedger.name!r} makes or loses more than "
                f"{LARGEST:g}: its values are out of proportion, look at market, costs and "
                "quantities"
            )
        for key in PER_PATH:
            sample[key][rows] = getattr(outcome, key)[: len(rows)]


def evaluation_block(scenario: Scenario, seed: int, block: int) -> Episodes:
    """The ``block``-th block of evaluation paths of a seed, float64."""
    return mark(scenario, *evaluation_paths(scenario, seed, block))


def evaluation_paths(
    scenario: Scenario, seed: int, block: int
) -> tuple[MarketPaths, torch.Generator]:
    """The prices of that block, and the generator from which their frictions are drawn."""
    generator = generator_of(stream_of(seed, Role.EVALUATION, block))
    recorded = scenario.market.recorded_paths
    size = BLOCK if recorded is None else min(BLOCK, recorded)
    return market_paths(scenario, size, generator, torch.float64), generator


def summarise(
    scenario: Scenario, hedgers: Sequence[Hedger], samples: Sequence[Samples]
) -> tuple[HedgerResult, ...]:
    """The figures of hedgers whose samples are on the same paths, none and delta among them."""
    by_name = {hedger.name: sample for hedger, sample in zip(hedgers, samples, strict=True)}
    unhedged, delta = by_name["none"]["pnl"], by_name["delta"]["pnl"]
    objective = scenario.objective
    best = by_name.get(OptimalHedge().name) if known_optimum(scenario) is not None else None
    results = []
    for name, sample in by_name.items():
        pnl, losses = sample["pnl"], -sample["pnl"]
        versus = None if name == "delta" else statistics.difference(objective, losses, -delta)
        results.append(
            HedgerResult(
                name=name,
                risk=statistics.risk(objective, losses),
                mean=statistics.mean(pnl),
                std=statistics.std(pnl),
                var_95=statistics.risk(VaR(level=0.95), losses),
                cvar_95=statistics.risk(CVaR(level=0.95), losses),
                cvar_99=statistics.risk(CVaR(level=0.99), losses),
                cost=statistics.mean(sample["cost"]),
                turnover=statistics.mean(sample["turnover"]),
                trades=statistics.mean(sample["trades"]),
                breach=statistics.mean(sample["breach"]) if scenario.delta_range else None,
                effectiveness=statistics.effectiveness(pnl, unhedged),
                versus_delta=versus,
                gap_closed=(
                    None
                    if best is None
                    else statistics.gap_closed(objective, losses, -delta, -best["pnl"])
                ),
                pnl=pnl,
                **_floor(objective, losses),
            )
        )
    return tuple(results)


def _floor(objective: Objective, losses: NDArray[np.float64]) -> dict[str, Estimate]:
    """How often and how far losses go beyond the threshold, where the objective has one."""
    if not isinstance(objective, Shortfall):
        return {}
    return {
        "below_floor": statistics.proportion(losses > objective.threshold),
        "shortfall": statistics.mean(objective.beyond(losses, NUMPY)),
    }


@dataclass(frozen=True)
class Example:
    """One path, hedged by several hedgers, for a picture.

    Attributes:
        days: of the dates, ``[T+1]``.
        spot: ``[T+1]``, money.
        neutral: the delta-neutral holding of the underlying, ``[T]``.
        jumps: the indices of the dates at which the spot has jumped.
        holdings: of the underlying over (t, t+1], ``[T]`` by hedger.
        wealth: marked P&L so far, ``[T+1]`` by hedger.
        title: what is typical about it.
    """

    days: NDArray[np.float64]
    spot: NDArray[np.float64]
    neutral: NDArray[np.float64]
    jumps: NDArray[np.int64]
    holdings: dict[str, NDArray[np.float64]]
    wealth: dict[str, NDArray[np.float64]]
    title: str


def example_paths(scenario: Scenario, hedgers: Sequence[Hedger], seed: int = 0) -> list[Example]:
    """A bad, a middling and a good path of the first evaluation block, as delta hedging ranks them.

    They are the 1 %, 50 % and 99 % quantiles of delta's P&L.
    """
    episodes = evaluation_block(scenario, seed, 0)
    outcomes: dict[str, Outcome] = {
        hedger.name: rollout(scenario, episodes, hedger, record=True) for hedger in hedgers
    }
    delta = rollout(scenario, episodes, DeltaHedge())
    order = np.argsort(delta.pnl)
    arrays = episodes.numpy()
    first = scenario.contract.options  # of the delta-one instruments: the one that is shown
    neutral = -Tape.of(episodes).delta[0][:-1]
    examples = []
    for title, rank in (("a bad path", 0.01), ("a middling path", 0.5), ("a good path", 0.99)):
        j = int(order[int(rank * (len(order) - 1))])
        times = arrays.times[:, j if arrays.times.shape[1] > 1 else 0]
        jump = np.zeros(len(times)) if arrays.jump is None else arrays.jump[:, j]
        examples.append(
            Example(
                days=times * 365,
                spot=arrays.spot[:, j],
                neutral=neutral[:, j],
                jumps=np.flatnonzero(jump),
                holdings={k: np.asarray(o.holding)[:, j, first] for k, o in outcomes.items()},
                wealth={k: np.asarray(o.wealth)[:, j] for k, o in outcomes.items()},
                title=f"{title} for delta hedging",
            )
        )
    return examples

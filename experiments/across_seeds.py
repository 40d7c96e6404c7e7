"""Agents across their training seeds, on the same evaluation paths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..baselines import DeltaHedge, OptimalHedge
from ..envs.stream import Role, stream_of
from .evaluation import Evaluation, HedgerResult
from .seed_statistics import (
    AcrossSeeds,
    AgentResult,
    Contrast,
    OverSeeds,
    Shared,
    contrast,
    holm,
    over_seeds,
    statistic,
)

DELTA, OPTIMUM = DeltaHedge().name, OptimalHedge().name


def across_seeds(evaluation: Evaluation, agents: Mapping[str, Sequence[str]]) -> AcrossSeeds:
    """Agents over the seeds that they were trained with, all policies on the same paths.

    Args:
        evaluation: of every policy; delta is always among its hedgers.
        agents: by name, the names of their policies in the evaluation, one of each seed.

    Raises:
        ValueError: for no agent, an agent without a policy, or a policy that was not evaluated.

    Evidence: tests/experiments/test_across_seeds.py.
    """
    if not agents:
        raise ValueError("no agent was trained: there are no seeds to look across")
    generator = np.random.default_rng(stream_of(evaluation.seed, Role.BOOTSTRAP))
    found, shared = [], {DELTA: _shared(evaluation, [evaluation.result(DELTA)])}
    for name, policies in agents.items():
        results = [evaluation.result(policy) for policy in policies]
        result = _agent(evaluation, name, results, generator)
        found.append(result)
        if result.warning is None:
            shared[name] = _shared(evaluation, results)
    most = max(len(each.policies) for each in found)
    contrasts = _contrasts(found, evaluation.result(DELTA), shared)
    return AcrossSeeds(statistic(most), tuple(found), contrasts)


def _agent(
    evaluation: Evaluation,
    name: str,
    results: Sequence[HedgerResult],
    generator: np.random.Generator,
) -> AgentResult:
    """Its figures, each with the part of the paths' error that its policies share."""
    if not results:
        raise ValueError(f"agent {name!r} has no policy: name one of each seed")
    delta = evaluation.result(DELTA)
    objective = evaluation.scenario.objective
    warnings = [warning for each in (*results, delta) if (warning := each.risk.warning)]
    warning = warnings[0] if warnings else None
    own = [objective.influence(-each.pnl) for each in results]
    base = objective.influence(-delta.pnl)

    def figure(values: Sequence[float], influences: Sequence[Any]) -> OverSeeds:
        shared = None if warning else Shared.of(influences).variance
        return over_seeds(values, shared, generator)

    gaps = [each.gap_closed for each in results]
    gap = None
    if known := [each.value for each in gaps if each is not None]:
        best = evaluation.result(OPTIMUM)
        room, way = delta.risk.value - best.risk.value, base - objective.influence(-best.pnl)
        closing = [(base - mine - g * way) / room for mine, g in zip(own, known, strict=True)]
        gap = figure(known, closing)
    less = [each.versus_delta.value for each in results if each.versus_delta is not None]
    return AgentResult(
        name=name,
        policies=tuple(each.name for each in results),
        risk=figure([each.risk.value for each in results], own),
        versus_delta=figure(less, [mine - base for mine in own]),
        gap_closed=gap,
        warning=warning,
    )


def _shared(evaluation: Evaluation, results: Sequence[HedgerResult]) -> Shared:
    objective = evaluation.scenario.objective
    return Shared.of([objective.influence(-each.pnl) for each in results])


def _contrasts(
    agents: Sequence[AgentResult], delta: HedgerResult, shared: Mapping[str, Shared]
) -> tuple[Contrast, ...]:
    """Every agent with several seeds against delta and against each other, corrected together."""
    values = {each.name: each.risk.values for each in agents if len(each.policies) > 1}
    values[DELTA] = (delta.risk.value,)
    pairs = [(name, DELTA) for name in values if name != DELTA]
    pairs += combinations([name for name in values if name != DELTA], 2)
    found = []
    for first, second in pairs:
        one, two = shared.get(first), shared.get(second)
        common = math.nan
        if one is not None and two is not None:
            common = max(one.variance + two.variance - 2.0 * one.covariance(two), 0.0)
        found.append((first, second, *contrast(values[first], values[second], common)))
    adjusted = iter(holm([p for *_, p in found if not math.isnan(p)]))
    return tuple(
        Contrast(first, second, difference, None, None, None, None)
        if math.isnan(p)
        else Contrast(first, second, difference, *ends, p, next(adjusted))
        for first, second, difference, ends, p in found
    )

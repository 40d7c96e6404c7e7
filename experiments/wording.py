"""Results in words: numbers with the digits that their intervals allow, and one honest sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from . import statistics
from .evaluation import Evaluation, HedgerResult
from .statistics import Estimate
from .svg import is_rule


def digits(estimates: Sequence[Estimate | None]) -> int:
    """Decimals for a column: two figures of the middle interval's half-width."""
    known = [estimate for estimate in estimates if estimate is not None]
    widths = [(e.high - e.low) / 2 for e in known if e.low is not None and e.high is not None]
    positive = [width for width in widths if width > 0]
    largest = max((abs(e.value) for e in known), default=0.0)
    scale = float(np.median(positive)) if positive else largest / 100
    return 0 if scale == 0 else min(max(1 - math.floor(math.log10(scale)), 0), 6)


def number(value: float, decimals: int, signed: bool = False) -> str:
    """With a real minus sign, and no sign before nothing."""
    text = f"{value:+,.{decimals}f}" if signed else f"{value:,.{decimals}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def interval(estimate: Estimate, decimals: int, signed: bool = False) -> str:
    """``[low, high]``, or that there is none."""
    if estimate.low is None or estimate.high is None:
        return "no interval"
    low, high = (number(end, decimals, signed) for end in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def standing(difference: Estimate) -> str:
    """Whether a difference of risks tells two hedgers apart."""
    if difference.low is None or difference.high is None:
        return "no interval"
    if difference.high < 0:
        return "better"
    return "worse" if difference.low > 0 else "not told apart"


def verdict(evaluation: Evaluation) -> str:
    """One sentence: who has the lowest risk, against delta and against the best of the other sort.

    Rules are the baselines, policies everything else. Differences are paired, on the same paths.
    """
    ordered = sorted(evaluation.hedgers, key=lambda result: result.risk.value)
    best = ordered[0]
    clauses = [f"{best.name} has the lowest risk, {_figure(best.risk)}"]
    if best.versus_delta is not None:
        clauses.append(_against(best.versus_delta, "delta"))
    rivals = [result for result in ordered if is_rule(result.name) != is_rule(best.name)]
    rival = rivals[0] if rivals else ordered[1] if len(ordered) > 1 else None
    if rival is not None and (rival.name != "delta" or best.versus_delta is None):
        sort = "rule" if is_rule(rival.name) else "policy"
        title = f"{rival.name}, the best {sort}," if rivals else f"{rival.name}, the next,"
        clauses.append(f"{title} is {_against(_paired(evaluation, rival, best), best.name)}")
        if best.name != "delta" and rival.versus_delta is not None:
            clauses[-1] += f", and {_against(rival.versus_delta, 'delta')}"
    return "; ".join([", ".join(clauses[:2]), *clauses[2:]]) + "."


def _paired(evaluation: Evaluation, one: HedgerResult, other: HedgerResult) -> Estimate:
    return statistics.difference(evaluation.scenario.objective, -one.pnl, -other.pnl)


def _figure(estimate: Estimate) -> str:
    decimals = digits([estimate])
    return f"{number(estimate.value, decimals)} {interval(estimate, decimals)}"


def _against(difference: Estimate, name: str) -> str:
    """How far a risk is below or above that of ``name``, or that the paths do not tell."""
    decimals = digits([difference])
    found = standing(difference)
    if found in ("better", "worse"):
        assert difference.low is not None
        assert difference.high is not None
        ends = sorted((abs(difference.low), abs(difference.high)))
        low, high = (number(end, decimals) for end in ends)
        side = "below" if found == "better" else "above"
        return f"{number(abs(difference.value), decimals)} [{low}, {high}] {side} {name}"
    signed = number(difference.value, decimals, signed=True)
    if found == "no interval":
        return f"{signed} from {name} with no honest interval"
    return f"not told apart from {name} ({signed} {interval(difference, decimals, signed=True)})"

"""Results in words: numbers with the digits that their intervals allow, and one honest sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import statistics
from ..evaluation import Evaluation
from ..recorded import RecordedEvaluation
from ..statistics import Estimate
from .svg import is_rule


def digits(estimates: Sequence[Estimate | None]) -> int:
    """Decimals for a column: two figures of the middle interval, four of the middle value."""
    known = [estimate for estimate in estimates if estimate is not None]
    widths = [(e.high - e.low) / 2 for e in known if e.low is not None and e.high is not None]
    positive = [width for width in widths if width > 0]
    sizes = [abs(e.value) for e in known if e.value]
    if not sizes:
        return 1
    decimals = 3 - math.floor(math.log10(float(np.median(sizes))))
    if positive:
        decimals = min(decimals, 1 - math.floor(math.log10(float(np.median(positive)))))
    return min(max(decimals, 0), 6)


def number(value: float, decimals: int, signed: bool = False) -> str:
    """With a real minus sign, and no sign before nothing."""
    text = f"{value:+,.{decimals}f}" if signed else f"{value:,.{decimals}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def interval(estimate: Estimate, decimals: int, signed: bool = False) -> str:
    """``[low, high]``, or that there is none, or nothing to be uncertain of."""
    if estimate.low is None or estimate.high is None:
        return "no interval"
    if estimate.low == estimate.high:
        return "on every path"
    low, high = (number(end, decimals, signed) for end in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def standing(difference: Estimate) -> str:
    """Whether a difference of risks tells two hedgers apart."""
    if difference.low is None or difference.high is None:
        return "no interval"
    if difference.high < 0:
        return "better"
    return "worse" if difference.low > 0 else "not told apart"


def verdict(evaluation: Evaluation | RecordedEvaluation) -> str:
    """One sentence: who has the lowest risk, against delta and against the best of the other sort.

    Rules are the baselines, policies everything else; the optimum is neither but what is left to
    gain. Differences are paired, on the same paths; where those are gone, as in a recorded
    evaluation, two hedgers are not set against each other.
    """
    hedgers = [result for result in evaluation.hedgers if result.name != "optimal"]
    ordered = sorted(hedgers, key=lambda result: result.risk.value)
    best = ordered[0]
    decimals = digits([result.risk for result in ordered])
    risk = f"{number(best.risk.value, decimals)} {interval(best.risk, decimals)}"
    clauses = [f"{best.name} has the lowest risk, {risk}"]
    if best.versus_delta is not None:
        clauses[0] += f", {_against(best.versus_delta, 'delta', decimals)}"
    if best.gap_closed is not None and best.name != "delta":
        share = f"{100 * best.gap_closed.value:.1f}\u00a0%"
        clauses[0] += f", which is {share} of the way from delta to the optimum"
    rivals = [result for result in ordered[1:] if is_rule(result.name) != is_rule(best.name)]
    if rivals:
        rival, title = rivals[0], "the best rule" if is_rule(rivals[0].name) else "the best policy"
    elif len(ordered) > 1:
        rival, title = ordered[1], "the next"
    else:
        return f"{clauses[0]}; no other hedger was evaluated."
    # Where the rival is delta, the first clause has said it.
    if rival.name != "delta" or best.versus_delta is None:
        against = []
        if isinstance(evaluation, Evaluation):
            gap = statistics.difference(evaluation.scenario.objective, -rival.pnl, -best.pnl)
            against.append(_against(gap, best.name, decimals))
        if rival.versus_delta is not None and not (against and best.name == "delta"):
            against.append(_against(rival.versus_delta, "delta", decimals))
        if against:
            clauses.append(f"{rival.name}, {title}, is {' and '.join(against)}")
    return "; ".join(clauses) + "."


def _against(difference: Estimate, name: str, decimals: int) -> str:
    """How far a risk is below or above that of ``name``, or that the paths do not tell."""
    found = standing(difference)
    signed = number(difference.value, decimals, signed=True)
    if difference.low is None or difference.high is None:
        return f"{signed} from {name} with no honest interval"
    if found == "not told apart":
        return f"{found} from {name} ({signed} {interval(difference, decimals, signed=True)})"
    low, high = sorted((abs(difference.low), abs(difference.high)))
    size = Estimate(abs(difference.value), low, high)
    side = "below" if found == "better" else "above"
    return f"{number(size.value, decimals)} {interval(size, decimals)} {side} {name}"

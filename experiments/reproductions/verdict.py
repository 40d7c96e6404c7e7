"""The verdict on a row: reproduced, beaten, not beaten, lost to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .paper import Paper, Published

NORMAL_95 = 1.959964


def verdicts(
    paper: Paper, name: str, figures: Mapping[str, Any], published: Mapping[str, Published]
) -> dict[str, str]:
    """What our row says about each published one.

    A rule that the paper has too is ``reproduced`` if every figure lies within the tolerance, else
    ``not reproduced``. Any other published row is ``beaten`` where our judged figure is lower by
    more than both 95 % errors together, ``lost to`` where it is higher by as much, and else ``not
    beaten``. Without an interval the figures themselves decide, the published error included.
    """
    own = published.get(name)
    if own is not None and own.method == "rule":
        pairs = [(figures[measure]["value"], value) for measure, value in own.figures.items()]
        near = all(abs(ours - theirs) <= paper.tolerance for ours, theirs in pairs)
        return {name: "reproduced" if near else "not reproduced"}
    ours = figures[paper.judged]
    return {
        label: compared(ours, row.figures[paper.judged], row.error)
        for label, row in published.items()
        if paper.judged in row.figures
    }


def compared(ours: Mapping[str, float | None], theirs: float, error: float) -> str:
    """``beaten``, ``not beaten`` or ``lost to``: our estimate against a number and its error."""
    value = ours["value"]
    assert value is not None
    low, high = ours["low"], ours["high"]
    below = error_of(None if high is None else high - value, error)
    above = error_of(None if low is None else value - low, error)
    if value + below < theirs:
        return "beaten"
    return "lost to" if value - above > theirs else "not beaten"


def error_of(half: float | None, error: float) -> float:
    """The 95 % error of a difference of independent figures."""
    return float(((half or 0.0) ** 2 + (NORMAL_95 * error) ** 2) ** 0.5)

"""Agents across their training seeds in a report: a dot plot, and who is told apart in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..evaluation import Evaluation
from ..seed_statistics import AcrossSeeds, AgentResult, Interval, OverSeeds
from ..statistics import Estimate
from .svg import COLORS, INK, MUTE, PAPER, POLICIES, drawing, new_figure
from .wording import digits, interval, number

ACROSS = "Across training seeds"
TOLD = 0.05  # an adjusted p-value below it tells two agents apart
NAMES = {"versus_delta": "Risk less delta's", "gap_closed": "Gap closed"}


def seed_plates(evaluation: Evaluation) -> Iterator[tuple[Figure, str, str]]:
    """The figures with their titles and captions; none where no agent has several seeds."""
    across = evaluation.across
    if across is None or all(len(each.policies) == 1 for each in across.agents):
        return
    spread = (
        f"Every dot is a training seed, on the same {evaluation.paths:,} paths. The tick is the "
        f"{across.statistic}; the thick bar its 95 % interval for other seeds on these paths, the "
        "thin one for other paths too."
    )
    yield (
        seeds_figure(across, "versus_delta"),
        f"{NAMES['versus_delta']}, by seed",
        f"{spread} Left of the dashed line is better than delta. {told_apart(across)}",
    )
    if all(each.gap_closed is not None for each in across.agents):
        yield (
            seeds_figure(across, "gap_closed"),
            f"{NAMES['gap_closed']}, by seed",
            f"{spread} 0 % is delta, 100 % the provable optimum.",
        )


@drawing()
def seeds_figure(across: AcrossSeeds, name: str) -> Figure:
    """A row for each agent: its seeds as dots, the agent's figure with both its intervals.

    ``name`` is ``versus_delta`` or ``gap_closed``.
    """
    figures = {each.name: _figure(each, name) for each in across.agents}
    decimals = digits([_estimate(each.value, each.both or each.seeds) for each in figures.values()])
    figure = new_figure(0.75 + 0.62 * len(figures))
    axes = figure.subplots()
    axes.grid(axis="y", visible=False)
    axes.axvline(0.0, color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
    if name == "gap_closed":
        axes.axvline(1.0, color=INK, linewidth=0.8)
    for row, (agent, found) in enumerate(figures.items()):
        color, y = COLORS[POLICIES[row % len(POLICIES)]][0], -float(row)
        for ends, width in ((found.both, 1.2), (found.seeds, 4.0)):
            if ends is not None:
                axes.plot(ends, [y, y], color=color, linewidth=width, alpha=0.55)
        axes.plot(found.values, [y] * len(found.values), "o", color=color, markersize=5, alpha=0.8)
        axes.plot([found.value] * 2, [y - 0.16, y + 0.16], color=INK, linewidth=1.6)
        text: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "fontsize": 9.5}
        text["bbox"] = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
        axes.text(0.0, y + 0.3, agent, color=color, fontweight="bold", **text)
        axes.text(1.0, y + 0.3, _words(found, name, decimals), color=MUTE, ha="right", **text)
    axes.set_ylim(-len(figures) + 0.6, 0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if name == "gap_closed":
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        axes.set_xlabel("of the way from delta to the optimum")
    else:
        axes.set_xlabel("risk less delta's on the same paths, money")
    return figure


def told_apart(across: AcrossSeeds) -> str:
    """Which pairs differ after the correction for all of them, in a sentence or two."""
    known = [each for each in across.contrasts if each.adjusted is not None]
    apart = [each for each in known if each.adjusted is not None and each.adjusted < TOLD]
    if not known:
        return "No pair can be tested."
    lower = [
        f"{a} below {b}"
        for a, b in (
            (each.first, each.second) if each.difference < 0 else (each.second, each.first)
            for each in apart
        )
    ]
    rest = len(known) - len(apart)
    said = f"Told apart after Holm's correction for {len(known)}: {', '.join(lower) or 'none'}."
    return f"{said} The other {rest}: not." if apart and rest else said


def _figure(agent: AgentResult, name: str) -> OverSeeds:
    found = getattr(agent, name)
    if found is None:
        raise ValueError(f"agent {agent.name!r} has no {name}: no optimum is known")
    return found  # type: ignore[no-any-return]


def _estimate(value: float, ends: Interval | None) -> Estimate:
    return Estimate(value, *(ends or (None, None)))


def _words(found: OverSeeds, name: str, decimals: int) -> str:
    """The agent's figure with the interval that holds both errors, where there is one."""
    ends = found.both or found.seeds
    if name == "gap_closed":
        shown = f"{number(100 * found.value, 1)} %"
        if ends is None:
            return shown
        low, high = (number(100 * end, 1) for end in ends)
        return f"{shown} [{low}, {high}]"
    estimate = _estimate(found.value, ends)
    shown = number(found.value, decimals, signed=True)
    return f"{shown} {interval(estimate, decimals, signed=True)}"

"""The report: one HTML file that holds all it needs, for a screen, a phone and a printer."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from ...agents.policy_figure import PolicyMap
from ...envs import ScenarioError, dump_scenario
from ..evaluation import Evaluation, Example, HedgerResult
from ..recorded import RecordedEvaluation, basis
from ..statistics import Estimate
from ..whole_files import write_text
from . import figures
from .facts import definition, facts
from .seeds_figure import ACROSS, seed_plates
from .svg import Pen, inline_svg, page_color, page_colors, pens
from .wording import digits, interval, number, standing, verdict

LEARNING = "Learning"
NO_BAND = 1e-9  # units
LIBRARIES = ("torch", "stable-baselines3", "numpy")
# The lesser figures, by the name of the result's attribute.
FIGURES = {
    "mean": "mean P&L",
    "std": "std",
    "var_95": "VaR 95",
    "cvar_95": "CVaR 95",
    "cvar_99": "CVaR 99",
    "cost": "cost",
    "turnover": "turnover",
    "trades": "trades",
    "breach": "dates in breach",
    "effectiveness": "effectiveness",
}


@dataclass(frozen=True)
class Section:
    """What a report shows of one scenario.

    Attributes:
        evaluation: the hedgers on the same paths.
        examples: single paths, none or a few.
        maps: of learned policies, by the hedger's name.
        curves: environment steps and validation risk, by training.
        notes: plain sentences that belong to the figures.
    """

    evaluation: Evaluation
    examples: list[Example]
    maps: dict[str, PolicyMap]
    curves: dict[str, list[tuple[int, float]]]
    notes: list[str]


@dataclass(frozen=True)
class RecordedSection:
    """What a report shows of an evaluation whose paths are gone: its tables, cost against risk.

    Attributes:
        evaluation: as it was read.
        notes: plain sentences that belong to the figures.
    """

    evaluation: RecordedEvaluation
    notes: list[str]


Shown = Section | RecordedSection


def write_report(path: Path, title: str, sections: Sequence[Shown], command: str) -> None:
    """Write the report to ``path``, whole or not at all; the same input gives the same bytes.

    The file needs nothing beside it and asks for nothing: styles and figures are inside, and there
    is no script (tests/experiments/reports/test_report.py).

    Raises:
        ValueError: for no section.
    """
    if not sections:
        raise ValueError("a report needs at least one section")
    page = _template().render(
        title=title,
        command=command,
        light=Markup(page_colors(dark=False)),
        dark=Markup(page_colors(dark=True)),
        versions=_versions(),
        risks=_meanings(sections),
        sections=[_section(section, f"s{i}") for i, section in enumerate(sections, start=1)],
    )
    write_text(path, page)


def _template() -> Any:
    text = (resources.files(__package__) / "report.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)


def _versions() -> str:
    names = ["deephedge", *LIBRARIES]
    found = [f"{name} {metadata.version(name)}" for name in names]
    return ", ".join([*found, f"Python {platform.python_version()}"])


def _meanings(sections: Sequence[Shown]) -> dict[str, str]:
    """What each objective measures, by its label; a recorded one tells no more than that."""
    objectives = [
        section.evaluation.scenario.objective
        for section in sections
        if isinstance(section.evaluation, Evaluation)
    ]
    return {objective.label: definition(objective) for objective in objectives}


def _subject(evaluation: Evaluation | RecordedEvaluation) -> dict[str, Any]:
    """What was hedged, as far as it is known."""
    if isinstance(evaluation, RecordedEvaluation):
        return {
            "name": evaluation.name,
            "description": "",
            "objective": evaluation.objective,
            "basis": evaluation.basis,
            "facts": [],
            "yaml": "",
        }
    scenario = evaluation.scenario
    return {
        "name": scenario.name,
        "description": scenario.description,
        "objective": scenario.objective.label,
        "basis": basis(evaluation.paths, evaluation.seed),
        "facts": facts(scenario),
        "yaml": _yaml(evaluation),
    }


def _section(section: Shown, key: str) -> dict[str, Any]:
    """What the template shows of a section; ``key`` begins its ids."""
    evaluation = section.evaluation
    results = figures.by_risk(evaluation)
    look = pens([result.name for result in evaluation.hedgers])
    warnings: dict[str, list[str]] = {}
    for result in results:
        if result.risk.warning:
            warnings.setdefault(result.risk.warning, []).append(result.name)
    return {
        **_subject(evaluation),
        "key": key,
        "verdict": verdict(evaluation),
        "ranking": _ranking(results, look),
        "details": _details(results),
        "gap": any(result.gap_closed is not None for result in results),
        "warnings": [f"{', '.join(names)}: {text}." for text, names in warnings.items()],
        "notes": section.notes,
        "groups": _groups(section, look, key),
    }


def _yaml(evaluation: Evaluation) -> str:
    try:
        return dump_scenario(evaluation.scenario)
    except ScenarioError as error:
        return f"# {error}\n"


def _ranking(results: Sequence[HedgerResult], look: dict[str, Pen]) -> list[dict[str, Any]]:
    """The rows of the first table: risk and its paired difference to delta."""
    differences = [result.versus_delta for result in results]
    of_risk, of_difference = digits([result.risk for result in results]), digits(differences)
    ends = [end for each in differences if each is not None for end in _ends(each)]
    low, high = figures.span([0.0, *ends])
    rows = []
    for result in results:
        row: dict[str, Any] = {
            "name": result.name,
            "color": page_color(look[result.name].color),
            "risk": number(result.risk.value, of_risk),
            "risk_interval": interval(result.risk, of_risk),
            "standing": "reference" if result.name == "delta" else "",
            "sign": "",
            "gap": _percent(result.gap_closed),
        }
        difference = result.versus_delta
        if difference is not None:
            row |= {
                "difference": number(difference.value, of_difference, signed=True),
                "difference_interval": interval(difference, of_difference, signed=True),
                "standing": (found := standing(difference)),
                "sign": {"better": "▼ ", "worse": "▲ "}.get(found, ""),
                "bar": _bar(difference, low, high),
            }
        rows.append(row)
    return rows


def _percent(share: Estimate | None) -> str:
    return "" if share is None else f"{number(100 * share.value, 1)}\u00a0%"


def _ends(estimate: Estimate) -> tuple[float, float]:
    """The interval, or twice the value where there is none."""
    if estimate.low is None or estimate.high is None:
        return estimate.value, estimate.value
    return estimate.low, estimate.high


def _bar(difference: Estimate, low: float, high: float) -> dict[str, Any]:
    """An interval as percentages of a bar from ``low`` to ``high``."""

    def place(value: float) -> str:
        return f"{100 * min(max((value - low) / (high - low), 0.0), 1.0):.1f}%"

    ends, value = _ends(difference), difference.value
    return {
        "zero": place(0.0),
        "ends": [place(end) for end in ends] if ends[0] < high else None,
        "at": place(value) if value <= high else None,
    }


def _details(results: Sequence[HedgerResult]) -> dict[str, Any]:
    """The second table: all other figures, each with its interval."""
    columns = {
        name: title
        for name, title in FIGURES.items()
        if any(getattr(result, name) is not None for result in results)
    }
    decimals = {name: digits([getattr(result, name) for result in results]) for name in columns}
    rows = []
    for result in results:
        cells = []
        for name in columns:
            found: Estimate | None = getattr(result, name)
            if found is None:
                cells.append(("none", ""))
            else:
                shown = number(found.value, decimals[name])
                cells.append((shown, interval(found, decimals[name])))
        rows.append((result.name, cells))
    return {"columns": list(columns.values()), "rows": rows}


def _trainings(section: Section) -> list[tuple[str, str, str, str]]:
    """Each training's length, its lowest validation risk, and when that was reached."""
    risks = [Estimate(risk, None, None) for c in section.curves.values() for _, risk in c]
    decimals = digits(risks)
    rows = []
    for name, curve in section.curves.items():
        at, lowest = min(curve, key=lambda point: point[1])
        rows.append((name, f"{curve[-1][0]:,}", number(lowest, decimals), f"{at:,}"))
    return rows


def _groups(section: Shown, look: dict[str, Pen], key: str) -> list[dict[str, Any]]:
    """The figures under their headings, empty groups left out."""
    made = [("Outcomes", _outcomes(section.evaluation))]
    trainings: list[tuple[str, str, str, str]] = []
    if isinstance(section, Section):
        trainings = _trainings(section)
        made += [
            (ACROSS, seed_plates(section.evaluation)),
            ("Single paths", _paths(section.examples, look)),
            (LEARNING, _learning(section, look)),
            *[(f"Policy {name}", _policy(each, look[name])) for name, each in section.maps.items()],
        ]
    groups, count = [], 0
    for heading, plates in made:
        shown = []
        for figure, title, text in plates:
            count += 1
            caption = text.replace(" %", "\u00a0%")
            drawn = inline_svg(figure, f"{key}f{count}", title, caption)
            shown.append({"svg": Markup(drawn), "title": title, "caption": caption})
        if shown:
            below = trainings if heading == LEARNING else []
            groups.append({"heading": heading, "figures": shown, "trainings": below})
    return groups


_Captioned = Iterator[tuple[Figure, str, str]]


def _outcomes(evaluation: Evaluation | RecordedEvaluation) -> _Captioned:
    if isinstance(evaluation, Evaluation):
        yield from _samples(evaluation)
    yield (
        figures.cost_against_risk(evaluation.document()),
        "Cost against risk",
        "Towards the lower left is better. Crosses are 95 % intervals, each hedger for itself; the "
        "paired differences in the table are sharper. The dashed line is the risk of delta. A name "
        "with a number at the upper edge is off the scale.",
    )


def _samples(evaluation: Evaluation) -> _Captioned:
    results = figures.by_risk(evaluation)
    behind = ", with delta's outline behind" if len(results) > 1 else ""
    yield (
        figures.pnl_distribution(evaluation),
        "P&L of every hedger",
        f"Lowest risk on top, each as high as its row{behind}. The bar marks minus VaR 95 %, the "
        "triangle minus CVaR 95 %. Shares of 1 % and more that lie beyond the axis have an arrow.",
    )
    yield (
        figures.loss_tail(evaluation),
        "The tail of the losses",
        "How large a share of the paths loses more than an amount, on a logarithmic scale: further "
        f"left is better. A curve ends where {figures.RAREST} paths are left, or at the frame.",
    )


def _paths(examples: Sequence[Example], look: dict[str, Pen]) -> _Captioned:
    for example in examples:
        jumps = len(example.jumps)
        jumped = f" It jumps {'once' if jumps == 1 else f'{jumps} times'}." if jumps else ""
        ends = [f"{name} {number(wealth[-1], 2, True)}" for name, wealth in example.wealth.items()]
        yield (
            figures.example_path(example, look),
            f"{example.title[:1].upper()}{example.title[1:]}",
            f"From {example.spot[0]:.4g} to {example.spot[-1]:.4g}.{jumped} P&L at the end: "
            f"{', '.join(ends)}.",
        )


def _learning(section: Section, look: dict[str, Pen]) -> _Captioned:
    delta = [r.risk.value for r in section.evaluation.hedgers if r.name == "delta"]
    if section.curves:
        yield (
            figures.learning_curve(section.curves, delta[0] if delta else None, look),
            "Risk while training",
            "On validation paths; the policy with the lowest is kept. The dashed line is the risk "
            "of delta on the paths of the table. What lies far above is cut off.",
        )


def _policy(found: PolicyMap, pen: Pen) -> _Captioned:
    yield (
        figures.policy_surface(found),
        "Where it wants to be",
        "The holding it trades around: orange is more than delta-neutral, blue less. Between the "
        "dashed lines lie 95 % of the spots; outside them the policy has seen little.",
    )
    if (found.upper - found.lower).max() > NO_BAND:
        yield (
            figures.band_width(found),
            "How much it lets pass",
            "The width of the band of holdings that it leaves as they are: white is none.",
        )
    yield (
        figures.no_trade_band(found, pen.color),
        "Inside which holdings it does not trade",
        "A holding inside the band is kept, one outside is brought to the nearest edge; a band "
        "without width is a target. All three as if nothing was gained or lost before and no "
        "option is held.",
    )

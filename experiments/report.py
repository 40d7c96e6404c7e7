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

from ..agents.policy_figure import PolicyMap
from ..envs import ScenarioError, dump_scenario
from . import figures
from .evaluation import Evaluation, Example, HedgerResult
from .facts import definition, facts
from .statistics import Estimate
from .svg import Pen, inline_svg, page_colors, pens
from .wording import digits, interval, number, standing, verdict

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


def write_report(path: Path, title: str, sections: Sequence[Section], command: str) -> None:
    """Write the report to ``path``, whole or not at all; the same input gives the same bytes.

    The file needs nothing beside it and asks for nothing: styles and figures are inside, and there
    is no script (tests/experiments/test_report.py).

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
        risks={s.evaluation.scenario.objective.label: _meaning(s.evaluation) for s in sections},
        sections=[_section(section, f"s{i}") for i, section in enumerate(sections, start=1)],
    )
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


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


def _meaning(evaluation: Evaluation) -> str:
    return definition(evaluation.scenario.objective)


def _section(section: Section, key: str) -> dict[str, Any]:
    """What the template shows of a section; ``key`` begins its ids."""
    evaluation = section.evaluation
    results = figures.by_risk(evaluation)
    look = pens([result.name for result in evaluation.hedgers])
    warnings: dict[str, list[str]] = {}
    for result in results:
        if result.risk.warning:
            warnings.setdefault(result.risk.warning, []).append(result.name)
    return {
        "key": key,
        "name": evaluation.scenario.name,
        "description": evaluation.scenario.description,
        "verdict": verdict(evaluation),
        "objective": evaluation.scenario.objective.label,
        "paths": f"{evaluation.paths:,}",
        "seed": evaluation.seed,
        "facts": facts(evaluation.scenario),
        "ranking": _ranking(results, look),
        "details": _details(results),
        "warnings": [f"{', '.join(names)}: {text}." for text, names in warnings.items()],
        "notes": section.notes,
        "groups": _groups(section, look, key),
        "yaml": _yaml(evaluation),
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
            "color": _variable(look[result.name]),
            "risk": number(result.risk.value, of_risk),
            "risk_interval": interval(result.risk, of_risk),
            "standing": "reference" if result.name == "delta" else "",
        }
        difference = result.versus_delta
        if difference is not None:
            row |= {
                "difference": number(difference.value, of_difference, signed=True),
                "difference_interval": interval(difference, of_difference, signed=True),
                "standing": standing(difference),
                "bar": _bar(difference, low, high),
            }
        rows.append(row)
    return rows


def _ends(estimate: Estimate) -> tuple[float, float]:
    """The interval, or twice the value where there is none."""
    if estimate.low is None or estimate.high is None:
        return estimate.value, estimate.value
    return estimate.low, estimate.high


def _bar(difference: Estimate, low: float, high: float) -> dict[str, Any]:
    """An interval as percentages of a bar from ``low`` to ``high``."""

    def place(value: float) -> str:
        return f"{100 * min(max((value - low) / (high - low), 0.0), 1.0):.1f}%"

    ends = [place(end) for end in _ends(difference)]
    off = difference.value > high
    return {"zero": place(0.0), "ends": ends, "at": None if off else place(difference.value)}


def _variable(pen: Pen) -> Markup:
    """The pen's colour as the page's variable."""
    return Markup(page_variable(pen.color))


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
        rows.append((result.name, cells, result.gap_closed))
    closed = any(result.gap_closed is not None for result in results)
    return {"columns": list(columns.values()), "rows": rows, "gap": closed}

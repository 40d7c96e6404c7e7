"""Tables of agents across seeds: for a terminal, and as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from ..baselines import DeltaHedge, OptimalHedge
from .evaluation import Evaluation, HedgerResult
from .seed_statistics import ENOUGH, AcrossSeeds, AgentResult, Interval, OverSeeds
from .text_tables import Cell, decimals_of, markdown_table, text_table
from .whole_files import write_text

SMALLEST_P = 1e-4
NUMERIC = re.compile(r"[-+\d.,;% \[\]<]+")
ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
FIGURES, KINDS = ("risk", "versus_delta", "gap_closed"), ("seeds", "both")
DELTA, OPTIMUM = DeltaHedge().name, OptimalHedge().name

Table = tuple[list[str], list[list[str]]]


def write_tables(folder: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write ``table.md``, ``table.csv`` and ``table.tex``; each whole or not at all.

    Raises:
        ValueError: for an evaluation without agents.
    """
    for name, text in (
        ("table.md", markdown(evaluations)),
        ("table.csv", as_csv(evaluations)),
        ("table.tex", latex(evaluations)),
    ):
        write_text(folder / name, text)


def terminal(evaluations: Sequence[Evaluation]) -> str:
    """Every scenario's agents, their pairs, and all scenarios side by side."""
    blocks = []
    for each in evaluations:
        headings, rows = agents_table(each)
        blocks.append(f"{each.scenario.name}, across training seeds")
        # Each seed on lines of its own: there may be many.
        blocks.append(text_table(headings[:-1], [row[:-1] for row in rows]))
        blocks.append("\n".join(f"{row[0]}, each seed: {row[-1]}" for row in rows if row[-1]))
        if _across(each).contrasts:
            blocks.append(text_table(*pairs_table(each)))
        blocks.append("\n".join(notes(each)))
    if len(evaluations) > 1:
        blocks.append(text_table(*scenarios_table(evaluations)))
    return "\n\n".join(blocks) + "\n"


def markdown(evaluations: Sequence[Evaluation]) -> str:
    """The same in Markdown."""
    blocks = []
    for each in evaluations:
        blocks += [f"## {each.scenario.name}", markdown_table(*agents_table(each))]
        if _across(each).contrasts:
            blocks.append(markdown_table(*pairs_table(each)))
        blocks.append("\n".join(f"- {note}" for note in notes(each)))
    if len(evaluations) > 1:
        blocks += ["## All scenarios", markdown_table(*scenarios_table(evaluations))]
    return "\n\n".join(blocks) + "\n"


def latex(evaluations: Sequence[Evaluation]) -> str:
    """The same in LaTeX, to be read by another file; it needs the package booktabs."""
    parts = ["% Needs \\usepackage{booktabs}."]
    for each in evaluations:
        name = each.scenario.name
        parts.append(_latex_table(f"{name}: {' '.join(notes(each))}", agents_table(each)))
        if _across(each).contrasts:
            parts.append(_latex_table(f"{name}: pairs.", pairs_table(each)))
    if len(evaluations) > 1:
        parts.append(_latex_table("All scenarios.", scenarios_table(evaluations)))
    return "\n\n".join(parts) + "\n"


def as_csv(evaluations: Sequence[Evaluation]) -> str:
    """A row for each scenario and agent, every figure with all digits and both intervals."""
    text = io.StringIO()
    head = ["scenario", "objective", "paths", "agent", "seeds", "statistic"]
    for figure in FIGURES:
        head += [figure, *(f"{figure}_{kind}_{end}" for kind in KINDS for end in ("low", "high"))]
        head.append(f"{figure}_by_seed")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, "p_delta", "p_delta_holm"])
    for each in evaluations:
        scenario, across = each.scenario, _across(each)
        for agent in across.agents:
            row: list[Cell] = [scenario.name, scenario.objective.label, each.paths, agent.name]
            row += [len(agent.policies), across.statistic]
            for figure in FIGURES:
                row += _csv_cells(getattr(agent, figure))
            contrast = across.contrast(agent.name, DELTA)
            row += [None, None] if contrast is None else [contrast.p, contrast.adjusted]
            writer.writerow(row)
    return text.getvalue()


def _csv_cells(figure: OverSeeds | None) -> list[Cell]:
    if figure is None:
        return [None] * (2 + 2 * len(KINDS))
    ends: list[Cell] = []
    for kind in KINDS:
        ends += getattr(figure, kind) or (None, None)
    return [figure.value, *ends, ";".join(map(repr, figure.values))]


def agents_table(evaluation: Evaluation) -> Table:
    """A row for delta, the optimum where it is known, and each agent."""
    across, decimals = _across(evaluation), _decimals(evaluation)
    known = any(each.gap_closed is not None for each in across.agents)
    shown = (DELTA, OPTIMUM) if known else (DELTA,)
    rows = [_reference_row(evaluation.result(name), decimals) for name in shown]
    rows += [_agent_row(across, each, decimals) for each in across.agents]
    headings = ["hedger", "seeds", "risk", "95 %", "less delta", "95 %", "gap closed", "95 %"]
    headings += ["p, Holm", "risk of each seed"]
    if not known:
        headings, *rows = ([*row[:6], *row[8:]] for row in (headings, *rows))
    return headings, rows


def _agent_row(across: AcrossSeeds, agent: AgentResult, decimals: int) -> list[str]:
    contrast = across.contrast(agent.name, DELTA)
    less, gap = agent.versus_delta, agent.gap_closed
    return [
        agent.name,
        str(len(agent.policies)),
        f"{agent.risk.value:.{decimals}f}",
        _interval(agent.risk.both, decimals),
        f"{less.value:+.{decimals}f}",
        _interval(less.both, decimals, "+"),
        "" if gap is None else _percent(gap.value),
        "" if gap is None else _percents(gap.both),
        "" if contrast is None else _p(contrast.adjusted),
        " ".join(f"{value:.{decimals}f}" for value in agent.risk.values),
    ]


def _reference_row(result: HedgerResult, decimals: int) -> list[str]:
    """A rule has no seeds: its intervals are of the paths alone."""
    risk, versus = result.risk, result.versus_delta
    return [
        result.name,
        "",
        f"{risk.value:.{decimals}f}",
        _interval(_ends(risk.low, risk.high), decimals),
        "" if versus is None else f"{versus.value:+.{decimals}f}",
        "" if versus is None else _interval(_ends(versus.low, versus.high), decimals, "+"),
        *("", "", "", ""),
    ]


def pairs_table(evaluation: Evaluation) -> Table:
    """A row for each pair, with the p-value before and after the correction."""
    decimals = _decimals(evaluation)
    rows = [
        [
            each.first,
            each.second,
            f"{each.difference:+.{decimals}f}",
            _interval(_ends(each.low, each.high), decimals, "+"),
            _p(each.p),
            _p(each.adjusted),
        ]
        for each in _across(evaluation).contrasts
    ]
    return ["agent", "against", "risk less", "95 %", "p", "p, Holm"], rows


def scenarios_table(evaluations: Sequence[Evaluation]) -> Table:
    """A row for each agent, a column for each scenario: the gap closed, else risk less delta's."""
    found = [_across(each) for each in evaluations]
    names = {agent.name: None for across in found for agent in across.agents}
    headings, rows = ["agent"], [[name] for name in names]
    for evaluation, across in zip(evaluations, found, strict=True):
        by_name = {agent.name: agent for agent in across.agents}
        known = all(agent.gap_closed is not None for agent in across.agents)
        headings.append(f"{evaluation.scenario.name}, {'gap closed' if known else 'less delta'}")
        for row in rows:
            agent = by_name.get(row[0])
            row.append("" if agent is None else _scenario_cell(agent, _decimals(evaluation)))
    return headings, rows


def _scenario_cell(agent: AgentResult, decimals: int) -> str:
    less, gap = agent.versus_delta, agent.gap_closed
    if gap is not None:
        return f"{_percent(gap.value)} {_percents(gap.both)}"
    return f"{less.value:+.{decimals}f} {_interval(less.both, decimals, '+')}"


def notes(evaluation: Evaluation) -> list[str]:
    """What the figures and intervals of a scenario mean, in plain sentences."""
    across, label = _across(evaluation), evaluation.scenario.objective.label
    most = max(len(each.policies) for each in across.agents)
    lines = [f"Risk: {label} of the loss on {evaluation.paths:,} paths; lower is better."]
    if most == 1:
        lines.append(
            "One training of each agent: no interval over seeds, and nothing is said of another "
            "training. Ask for more --seeds."
        )
    else:
        how = "bootstrap" if most >= ENOUGH else "Student's t"
        lines.append(
            f"An agent's figure is the {across.statistic} over its seeds; its 95 % interval "
            f"({how}) is for other seeds and other paths. Rules have no seeds: paths alone."
        )
    if across.contrasts:
        lines.append(
            "p: of no difference in risk, from delta where no pair is named; corrected for all "
            f"{len(across.contrasts)} pairs (Holm)."
        )
    return lines + [f"{each.name}: {each.warning}." for each in across.agents if each.warning]


def _across(evaluation: Evaluation) -> AcrossSeeds:
    if evaluation.across is None:
        raise ValueError(f"scenario {evaluation.scenario.name!r}: no agent was looked at")
    return evaluation.across


def _decimals(evaluation: Evaluation) -> int:
    risks = [value for agent in _across(evaluation).agents for value in agent.risk.values]
    return decimals_of(risks)


def _ends(low: float | None, high: float | None) -> Interval | None:
    return None if low is None or high is None else (low, high)


def _interval(ends: Interval | None, decimals: int, sign: str = "") -> str:
    if ends is None:
        return "none"
    return f"[{ends[0]:{sign}.{decimals}f}, {ends[1]:{sign}.{decimals}f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _percents(ends: Interval | None) -> str:
    return "none" if ends is None else f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def _p(p: float | None) -> str:
    if p is None:
        return "none"
    return f"< {SMALLEST_P:.4f}" if p < SMALLEST_P else f"{p:.4f}"


def _latex_table(caption: str, table: Table) -> str:
    headings, rows = table
    lines = [" & ".join(map(latex_text, row)) + r" \\" for row in rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_text(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
            r"\toprule",
            " & ".join(map(latex_text, headings)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def latex_text(text: str) -> str:
    """The text with LaTeX's own characters escaped, and the minus of a number as one."""
    escaped = "".join(ESCAPED.get(character, character) for character in text)
    if NUMERIC.fullmatch(text):
        return escaped.replace("-", "$-$").replace("<", "$<$")
    return escaped.replace("<", r"\textless{}").replace(">", r"\textgreater{}")

"""Draws the README's figure and tables from the committed results: ``make figures``.

Every number that is published is in a file of ``docs/results``, which names the command that made
it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deephedge.experiments.figures import cost_against_risk
from deephedge.experiments.svg import svg

DOCS = Path(__file__).resolve().parent
README = DOCS.parent / "README.md"
START, END = "<!-- results -->", "<!-- /results -->"


def load(name: str) -> dict[str, Any]:
    """A committed result."""
    document: dict[str, Any] = json.loads((DOCS / "results" / f"{name}.json").read_text())
    return document


def row(hedger: dict[str, Any]) -> str:
    """A hedger's line of a table."""
    risk, versus = hedger["risk"], hedger["versus_delta"]
    return (
        f"| {hedger['name']} | {risk['value']:.4f} | {interval(risk)} | "
        f"{'' if versus is None else format(versus['difference'], '+.4f')} | "
        f"{'' if versus is None else interval(versus)} | {hedger['std']:.3f} | "
        f"{hedger['cvar_95']:.3f} | {hedger['cost']:.3f} | {hedger['trades']:.1f} |"
    )


def interval(figures: dict[str, Any]) -> str:
    """A 95 % interval, or that there is none."""
    if figures["low"] is None:
        return "none"
    return f"[{figures['low']:.4f}, {figures['high']:.4f}]"


def table(evaluation: dict[str, Any]) -> list[str]:
    """All hedgers, lowest risk first."""
    head = "| hedger | risk | 95 % | less delta | 95 %, paired | std | CVaR 95 | cost | trades |"
    hedgers = sorted(evaluation["hedgers"], key=lambda hedger: hedger["risk"]["value"])
    return [head, "|---|---|---|---|---|---|---|---|---|", *map(row, hedgers)]


def section(title: str, evaluation: dict[str, Any], command: str) -> list[str]:
    """A table with its heading and the command that made it."""
    head = f"**{title}** ({evaluation['objective']}), `{command}`. {standing(evaluation)}"
    return [head, "", *table(evaluation), ""]


def standing(evaluation: dict[str, Any]) -> str:
    """Whether any rule did better than the learned policies, in a sentence."""
    risks = {hedger["name"]: hedger["risk"]["value"] for hedger in evaluation["hedgers"]}
    learned = [risk for name, risk in risks.items() if name.startswith("ppo")]
    better = [name for name, risk in risks.items() if risk < min(learned)]
    if not better:
        return "No rule had a lower risk than the learned policy."
    return f"Learning loses: {' and '.join(better)} had a lower risk than the learned policy."


def results() -> str:
    """The README's results."""
    call, jumps, months = load("short-call"), load("short-call-jumps"), load("backtest")
    lines = section(
        f"short-call, {call['evaluation']['paths']:,} paths", call["evaluation"], call["command"]
    )
    lines += section(
        f"short-call-jumps, {jumps['evaluation']['paths']:,} paths",
        jumps["evaluation"],
        jumps["command"],
    )
    test = months["backtest"]
    lines += section(
        f"{test['data']}, {test['months']} months, {test['first']} to {test['last']}",
        test["all"],
        months["command"],
    )
    for source, part in test["by_source"].items():
        head = f"The {part['paths']} months marked at: {source}. {standing(part)}"
        lines += [head, "", *table(part), ""]
    return "\n".join(lines)


def main() -> None:
    """Write the figure and the README's tables."""
    jumps = load("short-call-jumps")
    figure = svg(cost_against_risk(jumps["evaluation"]))
    (DOCS / "figures" / "short-call-jumps.svg").write_text(figure, encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    head, _, rest = text.partition(START)
    tail = rest.partition(END)[2]
    README.write_text(f"{head}{START}\n{results()}{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()

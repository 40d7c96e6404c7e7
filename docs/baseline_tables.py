"""The tables of docs/baselines.md and docs/optimum.md, from committed results."""

from __future__ import annotations

import math
import re
from typing import Any

Document = dict[str, Any]


def cost_sweep(document: Document) -> str:
    """Every rule's risk by cost, a table for each market."""
    lines = [
        f"Measured by `{document['command']}`: {document['objective']} of a short 30-day call at "
        f"the money, {document['paths']:,} paths, in brackets the share of the way from delta to "
        "the optimum. `best` is an option chosen on other paths, for that market and cost. The "
        "rule of lowest risk, but for the optimum, is bold, with those that the paths do not tell "
        "from it. There is no share where the paths do not tell delta from the optimum.",
        "",
    ]
    for market, by_cost in document["markets"].items():
        costs = list(by_cost)
        lines += [f"| {market} | {' | '.join(costs)} |", f"|---|{'---|' * len(costs)}"]
        rules = {spelled(n, r["tuned"]) for found in by_cost.values() for n, r in found.items()}
        columns = {
            cost: {spelled(n, r["tuned"]): r for n, r in found.items()}
            for cost, found in by_cost.items()
        }
        for rule in sorted(rules, key=lambda rule: (mean_rank(rule, columns), rule)):
            cells = " | ".join(cell(rule, columns[cost]) for cost in costs)
            lines.append(f"| `{rule}` | {cells} |")
        lines.append("")
    return "\n".join(lines).removesuffix("\n")


def spelled(name: str, tuned: bool) -> str:
    """A tuned rule without the value that was chosen: the last option is the tuned one's."""
    if not tuned:
        return name
    return re.sub(r"(width|every|move|aversion|band)=[^,]+", r"\1=best", name, count=1)


def mean_rank(rule: str, columns: dict[str, Document]) -> tuple[bool, float]:
    """The optimum first, then by the mean rank over the costs at which the rule was there."""
    ranks = []
    for found in columns.values():
        ordered = sorted(found, key=lambda name: found[name]["risk"]["value"])
        if rule in ordered:
            ranks.append(ordered.index(rule) / len(ordered))
    return rule != "optimal", sum(ranks) / len(ranks)


def cell(rule: str, found: Document) -> str:
    """A rule's risk and the gap it closes, bold where none is told apart below it."""
    if rule not in found:
        return ""
    result = found[rule]
    value, gap = result["risk"]["value"], result["gap_closed"]
    text = f"{value:.4f}" if result["warning"] is None else f"{value:.4f}*"
    if gap is not None and rule not in ("optimal", "delta"):
        text += f" ({100 * gap:.0f} %)" if gap > -9.995 else " (far)"
    least = result["versus_best"]["low"]
    near = rule != "optimal" and (least is None or least <= 0)
    return f"**{text}**" if near else text


def optimum_checks(document: Document) -> str:
    """Value against simulation, and the rival that comes nearest."""
    cases = document["cases"]
    scores = [(c["risk"] - c["value"]) / c["standard_error"] for c in cases]
    above = [rival["above"] for c in cases for rival in c["rivals"].values()]
    lines = [
        f"Measured by `{document['command']}` on {document['paths']:,} paths in each of "
        f"{len(cases)} cases. The value lies within {max(map(abs, scores)):.1f} standard errors of "
        f"the simulated risk in every one; of {len(above)} comparisons with "
        f"{len(cases[0]['rivals'])} rules the lowest is {min(above):+.1f} paired standard errors "
        "above the optimum: none beats it.",
        "",
        "| market | book | cost | aversion | value | its error | simulated | off by | delta | "
        "nearest rule |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case, score in zip(cases, scores, strict=True):
        market = "merton" if case["preset"].endswith("jumps") else "gbm"
        rivals = case["rivals"]
        nearest = min(rivals, key=lambda name: rivals[name]["risk"])
        lines.append(
            f"| {market} | {case['book']} | {case['basis_points']:g} bp | {case['aversion']:g} | "
            f"{case['value']:.5f} | {case['error']:.0e} | {case['risk']:.5f} | {score:+.1f} | "
            f"{case['delta']:.4f} | `{nearest}` {rivals[nearest]['risk']:.4f} |"
        )
    return "\n".join(lines)


def cost_scaling(document: Document) -> str:
    """Widths and premiums beside their limits, and their slopes in the cost."""
    studies, rule = document["cases"], document["whalley_wilmott"]
    heads = [f"{case['dates']} dates: half-width | price" for case in studies]
    limits = " | ".join(["1/3 | 2/3"] * len(heads))
    lines = [
        f"Measured by `{document['command']}`: half the band at the money at mid-life and what the "
        "cost adds to the price beyond the first trade, in brackets over the limits of continuous "
        "trading (Whalley and Wilmott; Kallsen and Muhle-Karbe).",
        "",
        f"| cost | {' | '.join(heads)} |",
        f"|---|{'---|---|' * len(heads)}",
    ]
    for rows in zip(*(case["rows"] for case in studies), strict=True):
        cells = " | ".join(
            f"{r['half_width']:.4f} ({r['half_width'] / r['half_width_limit']:.2f}) | "
            f"{r['premium']:.4f} ({r['premium'] / r['premium_limit']:.2f})"
            for r in rows
        )
        lines.append(f"| {rows[0]['basis_points']:g} bp | {cells} |")
    cells = " | ".join(
        f"{slope(case['rows'], 'half_width'):.3f} | {slope(case['rows'], 'premium'):.3f}"
        for case in studies
    )
    lines += [
        f"| slope, 5 to 50 bp | {cells} |",
        f"| its limit | {limits} |",
        "",
        f"How far Whalley and Wilmott's hedge is above the optimum at {rule[0]['dates']} dates, "
        f"{document['paths']:,} paths, and as a share of what the cost adds to the optimum:",
        "",
        "| cost | above the optimum | standard error | share |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {each['basis_points']:g} bp | {each['above']:.5f} | {each['standard_error']:.5f} | "
        f"{100 * each['share']:.1f} % |"
        for each in rule
    ]
    return "\n".join(lines)


def slope(rows: list[Document], key: str, least: float = 5.0, most: float = 50.0) -> float:
    """The log-log slope in the cost between two costs."""
    by_cost = {row["basis_points"]: row[key] for row in rows}
    return math.log(by_cost[most] / by_cost[least]) / math.log(most / least)

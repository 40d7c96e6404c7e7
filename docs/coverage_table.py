"""The table of docs/statistics.md: how often intervals hold the truth."""

from __future__ import annotations

import re
from typing import Any


def coverage_table(document: dict[str, Any]) -> str:
    """A line for each figure, a column for each law: the least and the most of its hedgers."""
    laws = list(dict.fromkeys(row["law"] for row in document["rows"]))
    figures: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in document["rows"]:
        by_law = figures.setdefault(title(row["figure"]), {law: [] for law in laws})
        by_law[row["law"]].append(row)
    lines = [
        f"Measured by `{document['command']}`: {document['repetitions']:,} samples of "
        f"{document['paths']:,} paths each, from {document['population']:,} simulated ones; the "
        "standard error of a share is 0.5 points. In %, the least and the most of the hedgers.",
        "",
        f"| figure | {' | '.join(laws)} |",
        f"|---|{'---:|' * len(laws)}",
    ]
    for figure, by_law in figures.items():
        lines.append(f"| {figure} | {' | '.join(cell(rows) for rows in by_law.values())} |")
    return "\n".join(lines)


def title(figure: str) -> str:
    """A figure without what depends on the law: the reference, the aversion and the threshold."""
    name = re.sub(r", less \w+$", ", difference", re.sub(r", over \w+$", ", ratio", figure))
    return re.sub(r" \(aversion [\d.]+\)| beyond [\d.]+", "", name).replace("_", " ")


def cell(rows: list[dict[str, Any]]) -> str:
    """From the least to the most, and how often there is an interval at all."""
    shares = sorted(f"{100 * row['covered']:.1f}" for row in rows if row["covered"] is not None)
    if not shares:
        return ""
    text = shares[0] if shares[0] == shares[-1] else f"{shares[0]} to {shares[-1]}"
    least = min(row["given"] for row in rows)
    return text if least == 1.0 else f"{text} (given in {100 * least:.0f} at least)"

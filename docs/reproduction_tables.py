"""The tables of docs/reproductions.md, from the committed results of ``deephedge reproduce``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from deephedge.experiments.reproductions.table import UNITS, figure, spelled

Document = dict[str, Any]
RESULTS = Path(__file__).resolve().parent / "results"


def reproductions() -> str:
    """Every paper's section."""
    files = sorted(RESULTS.glob("reproduce-*.json"))
    return "\n\n".join(section(json.loads(file.read_text(encoding="utf-8"))) for file in files)


def section(document: Document) -> str:
    """A paper: what it is, its judged figure in every cell, and the rows that it has too."""
    paths = sorted({f"{cell['paths']:,}" for cell in document["cells"].values()})
    unit, judged = UNITS[document["unit"]], document["judged"]
    lines = [
        f"## {document['name']}",
        "",
        f"{document['title']}. {document['source']}",
        "",
        *(f"- {line}" for line in document["conventions"]),
        "",
        f"{document['measures'].get(judged, judged)}, {unit_of(judged, unit)}, on "
        f"{' or '.join(paths)} paths, with half the 95 % interval; `best` is chosen on "
        "other paths. Lower is better.",
        "",
        *judged_table(document),
        "",
        *whole_table(document),
    ]
    return "\n".join(lines)


def unit_of(judged: str, unit: str) -> str:
    """A ratio has none."""
    return "no unit" if judged == "ratio" else f"in {unit}"


def judged_table(document: Document) -> list[str]:
    """A line for each row, published ones first, a column for each cell."""
    cells, judged = document["cells"], document["judged"]
    head = f"| row | method | {' | '.join(cells)} | verdict |"
    lines = [head, f"|---|---|{'---|' * len(cells)}---|"]
    for name, method in named(cells, "published"):
        given = [cell["published"].get(name, {"figures": {}})["figures"] for cell in cells.values()]
        words = [figure(g[judged], document, judged) if judged in g else "" for g in given]
        lines.append(f"| {name} (paper) | {method} | {' | '.join(words)} | |")
    for name, method in named(cells, "rows"):
        rows = [row_of(cell, name) for cell in cells.values()]
        words = [with_error(row, document) for row in rows]
        lines.append(f"| `{name}` | {method} | {' | '.join(words)} | {counted(rows)} |")
    return lines


def named(cells: Document, part: str) -> dict[tuple[str, str], None]:
    """The names of rows with their methods, in the order in which they come."""
    return {
        (spelled(name, row.get("tuned")), row["method"]): None
        for cell in cells.values()
        for name, row in cell[part].items()
    }


def row_of(cell: Document, name: str) -> Document | None:
    """A row by the name it is shown under."""
    rows: Document = cell["rows"]
    return next((row for n, row in rows.items() if spelled(n, row["tuned"]) == name), None)


def with_error(row: Document | None, document: Document) -> str:
    """A row's judged figure with half its interval; nothing where there is no row."""
    if row is None:
        return ""
    judged = document["judged"]
    estimate = row["figures"][judged]
    value = figure(estimate["value"], document, judged)
    if estimate["low"] is None:
        return value
    half = (estimate["high"] - estimate["low"]) / 2
    return f"{value} ± {figure(half, document, judged)}"


def counted(rows: list[Document | None]) -> str:
    """Verdicts with how often they were given: ``rl beaten 8``."""
    given = Counter(
        f"{name} {word}" for row in rows if row is not None for name, word in row["verdict"].items()
    )
    several = len(rows) > 1
    return "; ".join(f"{words} {n}" if several else words for words, n in given.items())


def whole_table(document: Document) -> list[str]:
    """Every measure of the learned rows and of those that the paper has too."""
    measures = list(document["measures"])
    head = f"| cell | row | {' | '.join(measures)} | trained in |"
    lines = [head, f"|---|---|{'---|' * len(measures)}---|"]
    for cell_name, cell in document["cells"].items():
        for name, row in cell["rows"].items():
            theirs = cell["published"].get(name)
            if theirs is None and row["training"] is None:
                continue
            words = []
            for measure in measures:
                ours = figure(row["figures"][measure]["value"], document, measure)
                known = theirs is not None and measure in theirs["figures"]
                paper = figure(theirs["figures"][measure], document, measure) if known else ""
                words.append(f"{ours} (paper {paper})" if known else ours)
            seconds = "" if row["training"] is None else f"{row['training']['seconds']:.0f} s"
            lines.append(f"| {cell_name} | `{name}` | {' | '.join(words)} | {seconds} |")
    return lines

"""A reproduced cell as a text table."""

from __future__ import annotations

from typing import Any

from .measures import MEASURES

Document = dict[str, Any]
UNITS = {"premium": "% of the option's price", "money": "money"}


def spelled(name: str, tuned: str | None) -> str:
    """A rule without the value that was chosen for its ``tuned`` option: ``band:width=best``."""
    if tuned is None:
        return name
    rule, _, options = name.partition(":")
    others = [each for each in options.split(",") if each and not each.startswith(f"{tuned}=")]
    return f"{rule}:{','.join([f'{tuned}=best', *others])}"


def cell_table(document: Document, name: str) -> str:
    """The cell's rows, published and ours, lowest judged figure first."""
    cell = document["cells"][name]
    heads = ["row", "method", *document["measures"], "95 %", "verdict"]
    lines = [heads, *(row[1] for row in sorted(rows(document, cell), key=lambda row: row[0]))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    unit = UNITS[document["unit"]]
    title = f"{document['name']} {name}, {cell['paths']:,} paths, seed {cell['seed']}, {unit}"
    return "\n".join([title, "", shown[0], "-" * len(shown[0]), *shown[1:]])


def rows(document: Document, cell: Document) -> list[tuple[float, list[str]]]:
    """The judged figure (infinite where the paper has none) and the words of each row."""
    found, measures, judged = [], list(document["measures"]), document["judged"]
    for name, row in cell["published"].items():
        words = [
            figure(row["figures"][m], document, m) if m in row["figures"] else "" for m in measures
        ]
        value = row["figures"].get(judged, float("inf"))
        found.append((value, [f"{name} (paper)", row["method"], *words, "", ""]))
    for name, row in cell["rows"].items():
        words = [figure(row["figures"][m]["value"], document, m) for m in measures]
        best = row["figures"][judged]
        words += [interval(best, document, judged), said(row["verdict"])]
        found.append((best["value"], [spelled(name, row["tuned"]), row["method"], *words]))
    return found


def said(verdict: dict[str, str]) -> str:
    """A verdict in words: ``beaten: rl; lost to: mcpg``."""
    words = dict.fromkeys(verdict.values())
    return "; ".join(
        f"{word}: {', '.join(name for name, given in verdict.items() if given == word)}"
        for word in words
    )


def figure(value: float, document: Document, measure: str) -> str:
    """A number with as many digits as its table has."""
    return f"{value:.{digits(document, measure)}f}"


def interval(estimate: Document, document: Document, measure: str) -> str:
    """The 95 % interval, or that there is none."""
    if estimate["low"] is None:
        return "none"
    low, high = (figure(estimate[end], document, measure) for end in ("low", "high"))
    return f"{low} to {high}"


def digits(document: Document, measure: str) -> int:
    """One for percents; for money by its size, four for prices of an option on one share."""
    if not MEASURES[measure].scales:
        return 3
    if document["unit"] == "premium":
        return 1
    published = [
        abs(value)
        for cell in document["cells"].values()
        for row in cell["published"].values()
        for value in row["figures"].values()
    ]
    size = max(published, default=1.0)
    return 1 if size >= 50 else 4 if size >= 0.1 else 6

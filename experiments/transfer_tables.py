"""The matrix of a transfer as tables, from `Transfer.document`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .text_tables import Cell, markdown_table

Document = Mapping[str, Any]
NOTES = (
    "A row is what was made for one scenario, a column where it hedges. On the diagonal the risk "
    "of what was made there, elsewhere how much more risk is taken than that, on the same paths; "
    "95 % intervals in brackets."
)


def contenders(document: Document) -> list[str]:
    """What was made for every scenario."""
    return list(dict.fromkeys(c["contender"] for c in document["columns"][0]["cells"]))


def cell_of(column: Document, home: str, contender: str) -> Document:
    """What a column says of a contender from one home."""
    found = (c for c in column["cells"] if (c["home"], c["contender"]) == (home, contender))
    cell: Document = next(found)
    return cell


def matrix(document: Document, contender: str) -> tuple[list[str], list[list[Cell]]]:
    """Headings and rows of one contender's table."""
    columns = document["columns"]
    rows: list[list[Cell]] = []
    for home in [each["label"] for each in document["scenarios"]]:
        cells = [cell_of(column, home, contender) for column in columns]
        rows.append([f"made for {home}", *map(_shown, cells)])
    if any(column["optimum"] for column in columns) and contender != "optimal":
        best = ["" if c["optimum"] is None else f"{c['optimum']['value']:.4f}" for c in columns]
        rows.append(["the optimum", *best])
    return [contender, *[f"on {column['scenario']}" for column in columns]], rows


def markdown(document: Document) -> str:
    """All tables in Markdown, with what they mean."""
    paths, seeds = document["paths"], document["seeds"]
    trained = any("seeds" in cell for cell in document["columns"][0]["cells"])
    objectives = list(dict.fromkeys(each["objective"] for each in document["scenarios"]))
    head = f"{paths:,} paths, seed {document['seed']}; {' and '.join(objectives)} of the loss."
    if trained:
        head += f" Trainings with seeds {', '.join(map(str, seeds))}."
    return "\n\n".join([NOTES, head, *tables(document, markdown_table)])


def tables(
    document: Document, drawn: Callable[[Sequence[str], Sequence[Sequence[Cell]]], str]
) -> list[str]:
    """Every contender's table, drawn as text."""
    return [drawn(*matrix(document, contender)) for contender in contenders(document)]


def _shown(cell: Document) -> str:
    if cell["excess"] is None:
        return f"{cell['risk']['value']:.4f}"
    found = cell["excess"]
    if found["low"] is None:
        return f"{found['value']:+.4f}"
    return f"{found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"

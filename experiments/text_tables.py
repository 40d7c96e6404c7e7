"""Tables as text for a terminal, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

Cell = str | float | int | None


def text_table(headings: Sequence[str], rows: Sequence[Sequence[Cell]], decimals: int = 4) -> str:
    """A table whose first column is set left and whose numbers are set right."""
    cells = [list(headings), *[[_shown(cell, decimals) for cell in row] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def markdown_table(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], decimals: int = 4
) -> str:
    """The same in Markdown."""
    cells = [[_shown(cell, decimals).replace("|", "\\|") for cell in row] for row in rows]
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(headings), rule, *cells])


def decimals_of(values: Sequence[float]) -> int:
    """Four for money of the size of 1 to 100; about as many figures where it is larger."""
    size = max(map(abs, values), default=0.0)
    return 4 if size < 100 else 2 if size < 100_000 else 0


def _shown(cell: Cell, decimals: int) -> str:
    if cell is None:
        return "none"
    if isinstance(cell, float):
        if not math.isfinite(cell):
            return "none"
        text = f"{cell:.{decimals}f}"
        return text.lstrip("-") if not text.strip("-0.") else text
    return str(cell)

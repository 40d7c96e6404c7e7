"""What a terminal shows: tables on stdout, progress and messages on stderr."""

from __future__ import annotations

import math
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm

from ..evaluation import Evaluation, HedgerResult
from ..statistics import Estimate

WIDE = 150  # columns, where the output is no terminal
LEAST = 60  # columns; a narrower terminal wraps
AT_ONCE = 4  # tasks that are named beside a bar

_BAR = (
    "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}{postfix}]"
)

Bar = Callable[[int, float], None]


def say(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(f"{text}\n")


def loud(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(f"{text}\n")


def terminal_width() -> int:
    """Columns of the terminal that stdout is, or of none."""
    return max(LEAST, shutil.get_terminal_size((WIDE, 0)).columns)


def catalogue(entries: Mapping[str, str], width: int | None = None) -> str:
    """Names and what they mean, the meanings in a column of their own."""
    width = terminal_width() if width is None else width
    indent = max(map(len, entries), default=0) + 4
    lines = []
    for name, meaning in entries.items():
        wrapped = textwrap.wrap(meaning, width - indent) or [""]
        lines.append(f"  {name:<{indent - 2}}{wrapped[0]}".rstrip())
        lines += [" " * indent + more for more in wrapped[1:]]
    return "\n".join(lines)


# What is left out first where there is little room stands last.
_COLUMNS: dict[str, Callable[[HedgerResult, int], str]] = {
    "risk": lambda r, n: f"{r.risk.value:.{n}f}",
    "95 %": lambda r, n: _interval(r.risk, n),
    "less delta": lambda r, n: "" if r.versus_delta is None else f"{r.versus_delta.value:+.{n}f}",
    "95 % ": lambda r, n: "" if r.versus_delta is None else _interval(r.versus_delta, n, "+"),
    "gap": lambda r, n: "" if r.gap_closed is None else f"{100 * r.gap_closed.value:.1f} %",
    "in breach": lambda r, n: "" if r.breach is None else f"{r.breach.value:.1f}",
    "below": lambda r, n: "" if r.below_floor is None else f"{100 * r.below_floor.value:.2f} %",
    "shortfall": lambda r, n: "" if r.shortfall is None else f"{r.shortfall.value:.{n}f}",
    "cost": lambda r, n: f"{r.cost.value:.{n}f}",
    "std": lambda r, n: f"{r.std.value:.{n}f}",
    "CVaR 95": lambda r, n: f"{r.cvar_95.value:.{n}f}",
    "mean": lambda r, n: f"{r.mean.value:.{n}f}",
    "trades": lambda r, n: f"{r.trades.value:.1f}",
}


def evaluation_table(evaluation: Evaluation, title: str, width: int | None = None) -> str:
    """The hedgers, best first: risk and its difference to delta's with intervals, and what fits."""
    width = terminal_width() if width is None else width
    results = sorted(evaluation.hedgers, key=lambda each: each.risk.value)
    known = any(each.gap_closed is not None for each in results)
    ranged = evaluation.scenario.delta_range is not None
    floor = any(each.below_floor is not None for each in results)
    shown = {"gap": known, "in breach": ranged, "below": floor, "shortfall": floor}
    columns = [name for name in _COLUMNS if shown.get(name, True)]
    lines: list[str] = []
    for count in range(len(columns), 3, -1):
        lines = _table(results, columns[:count])
        if max(map(len, lines)) <= width:
            break
    notes = [
        f"risk: {evaluation.scenario.objective.label} of the loss, in money; lower is better.",
        "less delta: risk minus that of delta, on the same paths.",
    ]
    if known:
        notes.append("gap: the share of the way from delta to the optimum that is closed.")
    if ranged:
        notes.append(
            "in breach: decision dates at which the delta is outside the scenario's range."
        )
    if floor:
        notes.append("below: how often it loses more than the threshold; shortfall: by how much.")
    if evaluation.tuned:
        notes.append(f"chosen on paths of their own: {', '.join(evaluation.tuned)}.")
    notes += [f"{each.name}: {each.risk.warning}." for each in results if each.risk.warning]
    wrapped = [line for note in notes for line in textwrap.wrap(note, width)]
    return "\n".join([title, "", *lines, "", *wrapped, ""])


def _table(results: list[HedgerResult], headings: list[str]) -> list[str]:
    decimals = _decimals(results)
    rows = [["hedger", *map(str.strip, headings)]]
    rows += [[r.name, *[_COLUMNS[heading](r, decimals) for heading in headings]] for r in results]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * (sum(widths) + 2 * len(headings)), *lines[1:]]


def _decimals(results: list[HedgerResult]) -> int:
    """Four for prices of the size of 1 to 100; about as many figures where money is larger."""
    size = max(abs(value) for r in results for value in (r.risk.value, r.std.value))
    return 4 if size < 100 else 2 if size < 100_000 else 0


def _interval(estimate: Estimate, decimals: int, sign: str = "") -> str:
    if estimate.low is None or estimate.high is None:
        return "none"
    return f"{estimate.low:{sign}.{decimals}f} to {estimate.high:{sign}.{decimals}f}"


@contextmanager
def progress_bar(title: str, total: int, unit: str) -> Iterator[Bar]:
    """A bar on stderr with the latest risk beside it; nothing at all where that is no terminal."""
    with tqdm(
        total=total,
        desc=title,
        unit=unit,
        unit_scale=True,
        bar_format=_BAR,
        dynamic_ncols=True,
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:

        def tell(done: int, risk: float) -> None:
            if not math.isnan(risk):
                bar.set_postfix_str(f"risk {risk:.4f}", refresh=False)
            bar.update(min(done, total) - bar.n)

        yield tell


@contextmanager
def task_bar(title: str, total: int | None) -> Iterator[Callable[[str, float], None]]:
    """One bar for the tasks of an executor, with those that are under way beside it.

    Of a ``total`` that is not known it tells what is under way only.
    """
    with tqdm(
        total=total,
        desc=title,
        bar_format="{desc}: "
        + ("{percentage:3.0f}%|{bar}| " if total else "")
        + "{elapsed}{postfix}",
        dynamic_ncols=True,
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
        far: dict[str, float] = {}

        def tell(key: str, fraction: float) -> None:
            far[key] = fraction
            going = [f"{key} {100 * each:.0f} %" for key, each in far.items() if each < 1.0]
            done = sum(each == 1.0 for each in far.values())
            bar.set_postfix_str("; ".join([f"{done} done", *going[:AT_ONCE]]), refresh=False)
            bar.update(sum(far.values()) - bar.n)

        yield tell


def drop_output() -> None:
    """Nobody reads stdout any more (``... | head``): let Python's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

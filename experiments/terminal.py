"""What a terminal shows: tables on stdout, progress and messages on stderr."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from .evaluation import Evaluation
from .statistics import Estimate

WIDE = 150


def say(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(f"{text}\n")


def loud(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(f"{text}\n")


def evaluation_table(evaluation: Evaluation, title: str) -> str:
    """The hedgers, best first, with the intervals of the risk and of its difference to delta."""
    table = Table(title=title, box=SIMPLE, title_justify="left")
    table.add_column("hedger", no_wrap=True)
    headings = ("risk", "[95 %]", "less delta", "[95 %]", "mean", "std", "CVaR 95", "cost", "trades")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for result in sorted(evaluation.hedgers, key=lambda each: each.risk.value):
        versus = result.versus_delta
        table.add_row(
            result.name,
            _number(result.risk.value),
            _interval(result.risk),
            "" if versus is None else f"{versus.value:+.4f}",
            "" if versus is None else _interval(versus),
            _number(result.mean.value),
            _number(result.std.value),
            _number(result.cvar_95.value),
            _number(result.cost.value),
            f"{result.trades.value:.1f}",
        )
    console = Console(width=max(WIDE, Console().width), file=None, record=True, quiet=False)
    with console.capture() as captured:
        console.print(table)
        console.print(f"risk: {evaluation.scenario.objective.label}; money, losses positive")
        for result in evaluation.hedgers:
            if result.risk.warning:
                console.print(f"{result.name}: {result.risk.warning}")
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _number(value: float) -> str:
    return f"{value:.4f}"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "none"
    return f"{estimate.low:.4f}, {estimate.high:.4f}"


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int, float], None]]:
    """A bar on stderr, silent when that is no terminal; shows the latest risk beside it."""
    with tqdm(
        total=total, desc=title, unit_scale=True, disable=not sys.stderr.isatty(), leave=False
    ) as bar:

        def tell(done: int, figure: float) -> None:
            bar.update(min(done, total) - bar.n)
            if figure != total and not math.isnan(figure):
                bar.set_postfix_str(f"risk {figure:.4f}", refresh=False)

        yield tell

"""``deephedge report``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from ..gather import gather
from ..reports.report import write_report
from ..runs import command, how_to_resume, refuse_existing
from .options import AsJson, Paths, Plugin, Seed, say_json
from .terminal import loud, progress_bar


def report_(
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Run directories, folders of them such as compare's, and the JSON of evaluate, "
            "compare or backtest.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The HTML file, a new one.")] = Path("report.html"),
    paths: Paths = 100_000,
    seed: Seed = 0,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML report of any runs, judged afresh on the same paths, and of evaluations."""
    refuse_existing(out)
    gathered = gather(source)
    for run in gathered.unfinished:
        loud(f"left out: {run}, an unfinished training; {how_to_resume(run)}")
    total = paths * len(gathered.runs)
    with progress_bar(f"{gathered.title}: evaluating", total, "paths") as bar:
        sections = gathered.sections(paths, seed, lambda done, _: bar(done, math.nan))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_report(out, gathered.title, sections, command())
    if as_json:
        documents = [section.evaluation.document() for section in sections]
        say_json(documents[0] if len(documents) == 1 else documents)
    loud(f"report: {out}")

"""``deephedge reproduce``: published tables, run again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ..reproductions.paper import paper_names, read_paper
from ..reproductions.reproduce import Run, Watch, reproduce
from ..reproductions.table import cell_table
from ..runs import command
from ..whole_files import write_json
from .terminal import catalogue, loud, progress_bar, say


def reproductions() -> dict[str, str]:
    """What can be run again, with the papers' titles."""
    return {name: read_paper(name).title for name in paper_names()}


def reproduce_(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A paper's; without it they are listed.")
    ] = None,
    cells: Annotated[
        list[str] | None, typer.Option(help="A setting of it; may be repeated. All by default.")
    ] = None,
    paths: Annotated[int, typer.Option(min=2, help="Evaluation paths.")] = 500_000,
    seed: Annotated[int, typer.Option(min=0, help="All random numbers follow from it.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Environment steps of every training.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A JSON file; of one that is there, these cells are replaced."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Run a published table again: the paper's numbers beside ours, with a verdict on each."""
    if name is None:
        say(json.dumps(reproductions(), indent=1) if as_json else catalogue(reproductions()))
        return
    paper = read_paper(name)
    chosen = [paper.cell(cell) for cell in cells] if cells else list(paper.cells)
    before = {} if out is None else _cells_of(out, name)
    with _bars(paths) as watch:
        run = Run(paths=paths, seed=seed, steps=steps, command=command(), watch=watch)
        keep = None if out is None else partial(write_json, out)  # after every cell
        found = reproduce(paper, chosen, run, before, keep)
    if as_json:
        say(json.dumps(found, indent=1, allow_nan=False))
    else:
        say("\n\n".join(cell_table(found, cell.name) for cell in chosen))
    if out is not None:
        loud(f"results: {out}")


def _cells_of(file: Path, name: str) -> dict[str, Any]:
    """The cells that a file of results has, none where there is no file.

    Raises:
        ValueError: when the file is something else, which is then left as it is.
    """
    if not file.exists():
        if not file.absolute().parent.is_dir():
            raise ValueError(f"--out {file}: there is no folder {file.parent}: make it first")
        return {}
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["name"] == name:
            cells: dict[str, Any] = document["cells"]
            return cells
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"--out {file}: it is there and holds no results of {name}: give another")


@contextmanager
def _bars(paths: int) -> Iterator[Watch]:
    """Progress bars one after the other: each closes when the next begins."""
    with ExitStack() as stack:

        def opened(title: str, total: int, unit: str) -> Callable[[int, float], None]:
            stack.pop_all().close()
            return stack.enter_context(progress_bar(title, total, unit))

        def evaluation(title: str) -> Callable[[int, int], None]:
            bar = opened(title, paths, "paths")
            return lambda done, total: bar(done, math.nan)

        yield Watch(
            training=lambda title, steps: opened(title, steps, "steps"), evaluation=evaluation
        )
